//! The guest's side: dialing, and proving who it is.

use super::{
    TcpTransport,
    greeting::{self, Answer, Greeted},
    owner::{self, Owner},
    pace, rules, socket,
    stream::Stream,
};
use crate::{Connect, Connection, PeerIdentity};
use rave_core::{Code, Error, Result};
use std::{io, net::SocketAddr, time::Duration};
use tokio::{net::TcpStream, time::timeout};

/// How long a host that was reached may take to let the guest in.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a guest was not let in.
enum Failed {
    /// It may be otherwise soon: the host leaves, has no room, or says nothing.
    Soon,
    /// It will not be otherwise until somebody changes something.
    For(Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        match socket::says_nobody_home(&error) {
            true => Self::Soon,
            false => Self::For(Error::io("greeting the host", error)),
        }
    }
}

fn refused(message: String) -> Failed {
    Failed::For(Error::new(Code::DatabaseFailedOpen, message))
}

impl TcpTransport {
    pub(super) async fn dial(&self) -> Result<Connect> {
        let place = self.place();
        if self.only_hosts() || place.port() == 0 {
            return Ok(Connect::NobodyHome);
        }
        self.pace.wait().await;
        let addresses = place.resolve().await?;
        rules::may_dial(&addresses, self.guest_means())?;
        let mut failure = None;
        for address in addresses {
            match socket::dial(address).await {
                Ok(Some(stream)) => match timeout(PATIENCE, self.introduce(stream, address)).await {
                    Ok(Ok(connection)) => return Ok(Connect::Connected(connection)),
                    Ok(Err(Failed::For(error))) => {
                        self.pace.pause(pace::LATER);
                        return Err(error);
                    }
                    Ok(Err(Failed::Soon)) | Err(_) => self.pace.pause(pace::SOON),
                },
                Ok(None) => failure = None,
                Err(error) => failure = Some(Error::io(format!("connecting to {address}"), error)),
            }
        }
        failure.map_or(Ok(Connect::NobodyHome), Err)
    }

    async fn introduce(&self, stream: TcpStream, address: SocketAddr) -> Result<Connection, Failed> {
        let mut stream = self.secured(stream).await?;
        greeting::greet(&mut stream).await?;
        if stream.is_plain() {
            // Before anything secret is said to whoever listens there.
            self.hear(&mut stream).await?;
            self.look_who_listens(&stream).await?;
            greeting::send_token(&mut stream, self.secret()).await?;
        } else {
            greeting::send_token(&mut stream, self.secret()).await?;
            self.hear(&mut stream).await?;
        }
        let place = self.place();
        match greeting::answered(&mut stream).await.map_err(|error| self.failed(error))? {
            Ok(Answer::Welcome | Answer::WelcomeToRead) => {
                let (reader, writer) = stream.split();
                let mut peer = PeerIdentity::default();
                peer.address = Some(address.to_string().into());
                Ok(Connection { reader, writer, peer })
            }
            Ok(Answer::Full) => Err(Failed::Soon),
            Ok(Answer::TokenNeeded) => Err(refused(format!(
                "the host at {place} demands a token: give one that it knows (TcpTransport::token; --token-file FILE or \
                 the environment variable RAVE_TOKEN)"
            ))),
            Ok(Answer::TokenUnknown) => {
                let origin = self.token.as_ref().map_or("no token", |token| token.origin());
                Err(refused(format!("the host at {place} does not know the token: {origin}")))
            }
            Ok(Answer::OtherUser) => Err(refused(format!(
                "the host at {place} lets only processes of its own user in, since it has no tokens (TcpTransport::tokens; \
                 --tokens FILE)"
            ))),
            Ok(Answer::NotUnderstood) | Err(_) => {
                Err(refused(format!("the host at {place} speaks another version of this protocol")))
            }
        }
    }

    /// What the host begins with.
    async fn hear(&self, stream: &mut Stream) -> Result<(), Failed> {
        let place = self.place();
        match greeting::greeted(stream).await.map_err(|error| self.failed(error))? {
            Greeted::Well => Ok(()),
            Greeted::Version(version) => Err(refused(format!(
                "the host at {place} speaks version {version} of this protocol, which is not known here"
            ))),
            Greeted::Tls => Err(refused(format!(
                "the host at {place} demands TLS: name the authority of its certificate (TcpTransport::tls_guest; --tls-ca \
                 FILE)"
            ))),
            Greeted::Otherwise => Err(refused(format!("what listens at {place} is no host of a database"))),
        }
    }

    /// Makes sure that it is no stranger who listens, where the system tells.
    async fn look_who_listens(&self, stream: &Stream) -> Result<(), Failed> {
        if !owner::is_told() {
            return Ok(());
        }
        let (local, peer) = stream.ends()?;
        match owner::owner(local, peer).await? {
            // Root can do everything to this process anyway.
            Owner::ThisUser | Owner::Other(0) => Ok(()),
            Owner::Other(user) => Err(refused(format!(
                "a process of user {user} listens at {}: without TLS a guest speaks with its own user's only",
                self.place()
            ))),
            Owner::Nobody => Err(Failed::Soon),
        }
    }

    fn secret(&self) -> Option<&str> {
        self.token.as_ref().map(|token| token.reveal())
    }

    #[cfg(feature = "tls")]
    async fn secured(&self, stream: TcpStream) -> Result<Stream, Failed> {
        let Some(tls) = &self.tls_guest else { return Ok(Stream::Plain(stream)) };
        let name = tls.expects(self.address.host()).map_err(Failed::For)?;
        let connected = tokio_rustls::TlsConnector::from(tls.config()).connect(name, stream).await;
        connected.map(|stream| Stream::Tls(Box::new(stream.into()))).map_err(|error| self.failed(error))
    }

    #[cfg(not(feature = "tls"))]
    async fn secured(&self, stream: TcpStream) -> Result<Stream, Failed> {
        Ok(Stream::Plain(stream))
    }

    /// Tells a fault of TLS from one of the connection. A host may refuse a certificate only when it is asked for more.
    fn failed(&self, error: io::Error) -> Failed {
        #[cfg(feature = "tls")]
        if let Some(fault) = super::tls::fault(&error) {
            return refused(super::tls::explain(fault, &self.place().to_string()));
        }
        error.into()
    }
}
