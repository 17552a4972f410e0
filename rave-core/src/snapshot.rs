//! A view of a database that later writes do not change.

use std::{any::Any, fmt, sync::Arc};

/// What a store puts behind a [`Snapshot`]. Dropping the last clone releases the view as `close` does.
pub trait SnapshotHandle: Any + Send + Sync + fmt::Debug {
    /// Releases the view; further use gives `LEVEL_SNAPSHOT_NOT_OPEN`. Calling it again does nothing.
    fn close(&self);

    /// For the store to recognise its own handle.
    fn as_any(&self) -> &dyn Any;
}

/// An explicit snapshot, made by [`AbstractLevel::snapshot`](crate::AbstractLevel::snapshot) and usable in reads,
/// iterators and clears of the database that made it and of its sublevels. Clones share one view.
#[derive(Clone)]
pub struct Snapshot(Arc<dyn SnapshotHandle>);

impl Snapshot {
    /// Wraps a store's handle.
    pub fn new(handle: impl SnapshotHandle) -> Self {
        Self(Arc::new(handle))
    }

    /// One that no database knows.
    pub(crate) fn not_open() -> Self {
        Self::new(NotOpen)
    }

    /// Releases the view now, for all clones.
    pub fn close(&self) {
        self.0.close();
    }

    /// The store's handle, if it is of type `T`.
    pub fn downcast_ref<T: 'static>(&self) -> Option<&T> {
        self.0.as_any().downcast_ref()
    }
}

/// Stands where a snapshot was.
#[derive(Debug)]
struct NotOpen;

impl SnapshotHandle for NotOpen {
    fn close(&self) {}

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Clones of one snapshot are equal; two snapshots never are.
impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Snapshot {}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
