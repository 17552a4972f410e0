//! What a read looks into: the newest state, handed from those who change it to those who read it without a lock.
//!
//! A read takes the view first and the sequence number second. Writers apply a write to the memtable of the view first
//! and publish its number second. So a write that was acknowledged before the read is in the view, and its number is
//! not above the one that the read takes. In the other order a compaction between the two steps could drop, from a newer
//! view, just the versions that the older number is meant to see.

use crate::{
    iterator::{Cursor, MergingCursor},
    key::SequenceNumber,
    memtable::MemTable,
    table::TableCache,
    version::Version,
};
use arc_swap::{ArcSwap, Guard};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// The sources of one state. Whoever holds a view keeps its memtables and its tables' files.
pub(crate) struct View {
    /// Takes the writes.
    pub(crate) active: Arc<MemTable>,
    /// Full, and on its way into a table.
    pub(crate) immutable: Option<Arc<MemTable>>,
    /// The tables.
    pub(crate) version: Arc<Version>,
}

impl View {
    /// A cursor over everything in the view.
    pub(crate) fn cursor(&self, tables: &Arc<TableCache>, fill_cache: bool) -> MergingCursor {
        let mut sources: Vec<Box<dyn Cursor>> = vec![Box::new(self.active.cursor())];
        sources.extend(self.immutable.as_ref().map(|table| Box::new(table.cursor()) as Box<dyn Cursor>));
        sources.extend(self.version.cursors(tables, fill_cache));
        MergingCursor::new(sources)
    }
}

/// The current view and the number of the newest write that can be seen.
pub(crate) struct Current {
    view: ArcSwap<View>,
    sequence: AtomicU64,
}

impl Current {
    pub(crate) fn new(view: View, sequence: SequenceNumber) -> Self {
        Self { view: ArcSwap::from_pointee(view), sequence: AtomicU64::new(sequence) }
    }

    /// The view and the number, for a read that ends soon.
    pub(crate) fn read(&self) -> (Guard<Arc<View>>, SequenceNumber) {
        let view = self.view.load();
        (view, self.sequence.load(Ordering::Acquire))
    }

    /// The view and the number, to be kept.
    pub(crate) fn hold(&self) -> (Arc<View>, SequenceNumber) {
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
    pub(crate) fn change(&self, change: impl FnOnce(&View) -> View) {
        let next = change(&self.view.load());
        self.view.store(Arc::new(next));
    }
}
