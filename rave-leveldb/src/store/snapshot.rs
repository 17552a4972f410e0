//! Explicit snapshots as their users hold them.

use crate::db::{Db, HeldSnapshot};
use parking_lot::Mutex;
use rave_core::SnapshotHandle;
use std::{any::Any, fmt, sync::Arc};

/// A state that stays readable until this is closed or dropped, and the reads that began before have ended.
pub(super) struct StoreSnapshot {
    db: Arc<Db>,
    /// `None` once it is closed.
    held: Mutex<Option<Arc<HeldSnapshot>>>,
}

impl StoreSnapshot {
    pub(super) fn new(db: Arc<Db>, held: HeldSnapshot) -> Self {
        Self { db, held: Mutex::new(Some(Arc::new(held))) }
    }

    pub(super) fn is_of(&self, db: &Arc<Db>) -> bool {
        Arc::ptr_eq(&self.db, db)
    }

    /// What a read holds until it ends. `None` if this is closed.
    pub(super) fn hold(&self) -> Option<Arc<HeldSnapshot>> {
        self.held.lock().clone()
    }
}

impl fmt::Debug for StoreSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot(of {})", self.db.location())
    }
}

impl SnapshotHandle for StoreSnapshot {
    fn close(&self) {
        // Released behind the lock.
        let held = self.held.lock().take();
        drop(held);
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
