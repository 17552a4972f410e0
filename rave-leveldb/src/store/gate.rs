//! Counting what is running, so that closing can wait for it.
//!
//! `tests/handovers` tries this in every order; it compiles this file with a model checker's [`sync`](crate::sync).

use crate::sync::{AtomicUsize, Condvar, Mutex, Ordering, PoisonError};
use rave_core::{Error, Result};
use std::sync::Arc;

const CLOSED: usize = 1 << (usize::BITS - 1);

/// Lets operations in until it is closed, and tells when the last one has left.
///
/// Only what runs is inside: a future that nobody polls does not keep the database from closing.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// The number inside, and whether it is closed.
    state: AtomicUsize,
    lock: Mutex<()>,
    left: Condvar,
}

impl Gate {
    /// Enters for as long as the result lives.
    pub(crate) fn enter(self: &Arc<Self>) -> Result<Inside> {
        if self.state.fetch_add(1, Ordering::AcqRel) & CLOSED != 0 {
            self.leave();
            return Err(Error::not_open());
        }
        Ok(Inside(self.clone()))
    }

    /// Fails if it is closed.
    pub(crate) fn check(&self) -> Result<()> {
        if self.state.load(Ordering::Acquire) & CLOSED == 0 { Ok(()) } else { Err(Error::not_open()) }
    }

    /// Lets nobody in any more. Says whether it was open before.
    pub(crate) fn close(&self) -> bool {
        self.state.fetch_or(CLOSED, Ordering::AcqRel) & CLOSED == 0
    }

    /// Blocks until everybody has left. Requires that it is closed.
    pub(crate) fn wait_until_empty(&self) {
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        while self.state.load(Ordering::Acquire) != CLOSED {
            guard = self.left.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn leave(&self) {
        if self.state.fetch_sub(1, Ordering::AcqRel) == CLOSED | 1 {
            // With the lock, so that it cannot fall between the other's look and its wait.
            let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.left.notify_all();
        }
    }
}

/// Something that runs.
#[derive(Debug)]
pub(crate) struct Inside(Arc<Gate>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::atomic::AtomicBool, thread};

    #[test]
    fn closing_waits_for_what_is_inside_and_refuses_the_rest() {
        let gate = Arc::new(Gate::default());
        let inside = gate.enter().unwrap();
        assert!(gate.close());
        assert!(!gate.close());
        assert!(gate.enter().is_err() && gate.check().is_err());
        let done = Arc::new(AtomicBool::new(false));
        let waiter = thread::spawn({
            let (gate, done) = (gate.clone(), done.clone());
            move || {
                gate.wait_until_empty();
                assert!(done.load(Ordering::SeqCst));
            }
        });
        thread::yield_now();
        done.store(true, Ordering::SeqCst);
        drop(inside);
        waiter.join().unwrap();
    }
}
