//! Reaching and hosting a database over TCP: the files with certificates and secrets that options name. A secret itself is
//! never an argument, since others can see those.

use crate::failure::Failure;
use clap::Args;
use rave_level::{
    Builder, Error, Location, Result,
    transport::{Address, TcpTransport, TlsGuest, TlsHost, Token, Tokens, Transport},
};
use std::{path::PathBuf, sync::Arc};

/// The environment variable with a guest's token.
const TOKEN: &str = "RAVE_TOKEN";

/// What a guest needs to reach a host over TCP.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Network")]
pub struct DialingArgs {
    /// Speak TLS, and trust hosts whose certificate is of an authority in this PEM file.
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// The name in the host's certificate, if it is not the one that is dialed.
    #[arg(long, value_name = "NAME", requires = "tls_ca")]
    tls_name: Option<String>,
    /// The certificate of this guest, in PEM, for hosts that want one.
    #[arg(long, value_name = "FILE", requires = "tls_ca", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its key, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The file with the token of this guest; without it, the environment variable RAVE_TOKEN.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl DialingArgs {
    /// What opens the database at `location`.
    pub fn builder(&self, location: &Location) -> Result<Builder, Failure> {
        match location {
            Location::Host(Address::Tcp(address)) => {
                let transport = self.equip(TcpTransport::at(address.clone())).map_err(usage)?;
                Ok(Builder::guest(transport))
            }
            _ if self.tls_ca.is_some() || self.token_file.is_some() => Err(Failure::Usage(format!(
                "--tls-ca and --token-file are for hosts at addresses that begin with tcp:, and {location} is none"
            ))),
            location => Ok(location.builder()?),
        }
    }

    fn equip(&self, mut transport: TcpTransport) -> Result<TcpTransport> {
        let token = match &self.token_file {
            Some(path) => Some(Token::from_file(path)?),
            None => Token::from_env(TOKEN)?,
        };
        if let Some(token) = token {
            transport = transport.token(token);
        }
        if let Some(ca) = &self.tls_ca {
            let mut tls = TlsGuest::trusting(ca)?;
            if let Some(name) = &self.tls_name {
                tls = tls.host_name(name)?;
            }
            if let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) {
                tls = tls.certificate(certificate, key)?;
            }
            transport = transport.tls_guest(tls);
        }
        Ok(transport)
    }
}

/// What a host needs to listen over TCP.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Network")]
pub struct ListeningArgs {
    /// Speak TLS with this certificate, in PEM, followed by those that lead to its authority.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key of the certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Let only guests in that have a token of this file: one per line, as `rave token` prints them.
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// Let only guests in that have a certificate of an authority in this PEM file.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_client_ca: Option<PathBuf>,
}

impl ListeningArgs {
    /// Where to listen, and how.
    pub fn transport(&self, address: &Address) -> Result<Arc<dyn Transport>, Failure> {
        match address {
            Address::Tcp(address) => Ok(Arc::new(self.equip(TcpTransport::at(address.clone())).map_err(usage)?)),
            _ if self.tls_cert.is_some() || self.tokens.is_some() => Err(Failure::Usage(format!(
                "--tls-cert and --tokens are for addresses that begin with tcp:, and {address} is none"
            ))),
            address => Ok(address.transport()?),
        }
    }

    fn equip(&self, mut transport: TcpTransport) -> Result<TcpTransport> {
        if let Some(tokens) = &self.tokens {
            transport = transport.tokens(Tokens::from_file(tokens)?);
        }
        if let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) {
            let mut tls = TlsHost::new(certificate, key)?;
            if let Some(ca) = &self.tls_client_ca {
                tls = tls.client_ca(ca)?;
            }
            transport = transport.tls_host(tls);
        }
        Ok(transport)
    }
}

/// The files that options name are part of the command line.
fn usage(error: Error) -> Failure {
    Failure::Usage(error.full_message())
}
