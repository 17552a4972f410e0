//! Finding out who a guest is, and whether it may come in.

use super::{
    TcpTransport,
    greeting::{self, Answer, Greeted},
    knocks::Knocks,
    owner::{self, Owner},
    stream::Stream,
    token::{Access, Tokens},
};
use crate::{Connection, PeerIdentity};
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

/// How often it is told that somebody was turned away; those in between are counted.
const TELL: Duration = Duration::from_secs(10);
/// How long, and how much, a guest that is turned away may go on sending before its connection is cut. Cut at once, it might
/// lose the answer.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 64 << 10;

pub(super) struct Admission {
    tokens: Option<Arc<Tokens>>,
    #[cfg(feature = "tls")]
    tls: Option<crate::TlsHost>,
    knocks: Knocks,
    /// Room for guests.
    room: Arc<Semaphore>,
    /// When it was told last that somebody was turned away, and how many were since.
    told: Mutex<(Option<Instant>, u64)>,
}

impl Admission {
    pub(super) fn new(transport: &TcpTransport) -> Self {
        Self {
            tokens: transport.tokens.clone(),
            #[cfg(feature = "tls")]
            tls: transport.tls_host.clone(),
            knocks: Knocks::default(),
            room: Arc::new(Semaphore::new(transport.max_connections)),
            told: Mutex::default(),
        }
    }

    /// Lets a guest in, or tells why not, to the guest too where it can understand that.
    pub(super) async fn admit(&self, stream: TcpStream) -> Result<Connection, String> {
        let address = stream.peer_addr().map_err(|error| format!("it left at once: {error}"))?;
        self.knocks.turn(address.ip()).await;
        let known = |error: io::Error| format!("{address}: {error}");
        let (mut stream, certified) = self.secured(stream).await.map_err(known)?;
        let greeted = greeting::greeted(&mut stream).await.map_err(known)?;
        greeting::greet(&mut stream).await.map_err(known)?;
        match greeted {
            Greeted::Well => {}
            Greeted::Tls => {
                dismiss(stream, Answer::NotUnderstood).await;
                return Err(format!("{address} speaks TLS, which this host has no certificate for"));
            }
            Greeted::Version(_) | Greeted::Otherwise => {
                dismiss(stream, Answer::NotUnderstood).await;
                return Err(format!("{address} does not speak this protocol"));
            }
        }
        let Some(token) = greeting::receive_token(&mut stream).await.map_err(known)? else {
            dismiss(stream, Answer::NotUnderstood).await;
            return Err(format!("{address} sends what is too long for a token"));
        };
        let (name, access) = match self.judge(&stream, certified, &token).await.map_err(known)? {
            Ok(judged) => judged,
            Err((answer, reason)) => {
                dismiss(stream, answer).await;
                return Err(format!("{address} {reason}"));
            }
        };
        let Ok(place) = self.room.clone().try_acquire_owned() else {
            dismiss(stream, Answer::Full).await;
            return Err(format!("{address} finds no room: there are as many guests as there may be"));
        };
        let read_only = access == Access::ReadOnly;
        greeting::answer(&mut stream, if read_only { Answer::WelcomeToRead } else { Answer::Welcome })
            .await
            .map_err(known)?;
        let (reader, writer) = stream.split();
        let mut peer = PeerIdentity::default();
        peer.address = Some(address.to_string().into());
        peer.name = name;
        peer.read_only = read_only;
        Ok(Connection { reader: Box::new(Counted { reader, _place: place }), writer, peer })
    }

    /// The connection inside TLS, and the name in the guest's certificate if there is one.
    async fn secured(&self, stream: TcpStream) -> io::Result<(Stream, Option<Arc<str>>)> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let stream = tokio_rustls::TlsAcceptor::from(tls.config()).accept(stream).await?;
            let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let name = certificate.and_then(super::tls::name_of);
            return Ok((Stream::Tls(Box::new(stream.into())), name));
        }
        Ok((Stream::Plain(stream), None))
    }

    /// Who a guest is and what it may do, or why it may not come in.
    async fn judge(
        &self,
        stream: &Stream,
        certified: Option<Arc<str>>,
        token: &[u8],
    ) -> io::Result<Result<(Option<Arc<str>>, Access), (Answer, String)>> {
        if let Some(tokens) = &self.tokens {
            return Ok(match tokens.find(token) {
                Some((name, access)) => Ok((Some(name), access)),
                None if token.is_empty() => Err((Answer::TokenNeeded, "has no token".to_owned())),
                None => Err((Answer::TokenUnknown, "has a token that is none of this host's".to_owned())),
            });
        }
        if self.demands_certificates() {
            return Ok(Ok((certified, Access::ReadWrite)));
        }
        let (local, peer): (SocketAddr, SocketAddr) = stream.ends()?;
        Ok(match owner::owner(local, peer).await? {
            Owner::ThisUser => Ok((None, Access::ReadWrite)),
            Owner::Other(user) => Err((Answer::OtherUser, format!("is a process of user {user}"))),
            Owner::Nobody => return Err(io::ErrorKind::NotConnected.into()),
        })
    }

    #[cfg(feature = "tls")]
    fn demands_certificates(&self) -> bool {
        self.tls.as_ref().is_some_and(crate::TlsHost::demands_certificates)
    }

    #[cfg(not(feature = "tls"))]
    fn demands_certificates(&self) -> bool {
        false
    }

    /// Tells the log, which nobody should be able to fill.
    pub(super) fn turned_away(&self, reason: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.0.is_some_and(|last| last.elapsed() < TELL) {
            told.1 += 1;
            tracing::debug!(reason, "a guest was turned away");
        } else {
            tracing::warn!(reason, others = told.1, "a guest was turned away");
            *told = (Some(Instant::now()), 0);
        }
    }
}

/// Tells a guest that it may not come in, and lets it read that.
async fn dismiss(mut stream: Stream, answer: Answer) {
    let goodbye = async {
        greeting::answer(&mut stream, answer).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    let _ = timeout(LINGER, goodbye).await;
}

/// What a guest sends, and its place among the guests for as long as that is read.
struct Counted {
    reader: Box<dyn AsyncRead + Send + Sync + Unpin>,
    _place: OwnedSemaphorePermit,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(cx, buffer)
    }
}
