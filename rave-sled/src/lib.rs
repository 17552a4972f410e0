//! A database in a directory, on the crate `sled`, for one process at a time.
//!
//! | to … | look at |
//! | --- | --- |
//! | open one | [`SledDb`], [`Options`] |
//! | use it | the [`AbstractLevel`](rave_core::AbstractLevel) that [`SledDb::open`] gives |
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! use rave_core::{AbstractLevel, AbstractLevelExt};
//! use rave_sled::SledDb;
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("db");
//! let db = SledDb::new(&path).open().await?;
//! db.put("a", "1").await?;
//! assert_eq!(db.get("a").await?.as_deref(), Some(&b"1"[..]));
//! db.close().await?;
//! # Ok::<(), rave_core::Error>(()) }).unwrap();
//! ```
//!
//! # What it promises
//!
//! - The files are those of sled 0.34, and the entries are in its default tree. A tree of our own, `rave-sled`, and two files
//!   beside sled's, `LOCK` and `rave-level.flushed`, are for the promises below. A directory with a LevelDB database is
//!   refused, as `rave-leveldb` refuses one with sled's.
//! - An acknowledged write survives the death of the process. Sled keeps writes in its own memory until they are flushed; here
//!   nobody is told of a write before it is, neither who wrote it nor who reads it. Writes that wait at the same time are
//!   applied as one batch and share one flush. Reads of other keys go ahead meanwhile.
//! - A batch is applied whole or not at all, also if the process is killed in its midst. Conditions are checked, and `clear`
//!   is applied, as one atomic step: one thread owns the engine, and nobody else writes.
//! - When `close` is done, no thread of sled's has a file of the database open, and only then is the lock released. If sled
//!   does not let go within a minute, `close` fails and the directory stays locked until the process ends.
//! - After a failed write (disk full, I/O error) the store takes no further writes: the failed one is reported with
//!   [`Effect::Unknown`](rave_core::Effect::Unknown), later ones are refused with the same code and no effect. Reads of keys
//!   whose writes are not certain fail with it; others go on where they need nothing that waits for the disk. Close and open
//!   again to continue.
//! - A panic of sled's is an error (`LEVEL_CORRUPTION`) of the operation that met it and of all later ones. Its text is on
//!   the standard error stream. Only if a thread of sled's own panicked while it writes, which was never seen, writes would
//!   wait for it for ever.
//!
//! # What it does not offer
//!
//! Asking for it gives `LEVEL_NOT_SUPPORTED`, and the manifest says so:
//!
//! - **Snapshots.** Sled has none.
//! - **Consistent iterators** (`implicit_snapshots`). An iterator misses no key that existed throughout its life and never
//!   goes back, but may see some of what is written meanwhile and not the rest.
//! - **`sync`.** See below.
//!
//! # Durability, measured
//!
//! | what happens | what is left |
//! | --- | --- |
//! | the process is killed | every acknowledged write, every batch whole |
//! | the system stops, or power is lost | what sled can make of what the disk has: nothing is promised |
//! | the disk is full | every acknowledged write |
//! | files are damaged | an error, with the exceptions [below](#limits) |
//!
//! A flush of sled's writes to the log and asks the kernel to start writing that part of the file and to wait for it. On Linux
//! that is `sync_file_range`, which makes no disk empty its cache and writes nothing of the file system's own, such as
//! how long the file is. Once in half a second a thread of sled's calls `fsync` for the log. What is larger than 128 KiB, be it
//! one value or a page of many, has a file of its own, for which nothing is called at all. Of 1,000 puts, 500 one after the other and
//! 500 at once, strace counts 506 `pwrite64` and 506 `sync_file_range` calls, 4 `fsync` and no `fdatasync`; the head of
//! `examples/flushes.rs` has the commands. Calling `fsync` behind each flush would not do either: sled moves entries that were
//! written long ago, and reuses their old places, by the same means. So `sync` is refused.
//!
//! `tests/store/kills.rs` kills processes while they open and write, and checks what is left, also of what had only been read.
//! `RAVE_SLED_KILLS=250 cargo test -p rave-sled --test store kills` does so 750 times.
//!
//! # Limits
//!
//! - **Damage.** Sled recovers its log up to the first record that it cannot read and throws the rest away. Flushes are
//!   therefore numbered, in the log and in `rave-level.flushed`, and a log that ends before the last one is
//!   `LEVEL_CORRUPTION`. By then sled has cut it off: make a copy of a database that matters before opening it. Two kinds of
//!   damage sled takes for what it does itself, and they bring back older values in silence: in a segment that is not the
//!   last one, and the loss of a file in `blobs`. And after the system was started anew nothing can be told from the number,
//!   because either file may be the newer one; nor is it compared on other systems than Linux.
//! - **Speed.** All operations of a store go through one thread. A write waits for the disk. Batches of all sled databases of
//!   a process exclude each other and all reads for as long as it takes to apply them in memory, because sled has one lock
//!   for that.
//! - **Memory.** About [`cache_bytes`](Options::cache_bytes), and some megabytes besides. A `clear` holds the keys it deletes in
//!   memory.
//! - **Sizes.** Keys are shorter than 1 MiB, values not longer than 256 MiB. A page of sled's holds whole values and is written
//!   as a whole now and then: large values cost a multiple of their size.
//! - **Threads.** Sled starts some that live as long as the process does, without any files once the databases are closed.

mod command;
mod directory;
mod engine;
mod error;
mod flusher;
mod iterator;
mod lengths;
mod opener;
mod options;
mod owner;
mod store;
mod touched;
mod witness;

pub use opener::SledDb;
pub use options::Options;
