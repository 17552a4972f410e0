//! The crate `sled`, with its panics made errors and its end made certain.
//!
//! What sled leaves open is settled here: a panic of its ends the operation and not the process, and
//! [`close`](Engine::close) returns only when no thread of sled's has the files any more.

use crate::{Options, directory, error, witness::Witness};
use bytes::Bytes;
use rave_core::{Code, Error, KeyRange, Operation, Result};
use std::{
    collections::HashMap,
    fs::{File, OpenOptions, TryLockError},
    io,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long the file of a process that is just dying may stay open.
const DYING: Duration = Duration::from_secs(5);
/// How long sled may keep a file that it should have closed. Cutting off the end of a large file can take a while.
const CLOSING: Duration = Duration::from_secs(60);

/// The tree for what is kept besides the entries, and the key of the number of the last flush in it.
const OWN_TREE: &str = "rave-sled";
const FLUSHED: &str = "flushed";

/// The flushes of a database are numbered.
struct Flushes {
    last: u64,
    witness: Witness,
}

/// An open sled database. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Engine {
    db: sled::Db,
    /// What is kept besides the entries: the number of the last flush.
    own: sled::Tree,
    flushes: Arc<Mutex<Flushes>>,
    directory: Arc<PathBuf>,
    /// Set by a panic: what sled has in memory may be anything by now.
    broken: Arc<AtomicBool>,
}

impl Engine {
    /// Recovers and opens the database in `directory`. On an error nothing of it is open any more.
    ///
    /// Requires: the directory's lock is held.
    pub(crate) fn open(directory: &Path, options: &Options) -> Result<Self> {
        directory::check_locked(directory, options)?;
        // The kernel closes the files of a killed process one by one: it may have given us its lock and still have this.
        if !wait_until_closed(directory, DYING)? {
            let what = format!(
                "{} is held by a program that uses sled directly; end that program",
                directory::data_file(directory).display()
            );
            return Err(Error::new(Code::Locked, what));
        }
        let config = sled::Config::new()
            .path(directory)
            .cache_capacity(options.cache_bytes)
            .segment_size(options.segment_bytes)
            .use_compression(false);
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let db = config.open()?;
            let own = db.open_tree(OWN_TREE)?;
            let flushed = own.get(FLUSHED)?;
            Ok((db, own, flushed))
        }));
        let opened = match opened {
            Ok(opened) => opened.map_err(|error| error::failed("opening", directory, error)),
            Err(_) => Err(error::panicked("opening", directory)),
        };
        let opened = opened.and_then(|(db, own, flushed)| {
            let last = flushed.and_then(|number| Some(u64::from_be_bytes((*number).try_into().ok()?))).unwrap_or(0);
            let flushes = Arc::new(Mutex::new(Flushes { last, witness: Witness::open(directory, last)? }));
            Ok(Self { db, own, flushes, directory: Arc::new(directory.to_owned()), broken: Arc::default() })
        });
        if opened.is_err() {
            wait_until_closed(directory, CLOSING)?;
        }
        opened
    }

    /// The directory.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The value of `key`.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let value = self.guard("reading", || self.db.get(key))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    /// Whether `key` exists.
    pub(crate) fn has(&self, key: &[u8]) -> Result<bool> {
        self.guard("reading", || self.db.contains_key(key))
    }

    /// Shows the entries of a range, in the order asked for, until `show` has enough.
    pub(crate) fn visit(
        &self,
        range: &KeyRange,
        reverse: bool,
        mut show: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let mut entries = self.guard("reading", || Ok(self.db.range::<&Bytes, _>((range.lower(), range.upper()))))?;
        loop {
            let entry = self.guard("reading", || {
                let entry = if reverse { entries.next_back() } else { entries.next() };
                entry.transpose()
            })?;
            match entry {
                Some((key, value)) if show(&key, &value).is_continue() => {}
                _ => return Ok(()),
            }
        }
    }

    /// Applies operations in their order, as one step, in memory. [`flush`](Self::flush) makes them survive this process.
    ///
    /// Requires: nobody else applies anything meanwhile.
    pub(crate) fn apply(&self, operations: Vec<Operation>) -> Result<()> {
        let last: HashMap<Bytes, Option<Bytes>> = operations
            .into_iter()
            .map(|operation| match operation {
                Operation::Put { key, value } => (key, Some(value)),
                Operation::Del { key } => (key, None),
            })
            .collect();
        // What cannot be read fails here, before any change: sled does not take back the first half of a batch whose
        // second half meets a page that it cannot read.
        for key in last.keys() {
            self.has(key)?;
        }
        self.guard("writing to", || {
            let mut batch = sled::Batch::default();
            let mut last = last.into_iter();
            match (last.next(), last.len()) {
                (None, _) => return Ok(()),
                // The same, without the pains that a batch takes to be atomic.
                (Some((key, Some(value))), 0) => return self.db.insert(key, &*value).map(drop),
                (Some((key, None)), 0) => return self.db.remove(key).map(drop),
                (Some((key, Some(value))), _) => batch.insert(&*key, &*value),
                (Some((key, None)), _) => batch.remove(&*key),
            }
            for (key, value) in last {
                match value {
                    Some(value) => batch.insert(&*key, &*value),
                    None => batch.remove(&*key),
                }
            }
            self.db.apply_batch(batch)
        })
    }

    /// Hands all that was applied to the operating system. Blocks for as long as that takes the disk.
    ///
    /// Requires: nothing is applied meanwhile.
    pub(crate) fn flush(&self) -> Result<()> {
        let mut flushes = self.flushes.lock().unwrap_or_else(PoisonError::into_inner);
        let number = flushes.last + 1;
        self.guard("writing to", || {
            // Behind the writes that it is of, so that where it is recovered they are.
            self.own.insert(FLUSHED, &number.to_be_bytes())?;
            self.db.flush()
        })?;
        flushes.last = number;
        flushes.witness.note(number)
    }

    /// Closes the database, and waits until sled has let go of its files.
    ///
    /// Errors: if it does not; the directory must stay locked then.
    ///
    /// Requires: no other clone is left.
    pub(crate) fn close(self) -> Result<()> {
        let Self { db, own, flushes, directory, broken: _ } = self;
        drop(flushes);
        if catch_unwind(AssertUnwindSafe(|| drop((own, db)))).is_err() {
            tracing::error!(directory = %directory.display(), "sled panicked while it was closing");
        }
        if wait_until_closed(&directory, CLOSING)? {
            return Ok(());
        }
        let data = directory::data_file(&directory);
        let what = format!("sled did not close {}; the database stays locked until this process ends", data.display());
        Err(Error::new(Code::Io, what))
    }

    /// Runs a piece of sled, whose panics end here.
    fn guard<T>(&self, attempt: &str, run: impl FnOnce() -> sled::Result<T>) -> Result<T> {
        if self.broken.load(Ordering::Acquire) {
            return Err(error::panicked(attempt, &self.directory));
        }
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(result) => result.map_err(|error| error::failed(attempt, &self.directory, error)),
            Err(_) => {
                self.broken.store(true, Ordering::Release);
                Err(error::panicked(attempt, &self.directory))
            }
        }
    }
}

/// Waits until nobody has the data file open, in this process or in another, and says whether that came to be.
///
/// Sled locks the file for as long as any of its threads has it, and closes it on whichever thread is the last: after its
/// handle was dropped, its pool may still be truncating the file. So to get that lock is to know that all is over.
fn wait_until_closed(directory: &Path, patience: Duration) -> Result<bool> {
    let data = directory::data_file(directory);
    let failed = |error| Error::io(format!("looking whether {} is in use", data.display()), error);
    let file: File = match OpenOptions::new().read(true).write(true).open(&data) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(failed(error)),
    };
    let deadline = Instant::now() + patience;
    let mut pause = Duration::from_micros(50);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => return Ok(false),
            Err(TryLockError::WouldBlock) => {
                thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(20));
            }
        }
    }
}
