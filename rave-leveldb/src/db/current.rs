//! The newest state, handed from those who change it to those who read it without a lock.
//!
//! A read takes the view first and the sequence number second. Writers apply a write to the memtable of the view first
//! and publish its number second. So a write that was acknowledged before the read is in the view, and its number is
//! not above the one that the read takes. In the other order a compaction between the two steps could drop, from a newer
//! view, just the versions that the older number is meant to see.
//!
//! The number may belong to a newer view than the one that was taken. Then the read sees all of its own view, which has
//! ended by then: also one state, and not an older one than that of any read that ended before.
//!
//! `tests/handovers` tries all of this in every order; it compiles this file with a model checker's [`sync`](crate::sync).

use crate::{
    key::SequenceNumber,
    sync::{Arc, ArcSwap, AtomicU64, Guard, Ordering},
};

/// The current view and the number of the newest write that can be seen.
pub(crate) struct Current<V> {
    view: ArcSwap<V>,
    sequence: AtomicU64,
}

impl<V> Current<V> {
    pub(crate) fn new(view: V, sequence: SequenceNumber) -> Self {
        Self { view: ArcSwap::from_pointee(view), sequence: AtomicU64::new(sequence) }
    }

    /// The view and the number, for a read that ends soon.
    pub(crate) fn read(&self) -> (Guard<Arc<V>>, SequenceNumber) {
        let view = self.view.load();
        (view, self.sequence.load(Ordering::Acquire))
    }

    /// The view and the number, to be kept.
    pub(crate) fn hold(&self) -> (Arc<V>, SequenceNumber) {
        let view = self.view.load_full();
        (view, self.sequence.load(Ordering::Acquire))
    }

    /// The number of the newest write that can be seen.
    pub(crate) fn sequence(&self) -> SequenceNumber {
        self.sequence.load(Ordering::Acquire)
    }

    /// Shows the writes up to `sequence`, which are in the memtable. For the leading writer alone.
    pub(crate) fn publish(&self, sequence: SequenceNumber) {
        self.sequence.store(sequence, Ordering::Release);
    }

    /// Replaces the view. Requires the lock on the database's state: two changes at once would lose one.
    pub(crate) fn change(&self, change: impl FnOnce(&V) -> V) {
        let next = change(&self.view.load());
        self.view.store(Arc::new(next));
    }
}
