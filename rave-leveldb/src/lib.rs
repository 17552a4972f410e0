//! A database in a directory, in LevelDB's on-disk format, for one process at a time.
//!
//! | to … | look at |
//! | --- | --- |
//! | open one | [`LevelDb`], [`Options`], [`Compression`] |
//! | use it | the [`AbstractLevel`](rave_core::AbstractLevel) that [`LevelDb::open`] gives |
//! | look inside, compact | [`Store`], [`Stats`] |
//! | check, rescue or remove a database that is closed | [`LevelDb::verify`], [`LevelDb::repair`], [`LevelDb::destroy`] |
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! use rave_core::{AbstractLevel, AbstractLevelExt};
//! use rave_leveldb::LevelDb;
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("db");
//! let db = LevelDb::new(&path).open().await?;
//! db.put("a", "1").await?;
//! assert_eq!(db.get("a").await?.as_deref(), Some(&b"1"[..]));
//! db.close().await?;
//! # Ok::<(), rave_core::Error>(()) }).unwrap();
//! ```
//!
//! # What it promises
//!
//! - The files are LevelDB's: C++ LevelDB (and with it `classic-level`) reads what this crate writes, and the reverse.
//! - An acknowledged write has been handed to the operating system and survives the death of the process; one with
//!   `sync` is on the disk and survives power loss. Writes that wait at the same time are committed together, with one
//!   fsync. After a crash the database holds all writes up to some moment and none after it.
//! - Reads wait for no write, flush or compaction. The one exception is order within a handle: a read that is submitted
//!   while an earlier write to one of its keys still waits comes after that write. What is in memory, or in the
//!   system's page cache, is read on the caller's thread; what must come from the disk, on the runtime's threads for
//!   blocking work.
//! - Iterators and explicit snapshots hold the state of their creation, in both directions, for as long as they live.
//! - `clear` is one atomic step.
//! - After a failed write (disk full, I/O error) the store takes no further writes: the failed one is reported with
//!   [`Effect::Unknown`](rave_core::Effect::Unknown), later ones are refused with the same code and no effect. So it is
//!   after a flush or a compaction that failed. Reads go on. Close and open again to continue.
//! - Damage is reported with `LEVEL_CORRUPTION`, the name of the file and the place in it, never passed off as missing
//!   keys, and never carried on by compaction: every block and every record that is read is checked.
//!
//! # Limits
//!
//! - A log that ends in a torn record, as power loss leaves it, is read up to that record. Writes without `sync` may be
//!   lost so; damage to the very end of the last log cannot be told from that.
//! - While an iterator or a snapshot is open, the memory and the tables that it sees stay, also when they were compacted
//!   away. Drop or close them soon.
//! - A `clear` holds the keys it deletes in memory.
//! - Memory is bounded by two write buffers, the cache, what a compaction reads ahead (256 KiB of each table that it reads
//!   at the moment), and what iterators and the values given away keep; a value from a table keeps its block of some
//!   kilobytes. A single write may be larger than the write buffer.

mod capabilities;
mod chunks;
mod compaction;
mod db;
mod directory;
mod error;
#[cfg(feature = "testing")]
mod fuzzing;
mod iterator;
mod key;
mod lengths;
mod log;
mod memtable;
mod opener;
mod options;
#[cfg(feature = "rusty")]
pub mod rusty;
mod storage;
mod store;
mod sync;
mod table;
mod tools;
mod upkeep;
mod version;

pub use db::{LevelStats, Stats};
pub use opener::LevelDb;
pub use options::{Compression, Options};
pub use store::Store;
pub use tools::{Damage, Progress, RepairReport, RepairedFile, VerifyReport};

/// What tests of this crate and of the crates above it need.
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod testing {
    pub use crate::fuzzing::{disk_of, mend, read_log, read_manifest, read_table};
    pub use crate::storage::sim::{CrashMode, Fault, SimulatedDisk};
}
