//! Explicit snapshots as their users hold them.

use crate::{db::Db, key::SequenceNumber};
use rave_core::SnapshotHandle;
use std::{
    any::Any,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// A sequence number that compaction leaves readable, until this is closed or dropped.
pub(super) struct StoreSnapshot {
    db: Arc<Db>,
    sequence: SequenceNumber,
    closed: AtomicBool,
}

impl StoreSnapshot {
    pub(super) fn new(db: Arc<Db>, sequence: SequenceNumber) -> Self {
        Self { db, sequence, closed: AtomicBool::new(false) }
    }

    pub(super) fn is_of(&self, db: &Arc<Db>) -> bool {
        Arc::ptr_eq(&self.db, db)
    }

    /// `None` once it is closed.
    pub(super) fn sequence(&self) -> Option<SequenceNumber> {
        (!self.closed.load(Ordering::Acquire)).then_some(self.sequence)
    }
}

impl fmt::Debug for StoreSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({} of {})", self.sequence, self.db.location())
    }
}

impl SnapshotHandle for StoreSnapshot {
    fn close(&self) {
        if !self.closed.swap(true, Ordering::AcqRel) {
            self.db.release_snapshot(self.sequence);
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for StoreSnapshot {
    fn drop(&mut self) {
        self.close();
    }
}
