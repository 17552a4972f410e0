//! The queue of writes: who applies them, in which order, and how many at once.
//!
//! One party at a time *leads*: it takes the writes at the front of the queue as one group, appends them to the log as one
//! record and applies them. A write that finds nobody leading, and nothing to wait for, leads itself, on its caller's
//! thread, and takes along what gathers meanwhile. Whatever has to wait — for an fsync, for room in memory, for level 0
//! — is led by the writer thread, so that no caller is ever blocked.
//!
//! A batch with conditions is a group of its own: whoever leads checks it and appends it, and nothing comes between.
//!
//! Whoever submits holds a [`Ticket`] for its place. Dropping it gives the place back if it was not yet taken, so the queue
//! is never longer than there are callers who wait, and none of them can hold up another.

use super::HeldSnapshot;
use parking_lot::{Condvar, Mutex};
use rave_core::{Batch, ClearOptions, Error, Operation, Result};
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::sync::oneshot;

/// What a work weighs beyond its keys and values.
const OVERHEAD: usize = 256;
/// Bytes of one group, about. A group that begins with a small write stays small, for the sake of its latency.
const GROUP_BYTES: usize = 1 << 20;
const SMALL_WRITE: usize = 128 << 10;
/// Waiting operations that a read compares with its own keys; with more it just waits for them.
const COMPARED: usize = 1024;

pub(crate) type Reply = oneshot::Sender<Result<()>>;

/// What can be queued.
pub(crate) enum Work {
    Write {
        batch: Batch,
        sync: bool,
    },
    Clear {
        options: ClearOptions,
        /// The state whose keys are deleted, if not the one when its turn comes.
        at: Option<Arc<HeldSnapshot>>,
    },
    /// A read that was submitted after writes it has to see.
    Read(Box<dyn FnOnce() + Send>),
    /// Makes the memtable immutable, so that it becomes a table.
    Switch,
    Close,
}

impl Work {
    fn weight(&self) -> usize {
        match self {
            Self::Write { batch, .. } => batch.byte_len() + OVERHEAD * batch.len(),
            _ => OVERHEAD,
        }
    }
}

pub(crate) struct Pending {
    pub(crate) work: Work,
    pub(crate) reply: Reply,
    /// Its place: the queue is in the order of these.
    place: u64,
    weight: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Leader {
    Nobody,
    Caller,
    Thread,
}

struct State {
    pending: VecDeque<Pending>,
    next_place: u64,
    leader: Leader,
    /// The batches that the leader took and has not yet applied.
    underway: Vec<Arc<Batch>>,
    /// Whether it is busy with something that is no batch.
    underway_unknown: bool,
    closed: bool,
}

/// See the module's documentation.
pub(crate) struct WriteQueue {
    state: Mutex<State>,
    /// For the writer thread: it leads now.
    wake: Condvar,
    /// Works that were queued and not yet done.
    unfinished: AtomicUsize,
}

/// What became of a submission.
pub(crate) enum Submitted<'a> {
    /// The caller leads and applies its write itself.
    Leads(Lead<'a>, Work),
    /// It is in the queue.
    Queued(Ticket<'a>),
    /// The database is closing.
    Closed,
}

/// A place in the queue. Dropping it gives the place back: what nobody has taken yet is not done.
pub(crate) struct Ticket<'a> {
    queue: &'a WriteQueue,
    place: u64,
    answer: oneshot::Receiver<Result<()>>,
    /// Whether there may still be something to give back.
    holds: bool,
}

impl Ticket<'_> {
    /// What came of the work.
    pub(crate) async fn answer(mut self) -> Result<()> {
        let answer = (&mut self.answer).await;
        self.holds = false;
        // What is dropped unanswered was not begun: the database closed before.
        answer.map_err(|_| Error::not_open())?
    }

    /// Leaves the work in the queue, whoever waits for it.
    pub(crate) fn detach(mut self) {
        self.holds = false;
    }

    /// The answer, for threads.
    #[cfg(test)]
    pub(crate) fn wait(self) -> Result<()> {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(self.answer())
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if self.holds {
            self.queue.give_back(self.place);
        }
    }
}

/// What a leader takes from the queue.
pub(crate) enum Taken {
    Group { writes: Vec<(Arc<Batch>, Reply)>, sync: bool },
    Other(Pending),
}

impl WriteQueue {
    pub(crate) fn new() -> Self {
        let state = State {
            pending: VecDeque::new(),
            next_place: 0,
            leader: Leader::Nobody,
            underway: Vec::new(),
            underway_unknown: false,
            closed: false,
        };
        Self { state: Mutex::new(state), wake: Condvar::new(), unfinished: AtomicUsize::new(0) }
    }

    /// Puts `work` at the end of the queue, or lets the caller lead if `may_lead` and nobody does. Behind
    /// [`Work::Close`] nothing gets in.
    pub(crate) fn submit(&self, work: Work, may_lead: bool) -> Submitted<'_> {
        let mut state = self.state.lock();
        if state.closed {
            return Submitted::Closed;
        }
        let place = state.next_place;
        state.next_place += 1;
        let idle = state.leader == Leader::Nobody;
        if idle && may_lead {
            state.leader = Leader::Caller;
            return Submitted::Leads(Lead { queue: self, place }, work);
        }
        state.closed = matches!(work, Work::Close);
        let (pending, ticket) = self.pending(work, place);
        state.pending.push_back(pending);
        if idle {
            state.leader = Leader::Thread;
            self.wake.notify_one();
        }
        Submitted::Queued(ticket)
    }

    fn pending(&self, work: Work, place: u64) -> (Pending, Ticket<'_>) {
        let (reply, answer) = oneshot::channel();
        let weight = work.weight();
        self.unfinished.fetch_add(1, Ordering::Release);
        (Pending { work, reply, place, weight }, Ticket { queue: self, place, answer, holds: true })
    }

    fn give_back(&self, place: u64) {
        let mut state = self.state.lock();
        let found = state.pending.binary_search_by_key(&place, |pending| pending.place);
        let given_back = found.ok().and_then(|index| state.pending.remove(index));
        drop(state);
        if given_back.is_some() {
            self.unfinished.fetch_sub(1, Ordering::Release);
        }
    }

    /// Whether a read must wait for its turn in the queue: a write that was submitted before it, and is not yet applied,
    /// may change what it reads. `touches` says whether an operation does.
    pub(crate) fn precedes(&self, touches: impl Fn(&Operation) -> bool) -> bool {
        if self.unfinished.load(Ordering::Acquire) == 0 {
            return false;
        }
        let state = self.state.lock();
        if state.underway_unknown {
            return true;
        }
        let mut compared = 0;
        let mut conflicts = |batch: &Batch| {
            compared += batch.len();
            compared > COMPARED || batch.operations().any(&touches)
        };
        state.underway.iter().any(|batch| conflicts(batch))
            || state.pending.iter().any(|pending| match &pending.work {
                Work::Write { batch, .. } => conflicts(batch),
                Work::Clear { .. } => true,
                Work::Read(_) | Work::Switch | Work::Close => false,
            })
    }

    /// Waits, on the writer thread, until it leads.
    pub(crate) fn wait_for_lead(&self) -> Lead<'_> {
        let mut state = self.state.lock();
        while state.leader != Leader::Thread {
            self.wake.wait(&mut state);
        }
        Lead { queue: self, place: 0 }
    }
}

/// The right to take from the queue. Dropping it passes the lead to the writer thread if anything is left to do.
pub(crate) struct Lead<'a> {
    queue: &'a WriteQueue,
    /// A caller's own place, in front of all that came since.
    place: u64,
}

impl<'a> Lead<'a> {
    /// Puts a work that the caller wanted to do itself at the front of the queue, for the writer thread.
    pub(crate) fn give_up(self, work: Work) -> Ticket<'a> {
        let mut state = self.queue.state.lock();
        let (pending, ticket) = self.queue.pending(work, self.place);
        state.pending.push_front(pending);
        ticket
    }

    /// Takes what is next: the writes at the front as one group, or a single other work. In place (`false`) only what
    /// need not wait, so no conditions of others: to check them may take the disk. `None` if there is nothing.
    pub(crate) fn take(&self, may_wait: bool) -> Option<Taken> {
        let mut state = self.queue.state.lock();
        let state = &mut *state;
        let front = state.pending.front()?;
        let sync = match &front.work {
            Work::Write { batch, sync } if !may_wait && (*sync || batch.is_conditional()) => return None,
            Work::Write { sync, .. } => *sync,
            _ if !may_wait => return None,
            _ => false,
        };
        if !matches!(front.work, Work::Write { .. }) {
            let other = state.pending.pop_front()?;
            state.underway_unknown = matches!(other.work, Work::Clear { .. });
            return Some(Taken::Other(other));
        }
        let limit = if front.weight <= SMALL_WRITE { front.weight + SMALL_WRITE } else { GROUP_BYTES };
        let (mut writes, mut bytes) = (Vec::new(), 0);
        while let Some(pending) = state.pending.front() {
            let Work::Write { batch, sync: wants } = &pending.work else { break };
            let conditional = batch.is_conditional();
            // A write without fsync may ride with those that ask for one, but they must not make it wait.
            let rides = (sync || !wants) && !conditional && bytes + pending.weight <= limit;
            if !rides && !writes.is_empty() {
                break;
            }
            let Some(Pending { work: Work::Write { batch, .. }, reply, weight, .. }) = state.pending.pop_front() else {
                break;
            };
            bytes += weight;
            let batch = Arc::new(batch);
            state.underway.push(batch.clone());
            writes.push((batch, reply));
            if conditional {
                break;
            }
        }
        Some(Taken::Group { writes, sync })
    }

    /// Says that what was taken is done: reads need not wait for it any more. To be called before its replies are sent.
    pub(crate) fn done(&self, works: usize) {
        let mut state = self.queue.state.lock();
        state.underway.clear();
        state.underway_unknown = false;
        drop(state);
        self.queue.unfinished.fetch_sub(works, Ordering::Release);
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let mut state = self.queue.state.lock();
        state.leader = if state.pending.is_empty() { Leader::Nobody } else { Leader::Thread };
        if state.leader == Leader::Thread {
            self.queue.wake.notify_one();
        }
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
