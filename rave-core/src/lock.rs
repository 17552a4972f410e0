//! An exclusive lock on a file (placeholder signatures; implementation follows).

use crate::Result;
use std::path::Path;

/// A held lock.
#[derive(Debug)]
pub struct FileLock(());

/// What came of an attempt.
#[derive(Debug)]
pub enum FileLockAttempt {
    /// Ours.
    Acquired(FileLock),
    /// Somebody else's.
    Held {
        /// The process that holds it, where the system tells.
        holder: Option<u32>,
    },
}

impl FileLock {
    /// Takes the lock if nobody holds it; creates the file if needed.
    pub fn try_acquire(_path: &Path) -> Result<FileLockAttempt> {
        Ok(FileLockAttempt::Acquired(FileLock(())))
    }
}
