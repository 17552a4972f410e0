//! What the clones of a guest, its driver and its iterators share.

use crate::{
    GuestOptions,
    machine::{Machine, Reply, SessionId},
};
use bytes::BytesMut;
use rave_core::{AbstractLevel, EventHub, Manifest, Result, Status};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Notify, oneshot};

/// How long operations in a store that this process has let go of may keep others waiting. They end with the store; only
/// one whose future nobody polls takes longer, and then it comes after those others.
const IN_PLACE: Duration = Duration::from_secs(1);

pub(crate) type Answer = oneshot::Sender<Result<Reply>>;

/// Where operations go.
#[derive(Debug)]
pub(crate) enum Route {
    /// To the machine, and by it to a leader.
    Remote,
    /// To a store in this process.
    Local(Arc<dyn AbstractLevel>),
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) machine: Machine<Answer>,
    pub(crate) route: Route,
    pub(crate) status: Status,
    pub(crate) waiters: HashMap<u32, Arc<Notify>>,
    /// A promotion has taken operations from the machine and is applying them.
    pub(crate) promoting: bool,
    /// The last leader's manifest, so that a moment without a leader does not look like another store.
    pub(crate) manifest: Manifest,
}

impl State {
    pub(crate) fn is_settled(&self) -> bool {
        self.machine.is_idle() && !self.promoting
    }
}

#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// The machine has frames to send, or wants the connection to end.
    pub(crate) outgoing: Notify,
    /// The last operation completed, for `close` to wait for.
    pub(crate) settled: Notify,
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
    pub(crate) fn new(session: SessionId, options: GuestOptions, events: EventHub) -> Self {
        Self {
            state: Mutex::new(State {
                machine: Machine::new(session, options.limits.max_frame, options.max_pending_bytes),
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
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
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
    pub(crate) async fn nothing_in_place(&self) {
        let left = until(&self.left, || self.in_place.load(Ordering::Acquire) == 0);
        let _ = tokio::time::timeout(IN_PLACE, left).await;
    }
}

/// Waits until `is_so`, which is looked at now and whenever there is `news`.
pub(crate) async fn until(news: &Notify, is_so: impl Fn() -> bool) {
    loop {
        let told = news.notified();
        tokio::pin!(told);
        told.as_mut().enable();
        if is_so() {
            return;
        }
        told.await;
    }
}

/// An operation under way in a store of this process.
pub(crate) struct InPlace<'a>(&'a Shared);

impl<'a> InPlace<'a> {
    pub(crate) fn new(shared: &'a Shared) -> Self {
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
pub(crate) struct Promoting<'a>(pub(crate) &'a Shared);

impl Drop for Promoting<'_> {
    fn drop(&mut self) {
        self.0.with(|state| state.promoting = false);
    }
}
