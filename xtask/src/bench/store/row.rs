//! The rows of the table: what is measured, on which database, in which unit.

use super::{
    Extent, Setting,
    job::{Kind, Workload},
};

/// How a figure is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds of one operation.
    Latency,
    /// Nanoseconds, told as milliseconds.
    Millis,
    /// Bytes, told as megabytes.
    Bytes,
}

impl Unit {
    pub fn show(self, figure: f64) -> String {
        match self {
            Self::Latency if figure < 1e3 => format!("{figure:.0} ns"),
            Self::Latency if figure < 1e6 => format!("{:.2} µs", figure / 1e3),
            Self::Latency | Self::Millis => format!("{:.2} ms", figure / 1e6),
            Self::Bytes => format!("{:.1} MB", figure / 1e6),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Latency => "nanoseconds for one operation",
            Self::Millis => "nanoseconds",
            Self::Bytes => "bytes",
        }
    }
}

/// Which database a measurement starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// None.
    Empty,
    /// All entries, in tables. The LevelDB kinds get copies of the same files.
    Filled,
    /// A log of 4 MB, left by a process that was killed.
    Log,
}

/// One row, or two where a workload also tells its slowest operations.
pub struct Row {
    pub name: &'static str,
    pub title: &'static str,
    pub unit: Unit,
    pub workload: Workload,
    pub base: Base,
    pub threads: usize,
    /// Name and title of the row for the slowest in a thousand.
    pub slowest: Option<(&'static str, &'static str)>,
}

const fn row(name: &'static str, title: &'static str, workload: Workload, base: Base, threads: usize) -> Row {
    Row { name, title, unit: Unit::Latency, workload, base, threads, slowest: None }
}

pub const ROWS: &[Row] = &[
    row("fill-sequential", "put, keys in order", Workload::FillSequential, Base::Empty, 1),
    Row {
        slowest: Some(("put-p999", "put, random order: 99.9 % within")),
        ..row("fill-random", "put, random order", Workload::FillRandom, Base::Empty, 1)
    },
    row("fill-random-2", "put, random order, two threads", Workload::FillRandom, Base::Empty, 2),
    row("overwrite", "put, keys that exist", Workload::Overwrite, Base::Filled, 1),
    row("batch-100", "put in batches of 100, per entry", Workload::FillBatches, Base::Empty, 1),
    row("put-sync", "put, synced", Workload::PutSynced, Base::Empty, 1),
    row("put-sync-2", "put, synced, two threads", Workload::PutSynced, Base::Empty, 2),
    row("get-memory", "get from memory", Workload::GetMemory, Base::Empty, 1),
    row("get-memory-2", "get from memory, two threads", Workload::GetMemory, Base::Empty, 2),
    row("get-cache", "get from cache", Workload::GetCache, Base::Filled, 1),
    row("get-cache-2", "get from cache, two threads", Workload::GetCache, Base::Filled, 2),
    row("get-disk", "get from files", Workload::GetDisk, Base::Filled, 1),
    row("get-disk-2", "get from files, two threads", Workload::GetDisk, Base::Filled, 2),
    row("get-cold", "get from files that the system forgot", Workload::GetCold, Base::Filled, 1),
    row("scan", "scan, per entry", Workload::Scan, Base::Filled, 1),
    row("scan-reverse", "scan in reverse, per entry", Workload::ScanReverse, Base::Filled, 1),
    row("seek", "new iterator, seek, 10 entries", Workload::Seek, Base::Filled, 1),
    Row { unit: Unit::Millis, ..row("open", "open after a kill, 4 MB log", Workload::Open, Base::Log, 1) },
    Row { unit: Unit::Bytes, ..row("space", "directory after overwriting 10×", Workload::Space, Base::Empty, 1) },
];

impl Row {
    /// Whether the engine can do it at all.
    pub fn suits(&self, kind: Kind) -> bool {
        // rusty-leveldb never calls fsync, and its iterators lose entries when they turn back.
        !(kind == Kind::Rusty && matches!(self.workload, Workload::PutSynced | Workload::ScanReverse))
    }

    /// Keys of the database and operations on them.
    pub fn extent(&self, extent: &Extent) -> (u32, u32) {
        let entries = match self.workload {
            Workload::GetMemory => MEMORY_ENTRIES,
            Workload::PrepareLog | Workload::Open => LOG_ENTRIES,
            Workload::Space => extent.entries / 10,
            _ => extent.entries,
        };
        let operations = match self.workload {
            Workload::PutSynced => extent.synced,
            Workload::GetMemory | Workload::GetCache | Workload::GetDisk => extent.reads,
            Workload::GetCold | Workload::Seek => extent.reads / 5,
            Workload::Space => entries * 10,
            _ => entries,
        };
        (entries, operations)
    }

    pub fn cache_bytes(&self, setting: &Setting) -> usize {
        match self.workload {
            Workload::GetCache => setting.large_cache_bytes,
            Workload::GetDisk | Workload::GetCold => setting.small_cache_bytes,
            _ => setting.cache_bytes,
        }
    }
}

/// They and what surrounds them fit into the write buffer of every engine.
const MEMORY_ENTRIES: u32 = 10_000;
/// Each takes some 133 bytes of LevelDB's log.
pub const LOG_ENTRIES: u32 = 31_000;
