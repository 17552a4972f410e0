//! Many connections: accepting, counting, leaving in good order.

use crate::{
    GuardedLevel, Rate, SublevelPath, WriteHook, complaints::Complaints, farewell, presence::Presence,
    rate::Allowances, serve::serve, sessions::Sessions,
};
use rave_core::{AbstractLevel, Code, Error, EventHub, Result};
use rave_transport::{Connection, Listener, wire::Limits};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};
use tokio::{
    sync::{oneshot, watch},
    task::{JoinHandle, JoinSet},
};

/// How long after the opening of the store old sessions are forgotten first.
const FIRST_LOOK: Duration = Duration::from_mins(1);
/// Guests that are told at the same time why they are turned away; the connections of more are just closed.
const TURNED_AWAY: usize = 64;

/// How to serve.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// Refuse all writes with `LEVEL_READONLY`, also those of this process. Guests whose
    /// [`PeerIdentity::read_only`](rave_core::PeerIdentity::read_only) is set are refused theirs in any case.
    pub read_only: bool,
    /// Show guests this sublevel as if it were the whole database: keys without its prefix, and nothing else. This process
    /// sees everything.
    pub sublevel: Option<SublevelPath>,
    /// Judges every write. It sees the keys of the whole database, also of what guests write to a sublevel that they take
    /// for it.
    pub hook: Option<Arc<dyn WriteHook>>,
    /// What one connection may cost. Native guests know the largest frame and refuse a larger request by themselves. From
    /// others it is answered with an error, if it tells which request it is, and then their connection ends.
    pub limits: Limits,
    /// Connections served at once; more are turned away, and native guests are told why.
    pub max_connections: usize,
    /// How much one peer may ask for before it is slowed down.
    pub rate: Rate,
    /// Where it is announced that guests come and go: [`Event::GuestConnected`](rave_core::Event::GuestConnected) and, for
    /// each of those, [`Event::GuestDisconnected`](rave_core::Event::GuestDisconnected).
    pub events: EventHub,
    /// How long leaving in good order may take before connections are cut.
    pub grace: Duration,
    /// Keep sessions, so that writes of native guests are applied exactly once. It costs a small record with each group of
    /// writes.
    pub sessions: bool,
    /// How long the session of a guest that is gone without a word is kept after its last write. A guest that comes back
    /// later cannot find out which of its last writes were applied.
    pub session_retention: Duration,
    /// The time of day, for the age of sessions.
    pub clock: fn() -> SystemTime,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self {
            read_only: false,
            sublevel: None,
            hook: None,
            limits: Limits::default(),
            max_connections: 4096,
            rate: Rate::default(),
            events: EventHub::new(),
            grace: Duration::from_secs(2),
            sessions: true,
            session_retention: Duration::from_hours(24),
            clock: SystemTime::now,
        }
    }
}

impl HostOptions {
    /// Whether writes must reach the store one by one.
    pub(crate) fn judges_writes(&self) -> bool {
        self.hook.is_some()
    }
}

/// How a host fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostStats {
    /// Connections being served.
    pub guests: u64,
    /// Requests answered since the host started.
    pub operations: u64,
    /// Since the host started.
    pub leading: Duration,
}

pub(crate) struct Shared {
    pub(crate) options: HostOptions,
    pub(crate) store: watch::Sender<Option<GuardedLevel>>,
    pub(crate) leaving: watch::Sender<bool>,
    pub(crate) guests: AtomicU64,
    pub(crate) operations: AtomicU64,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) complaints: Complaints,
    allowances: Allowances,
    pub(crate) since: Instant,
}

impl Shared {
    async fn forget_old_sessions(&self) {
        let Some(store) = self.store.borrow().clone() else { return };
        if store.manifest().read_only {
            return;
        }
        let now = (self.options.clock)();
        if let Err(error) = self.sessions.forget_old(&store, self.options.session_retention, now).await {
            tracing::warn!(%error, "old sessions could not be forgotten");
        }
    }

    fn stats(&self) -> HostStats {
        HostStats {
            guests: self.guests.load(Ordering::Relaxed),
            operations: self.operations.load(Ordering::Relaxed),
            leading: self.since.elapsed(),
        }
    }
}

/// Serves one store to everybody who connects. Connections are accepted at once; requests wait until
/// [`serve`](Self::serve) brings the store. Dropping the host cuts all connections and takes the listener down.
pub struct Host {
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
    stop: Option<oneshot::Sender<oneshot::Sender<Result<()>>>>,
    failed: watch::Receiver<Option<Error>>,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Host {
    /// Starts to accept. Must be called inside a tokio runtime.
    pub fn start(listener: Box<dyn Listener>, options: HostOptions) -> Self {
        let shared = Arc::new(Shared {
            options,
            store: watch::Sender::new(None),
            leaving: watch::Sender::new(false),
            guests: AtomicU64::new(0),
            operations: AtomicU64::new(0),
            sessions: Arc::default(),
            complaints: Complaints::default(),
            allowances: Allowances::default(),
            since: Instant::now(),
        });
        let (stop, stopped) = oneshot::channel();
        let (failing, failed) = watch::channel(None);
        let accepting = tokio::spawn(accept(listener, shared.clone(), stopped, failing));
        Self { shared, accepting, stop: Some(stop), failed }
    }

    /// The store is open: begin to answer. Returns the store as the host sees it, with its options applied; whoever uses
    /// the store beside the host's guests should use this.
    ///
    /// A handle of a shared database can be served too, but only without [`sessions`](HostOptions::sessions): it refuses the
    /// records that a host writes for its guests, and with them their writes. Relay bytes to its leader where you can.
    pub fn serve(&self, store: Arc<dyn AbstractLevel>) -> GuardedLevel {
        let guarded = GuardedLevel::new(store, self.shared.options.read_only, self.shared.options.hook.clone());
        self.shared.store.send_replace(Some(guarded.clone()));
        guarded
    }

    /// How the host fares.
    pub fn stats(&self) -> HostStats {
        self.shared.stats()
    }

    /// A handle on the figures that outlives the host.
    pub fn stats_handle(&self) -> impl Fn() -> HostStats + Send + Sync + 'static {
        let shared = self.shared.clone();
        move || shared.stats()
    }

    /// Resolves when the listener is of no use any more: nobody new can reach the store.
    pub async fn failure(&self) -> Error {
        let mut failed = self.failed.clone();
        match failed.wait_for(Option::is_some).await {
            Ok(error) => error.clone().unwrap_or_else(Error::not_open),
            Err(_) => Error::new(Code::Io, "the host stopped accepting"),
        }
    }

    /// Leaves in good order: stops accepting, answers what was received, tells the guests, ends their connections and
    /// takes the listener down. The store is left to the caller, who closes it next.
    pub async fn shutdown(mut self) -> Result<()> {
        let (done, finished) = oneshot::channel();
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(done);
        }
        finished.await.unwrap_or(Ok(()))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.stop.is_some() {
            self.accepting.abort();
        }
    }
}

async fn accept(
    mut listener: Box<dyn Listener>,
    shared: Arc<Shared>,
    mut stopped: oneshot::Receiver<oneshot::Sender<Result<()>>>,
    failing: watch::Sender<Option<Error>>,
) {
    // Dropping the sets cuts the connections.
    let (mut connections, mut turned_away) = (JoinSet::new(), JoinSet::new());
    let mut tending = Box::pin(tend(&shared));
    let done = loop {
        tokio::select! {
            biased;
            stop = &mut stopped => match stop {
                Ok(done) => break done,
                Err(_) => return,
            },
            Some(_) = connections.join_next() => {}
            Some(_) = turned_away.join_next() => {}
            () = &mut tending => {}
            accepted = listener.accept(), if failing.borrow().is_none() => match accepted {
                Ok(connection) if connections.len() < shared.options.max_connections => {
                    connections.spawn(attend(connection, shared.clone()));
                }
                Ok(connection) => {
                    let error = too_many(&shared.options);
                    tracing::debug!(peer = %connection.peer, %error, "a guest is turned away");
                    if turned_away.len() < TURNED_AWAY {
                        turned_away.spawn(farewell::turn_away(connection, error));
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "the listener failed");
                    failing.send_replace(Some(error));
                }
            },
        }
    };
    drop((tending, turned_away));
    shared.leaving.send_replace(true);
    let all_left = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(shared.options.grace, all_left).await.is_err() {
        tracing::warn!(guests = connections.len(), "some guests did not take their answers in time and are cut off");
        connections.shutdown().await;
    }
    // No connection may hold the store beyond this point.
    shared.store.send_replace(None);
    let _ = done.send(listener.close().await);
}

/// Serves one guest. That it has come is told before anything else, so that it is also told when this never gets to run.
fn attend(connection: Connection, shared: Arc<Shared>) -> impl Future<Output = ()> {
    let presence = Presence::new(shared.clone(), connection.peer.clone());
    async move {
        let connection = shared.allowances.pace(connection, &shared.options.rate);
        presence.ends(serve(connection, &shared).await);
    }
}

fn too_many(options: &HostOptions) -> Error {
    let message = format!("this host serves {} connections at once, and that many are there", options.max_connections);
    Error::new(Code::Locked, message)
}

/// Forgets old sessions from time to time, once the store is open. Not at once: right after a failover guests are still
/// coming back.
async fn tend(shared: &Shared) {
    let mut store = shared.store.subscribe();
    let _ = store.wait_for(Option::is_some).await;
    let pause = (shared.options.session_retention / 4).clamp(FIRST_LOOK, Duration::from_hours(1));
    let mut looks = tokio::time::interval_at(tokio::time::Instant::now() + FIRST_LOOK, pause);
    loop {
        looks.tick().await;
        shared.forget_old_sessions().await;
    }
}
