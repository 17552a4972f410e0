//! Where a host listens, as text.

#[cfg(feature = "ipc")]
use crate::IpcTransport;
use crate::Transport;
#[cfg(feature = "tcp")]
use crate::{TcpAddress, TcpTransport};
use rave_core::{Code, Error, Result};
use std::{fmt, path::PathBuf, str::FromStr, sync::Arc};

/// Where a host listens, as people write it: a scheme, a colon, and what the scheme needs.
///
/// | address | where |
/// | --- | --- |
/// | `unix:PATH` | the Unix domain socket at `PATH`, absolute or relative to the current directory |
/// | `pipe:NAME` | on Windows, the named pipe of that full name, such as `pipe:\\\\.\\pipe\\mine` |
/// | `tcp:HOST:PORT` | that port of that machine; an IPv6 address is in brackets, as in `tcp:[::1]:7000` |
///
/// ```
/// # #[cfg(all(unix, feature = "ipc"))] {
/// use rave_transport::Address;
///
/// let address: Address = "unix:/run/user/1000/mine.sock".parse()?;
/// assert_eq!(address.to_string(), "unix:/run/user/1000/mine.sock");
/// assert!("mine.sock".parse::<Address>().is_err());
/// # }
/// # Ok::<(), rave_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Address {
    /// A local socket of the operating system.
    Local(PathBuf),
    /// A TCP port.
    #[cfg(feature = "tcp")]
    Tcp(TcpAddress),
}

/// How an address of a local socket begins here.
const LOCAL: &str = if cfg!(windows) { "pipe" } else { "unix" };
/// Words before a colon that are never the beginning of a path.
const SCHEMES: &[&str] = &["unix", "pipe", "tcp", "tls", "memory"];

impl Address {
    /// Whether `text` is meant as an address, known or not, and not as a path. A path that begins so can be written with
    /// `./` in front.
    pub fn is_meant(text: &str) -> bool {
        text.split_once(':').is_some_and(|(scheme, _)| SCHEMES.contains(&scheme))
    }

    /// The meeting point at this address; over TCP the one that this user's processes on this machine can have as it is:
    /// `TcpTransport` takes what else is needed.
    ///
    /// Errors: the path is too long for a socket, or cannot be made absolute; `LEVEL_NOT_SUPPORTED` if this build has no
    /// transport for it.
    pub fn transport(&self) -> Result<Arc<dyn Transport>> {
        match self {
            #[cfg(feature = "ipc")]
            Self::Local(path) => Ok(Arc::new(IpcTransport::at(path)?)),
            #[cfg(not(feature = "ipc"))]
            Self::Local(_) => Err(lacking(&self.to_string(), "ipc")),
            #[cfg(feature = "tcp")]
            Self::Tcp(address) => Ok(Arc::new(TcpTransport::at(address.clone()))),
        }
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some((scheme, _)) if scheme == LOCAL && cfg!(not(feature = "ipc")) => Err(lacking(text, "ipc")),
            Some((scheme, "")) if scheme == LOCAL => Err(unusable(text, "names no socket")),
            Some((scheme, path)) if scheme == LOCAL => Ok(Self::Local(path.into())),
            #[cfg(feature = "tcp")]
            Some(("tcp", address)) => address.parse().map(Self::Tcp),
            #[cfg(not(feature = "tcp"))]
            Some(("tcp", _)) => Err(lacking(text, "tcp")),
            Some((scheme, _)) if SCHEMES.contains(&scheme) => {
                Err(unusable(text, &format!("is of the kind {scheme:?}, which this build does not have")))
            }
            _ => Err(unusable(text, "has no scheme in front")),
        }
    }
}

fn lacking(text: &str, feature: &str) -> Error {
    let message =
        format!("the address {text:?} needs {feature}, which this build lacks; enable the feature `{feature}`");
    Error::new(Code::NotSupported, message)
}

fn unusable(text: &str, what: &str) -> Error {
    Error::new(
        Code::NotSupported,
        format!("the address {text:?} {what}; it should look like {LOCAL}:PATH or tcp:HOST:PORT"),
    )
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => write!(f, "{LOCAL}:{}", path.display()),
            #[cfg(feature = "tcp")]
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "ipc")]
    #[test]
    fn what_is_no_address_says_how_one_looks() {
        for text in ["", "x", "/tmp/x.sock", "tls:localhost:1", "http://x", &format!("{LOCAL}:")] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.message().contains(&format!("{LOCAL}:PATH")), "{error}");
        }
    }

    #[cfg(not(feature = "ipc"))]
    #[test]
    fn what_this_build_lacks_is_named() {
        let error = format!("{LOCAL}:x").parse::<Address>().unwrap_err();
        assert!(error.message().contains("enable the feature `ipc`"), "{error}");
        assert_eq!(Address::Local("x".into()).transport().unwrap_err().code(), Code::NotSupported);
    }

    #[cfg(feature = "tcp")]
    #[test]
    fn a_port_is_an_address() {
        let address: Address = "tcp:[::1]:7000".parse().unwrap();
        assert_eq!(address, Address::Tcp(TcpAddress::new("::1", 7000)));
        assert_eq!(address.to_string(), "tcp:[::1]:7000");
        assert_eq!(address.transport().unwrap().address(), "tcp:[::1]:7000");
        assert!("tcp:localhost".parse::<Address>().unwrap_err().message().contains("names no port"));
    }

    #[test]
    fn paths_are_not_taken_for_addresses() {
        assert!(["unix:x", "unix:", "tcp:localhost:1", "pipe:x"].into_iter().all(Address::is_meant));
        assert!(!["./unix:x", "C:\\db", "db", "a:b", "/tmp/unix:x"].into_iter().any(Address::is_meant));
    }

    #[cfg(feature = "ipc")]
    #[test]
    fn a_socket_path_that_is_too_long_is_refused_before_anything_is_dialed() {
        let address: Address = format!("{LOCAL}:/{}", "x".repeat(300)).parse().unwrap();
        if cfg!(unix) {
            assert!(address.transport().unwrap_err().message().contains("bytes"));
        }
    }
}
