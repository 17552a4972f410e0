//! The handle: operations in, answers out, whoever leads.

use crate::{
    Disconnect, LeaderInfo, RetryPolicy,
    driver::drive,
    machine::{Leader, Operation, Reply, SessionId},
    operations::unexpected,
    shared::{Route, Shared, State, until},
};
use rave_core::{AbstractLevel, Code, Error, EventHub, Result, Status};
use rave_transport::{
    Connection,
    wire::{Limits, message::StatusReply},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::Notify;

/// How long a leader may take to hang up on a guest that says goodbye.
const FAREWELL: Duration = Duration::from_millis(500);

/// How a guest behaves.
#[derive(Clone, Copy, Debug)]
pub struct GuestOptions {
    /// What a lost connection means for operations in flight.
    pub retry: RetryPolicy,
    /// How long an operation may take in all, failovers included; `None`: as long as it needs.
    pub timeout: Option<Duration>,
    /// Bytes of operations that may be with the leader unanswered; more wait their turn.
    pub max_pending_bytes: usize,
    /// The largest frame sent and accepted.
    pub limits: Limits,
    /// Refuse writes before they are sent.
    pub read_only: bool,
    /// After so long a silence the leader is asked whether it is there; after another one without an answer users are told
    /// by [`Event::Unresponsive`](rave_core::Event::Unresponsive). `None`: never.
    pub ping_interval: Option<Duration>,
}

impl Default for GuestOptions {
    fn default() -> Self {
        Self {
            retry: RetryPolicy::default(),
            timeout: None,
            max_pending_bytes: 64 << 20,
            limits: Limits::default(),
            read_only: false,
            ping_interval: Some(Duration::from_secs(5)),
        }
    }
}

/// An [`AbstractLevel`] reached through whatever connection it is given, or served from a store after promotion. Clones
/// are the same handle.
///
/// Operations wait while there is neither. They take effect in the order of submission, whatever happens in between.
/// Somebody has to run connections: an election, or a loop that only ever dials.
#[derive(Clone, Debug)]
pub struct Guest {
    pub(crate) shared: Arc<Shared>,
    retry: RetryPolicy,
    timeout: Option<Duration>,
}

impl Guest {
    /// A guest without a connection. It announces the writes made through it on `events`.
    pub fn new(options: GuestOptions, events: EventHub) -> Self {
        Self {
            retry: options.retry,
            timeout: options.timeout,
            shared: Arc::new(Shared::new(new_session(), options, events)),
        }
    }

    /// The same handle, for operations with another policy.
    pub fn retrying(&self, policy: RetryPolicy) -> Self {
        Self { retry: policy, ..self.clone() }
    }

    /// The same handle, for operations that may take this long in all; `None`: as long as they need.
    pub fn with_timeout(&self, timeout: Option<Duration>) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// The session that leaders know this handle by.
    pub fn session(&self) -> SessionId {
        self.shared.lock().machine.session()
    }

    /// Whether a write that asked to survive power loss may have been applied by a lost leader. Then what
    /// [`promote`](Self::promote) is told must survive power loss first.
    pub fn has_synced_in_doubt(&self) -> bool {
        self.shared.lock().machine.has_synced_in_doubt()
    }

    /// Uses `connection` until it ends; `greeted` is called once the leader has answered. One connection at a time;
    /// dropping the future ends the connection.
    pub async fn run(&self, connection: Connection, greeted: impl FnOnce(LeaderInfo) + Send) -> Disconnect {
        let shared = &*self.shared;
        shared.nothing_in_place().await;
        drive(shared, connection, shared.options.limits, |leader: LeaderInfo| {
            shared.lock().manifest = leader.manifest.clone();
            greeted(leader);
        })
        .await
    }

    /// Fails everything that is on its way, for instance because there will be no leader any more.
    pub fn fail_pending(&self, error: &Error) {
        self.shared.with(|state| state.machine.fail_all(error));
    }

    /// Waits until nothing is on its way.
    pub async fn settled(&self) {
        until(&self.shared.settled, || self.shared.lock().is_settled()).await;
    }

    /// Refuses operations from now on. Those under way may still complete.
    pub fn begin_close(&self) {
        self.shared.with(|state| {
            if state.status == Status::Open {
                state.status = Status::Closing;
            }
        });
    }

    /// Tells the leader that this handle will not come back, so that it forgets the session, and waits for a moment until
    /// it has hung up. For one that closes, once everything is [settled](Self::settled).
    pub async fn say_goodbye(&self) {
        if !self.shared.with(|state| state.machine.goodbye()) {
            return;
        }
        let gone = until(&self.shared.unlinked, || !self.shared.lock().machine.is_connected());
        // Otherwise it is forgotten in time.
        let _ = tokio::time::timeout(FAREWELL, gone).await;
    }

    /// The end: what is still under way fails with `LEVEL_DATABASE_NOT_OPEN`.
    pub fn finish_close(&self) {
        self.shared.with(|state| {
            state.status = Status::Closed;
            state.route = Route::Remote;
            state.machine.fail_all(&Error::not_open());
            state.machine.wake_iterators();
        });
        // A running connection ends.
        self.shared.outgoing.notify_one();
    }

    /// How the leader fares, by its own account.
    ///
    /// Errors: `LEVEL_NOT_SUPPORTED` from a legacy leader or after a promotion, when this process is the one to ask.
    pub async fn leader_status(&self) -> Result<StatusReply> {
        match self.run_operation(Operation::Status).await? {
            Reply::Status(status) => Ok(*status),
            _ => Err(unexpected()),
        }
    }

    /// What is known of the leader, while connected to one.
    pub fn leader(&self) -> Option<Leader> {
        self.shared.lock().machine.leader().cloned()
    }

    pub(crate) fn check_open(state: &State) -> Result<()> {
        if state.status == Status::Open { Ok(()) } else { Err(Error::not_open()) }
    }

    pub(crate) fn check_open_now(&self) -> Result<()> {
        Self::check_open(&self.shared.lock())
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.shared.lock().status == Status::Open
    }

    /// The store, after a promotion.
    pub(crate) fn local(&self) -> Result<Option<Arc<dyn AbstractLevel>>> {
        let state = self.shared.lock();
        Self::check_open(&state)?;
        Ok(match &state.route {
            Route::Local(store) => Some(store.clone()),
            Route::Remote => None,
        })
    }

    pub(crate) fn waiter(&self, id: u32) -> Arc<Notify> {
        self.shared.lock().waiters.entry(id).or_default().clone()
    }

    pub(crate) fn forget_waiter(&self, id: u32) {
        self.shared.with(|state| {
            state.waiters.remove(&id);
            state.machine.close_iterator(id);
        });
    }

    pub(crate) fn retry(&self) -> RetryPolicy {
        self.retry
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    pub(crate) fn refuse_write(&self) -> Result<()> {
        if self.shared.options.read_only {
            return Err(Error::new(Code::ReadOnly, "the database was opened for reading only"));
        }
        Ok(())
    }
}

/// A session id that no other handle has.
pub(crate) fn new_session() -> SessionId {
    let mut id = SessionId::default();
    if getrandom::fill(&mut id).is_err() {
        // Never seen; less random, and still different.
        fastrand::fill(&mut id);
    }
    id
}
