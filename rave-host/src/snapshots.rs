//! The explicit snapshots of one guest: they live as long as its connection, and no longer.

use rave_core::{AbstractLevel, Code, Error, Result, Snapshot};
use std::collections::HashMap;

/// Snapshots that a connection may have open. Each keeps what was overwritten since.
pub(crate) const MAX_SNAPSHOTS: usize = 1024;

/// By the guest's ids.
#[derive(Debug, Default)]
pub(crate) struct Snapshots(HashMap<u64, Snapshot>);

impl Snapshots {
    /// Takes a snapshot of `store` under `id`.
    pub(crate) async fn open(&mut self, id: u64, store: &dyn AbstractLevel) -> Result<()> {
        if self.0.contains_key(&id) {
            return Err(Error::new(Code::Remote, "a snapshot of this id is open already"));
        }
        if self.0.len() >= MAX_SNAPSHOTS {
            return Err(Error::not_supported(format_args!("opening more than {MAX_SNAPSHOTS} snapshots")));
        }
        self.0.insert(id, store.snapshot().await?);
        Ok(())
    }

    /// The snapshot that a request names, if it names one.
    pub(crate) fn find(&self, id: Option<u64>) -> Result<Option<Snapshot>> {
        let Some(id) = id else { return Ok(None) };
        let snapshot = self.0.get(&id).cloned();
        snapshot.map(Some).ok_or_else(|| Error::new(Code::SnapshotNotOpen, "the snapshot is not open on the leader"))
    }

    /// Releases one, if it is there.
    pub(crate) fn close(&mut self, id: u64) {
        if let Some(snapshot) = self.0.remove(&id) {
            snapshot.close();
        }
    }
}

impl Drop for Snapshots {
    fn drop(&mut self) {
        self.0.values().for_each(Snapshot::close);
    }
}
