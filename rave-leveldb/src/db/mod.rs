//! The database: how writes, reads, flushes and compactions meet.
//!
//! # Threads
//!
//! | thread | does | waits for |
//! | --- | --- | --- |
//! | callers | reads; writes that need not wait | nothing |
//! | writer | writes that wait: for an fsync, for room, for level 0 | `queue`, `changed` |
//! | flush | makes the immutable memtable a table of level 0 | `flush_wanted` |
//! | compaction | merges tables | `compaction_wanted` |
//! | deletion | deletes tables that nothing refers to | [`ObsoleteFiles`] |
//!
//! # Locks
//!
//! In this order; none is taken while one further down is held:
//!
//! 1. `appender`: held by whoever leads the write queue, for one group.
//! 2. `manifest`: one edit at a time, for as long as it takes to write and sync it.
//! 3. `state`: versions, snapshots, who wants what. Never held across file access.
//!
//! The write queue's own lock is held for moments, with nothing else inside it. Reads take no lock: they load
//! [`Current`]. All changes of `Current`'s view are made under `state`.

mod append;
mod background;
mod conditions;
mod current;
mod failure;
mod open;
mod queue;
mod range;
mod read;
mod snapshots;
mod stats;
mod view;
mod writer;

pub(crate) use queue::{Ticket, Work};
pub(crate) use snapshots::HeldSnapshot;
pub use stats::{LevelStats, Stats};
pub(crate) use view::View;
pub(crate) use writer::Write;

use crate::{
    Options,
    compaction::LevelRules,
    error::io_failed,
    log::LogWriter,
    memtable::MemTable,
    storage::{FileName, OpenFiles, Storage},
    store::Gate,
    table::{TableCache, TableOptions},
    version::{
        Contents, FileNumbers, Manifest, Recovered, SetOptions, VersionEdit, VersionSet, contents, live_logs,
        obsolete_files, remove_files,
    },
};
use append::Appender;
use current::Current;
use failure::Failure;
pub(crate) use open::{Replay, Replayed};
use parking_lot::{Condvar, Mutex};
use queue::WriteQueue;
use range::RangeCompaction;
use rave_core::{Code, Error, EventHub, Result};
use snapshots::Snapshots;
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

/// Files that are open besides tables: logs, the manifest, the lock.
const OTHER_FILES: usize = 10;
/// Fewer tables than this are never kept open.
const FEWEST_TABLES: usize = 4;

/// An open database, without its asynchronous face.
pub(crate) struct Db {
    pub(crate) options: Options,
    pub(crate) gate: Arc<Gate>,
    pub(crate) events: EventHub,
    pub(crate) queue: WriteQueue,
    pub(crate) current: Current<View>,
    storage: Arc<dyn Storage>,
    tables: Arc<TableCache>,
    open_files: Arc<OpenFiles>,
    numbers: Arc<FileNumbers>,
    failure: Failure,
    appender: Mutex<Appender>,
    manifest: Mutex<Manifest>,
    state: Mutex<State>,
    /// Something that writes or range compactions may wait for has happened.
    changed: Condvar,
    flush_wanted: Condvar,
    compaction_wanted: Condvar,
    /// Tables in level 0, to be read without a lock.
    level0: AtomicUsize,
    closing: AtomicBool,
}

/// What changes with flushes, compactions and snapshots.
struct State {
    versions: VersionSet,
    /// The log of the active memtable.
    log_number: u64,
    snapshots: Snapshots,
    /// The compaction of a range that somebody waits for.
    range: Option<RangeCompaction>,
}

impl Db {
    /// Recovers and opens the database in `storage`, whose lock is held. Nothing runs in the background yet.
    pub(crate) fn open(storage: Arc<dyn Storage>, options: Options, events: EventHub) -> Result<Self> {
        let directory = storage.directory().to_owned();
        let levels = set_options(&options);
        let Recovered { mut set, mut manifest, torn } = match contents(storage.as_ref())? {
            Contents::Empty if options.create_if_missing => VersionSet::create(&storage, levels)?,
            Contents::Empty => return Err(refuse(&directory, "has no database, and none is to be created")),
            Contents::Database if options.error_if_exists => return Err(refuse(&directory, "has a database already")),
            Contents::Database => VersionSet::recover(&storage, levels)?,
        };
        // Before any file is created or removed: one that is there while `CURRENT`, or an edit, is lost with the power would
        // show a database that is damaged, instead of an earlier one.
        manifest.settle()?;
        let open_files = Arc::new(OpenFiles::new(
            storage.clone(),
            options.max_open_files.saturating_sub(OTHER_FILES).max(FEWEST_TABLES),
        ));
        let tables = Arc::new(TableCache::new(open_files.clone(), options.cache_bytes));

        let mut edit = VersionEdit::default();
        let last = set.last_sequence();
        let Replayed { sequence, memtable, tail, tear } = {
            let numbers = set.numbers().clone();
            let mut spill = |full: &Arc<MemTable>| -> Result<()> {
                let built = background::build(&storage, &numbers, &options, full)?;
                edit.new_files.extend(built.map(|(info, _)| (0, info)));
                Ok(())
            };
            let mut replay = Replay::new(storage.as_ref(), options.write_buffer_size, last, &mut spill);
            for log in live_logs(storage.as_ref(), &set)? {
                replay.replay(log)?;
            }
            replay.finish()?
        };
        set.set_last_sequence(sequence);
        if let Some(tear) = tear {
            tear.warn();
        }

        // A log that has all there is and is whole goes on, so that taking over writes nothing at all.
        let (log, log_path, log_number) = match tail {
            Some(tail) if !torn && tail.number == set.log_number() => {
                let name = FileName::Log(tail.number).to_string();
                let path = directory.join(&name);
                let file = storage.append(&name).map_err(|error| io_failed("opening", &path, error))?;
                (LogWriter::continuing(file, tail.length), path, tail.number)
            }
            tail => {
                if tail.is_some() && !memtable.is_empty() {
                    let built = background::build(&storage, set.numbers(), &options, &memtable)?;
                    edit.new_files.extend(built.map(|(info, _)| (0, info)));
                }
                let number = set.new_file_number();
                let (log, path) = Appender::create_log(storage.as_ref(), number, sequence)?;
                edit.log_number = Some(number);
                edit.prev_log_number = Some(0);
                (log, path, number)
            }
        };
        let memtable = if edit.log_number.is_some() { Arc::new(MemTable::new()) } else { memtable };
        if edit.log_number.is_some() {
            set.log_and_apply(&mut manifest, edit)?;
        }
        let obsolete = obsolete_files(storage.as_ref(), &set, manifest.number())?;
        remove_files(storage.as_ref(), &obsolete);

        let version = set.current();
        let level0 = AtomicUsize::new(version.files(0).len());
        let view = View { active: memtable.clone(), immutable: None, version };
        Ok(Self {
            gate: Arc::default(),
            events,
            queue: WriteQueue::new(),
            current: Current::new(view, sequence),
            tables,
            open_files,
            numbers: set.numbers().clone(),
            failure: Failure::default(),
            appender: Mutex::new(Appender::new(log, log_path, memtable, sequence)),
            manifest: Mutex::new(manifest),
            state: Mutex::new(State { versions: set, log_number, snapshots: Snapshots::default(), range: None }),
            changed: Condvar::new(),
            flush_wanted: Condvar::new(),
            compaction_wanted: Condvar::new(),
            level0,
            closing: AtomicBool::new(false),
            storage,
            options,
        })
    }

    /// Where it is, for messages.
    pub(crate) fn location(&self) -> String {
        self.storage.directory().display().to_string()
    }

    fn new_file_number(&self) -> u64 {
        self.numbers.allocate()
    }

    fn level0_tables(&self) -> usize {
        self.level0.load(Ordering::Relaxed)
    }

    /// How tables are written, of the options.
    pub(crate) fn table_options(options: &Options) -> TableOptions {
        TableOptions {
            compression: options.compression,
            block_size: options.block_size,
            restart_interval: 16,
            bloom_bits: options.bloom_bits,
        }
    }
}

/// The shape of the levels; a manifest of half a table is long enough to be begun anew.
fn set_options(options: &Options) -> SetOptions {
    let max_file_size = options.max_file_size as u64;
    SetOptions { rules: LevelRules { max_file_size }, manifest_limit: max_file_size / 2 }
}

fn refuse(directory: &Path, what: &str) -> Error {
    Error::new(Code::DatabaseFailedOpen, format!("{} {what}", directory.display()))
}

#[cfg(all(test, feature = "testing"))]
mod tests;
