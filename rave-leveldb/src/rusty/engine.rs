//! The engine and what has to be done so that it gives right answers and loses nothing.
//!
//! The engine is `rusty-leveldb`. Its `get`, its backward iteration, its snapshot list and its way to place tables while
//! it runs are wrong; its recovery, its compaction (while nothing holds a snapshot) and its forward iterators are right.
//! So:
//!
//! - The write buffer is never emptied by the engine itself. Instead the adapter opens the engine anew on the same files:
//!   recovery turns the log into a table of level 0, and then compacts if there is need. Each opening is a *generation*.
//!   Within a generation the set of tables never changes.
//! - The first generation continues the log and the manifest it finds, if both end with a whole record: so a takeover
//!   need not write anything. Later generations start new ones.
//! - Everything is read with forward iterators. One that belongs to an older generation stays right, because its tables
//!   are kept until no view of an older generation is left.
//! - If opening the next generation fails, the present one goes on reading: it is complete in memory and files.

use crate::rusty::{
    check,
    comparator::Bytewise,
    env::{Files, StoreEnv},
    failure::Faults,
    scan::{PageRequest, View},
};
use crate::{Compression, Options, version::Contents};
use rave_core::{Batch, Code, Effect, Entry, Error, Operation, Result};
use rusty_leveldb::{
    CompressorId, DB, Status, StatusCode, WriteBatch,
    compressor::{NoneCompressor, SnappyCompressor},
    infolog,
};
use std::{
    any::Any,
    cell::RefCell,
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    rc::{Rc, Weak},
    sync::Arc,
};

/// Entries that are visited between two looks at the byte bound of a page.
const PAGE: usize = 4096;

/// A database, to be used by one thread only.
pub(crate) struct Engine {
    directory: PathBuf,
    options: Options,
    files: Rc<Files>,
    db: DB,
    generation: u64,
    /// The present state, until the next write.
    present: Option<Rc<View>>,
    /// The views given out, by generation.
    views: RefCell<BTreeMap<u64, Vec<Weak<View>>>>,
    /// The engine panicked: nothing it holds in memory can be trusted.
    broken: Option<Error>,
}

impl Engine {
    /// Recovers and opens the database in `directory`, whose lock is held.
    pub(crate) fn open(directory: &Path, options: Options, faults: Option<Arc<Faults>>) -> Result<Self> {
        let reuse = match check::contents(directory)? {
            Contents::Empty if !options.create_if_missing => {
                let what = format!("there is no database in {} and none is to be created", directory.display());
                return Err(Error::new(Code::DatabaseFailedOpen, what));
            }
            Contents::Empty => true,
            Contents::Database if options.error_if_exists => {
                let what = format!("there is a database in {} already", directory.display());
                return Err(Error::new(Code::DatabaseFailedOpen, what));
            }
            Contents::Database => check::verify(directory)?,
        };
        let files = Files::new(faults);
        let generation = 1;
        let db = open_generation(directory, &options, &files, generation, reuse)?;
        files.reclaim(generation);
        Ok(Self {
            directory: directory.to_owned(),
            options,
            files,
            db,
            generation,
            present: None,
            views: RefCell::default(),
            broken: None,
        })
    }

    /// Applies batches, each atomically, all in one step. With `sync` they are on the disk afterwards.
    pub(crate) fn write<'a>(&mut self, batches: impl Iterator<Item = &'a Batch>, sync: bool) -> Result<()> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        if let Some(error) = self.files.failures.stopped() {
            return Err(Error::new(error.code(), "the store takes no writes after a failure; close and open it again")
                .with_source(error));
        }
        let mut batch = WriteBatch::default();
        for operation in batches.flat_map(Batch::operations) {
            match operation {
                Operation::Put { key, value } => batch.put(key, value),
                Operation::Del { key } => batch.delete(key),
            }
        }
        if batch.count() == 0 {
            return if sync { self.files.sync_log() } else { Ok(()) };
        }
        self.present = None;
        // The engine's "sync" empties its buffer, which makes our file write.
        let db = &mut self.db;
        let written = guard(&self.files, || db.write(batch, true)).and_then(|written| {
            written.map_err(|status| error_of(&self.files, &self.directory, status))?;
            if sync { self.files.sync_log() } else { Ok(()) }
        });
        written.map_err(|error| {
            self.note(&error);
            self.files.failures.stop(error.clone());
            error.context(format!("writing to {}", self.directory.display())).with_effect(Effect::Unknown)
        })
    }

    /// Whether the write buffer is full.
    pub(crate) fn is_full(&self) -> bool {
        self.files.written.get() >= self.options.write_buffer_size as u64 && self.files.failures.stopped().is_none()
    }

    /// Empties the write buffer into a table, and compacts if there is need. What fails shows with the next write;
    /// nothing acknowledged is lost.
    pub(crate) fn turn_over(&mut self) {
        self.present = None;
        match open_generation(&self.directory, &self.options, &self.files, self.generation + 1, false) {
            Ok(db) => {
                self.db = db;
                self.generation += 1;
            }
            Err(error) => {
                tracing::error!(directory = %self.directory.display(), %error, "the store takes no further writes");
                self.files.failures.stop(error);
            }
        }
        self.reclaim();
    }

    /// The present state.
    pub(crate) fn present(&mut self) -> Result<Rc<View>> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        if let Some(view) = &self.present {
            return Ok(view.clone());
        }
        let db = &mut self.db;
        let cursor = guard(&self.files, || db.new_iter());
        let cursor = cursor.and_then(|made| made.map_err(|status| error_of(&self.files, &self.directory, status)));
        let view = Rc::new(View::new(self.noted(cursor)?));
        self.views.borrow_mut().entry(self.generation).or_default().push(Rc::downgrade(&view));
        self.present = Some(view.clone());
        Ok(view)
    }

    /// Reads from a view. Fails if anything needed could not be read, or was damaged.
    pub(crate) fn read<T>(&mut self, view: &View, read: impl FnOnce(&View) -> T) -> Result<T> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        let result = guard(&self.files, || read(view));
        if result.is_err() {
            self.present = None;
        }
        self.noted(result)
    }

    /// Shows all entries that `request` wants of a view, page by page.
    pub(crate) fn visit(&mut self, view: &View, mut request: PageRequest, mut show: impl FnMut(Entry)) -> Result<()> {
        let (all, mut left) = (request.range.clone(), request.want);
        let mut samples = Vec::new();
        while left > 0 {
            request.want = left.min(PAGE);
            let page = self.read(view, |view| view.page(&request, &mut samples))?;
            left -= page.entries.len();
            if let Some(last) = page.entries.last() {
                request.range = all.behind(&last.key, request.reverse);
            }
            page.entries.into_iter().for_each(&mut show);
            if page.done {
                break;
            }
        }
        Ok(())
    }

    /// Deletes the tables that nothing needs any more. To be called when views were dropped.
    pub(crate) fn reclaim(&self) {
        let mut views = self.views.borrow_mut();
        views.retain(|_, views| {
            views.retain(|view| view.strong_count() > 0);
            !views.is_empty()
        });
        let oldest = views.keys().next().copied().unwrap_or(self.generation).min(self.generation);
        self.files.reclaim(oldest);
    }

    fn noted<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            self.note(error);
        }
        result
    }

    fn note(&mut self, error: &Error) {
        if error.message().starts_with(PANICKED) {
            tracing::error!(directory = %self.directory.display(), %error, "the store is unusable");
            self.files.failures.stop(error.clone());
            self.broken = Some(error.clone());
            self.present = None;
        }
    }
}

const PANICKED: &str = "the storage engine met data it cannot handle";

fn open_generation(directory: &Path, options: &Options, files: &Rc<Files>, generation: u64, reuse: bool) -> Result<DB> {
    if let Some(error) = files.failures.stopped() {
        return Err(error);
    }
    let block_size = options.block_size.clamp(64, 16 << 20);
    let engine = rusty_leveldb::Options {
        cmp: Rc::new(Box::new(Bytewise)),
        env: Rc::new(Box::new(StoreEnv(files.clone()))),
        log: Some(Rc::new(RefCell::new(infolog::Logger(Box::new(std::io::sink()))))),
        create_if_missing: true,
        error_if_exists: false,
        write_buffer_size: usize::MAX,
        max_open_files: options.max_open_files.max(64) + 10,
        max_file_size: TABLE_SIZE.min(options.write_buffer_size.saturating_mul(4).max(64 << 10)),
        block_cache_capacity_bytes: options.cache_bytes.max(16 * block_size),
        block_size,
        compressor: match options.compression {
            Compression::None => NoneCompressor::ID,
            Compression::Snappy => SnappyCompressor::ID,
        },
        reuse_logs: reuse,
        reuse_manifest: reuse,
        ..rusty_leveldb::in_memory()
    };
    files.begin_generation(generation);
    files.failures.set_opening(true);
    let opened = guard(files, || DB::open(directory, engine));
    files.failures.set_opening(false);
    let opened = opened.and_then(|opened| opened.map_err(|status| error_of(files, directory, status)));
    // The first failure is the cause, also of what the engine took for done or for damaged because of it.
    let opened = files.failures.stopped().map_or(opened, Err);
    opened.map_err(|error| error.context(format!("opening {}", directory.display())))
}

/// Bytes of a table that a compaction makes. There is one compaction for each filling of the write buffer, so that it
/// has to move more than that.
const TABLE_SIZE: usize = 16 << 20;

/// Runs a piece of the engine, whose panics end there.
fn guard<T>(files: &Files, run: impl FnOnce() -> T) -> Result<T> {
    files.failures.take_unread();
    let result = catch_unwind(AssertUnwindSafe(run));
    if let Some(error) = files.failures.take_unread() {
        return Err(error);
    }
    result.map_err(|payload| Error::new(Code::Corruption, format!("{PANICKED}: {}", panic_text(payload.as_ref()))))
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("unknown");
    // One line, and no more of it than helps: it may quote stored bytes.
    text.lines().next().unwrap_or_default().chars().take(120).collect()
}

fn error_of(files: &Files, directory: &Path, status: Status) -> Error {
    if let Some(error) = files.failures.stopped() {
        return error;
    }
    let code = match status.code {
        StatusCode::Corruption | StatusCode::InvalidData | StatusCode::CompressionError => Code::Corruption,
        StatusCode::InvalidArgument | StatusCode::NotFound => Code::DatabaseFailedOpen,
        _ => Code::Io,
    };
    Error::new(code, format!("{}: {}", directory.display(), status.err))
}
