//! A host's name and port, as text and as socket addresses.

use rave_core::{Code, Error, Result};
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::Duration,
};
use tokio::{net::lookup_host, time::timeout};

/// How long looking up a name may take.
const LOOKUP: Duration = Duration::from_secs(10);

/// A TCP port of a machine: `HOST:PORT`, where the host is a name, an IPv4 address, or an IPv6 address in brackets.
///
/// ```
/// use rave_transport::TcpAddress;
///
/// let address: TcpAddress = "[::1]:7000".parse()?;
/// assert_eq!((address.host(), address.port()), ("::1", 7000));
/// assert_eq!(address, TcpAddress::new("::1", 7000));
/// assert_eq!(address.to_string(), "[::1]:7000");
/// assert!("localhost".parse::<TcpAddress>().is_err());
/// # Ok::<(), rave_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpAddress {
    host: String,
    port: u16,
}

impl TcpAddress {
    /// This port of this machine: a name, or an IP address without brackets. To listen at port 0 is to listen at a free one.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// The name or the IP address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same machine's other port.
    pub(super) fn with_port(&self, port: u16) -> Self {
        Self { host: self.host.clone(), port }
    }

    /// All addresses that the name has now, at least one.
    pub(super) async fn resolve(&self) -> Result<Vec<SocketAddr>> {
        if let Ok(ip) = self.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, self.port)]);
        }
        let attempt = || format!("looking up the name {:?}", self.host);
        match timeout(LOOKUP, lookup_host((self.host.as_str(), self.port))).await {
            Ok(Ok(addresses)) => {
                let addresses: Vec<SocketAddr> = addresses.collect();
                if addresses.is_empty() {
                    return Err(Error::new(Code::Io, format!("the name {:?} has no addresses", self.host)));
                }
                Ok(addresses)
            }
            Ok(Err(error)) => Err(Error::io(attempt(), error)),
            Err(_) => Err(Error::new(Code::Io, format!("{} took more than {LOOKUP:?}", attempt()))),
        }
    }
}

impl From<SocketAddr> for TcpAddress {
    fn from(address: SocketAddr) -> Self {
        Self::new(address.ip().to_string(), address.port())
    }
}

impl FromStr for TcpAddress {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let unusable = |what: &str| {
            let message =
                format!("{text:?} {what}; it should look like HOST:PORT, 192.0.2.1:7000 or [2001:db8::1]:7000");
            Error::new(Code::NotSupported, message)
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(|| unusable("names no port"))?;
        let port = match port.parse() {
            // The standard library takes a sign too.
            Ok(number) if !port.starts_with('+') => number,
            _ if port.ends_with(']') => return Err(unusable("names no port")),
            _ => return Err(unusable("has no number from 0 to 65535 as its port")),
        };
        let host = match host.strip_prefix('[').map(|host| host.strip_suffix(']')) {
            Some(Some(host)) if host.parse::<std::net::Ipv6Addr>().is_ok() => host,
            Some(_) => return Err(unusable("has brackets around what is no IPv6 address")),
            None if host.contains(':') => return Err(unusable("has an IPv6 address without brackets")),
            None => host,
        };
        if host.is_empty() {
            return Err(unusable("names no host"));
        }
        if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte)) {
            return Err(unusable("has characters that no name of a machine has"));
        }
        Ok(Self::new(host, port))
    }
}

impl fmt::Display for TcpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        for text in ["localhost:7000", "192.0.2.1:0", "[::1]:65535", "db-1.example.org:1", "my_host:7"] {
            assert_eq!(text.parse::<TcpAddress>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, what) in [
            ("", "names no port"),
            ("localhost", "names no port"),
            ("[::1]", "names no port"),
            ("localhost:", "no number"),
            ("localhost:65536", "no number"),
            ("localhost:+7", "no number"),
            ("localhost:-7", "no number"),
            ("localhost:http", "no number"),
            (":7000", "names no host"),
            ("::1:7000", "without brackets"),
            ("[::1:7000", "brackets around"),
            ("[localhost]:7000", "brackets around"),
            ("//localhost:7000", "characters"),
            ("user@localhost:7000", "characters"),
        ] {
            let error = text.parse::<TcpAddress>().expect_err(text);
            assert!(error.message().contains(what) && error.message().contains("HOST:PORT"), "{text}: {error}");
        }
    }

    #[tokio::test]
    async fn names_and_numbers_are_resolved() {
        assert_eq!(TcpAddress::new("::1", 7).resolve().await.unwrap(), ["[::1]:7".parse().unwrap()]);
        let local = TcpAddress::new("localhost", 7).resolve().await.unwrap();
        assert!(!local.is_empty() && local.iter().all(|address| address.ip().is_loopback()), "{local:?}");
        let error = TcpAddress::new("no-such-name.invalid", 7).resolve().await.unwrap_err();
        assert!(error.message().contains("no-such-name.invalid"), "{error}");
    }
}
