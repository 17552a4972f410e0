//! The numbers in the names of logs, tables and manifests.

use std::sync::atomic::{AtomicU64, Ordering};

/// The next number; each is given away once.
#[derive(Debug)]
pub(crate) struct FileNumbers(AtomicU64);

impl FileNumbers {
    /// Begins with `next`.
    pub(crate) fn new(next: u64) -> Self {
        Self(AtomicU64::new(next))
    }

    /// A number that no file has or had.
    pub(crate) fn allocate(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    /// Higher than every number given away so far.
    pub(crate) fn next(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Gives away only numbers higher than `number` from now on.
    pub(crate) fn skip(&self, number: u64) {
        self.0.fetch_max(number.saturating_add(1), Ordering::Relaxed);
    }
}
