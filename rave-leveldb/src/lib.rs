//! A database in a directory, in LevelDB's on-disk format, for one process at a time.
//!
//! | to … | look at |
//! | --- | --- |
//! | open one | [`LevelDb`], [`Options`], [`Compression`] |
//! | use it | the [`AbstractLevel`](rave_core::AbstractLevel) that [`LevelDb::open`] gives |
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
//!   `sync` is on the disk. Writes that wait at the same time are committed together.
//! - Iterators and explicit snapshots hold the state of their creation, in both directions, for as long as they live.
//! - `clear` is one atomic step.
//! - After a failed write (disk full, I/O error) the store takes no further writes: the failed one is reported with
//!   [`Effect::Unknown`](rave_core::Effect::Unknown), later ones are refused with `LEVEL_IO_ERROR` and no effect. Reads
//!   go on; they show what was acknowledged, and the failed write if only its fsync failed. Close and open again to
//!   continue.
//! - Damage is reported with `LEVEL_CORRUPTION` and the name of the file, never passed off as missing keys: every block
//!   read from a table and every record of the manifest is checked. A store that finds damage while it compacts keeps
//!   its files as they are and takes no further writes.
//!
//! # Limits
//!
//! - A log that ends in a damaged record (as after power loss) is read up to that record; what was written behind it
//!   without `sync` is lost. Damage in the middle of a log cannot be told from that.
//! - Space of overwritten and deleted entries is reclaimed as the store compacts, which it does when the write buffer
//!   is full and when it opens. While it does, other operations wait.
//! - While an iterator or a snapshot is open the files and the memory it reads stay, also when they were compacted away.
//!   Drop or close them soon.
//! - A `clear` holds the keys it deletes in memory, and so does the next opening if the process dies before the write
//!   buffer is emptied. A single get, a batch and a `clear` of any size run as one step; others wait meanwhile.
//! - Reverse iteration costs several times as much as forward iteration.

mod chunks;
#[allow(dead_code)]
mod compaction;
#[allow(dead_code)]
mod db;
#[allow(dead_code)]
mod error;
#[cfg(feature = "testing")]
mod fuzzing;
#[allow(dead_code)]
mod iterator;
#[allow(dead_code)]
mod key;
#[allow(dead_code)]
mod log;
#[allow(dead_code)]
mod memtable;
mod opener;
mod options;
#[cfg(feature = "rusty")]
pub mod rusty;
#[allow(dead_code)]
mod storage;
mod store;
mod sync;
#[allow(dead_code)]
mod table;
#[allow(dead_code)]
mod tools;
mod upkeep;
#[allow(dead_code)]
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
