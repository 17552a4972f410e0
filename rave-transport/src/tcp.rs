//! Meeting over TCP: on one machine, or with TLS on several.
//!
//! Rules:
//! - Without TLS both ends are on this machine, and belong to this user: each looks at the system's list of sockets. A host may
//!   take a token instead; a guest may not, since it would tell the token to whoever listens.
//! - Beyond this machine there is TLS, and the guest proves who it is by a token or a certificate. The transport refuses to
//!   dial or to listen otherwise.
//! - A host that has tokens, or an authority for certificates, demands them of everybody; if it has both, both.
//! - What will not pass by itself is an error: a token that is not known, a certificate that is not trusted. All else means
//!   that nobody is home for now, and guests try again.
//! - A machine that has gone without a word is noticed by both ends, in some fifteen seconds.

mod address;
mod admission;
mod file;
mod greeting;
mod guest;
mod knocks;
mod listener;
mod owner;
mod pace;
mod rules;
mod socket;
mod stream;
#[cfg(feature = "tls")]
mod tls;
mod token;

pub use address::TcpAddress;
#[cfg(feature = "tls")]
pub use tls::{TlsGuest, TlsHost};
pub use token::{Access, Token, Tokens};

use crate::{Connect, Listener, Transport};
use async_trait::async_trait;
use listener::TcpListener;
use pace::Pace;
use rave_core::{Code, Error, Result};
use rules::Means;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
};

/// Guests of one listener, unless it is told otherwise.
const MAX_CONNECTIONS: usize = 4096;

/// A meeting point at a TCP port. Needs a tokio runtime with I/O and time enabled.
///
/// By itself it is for processes of one user on one machine. With TLS and a credential it is for other machines, too:
///
/// | | host | guest |
/// | --- | --- | --- |
/// | TLS | [`tls_host`](Self::tls_host) | [`tls_guest`](Self::tls_guest) |
/// | a token | [`tokens`](Self::tokens) | [`token`](Self::token) |
/// | or a certificate | [`TlsHost::client_ca`] | [`TlsGuest::certificate`] |
///
/// A transport that has only what a host needs finds nobody when it dials.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use rave_transport::{Access, Connect, Listener as _, TcpAddress, TcpTransport, Token, Tokens, Transport as _};
///
/// let token = Token::generate()?;
/// let tokens = Tokens::new().with("backup", Access::ReadOnly, &token)?;
/// let host = TcpTransport::at(TcpAddress::new("localhost", 0)).tokens(tokens);
/// let mut listener = host.listen().await?;
///
/// let guest = host.for_guests().token(token);
/// let (connected, accepted) = tokio::join!(guest.connect(), listener.accept());
/// assert!(matches!(connected?, Connect::Connected(_)));
/// let peer = accepted?.peer;
/// assert_eq!((peer.name.as_deref(), peer.read_only), (Some("backup"), true));
/// # Ok::<(), rave_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct TcpTransport {
    address: TcpAddress,
    /// The port that a listener at port 0 was given, also known to clones.
    given: Arc<AtomicU16>,
    token: Option<Token>,
    tokens: Option<Arc<Tokens>>,
    #[cfg(feature = "tls")]
    tls_guest: Option<TlsGuest>,
    #[cfg(feature = "tls")]
    tls_host: Option<TlsHost>,
    max_connections: usize,
    pace: Pace,
}

impl TcpTransport {
    /// The port at this address, without TLS. To listen at port 0 is to listen at a free port, which this value and its
    /// clones know from then on.
    pub fn at(address: TcpAddress) -> Self {
        Self {
            address,
            given: Arc::default(),
            token: None,
            tokens: None,
            #[cfg(feature = "tls")]
            tls_guest: None,
            #[cfg(feature = "tls")]
            tls_host: None,
            max_connections: MAX_CONNECTIONS,
            pace: Pace::default(),
        }
    }

    /// The same port for guests, with nothing yet of what they need.
    pub fn for_guests(&self) -> Self {
        Self { given: self.given.clone(), ..Self::at(self.address.clone()) }
    }

    /// As a guest, proves by this token who it is.
    pub fn token(mut self, token: Token) -> Self {
        self.token = Some(token);
        self
    }

    /// As a host, lets only guests in that have one of these tokens.
    pub fn tokens(mut self, tokens: Tokens) -> Self {
        self.tokens = Some(Arc::new(tokens));
        self
    }

    /// As a guest, speaks TLS.
    #[cfg(feature = "tls")]
    pub fn tls_guest(mut self, tls: TlsGuest) -> Self {
        self.tls_guest = Some(tls);
        self
    }

    /// As a host, speaks TLS.
    #[cfg(feature = "tls")]
    pub fn tls_host(mut self, tls: TlsHost) -> Self {
        self.tls_host = Some(tls);
        self
    }

    /// As a host, lets at most so many guests in at once; default 4096. Others are told to come back later. Those of whom it
    /// is not known yet who they are have a bound of their own.
    pub fn max_connections(mut self, guests: usize) -> Self {
        self.max_connections = guests;
        self
    }

    /// Where it is, with the port that a listener was given.
    fn place(&self) -> TcpAddress {
        match self.address.port() {
            0 => self.address.with_port(self.given.load(Ordering::Relaxed)),
            _ => self.address.clone(),
        }
    }

    /// Whether it is set up for a host and not for a guest.
    fn only_hosts(&self) -> bool {
        let (guest, host) = (self.guest_means(), self.host_means());
        (host.tls || host.credential) && !(guest.tls || guest.credential)
    }

    #[cfg(feature = "tls")]
    fn guest_means(&self) -> Means {
        let certificate = self.tls_guest.as_ref().is_some_and(TlsGuest::has_certificate);
        Means { tls: self.tls_guest.is_some(), credential: certificate || self.token.is_some() }
    }

    #[cfg(feature = "tls")]
    fn host_means(&self) -> Means {
        let certificates = self.tls_host.as_ref().is_some_and(TlsHost::demands_certificates);
        Means { tls: self.tls_host.is_some(), credential: certificates || self.tokens.is_some() }
    }

    #[cfg(not(feature = "tls"))]
    fn guest_means(&self) -> Means {
        Means { tls: false, credential: self.token.is_some() }
    }

    #[cfg(not(feature = "tls"))]
    fn host_means(&self) -> Means {
        Means { tls: false, credential: self.tokens.is_some() }
    }
}

#[async_trait]
impl Transport for TcpTransport {
    async fn connect(&self) -> Result<Connect> {
        self.dial().await
    }

    async fn listen(&self) -> Result<Box<dyn Listener>> {
        let addresses = self.address.resolve().await?;
        rules::may_listen(&addresses, self.host_means())?;
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => {
                let message = format!("another process listens at {} already; choose another port", self.address);
                Error::new(Code::Locked, message)
            }
            _ => Error::io(format!("listening at {}", self.address), error),
        };
        let socket = socket::bind(&addresses).map_err(failed)?;
        self.given.store(socket.local_addr().map_err(failed)?.port(), Ordering::Relaxed);
        Ok(Box::new(TcpListener::start(socket, self)))
    }

    fn address(&self) -> String {
        format!("tcp:{}", self.place())
    }
}
