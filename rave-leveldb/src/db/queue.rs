//! The queue of writes: who applies them, in which order, and how many at once.
//!
//! One party at a time *leads*: it takes the writes at the front of the queue as one group, appends them to the log as one
//! record and applies them. A write that finds nobody leading, and nothing to wait for, leads itself, on its caller's
//! thread, and takes along what gathers meanwhile. Whatever has to wait — for an fsync, for room in memory, for level 0
//! — is led by the writer thread, so that no caller is ever blocked.

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
use tokio::sync::{Notify, oneshot};

/// Bytes of writes that may wait in the queue; further ones wait for their turn outside.
const QUEUE_BYTES: usize = 32 << 20;
/// Works that may wait in the queue.
const QUEUE_LENGTH: usize = 8192;
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
        batch: Arc<Batch>,
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
    weight: usize,
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
    /// Works that were submitted and not yet done, in the queue or outside.
    unfinished: AtomicUsize,
    /// Submitters that wait outside for room.
    outside: AtomicUsize,
    /// Lets them in one by one, in their order.
    door: tokio::sync::Mutex<()>,
    room: Notify,
}

/// What became of a submission.
pub(crate) enum Submitted<'a> {
    /// The caller leads and applies its write itself.
    Leads(Lead<'a>, Work),
    /// It is in the queue.
    Queued(oneshot::Receiver<Result<()>>),
    /// There is no room for it, or others waited outside before it.
    NoRoom(Work),
    /// The database is closing.
    Closed,
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
            weight: 0,
            leader: Leader::Nobody,
            underway: Vec::new(),
            underway_unknown: false,
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            wake: Condvar::new(),
            unfinished: AtomicUsize::new(0),
            outside: AtomicUsize::new(0),
            door: tokio::sync::Mutex::new(()),
            room: Notify::new(),
        }
    }

    /// Puts `work` at the end of the queue, or lets the caller lead if `may_lead` and nobody does.
    pub(crate) fn submit(&self, work: Work, may_lead: bool) -> Submitted<'_> {
        if self.outside.load(Ordering::Acquire) > 0 && !matches!(work, Work::Close) {
            return Submitted::NoRoom(work);
        }
        self.enter(work, may_lead)
    }

    /// Waits outside until there is room for `work`, in the order of the calls.
    ///
    /// If the future is dropped before that, the work is not done.
    pub(crate) async fn submit_outside(&self, mut work: Work) -> Result<oneshot::Receiver<Result<()>>> {
        let _outside = Outside::new(self);
        let _turn = self.door.lock().await;
        loop {
            let room = self.room.notified();
            match self.enter(work, false) {
                Submitted::Queued(answer) => return Ok(answer),
                Submitted::NoRoom(refused) => work = refused,
                Submitted::Closed | Submitted::Leads(..) => return Err(Error::not_open()),
            }
            room.await;
        }
    }

    fn enter(&self, work: Work, may_lead: bool) -> Submitted<'_> {
        let mut state = self.state.lock();
        if state.closed {
            return Submitted::Closed;
        }
        let idle = state.leader == Leader::Nobody;
        if idle && may_lead {
            state.leader = Leader::Caller;
            return Submitted::Leads(Lead { queue: self }, work);
        }
        let weight = work.weight();
        let full = state.weight + weight > QUEUE_BYTES || state.pending.len() >= QUEUE_LENGTH;
        // A single work larger than the whole queue has to pass too. Closing must never be kept out.
        if full && !state.pending.is_empty() && !matches!(work, Work::Close) {
            return Submitted::NoRoom(work);
        }
        state.closed = matches!(work, Work::Close);
        let (reply, answer) = oneshot::channel();
        state.weight += weight;
        state.pending.push_back(Pending { work, reply, weight });
        self.unfinished.fetch_add(1, Ordering::Release);
        if idle {
            state.leader = Leader::Thread;
            self.wake.notify_one();
        }
        Submitted::Queued(answer)
    }

    /// Whether a read must wait for its turn in the queue: a write that was submitted before it, and is not yet applied,
    /// may change what it reads. `touches` says whether an operation does.
    pub(crate) fn precedes(&self, touches: impl Fn(&Operation) -> bool) -> bool {
        if self.unfinished.load(Ordering::Acquire) == 0 && self.outside.load(Ordering::Acquire) == 0 {
            return false;
        }
        let state = self.state.lock();
        if self.outside.load(Ordering::Acquire) > 0 || state.underway_unknown {
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
        Lead { queue: self }
    }
}

/// The right to take from the queue. Dropping it passes the lead to the writer thread if anything is left to do.
pub(crate) struct Lead<'a> {
    queue: &'a WriteQueue,
}

impl Lead<'_> {
    /// Puts a work that the caller wanted to do itself at the front of the queue, for the writer thread.
    pub(crate) fn give_up(self, work: Work) -> oneshot::Receiver<Result<()>> {
        let (reply, answer) = oneshot::channel();
        let weight = work.weight();
        let mut state = self.queue.state.lock();
        state.weight += weight;
        state.pending.push_front(Pending { work, reply, weight });
        self.queue.unfinished.fetch_add(1, Ordering::Release);
        answer
    }

    /// Takes what is next: the writes at the front as one group, or a single other work. In place (`false`) only what
    /// need not wait. `None` if there is nothing.
    pub(crate) fn take(&self, may_wait: bool) -> Option<Taken> {
        let mut state = self.queue.state.lock();
        let state = &mut *state;
        let front = state.pending.front()?;
        let sync = match &front.work {
            Work::Write { sync, .. } if *sync && !may_wait => return None,
            Work::Write { sync, .. } => *sync,
            Work::Read(_) => false,
            _ if !may_wait => return None,
            _ => false,
        };
        if !matches!(front.work, Work::Write { .. }) {
            let other = state.pending.pop_front()?;
            state.weight -= other.weight;
            state.underway_unknown = matches!(other.work, Work::Clear { .. });
            return Some(Taken::Other(other));
        }
        let limit = if front.weight <= SMALL_WRITE { front.weight + SMALL_WRITE } else { GROUP_BYTES };
        let (mut writes, mut bytes) = (Vec::new(), 0);
        while let Some(pending) = state.pending.front() {
            // A write without fsync may ride with those that ask for one, but they must not make it wait.
            let rides = matches!(&pending.work, Work::Write { sync: wants, .. } if sync || !wants);
            if !rides || (bytes > 0 && bytes + pending.weight > limit) {
                break;
            }
            let Some(Pending { work: Work::Write { batch, .. }, reply, weight }) = state.pending.pop_front() else {
                break;
            };
            bytes += weight;
            state.weight -= weight;
            state.underway.push(batch.clone());
            writes.push((batch, reply));
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
        if self.queue.outside.load(Ordering::Acquire) > 0 {
            self.queue.room.notify_waiters();
        }
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

/// Counts a submitter that waits outside.
struct Outside<'a>(&'a WriteQueue);

impl<'a> Outside<'a> {
    fn new(queue: &'a WriteQueue) -> Self {
        queue.outside.fetch_add(1, Ordering::AcqRel);
        Self(queue)
    }
}

impl Drop for Outside<'_> {
    fn drop(&mut self) {
        self.0.outside.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
