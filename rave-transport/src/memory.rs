//! A meeting point inside one process, for tests and for databases that one process opens many times.
//!
//! Clones of a [`MemoryTransport`] meet each other. Its [`Faults`] break connections in the ways that dying processes
//! and stopped machines do: at once, in the middle of a frame, or by falling silent.

mod pipe;

use crate::{Connect, Connection, Listener, PeerIdentity, Transport};
use async_trait::async_trait;
use pipe::{Link, Reader, Writer};
use rave_core::{Code, Error, Result};
use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::sync::mpsc;

/// Connections that wait to be accepted before further connects wait themselves.
const BACKLOG: usize = 1024;

/// A meeting point inside this process. Clones know the same meeting point, each new one its own.
///
/// ```
/// # use rave_transport::{Connect, MemoryTransport, Transport};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> rave_core::Result<()> {
/// let host = MemoryTransport::new();
/// let guest = host.clone();
/// assert!(matches!(guest.connect().await?, Connect::NobodyHome));
/// let mut listener = host.listen().await?;
/// assert!(matches!(guest.connect().await?, Connect::Connected(_)));
/// let connection = listener.accept().await?;
/// assert_eq!(connection.peer.pid, Some(std::process::id()));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct MemoryTransport(Arc<Hub>);

/// Breaks the connections of one [`MemoryTransport`]. Clones control the same meeting point.
#[derive(Clone)]
pub struct Faults(Arc<Hub>);

struct Hub {
    number: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    listener: Option<mpsc::Sender<Connection>>,
    links: Vec<Weak<Link>>,
    refuse: bool,
    fail_listen: bool,
    stall: bool,
    delay: Duration,
    cut_after: Option<u64>,
}

impl MemoryTransport {
    /// A new meeting point.
    pub fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        Self(Arc::new(Hub { number: NUMBER.fetch_add(1, Relaxed), state: Mutex::default() }))
    }

    /// The handle that breaks its connections.
    pub fn faults(&self) -> Faults {
        Faults(Arc::clone(&self.0))
    }
}

impl Default for MemoryTransport {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemoryTransport").field(&self.0.number).finish()
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Faults").field(&self.0.number).finish()
    }
}

impl Faults {
    /// Ends every connection at both ends at once, as if the processes at the other ends were killed: bytes on their
    /// way are lost, reads see the end, writes fail. Later connections are not affected.
    pub fn cut_all(&self) {
        for link in self.0.links() {
            link.cut();
        }
    }

    /// Lets the next connection carry this many bytes, both directions together, and then end. The write that crosses
    /// the mark reports success, though only its beginning arrives.
    pub fn cut_after(&self, bytes: u64) {
        self.0.lock().cut_after = Some(bytes);
    }

    /// While on, connects find nobody home although somebody listens.
    pub fn refuse(&self, on: bool) {
        self.0.lock().refuse = on;
    }

    /// While on, nobody can start to listen.
    pub fn fail_listen(&self, on: bool) {
        self.0.lock().fail_listen = on;
    }

    /// While on, nothing arrives in either direction, not even the end of a connection, and connections stay open.
    pub fn stall(&self, on: bool) {
        self.0.lock().stall = on;
        for link in self.0.links() {
            link.set_stall(on);
        }
    }

    /// How long what is written from now on is on its way. Uses the clock of tokio, which tests can pause.
    pub fn delay(&self, delay: Duration) {
        self.0.lock().delay = delay;
        for link in self.0.links() {
            link.set_delay(delay);
        }
    }

    /// How many connections are open at both ends, those not accepted yet included.
    pub fn connections(&self) -> usize {
        self.0.links().iter().filter(|link| link.is_open()).count()
    }

    /// Whether somebody listens.
    pub fn is_listening(&self) -> bool {
        self.0.lock().live_listener().is_some()
    }
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing can panic halfway through a change of the state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn links(&self) -> Vec<Arc<Link>> {
        let mut state = self.lock();
        state.links.retain(|link| link.strong_count() > 0);
        state.links.iter().filter_map(Weak::upgrade).collect()
    }
}

impl State {
    fn live_listener(&self) -> Option<&mpsc::Sender<Connection>> {
        self.listener.as_ref().filter(|listener| !listener.is_closed())
    }
}

fn connection((reader, writer): (Reader, Writer)) -> Connection {
    let peer = PeerIdentity::of_process(Some(std::process::id()));
    Connection { reader: Box::new(reader), writer: Box::new(writer), peer }
}

#[async_trait]
impl Transport for MemoryTransport {
    async fn connect(&self) -> Result<Connect> {
        let (listener, guest, host) = {
            let mut state = self.0.lock();
            let Some(listener) = state.live_listener().filter(|_| !state.refuse).cloned() else {
                return Ok(Connect::NobodyHome);
            };
            let (link, guest, host) = Link::new(state.stall, state.delay, state.cut_after.take());
            state.links.retain(|link| link.strong_count() > 0);
            state.links.push(Arc::downgrade(&link));
            (listener, guest, host)
        };
        match listener.send(connection(host)).await {
            Ok(()) => Ok(Connect::Connected(connection(guest))),
            Err(_) => Ok(Connect::NobodyHome),
        }
    }

    async fn listen(&self) -> Result<Box<dyn Listener>> {
        let mut state = self.0.lock();
        if state.fail_listen {
            return Err(Error::new(Code::Io, format!("listening at {} was made to fail", self.address())));
        }
        if state.live_listener().is_some() {
            return Err(Error::new(Code::Io, format!("somebody listens at {} already", self.address())));
        }
        let (sender, receiver) = mpsc::channel(BACKLOG);
        state.listener = Some(sender);
        Ok(Box::new(MemoryListener(receiver)))
    }

    fn address(&self) -> String {
        format!("memory:{}", self.0.number)
    }
}

/// The end of the queue of connections. Dropping it closes the queue, which is what connects look at.
struct MemoryListener(mpsc::Receiver<Connection>);

#[async_trait]
impl Listener for MemoryListener {
    async fn accept(&mut self) -> Result<Connection> {
        match self.0.recv().await {
            Some(connection) => Ok(connection),
            None => Err(Error::new(Code::Io, "the meeting point is gone")),
        }
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
