//! Explicit snapshots of a shared database.

use crate::{
    Guest,
    machine::{Operation, Reply, SnapshotRef},
    operations::unexpected,
    shared::Shared,
};
use rave_core::{Code, Error, Result, Snapshot, SnapshotHandle};
use std::{
    any::Any,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// A snapshot in the leader that took it, be that another process or this one. It ends with that leader: nothing newer ever
/// takes its place.
pub(crate) struct GuestSnapshot {
    shared: Arc<Shared>,
    id: u64,
    /// Taken in a store of this process.
    local: Option<Snapshot>,
    closed: AtomicBool,
}

impl fmt::Debug for GuestSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestSnapshot").field("id", &self.id).field("local", &self.local.is_some()).finish()
    }
}

impl GuestSnapshot {
    /// Takes a snapshot wherever the data is. It sees every operation of this handle that was submitted before.
    pub(crate) async fn take(guest: &Guest) -> Result<Snapshot> {
        let shared = guest.shared.clone();
        let id = shared.lock().machine.name_snapshot();
        // Made before it is taken, so that one that nobody waits for any more is released.
        let mut snapshot = Self { shared, id, local: None, closed: AtomicBool::new(false) };
        match guest.run_operation(Operation::Snapshot(id)).await? {
            Reply::Done => {}
            Reply::Snapshot(local) => {
                snapshot.local = Some(local);
                snapshot.shared.with(|state| state.machine.keep_snapshot(id));
            }
            _ => return Err(unexpected()),
        }
        Ok(Snapshot::new(snapshot))
    }
}

impl SnapshotHandle for GuestSnapshot {
    fn close(&self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        self.shared.with(|state| state.machine.close_snapshot(self.id));
        if let Some(local) = &self.local {
            local.close();
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for GuestSnapshot {
    fn drop(&mut self) {
        self.close();
    }
}

impl Guest {
    /// What an operation with this snapshot reads.
    ///
    /// Errors: it is closed, or of another database.
    pub(crate) fn read(&self, snapshot: Option<&Snapshot>) -> Result<Option<SnapshotRef>> {
        let Some(snapshot) = snapshot else { return Ok(None) };
        let own = snapshot.downcast_ref::<GuestSnapshot>().filter(|own| Arc::ptr_eq(&own.shared, &self.shared));
        let own = own.ok_or_else(|| Error::new(Code::SnapshotNotOpen, "the snapshot belongs to another database"))?;
        if own.closed.load(Ordering::Acquire) {
            return Err(Error::new(Code::SnapshotNotOpen, "the snapshot is closed"));
        }
        Ok(Some(SnapshotRef { id: own.id, local: own.local.clone() }))
    }
}
