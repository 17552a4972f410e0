//! The numbers in the names of logs, tables and manifests.

use crate::storage::FileName;
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

    /// Keeps clear of the numbers of files that are there.
    pub(crate) fn skip_files(&self, names: &[String]) {
        for name in names.iter().filter_map(|name| FileName::parse(name)) {
            let number = match name {
                FileName::Table(number) | FileName::Log(number) => number,
                FileName::Manifest(number) | FileName::Temporary(number) => number,
                FileName::Current | FileName::Lock | FileName::InfoLog | FileName::OldInfoLog => continue,
            };
            self.skip(number.min(HIGHEST));
        }
    }
}

/// Files with higher numbers are not the engine's: numbers must be left to give away.
const HIGHEST: u64 = u64::MAX >> 1;
