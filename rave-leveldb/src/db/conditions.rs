//! Whether a batch may be applied: what the leader of the write queue does before it appends a conditional one.

use super::Db;
use crate::{
    error::{ReadError, ReadResult},
    storage::Access,
};
use rave_core::{Batch, Error, failed_conditions};

/// Bytes of entries that are digested on a caller's thread. More take longer than a caller should be held up.
const LARGEST_IN_PLACE: usize = 64 << 10;

impl Db {
    /// Fails if a condition of `batch` does not hold. For the leader alone: nothing is written meanwhile, so that the state
    /// right before the batch is the present one.
    ///
    /// A refused batch is no failure of the database, and neither is a table that could not be read for it.
    pub(super) fn check(&self, batch: &Batch, access: Access) -> ReadResult<()> {
        if !batch.is_conditional() {
            return Ok(());
        }
        self.failure.check()?;
        let (view, newest) = self.current.hold();
        let get = |key: &_| self.get(&view, key, newest, access);
        let failed = failed_conditions(batch.conditions(), get, |range, show| {
            let mut entries = self.entries_of(&view, newest, false, true);
            entries.set_access(access);
            entries.restart(range.clone());
            let mut bytes = 0;
            while let Some(entry) = entries.next_entry(true)? {
                show(&entry.key, &entry.value);
                bytes += entry.key.len() + entry.value.len();
                if access == Access::InMemory && bytes > LARGEST_IN_PLACE {
                    return Err(ReadError::WouldBlock);
                }
            }
            Ok(())
        })?;
        if failed.is_empty() { Ok(()) } else { Err(Error::condition_failed(failed).into()) }
    }
}
