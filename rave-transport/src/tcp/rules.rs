//! What must hold before anything is sent or taken in, and errors that say how to do it right.

use super::owner;
use rave_core::{Code, Error, Result};
use std::net::SocketAddr;

/// What one side has by which the other one can know it, or keep others out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Means {
    /// TLS is set up.
    pub(super) tls: bool,
    /// Guests prove who they are, by a token or a certificate.
    pub(super) credential: bool,
}

const GUEST_TLS: &str = "the authority of the host's certificate (TcpTransport::tls_guest; --tls-ca FILE)";
const GUEST_CREDENTIAL: &str = "a token (TcpTransport::token; --token-file FILE or the environment variable RAVE_TOKEN) \
                                or a certificate (TlsGuest::certificate; --tls-cert FILE --tls-key FILE)";
const HOST_TLS: &str = "a certificate with its key (TcpTransport::tls_host; --tls-cert FILE --tls-key FILE)";
const HOST_CREDENTIAL: &str = "tokens for its guests (TcpTransport::tokens; --tokens FILE) or an authority for their \
                               certificates (TlsHost::client_ca; --tls-client-ca FILE)";

/// Whether a guest may dial these addresses.
pub(super) fn may_dial(addresses: &[SocketAddr], means: Means) -> Result<()> {
    may(addresses, means, "dialing", GUEST_TLS, GUEST_CREDENTIAL)
}

/// Whether a host may listen at these addresses.
pub(super) fn may_listen(addresses: &[SocketAddr], means: Means) -> Result<()> {
    may(addresses, means, "listening at", HOST_TLS, HOST_CREDENTIAL)
}

fn may(addresses: &[SocketAddr], means: Means, doing: &str, tls: &str, credential: &str) -> Result<()> {
    let outside = addresses.iter().find(|address| !is_loopback(address));
    let text = match (outside, means) {
        (Some(address), Means { tls: false, credential: false }) => {
            format!("{doing} {address}, beyond this machine, needs TLS and a credential: {tls}, and {credential}")
        }
        (Some(address), Means { tls: false, credential: true }) => {
            format!("{doing} {address}, beyond this machine, needs TLS: {tls}")
        }
        (Some(address), Means { tls: true, credential: false }) => {
            format!("{doing} {address}, beyond this machine, needs a credential: {credential}")
        }
        (None, Means { credential: false, .. }) if !owner::is_told() => {
            format!("{doing} a port needs a credential where the system does not tell whose sockets are: {credential}")
        }
        _ => return Ok(()),
    };
    Err(Error::new(Code::NotSupported, text))
}

/// Whether an address is reached without leaving this machine.
pub(super) fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}
