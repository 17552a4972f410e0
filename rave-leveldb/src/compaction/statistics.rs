//! How much work compactions were.

use std::time::Duration;

/// The work of some compactions, or of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CompactionStatistics {
    /// How many there were.
    pub(crate) count: u64,
    /// How long they took together.
    pub(crate) time: Duration,
    /// The bytes of their input tables.
    pub(crate) bytes_read: u64,
    /// The bytes of the tables they wrote.
    pub(crate) bytes_written: u64,
}

impl CompactionStatistics {
    /// Adds the work of others.
    pub(crate) fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.time += other.time;
        self.bytes_read += other.bytes_read;
        self.bytes_written += other.bytes_written;
    }
}
