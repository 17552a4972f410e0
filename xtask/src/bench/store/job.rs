//! What one process of the benchmark is asked to do, and what it answers: one line of JSON each way.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// C++ LevelDB through its C interface: what all others are compared to.
    Leveldb,
    /// This project's store, through the face its users see.
    Rave,
    /// The crate `rusty-leveldb`, directly.
    Rusty,
    /// The crate `sled`, directly.
    Sled,
    /// The crate `fjall`, directly.
    Fjall,
}

impl Kind {
    /// Whether it reads and writes LevelDB's files.
    #[allow(dead_code, reason = "one of the two programs that share this file needs it")]
    pub fn is_leveldb(self) -> bool {
        matches!(self, Self::Leveldb | Self::Rave | Self::Rusty)
    }
}

/// What is done with a database. Every workload that measures opens it, works, and closes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// Makes the database that the reading rows read: filled in random order, at rest, its log empty.
    Prepare,
    /// Makes the database that is opened later: its log holds all entries. The process is to be killed then.
    PrepareLog,
    /// Puts in the order of the keys.
    FillSequential,
    /// Puts in random order, each key once; also tells how long the slowest took.
    FillRandom,
    /// The same in batches of 100.
    FillBatches,
    /// Puts of keys that exist.
    Overwrite,
    /// Puts that survive power loss.
    PutSynced,
    /// Gets of what no table holds yet.
    GetMemory,
    /// Gets of a database all of whose blocks the cache holds.
    GetCache,
    /// Gets past a small cache.
    GetDisk,
    /// The same after the system was told to forget the files.
    GetCold,
    /// All entries.
    Scan,
    /// All entries, backwards.
    ScanReverse,
    /// A new iterator, a seek, and ten entries.
    Seek,
    /// Opens it and reads one entry.
    Open,
    /// Overwrites every key ten times and tells what the directory takes.
    Space,
}

/// One process's work.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    pub kind: Kind,
    pub workload: Workload,
    pub directory: PathBuf,
    /// Keys of the database.
    pub entries: u32,
    /// Operations to measure.
    pub operations: u32,
    pub threads: usize,
    pub cache_bytes: usize,
    pub write_buffer_bytes: usize,
    pub bloom_bits: u32,
    /// Which random order.
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Nanoseconds for one operation; bytes of the directory for [`Workload::Space`].
    pub figure: f64,
    /// Nanoseconds that one operation in a thousand took at least.
    pub slowest: Option<f64>,
}
