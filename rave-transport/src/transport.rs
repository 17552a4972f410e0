//! The trait every transport implements.

use async_trait::async_trait;
use rave_core::{PeerIdentity, Result};
use std::fmt;
use tokio::io::{AsyncRead, AsyncWrite};

/// A way to one meeting point, where one leader listens and guests connect. One value knows one meeting point; all
/// processes of a database make theirs from the same location.
#[async_trait]
pub trait Transport: Send + Sync + fmt::Debug + 'static {
    /// Connects to whoever listens. Nobody listening is a value, not an error; it returns at once in that case.
    ///
    /// Errors: the meeting point exists but must not be trusted (a foreign owner, not a socket), or cannot be reached.
    async fn connect(&self) -> Result<Connect>;

    /// Starts to listen, replacing what a dead leader left behind.
    ///
    /// Requires: the caller holds the store's lock, so no live leader can be displaced.
    ///
    /// Errors: something else than a leftover of this user's is in the way, or it cannot be created. Nothing was
    /// removed then.
    async fn listen(&self) -> Result<Box<dyn Listener>>;

    /// The meeting point, for people.
    fn address(&self) -> String;
}

/// What came of connecting.
pub enum Connect {
    /// A connection to the one who listens.
    Connected(Connection),
    /// Nobody listens there now.
    NobodyHome,
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected(connection) => connection.fmt(f),
            Self::NobodyHome => f.write_str("NobodyHome"),
        }
    }
}

/// The host's side of a meeting point.
#[async_trait]
pub trait Listener: Send + 'static {
    /// The next guest whose credentials are right; others are turned away without ending this.
    ///
    /// Errors are lasting: the meeting point is of no use any more. Cancelling loses no connection.
    async fn accept(&mut self) -> Result<Connection>;

    /// Takes the meeting point down: later connects find nobody home. Dropping the listener does the same.
    ///
    /// Requires: the caller still holds the store's lock.
    async fn close(self: Box<Self>) -> Result<()>;
}

/// A byte stream in both directions. Dropping both halves ends it.
pub struct Connection {
    /// What the peer sends.
    pub reader: Box<dyn AsyncRead + Send + Sync + Unpin>,
    /// What the peer gets. Written bytes need no flush.
    pub writer: Box<dyn AsyncWrite + Send + Sync + Unpin>,
    /// The peer.
    pub peer: PeerIdentity,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("peer", &self.peer).finish_non_exhaustive()
    }
}
