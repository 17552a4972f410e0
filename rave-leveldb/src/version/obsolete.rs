//! Deleting tables that nothing refers to any more: who notices it last, who deletes, and when that ends.
//!
//! A table may be dropped from the current version while iterators still read it. So every table in memory has a
//! [`Lease`], shared by all versions that list it. An edit that drops the table marks the lease; whoever releases the
//! lease last, a reader perhaps, only puts the number into a queue, and one background thread deletes the file.
//!
//! Invariants:
//! - A number enters the queue only if its lease was marked and the last holder is gone, and at most once.
//! - Nothing is deleted once [`close`](ObsoleteFiles::close) has returned. What is left over then, or dropped later, is
//!   found by the next opening, since no version lists it.
//!
//! `tests/handovers` tries all of this in every order; it compiles this file with a model checker's [`sync`](crate::sync).

use crate::sync::{Arc, AtomicBool, Condvar, Mutex, MutexGuard, Ordering, PoisonError};

/// Numbers of tables whose files are to be deleted.
#[derive(Debug, Default)]
pub(crate) struct ObsoleteFiles {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u64>,
    deleting: bool,
    closed: bool,
}

impl ObsoleteFiles {
    /// An empty queue.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// The lease of a table that exists.
    pub(crate) fn lease(queue: &Arc<Self>, number: u64) -> Lease {
        Lease { number, obsolete: AtomicBool::new(false), queue: Arc::clone(queue) }
    }

    /// Calls `delete` with every number that comes, until the queue is closed. For the one thread that deletes.
    pub(crate) fn work(&self, mut delete: impl FnMut(u64)) {
        let mut state = self.lock();
        loop {
            if state.closed {
                return;
            }
            let Some(number) = state.waiting.pop() else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.deleting = true;
            drop(state);
            delete(number);
            state = self.lock();
            state.deleting = false;
            self.changed.notify_all();
        }
    }

    /// Deletes nothing more. Waits for a deletion that is under way.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.waiting = Vec::new();
        self.changed.notify_all();
        while state.deleting {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn push(&self, number: u64) {
        let mut state = self.lock();
        if !state.closed {
            state.waiting.push(number);
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a table's file. Dropping it never waits for a file to be deleted.
#[derive(Debug)]
pub(crate) struct Lease {
    number: u64,
    obsolete: AtomicBool,
    queue: Arc<ObsoleteFiles>,
}

impl Lease {
    /// From now on the file is only kept for those who still hold the lease.
    pub(crate) fn mark_obsolete(&self) {
        self.obsolete.store(true, Ordering::Release);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.obsolete.load(Ordering::Acquire) {
            self.queue.push(self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::mpsc, thread};

    #[test]
    fn only_marked_leases_are_deleted_and_only_after_their_last_holder() {
        let queue = ObsoleteFiles::new();
        let (deleted, log) = mpsc::channel();
        let worker = thread::spawn({
            let queue = Arc::clone(&queue);
            move || queue.work(|number| deleted.send(number).unwrap())
        });
        drop(ObsoleteFiles::lease(&queue, 1));
        let kept = Arc::new(ObsoleteFiles::lease(&queue, 2));
        let reader = Arc::clone(&kept);
        kept.mark_obsolete();
        drop(kept);
        let other = ObsoleteFiles::lease(&queue, 3);
        other.mark_obsolete();
        drop(other);
        assert_eq!(log.recv().unwrap(), 3, "2 is still held, 1 was never obsolete");
        drop(reader);
        assert_eq!(log.recv().unwrap(), 2);
        queue.close();
        worker.join().unwrap();
        assert!(log.recv().is_err());
    }

    #[test]
    fn nothing_is_deleted_after_close() {
        let queue = ObsoleteFiles::new();
        let lease = ObsoleteFiles::lease(&queue, 1);
        lease.mark_obsolete();
        queue.close();
        drop(lease);
        queue.work(|number| panic!("deletes {number}"));
    }

    #[test]
    fn close_waits_for_the_deletion_under_way() {
        let queue = ObsoleteFiles::new();
        let done = Arc::new(AtomicBool::new(false));
        let (started, start) = mpsc::channel();
        let lease = ObsoleteFiles::lease(&queue, 1);
        lease.mark_obsolete();
        drop(lease);
        let worker = thread::spawn({
            let (queue, done) = (Arc::clone(&queue), Arc::clone(&done));
            move || {
                queue.work(|_| {
                    started.send(()).unwrap();
                    thread::yield_now();
                    done.store(true, Ordering::SeqCst);
                });
            }
        });
        start.recv().unwrap();
        queue.close();
        assert!(done.load(Ordering::SeqCst));
        worker.join().unwrap();
    }
}
