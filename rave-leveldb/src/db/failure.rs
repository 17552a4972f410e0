//! The failure that ended writing.

use parking_lot::Mutex;
use rave_core::{Effect, Error, Result};
use std::sync::atomic::{AtomicBool, Ordering};

/// After the first failure to write or to compact, what is in memory and what is in the files may differ. Reads are
/// right as before; writes are refused until the database is opened again, which starts from the files.
#[derive(Default)]
pub(crate) struct Failure {
    failed: AtomicBool,
    first: Mutex<Option<Error>>,
}

impl Failure {
    /// Ends writing because of `error`, unless it was ended before.
    pub(crate) fn set(&self, error: &Error) {
        tracing::error!(%error, "the database takes no further writes");
        self.first.lock().get_or_insert_with(|| error.clone());
        self.failed.store(true, Ordering::Release);
    }

    /// The first failure.
    pub(crate) fn get(&self) -> Option<Error> {
        if self.failed.load(Ordering::Acquire) { self.first.lock().clone() } else { None }
    }

    /// Refuses what would write after a failure.
    pub(crate) fn check(&self) -> Result<()> {
        match self.get() {
            None => Ok(()),
            Some(first) => {
                let refused =
                    "writing to a database that an earlier failure made read-only; close it and open it again";
                Err(first.with_effect(Effect::None).context(refused))
            }
        }
    }
}
