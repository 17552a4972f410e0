//! The handle: operations in, answers out, whoever leads.

use crate::{
    Disconnect, LeaderInfo, RetryPolicy,
    driver::drive,
    iterator::GuestIterator,
    machine::{Drained, Leader, Machine, Operation, Reply, SessionId},
};
use async_trait::async_trait;
use bytes::BytesMut;
use futures::{StreamExt, stream::FuturesUnordered};
use rave_core::{
    AbstractLevel, Batch, Bytes, ClearOptions, Code, Effect, Error, Event, EventHub, EventStream, IteratorOptions,
    LevelIterator, Manifest, ReadOptions, Result, Snapshot, Status, WriteOptions,
};
use rave_transport::{
    Connection,
    wire::{
        Limits,
        message::{SessionState, StatusReply},
    },
};
use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Notify, oneshot};

/// How long a leader may take to hang up on a guest that says goodbye.
const FAREWELL: Duration = Duration::from_millis(500);
/// How long operations in a store that this process has let go of may keep others waiting. They end with the store; only
/// one whose future nobody polls takes longer, and then it comes after those others.
const IN_PLACE: Duration = Duration::from_secs(1);

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
    /// by [`Event::Unresponsive`]. `None`: never.
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

type Answer = oneshot::Sender<Result<Reply>>;

/// Where operations go.
#[derive(Debug)]
enum Route {
    /// To the machine, and by it to a leader.
    Remote,
    /// To a store in this process.
    Local(Arc<dyn AbstractLevel>),
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) machine: Machine<Answer>,
    route: Route,
    status: Status,
    waiters: HashMap<u32, Arc<Notify>>,
    /// A promotion has taken operations from the machine and is applying them.
    promoting: bool,
    /// The last leader's manifest, so that a moment without a leader does not look like another store.
    manifest: Manifest,
}

impl State {
    fn is_settled(&self) -> bool {
        self.machine.is_idle() && !self.promoting
    }
}

#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// The machine has frames to send, or wants the connection to end.
    pub(crate) outgoing: Notify,
    /// The last operation completed, for `close` to wait for.
    settled: Notify,
    /// Operations under way in a store of this process.
    in_place: AtomicUsize,
    /// The last of them ended.
    left: Notify,
    /// A connection ended.
    pub(crate) unlinked: Notify,
    pub(crate) events: EventHub,
    pub(crate) options: GuestOptions,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic in here would have left nothing half done that matters more than going on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `f` on the state and passes on what came of it: completions, news for iterators, frames.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = f(&mut state);
        let completed = state.machine.completed();
        let settled = state.is_settled();
        for id in state.machine.woken() {
            if let Some(waiter) = state.waiters.get(&id) {
                waiter.notify_one();
            }
        }
        // The driver has frames to send, or has to end the connection.
        let outgoing = !state.machine.output().is_empty() || state.machine.is_stuck().is_some();
        drop(state);
        for (answer, result) in completed {
            // Nobody listens if the user dropped the operation.
            let _ = answer.send(result);
        }
        if settled {
            self.settled.notify_waiters();
        }
        if outgoing {
            self.outgoing.notify_one();
        }
        result
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().status == Status::Closed
    }

    /// Moves the machine's frames to `out` if that is empty. Returns why the connection has to end, if it has to.
    pub(crate) fn take_output(&self, out: &mut BytesMut) -> Option<&'static str> {
        let mut state = self.lock();
        if out.is_empty() {
            std::mem::swap(state.machine.output(), out);
        }
        if state.status == Status::Closed {
            return Some("the guest was closed");
        }
        state.machine.is_stuck()
    }

    /// The leader's process, where it said so.
    pub(crate) fn leader_pid(&self) -> Option<u32> {
        self.lock().machine.leader()?.pid
    }

    /// Waits until what was under way in a store of this process, which it has let go of, has ended or waits its turn here.
    async fn nothing_in_place(&self) {
        let left = async {
            loop {
                let left = self.left.notified();
                tokio::pin!(left);
                left.as_mut().enable();
                if self.in_place.load(Ordering::Acquire) == 0 {
                    return;
                }
                left.await;
            }
        };
        let _ = tokio::time::timeout(IN_PLACE, left).await;
    }
}

/// An operation under way in a store of this process.
struct InPlace<'a>(&'a Shared);

impl<'a> InPlace<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.in_place.fetch_add(1, Ordering::AcqRel);
        Self(shared)
    }
}

impl Drop for InPlace<'_> {
    fn drop(&mut self) {
        if self.0.in_place.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.left.notify_waiters();
        }
    }
}

/// Ends the applying of what a promotion took, also when its future is dropped in the middle.
struct Promoting<'a>(&'a Shared);

impl Drop for Promoting<'_> {
    fn drop(&mut self) {
        self.0.with(|state| state.promoting = false);
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
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    machine: Machine::new(new_session(), options.limits.max_frame, options.max_pending_bytes),
                    route: Route::Remote,
                    status: Status::Open,
                    waiters: HashMap::new(),
                    promoting: false,
                    manifest: Manifest::default(),
                }),
                outgoing: Notify::new(),
                settled: Notify::new(),
                in_place: AtomicUsize::new(0),
                left: Notify::new(),
                unlinked: Notify::new(),
                events,
                options,
            }),
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

    /// From now on, serve from `store`. What was on its way is applied to it first, in order; it returns when that is
    /// done. `state` tells how far lost leaders got with the writes of this handle's session, if that is known: these are
    /// not applied again.
    ///
    /// Requires: no connection is running.
    pub async fn promote(&self, store: Arc<dyn AbstractLevel>, state: Option<SessionState>) {
        self.shared.nothing_in_place().await;
        self.shared.with(|shared| shared.machine.resume(state.as_ref()));
        let mut promoting = None;
        let mut applying = FuturesUnordered::new();
        // What a store that closes gives back waits for the next one.
        while store.status() == Status::Open {
            let queued = self.shared.with(|shared| {
                let queued = shared.machine.drain();
                shared.promoting |= !queued.is_empty();
                if queued.is_empty() {
                    // Under the same lock: nothing can slip in between the last queued operation and the first direct one.
                    shared.manifest = Manifest { exactly_once: state.is_some(), ..store.manifest() };
                    shared.route = Route::Local(store.clone());
                    shared.machine.wake_iterators();
                }
                queued
            });
            if queued.is_empty() {
                break;
            }
            let first = promoting.is_none();
            promoting.get_or_insert_with(|| Promoting(&self.shared));
            for drained in queued {
                let mut applied = Box::pin(self.apply(&*store, drained));
                if first {
                    applied.await;
                } else if futures::poll!(&mut applied).is_pending() {
                    // The first poll has fixed the order. Waiting for the outcomes here too would never end under load:
                    // each answer brings the next operation.
                    applying.push(applied);
                }
            }
        }
        while applying.next().await.is_some() {}
        drop(promoting);
    }

    /// Does an operation that waited for a leader. If the store closes before it is done, it waits for the next one.
    async fn apply(&self, store: &dyn AbstractLevel, drained: Drained<Answer>) {
        let Drained { number, operation, policy, token, uncertain } = drained;
        let result = execute(store, operation.clone()).await;
        if result.as_ref().is_err_and(gave_back) {
            let mut operation = Some((operation, token));
            self.shared.with(|state| {
                if state.status != Status::Closed
                    && let Some((operation, token)) = operation.take()
                {
                    state.machine.resubmit(number, operation, policy, token);
                }
            });
            if let Some((_, token)) = operation {
                let _ = token.send(result);
            }
            return;
        }
        let judge = |error: Error| if uncertain { error.with_effect(Effect::Unknown) } else { error };
        let _ = token.send(result.map_err(judge));
    }

    /// The store of the promotion is gone: operations wait for a connection or another promotion.
    pub fn demote(&self) {
        self.shared.with(|state| {
            state.route = Route::Remote;
            state.machine.wake_iterators();
        });
    }

    /// Fails everything that is on its way, for instance because there will be no leader any more.
    pub fn fail_pending(&self, error: &Error) {
        self.shared.with(|state| state.machine.fail_all(error));
    }

    /// Waits until nothing is on its way.
    pub async fn settled(&self) {
        loop {
            let settled = self.shared.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            if self.shared.lock().is_settled() {
                return;
            }
            settled.await;
        }
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
        let gone = async {
            loop {
                let unlinked = self.shared.unlinked.notified();
                tokio::pin!(unlinked);
                unlinked.as_mut().enable();
                if !self.shared.lock().machine.is_connected() {
                    return;
                }
                unlinked.await;
            }
        };
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

    fn check_open(state: &State) -> Result<()> {
        if state.status == Status::Open { Ok(()) } else { Err(Error::not_open()) }
    }

    fn check_open_now(&self) -> Result<()> {
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

    /// Runs `operation` wherever the data is.
    async fn run_operation(&self, operation: Operation) -> Result<Reply> {
        let deadline = self.timeout.map(|timeout| tokio::time::Instant::now() + timeout);
        let shared = &*self.shared;
        let in_place = {
            let mut state = shared.lock();
            Self::check_open(&state)?;
            match &state.route {
                Route::Local(store) => Some((store.clone(), InPlace::new(shared), state.machine.reserve())),
                Route::Remote => None,
            }
        };
        let Some((store, in_place, number)) = in_place else { return self.perform(operation, None, deadline).await };
        match local(&*store, operation.clone(), deadline).await {
            // This process stopped leading in this very moment, and nothing was applied: the next leader will do it.
            Err(error) if gave_back(&error) => self.perform(operation, Some((number, in_place)), deadline).await,
            result => result,
        }
    }

    /// Runs `operation` through the machine; in its old place, if it was under way in a store that closed.
    async fn perform(
        &self,
        operation: Operation,
        earlier: Option<(u64, InPlace<'_>)>,
        deadline: Option<tokio::time::Instant>,
    ) -> Result<Reply> {
        let shared = &*self.shared;
        let is_write = operation.is_write();
        let (answer, answered) = oneshot::channel();
        enum Submitted {
            Remote(u64),
            Local(Arc<dyn AbstractLevel>, Operation),
        }
        let submitted = shared.with(|state| {
            // What was accepted is finished, also while closing.
            if earlier.is_none() || state.status == Status::Closed {
                Self::check_open(state)?;
            }
            Ok(match (&state.route, &earlier) {
                (Route::Local(store), _) => Submitted::Local(store.clone(), operation),
                (Route::Remote, Some((number, _))) => {
                    Submitted::Remote(state.machine.resubmit(*number, operation, self.retry, answer))
                }
                (Route::Remote, None) => Submitted::Remote(state.machine.submit(operation, self.retry, answer)),
            })
        })?;
        drop(earlier);
        let number = match submitted {
            Submitted::Local(store, operation) => return local(&*store, operation, deadline).await,
            Submitted::Remote(number) => number,
        };
        let mut waiting = Waiting { shared, number: Some(number) };
        match until(deadline, answered).await {
            Some(result) => {
                waiting.completed();
                result.unwrap_or_else(|_| Err(Error::not_open().with_effect(unknown_if(is_write))))
            }
            // None: it completed in the very moment, or is being applied by a promotion.
            None => Err(deadline_passed(waiting.give_up().unwrap_or_else(|| unknown_if(is_write)))),
        }
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

    fn refuse_write(&self) -> Result<()> {
        if self.shared.options.read_only {
            return Err(Error::new(Code::ReadOnly, "the database was opened for reading only"));
        }
        Ok(())
    }
}

/// Takes an operation out of the machine when nobody waits for it any more, also because the future was dropped.
struct Waiting<'a> {
    shared: &'a Shared,
    /// `None` once it has completed.
    number: Option<u64>,
}

impl Waiting<'_> {
    fn completed(&mut self) {
        self.number = None;
    }

    fn abandon(&mut self) -> Option<Effect> {
        let number = self.number.take()?;
        self.shared.with(|state| state.machine.abandon(number)).map(|(_, effect)| effect)
    }

    /// Its deadline has passed.
    fn give_up(&mut self) -> Option<Effect> {
        let number = self.number.take()?;
        self.shared.with(|state| state.machine.give_up(number)).map(|(_, effect)| effect)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.abandon();
    }
}

/// Whether a store closed before it did anything of the operation.
fn gave_back(error: &Error) -> bool {
    error.code() == Code::DatabaseNotOpen && error.effect() == Effect::None
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

fn unknown_if(write: bool) -> Effect {
    if write { Effect::Unknown } else { Effect::None }
}

async fn until<F: Future>(deadline: Option<tokio::time::Instant>, future: F) -> Option<F::Output> {
    match deadline {
        None => Some(future.await),
        Some(deadline) => tokio::time::timeout_at(deadline, future).await.ok(),
    }
}

pub(crate) fn deadline_passed(effect: Effect) -> Error {
    Error::new(Code::Aborted, "the operation's deadline passed before the leader answered").with_effect(effect)
}

fn unexpected() -> Error {
    Error::new(Code::Remote, "the leader's answer does not fit the request")
}

async fn local(
    store: &dyn AbstractLevel,
    operation: Operation,
    deadline: Option<tokio::time::Instant>,
) -> Result<Reply> {
    let effect = unknown_if(operation.is_write());
    until(deadline, execute(store, operation)).await.unwrap_or_else(|| Err(deadline_passed(effect)))
}

async fn execute(store: &dyn AbstractLevel, operation: Operation) -> Result<Reply> {
    match operation {
        Operation::Get(key) => Ok(Reply::Value(store.get_opts(key, ReadOptions::default()).await?)),
        Operation::GetMany(keys) => Ok(Reply::Values(store.get_many_opts(keys, ReadOptions::default()).await?)),
        Operation::Write { batch, sync } => {
            store.write_opts(batch, WriteOptions { sync }).await?;
            Ok(Reply::Done)
        }
        Operation::Clear(options) => {
            store.clear_opts(options).await?;
            Ok(Reply::Done)
        }
        Operation::Status => Err(Error::not_supported("asking this process for a leader: it leads itself;")),
    }
}

fn no_snapshots() -> Error {
    Error::not_supported("an explicit snapshot of a shared database")
}

#[async_trait]
impl AbstractLevel for Guest {
    /// What the leader offers. Explicit snapshots are never among it: they could not outlive their leader.
    fn manifest(&self) -> Manifest {
        let state = self.shared.lock();
        let read_only = state.manifest.read_only || self.shared.options.read_only;
        // Without retries a write is applied at most once.
        let exactly_once = state.manifest.exactly_once && self.retry != RetryPolicy::Never;
        Manifest { explicit_snapshots: false, exactly_once, read_only, ..state.manifest.clone() }
    }

    fn status(&self) -> Status {
        self.shared.lock().status
    }

    fn events(&self) -> EventStream {
        self.shared.events.subscribe()
    }

    async fn get_opts(&self, key: Bytes, options: ReadOptions) -> Result<Option<Bytes>> {
        if options.snapshot.is_some() {
            return Err(no_snapshots());
        }
        match self.run_operation(Operation::Get(key)).await? {
            Reply::Value(value) => Ok(value),
            _ => Err(unexpected()),
        }
    }

    async fn get_many_opts(&self, keys: Vec<Bytes>, options: ReadOptions) -> Result<Vec<Option<Bytes>>> {
        if options.snapshot.is_some() {
            return Err(no_snapshots());
        }
        match self.run_operation(Operation::GetMany(keys)).await? {
            Reply::Values(values) => Ok(values),
            _ => Err(unexpected()),
        }
    }

    async fn write_opts(&self, batch: Batch, options: WriteOptions) -> Result<()> {
        if batch.is_empty() {
            return self.check_open_now();
        }
        self.refuse_write()?;
        batch.validate()?;
        let announces = batch.len() > 0 && self.shared.events.has_listeners();
        let announced = announces.then(|| Arc::new(batch.clone()));
        self.run_operation(Operation::Write { batch, sync: options.sync }).await?;
        if let Some(batch) = announced {
            self.shared.events.emit(|| Event::Write(batch));
        }
        Ok(())
    }

    async fn clear_opts(&self, options: ClearOptions) -> Result<()> {
        if options.snapshot.is_some() {
            return Err(no_snapshots());
        }
        self.refuse_write()?;
        if !options.except.is_empty() {
            return Err(Error::not_supported("a clear of a shared database that leaves parts of its range"));
        }
        if options.and_write.conditions().len() > 0 {
            return Err(Error::new(Code::InvalidBatch, "a clear takes no conditions"));
        }
        self.run_operation(Operation::Clear(options.clone())).await?;
        self.shared.events.emit(|| Event::Clear(Arc::new(options)));
        Ok(())
    }

    async fn iterator_opts(&self, options: IteratorOptions) -> Result<Box<dyn LevelIterator>> {
        if options.snapshot.is_some() {
            return Err(no_snapshots());
        }
        self.check_open_now()?;
        Ok(Box::new(GuestIterator::open(self.clone(), options).await?))
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        self.check_open_now()?;
        Err(no_snapshots())
    }

    /// Refuses operations, lets those under way finish, and ends. Without a connection there is nothing to wait for, and
    /// they fail.
    async fn close(&self) -> Result<()> {
        let first = self.shared.with(|state| {
            let first = state.status == Status::Open;
            if first {
                state.status = Status::Closing;
            }
            first
        });
        if first {
            self.shared.events.emit(|| Event::Closing);
        }
        if self.leader().is_some() {
            self.settled().await;
            self.say_goodbye().await;
        }
        self.finish_close();
        if first {
            self.shared.events.emit(|| Event::Closed);
        }
        Ok(())
    }
}
