//! Figures about the inside of a database.

use super::Db;
use crate::key::SequenceNumber;
use std::time::Duration;

/// Figures about the inside of a database, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The levels from 0, which has the newest tables, to the deepest one.
    pub levels: Vec<LevelStats>,
    /// Bytes of the memtables: writes that are in no table yet.
    pub memtable_bytes: u64,
    /// Bytes of blocks, indexes and filters that are kept in memory.
    pub cache_bytes: u64,
    /// Tables that are open.
    pub open_tables: usize,
    /// Explicit snapshots that are open.
    pub snapshots: usize,
    /// The number of the last write; each put and each deletion counts as one.
    pub sequence: u64,
}

/// Figures about one level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LevelStats {
    /// How many tables it has.
    pub tables: usize,
    /// Their bytes.
    pub bytes: u64,
    /// How often tables were written into it since the database was opened.
    pub compactions: u64,
    /// How long that took.
    pub time: Duration,
    /// Bytes that were read for it.
    pub bytes_read: u64,
    /// Bytes that were written into it.
    pub bytes_written: u64,
}

impl Db {
    pub(crate) fn stats(&self) -> Stats {
        let (view, sequence) = self.current.hold();
        let state = self.state.lock();
        let levels = state.versions.statistics().map(|level| LevelStats {
            tables: level.files,
            bytes: level.bytes,
            compactions: level.compactions.count,
            time: level.compactions.time,
            bytes_read: level.compactions.bytes_read,
            bytes_written: level.compactions.bytes_written,
        });
        let immutable = view.immutable.as_ref().map_or(0, |table| table.memory());
        Stats {
            levels: levels.into(),
            memtable_bytes: (view.active.memory() + immutable) as u64,
            cache_bytes: self.tables.cached_bytes() as u64,
            open_tables: self.open_files.open_count(),
            snapshots: state.snapshots.len(),
            sequence,
        }
    }

    /// Takes a snapshot: a number that compaction leaves readable until it is released.
    pub(super) fn take_snapshot(&self) -> SequenceNumber {
        // Under the lock, so that no compaction that begins later misses it.
        let mut state = self.state.lock();
        let sequence = self.current.sequence();
        state.snapshots.add(sequence);
        sequence
    }

    /// Releases a snapshot.
    pub(super) fn release_snapshot(&self, sequence: SequenceNumber) {
        self.state.lock().snapshots.remove(sequence);
    }
}
