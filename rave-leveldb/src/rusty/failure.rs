//! What went wrong with the files, remembered: the engine swallows errors, so the environment keeps them for it.

use rave_core::{Code, Error};
use std::{
    cell::{Cell, RefCell},
    io,
    panic::resume_unwind,
    path::Path,
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
};

/// For tests: failures of the storage on demand.
#[doc(hidden)]
#[derive(Debug)]
pub struct Faults {
    /// Bytes that may still be written; negative: no limit.
    space: AtomicI64,
    /// Whether there is space again after the first failure.
    recovers: AtomicBool,
    /// Files that may still be installed (renamed); negative: no limit.
    renames: AtomicI64,
    sync: AtomicBool,
    skip_sync: AtomicBool,
    read: AtomicBool,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            space: AtomicI64::new(-1),
            recovers: AtomicBool::new(false),
            renames: AtomicI64::new(-1),
            sync: AtomicBool::new(false),
            skip_sync: AtomicBool::new(false),
            read: AtomicBool::new(false),
        }
    }
}

impl Faults {
    /// No failure, but fsync does nothing, for tests that would spend their time with it.
    pub fn without_sync() -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self { skip_sync: AtomicBool::new(true), ..Self::default() })
    }

    pub(crate) fn skips_sync(&self) -> bool {
        self.skip_sync.load(Ordering::Relaxed)
    }

    /// The disk is full after so many further bytes.
    pub fn full_after(&self, bytes: u32) {
        self.space.store(i64::from(bytes), Ordering::SeqCst);
    }

    /// One write fails, after so many further bytes.
    pub fn fail_once_after(&self, bytes: u32) {
        self.recovers.store(true, Ordering::SeqCst);
        self.full_after(bytes);
    }

    /// Renames fail after so many.
    pub fn fail_renames_after(&self, count: u32) {
        self.renames.store(i64::from(count), Ordering::SeqCst);
    }

    /// From now on fsync fails.
    pub fn fail_sync(&self) {
        self.sync.store(true, Ordering::SeqCst);
    }

    /// Whether reading tables fails.
    pub fn fail_reads(&self, fail: bool) {
        self.read.store(fail, Ordering::SeqCst);
    }

    /// How many of `wanted` bytes fit.
    pub(crate) fn room_for(&self, wanted: usize) -> usize {
        let space = self.space.load(Ordering::SeqCst);
        if space < 0 {
            return wanted;
        }
        let granted = wanted.min(usize::try_from(space).unwrap_or(0));
        let full = granted < wanted && self.recovers.load(Ordering::SeqCst);
        let left = if full { -1 } else { space - i64::try_from(granted).unwrap_or(0) };
        self.space.store(left, Ordering::SeqCst);
        granted
    }

    pub(crate) fn on_rename(&self) -> io::Result<()> {
        let left = self.renames.load(Ordering::SeqCst);
        if left == 0 {
            return Err(io::Error::other("injected rename failure"));
        }
        if left > 0 {
            self.renames.fetch_sub(1, Ordering::SeqCst);
        }
        Ok(())
    }

    pub(crate) fn on_sync(&self) -> io::Result<()> {
        if self.sync.load(Ordering::SeqCst) { Err(io::Error::other("injected fsync failure")) } else { Ok(()) }
    }

    pub(crate) fn on_read(&self) -> io::Result<()> {
        if self.read.load(Ordering::SeqCst) { Err(io::Error::other("injected read failure")) } else { Ok(()) }
    }
}

/// The memory of failures, shared by the environment and the engine's adapter.
///
/// The first failed write makes everything that changes files fail from then on ("fail-stop"): the engine would
/// otherwise go on and install half a compaction. Failed reads end the operation that needed them.
#[derive(Default)]
pub(crate) struct Failures {
    /// Why nothing may be changed any more.
    stopped: RefCell<Option<Error>>,
    /// What the running operation failed to read.
    unread: RefCell<Option<Error>>,
    /// While the engine opens, what it cannot read would be lost in a compaction, so that such a failure stops too.
    opening: Cell<bool>,
}

/// The payload of an unwinding that ends the running operation.
struct Unreadable;

impl Failures {
    pub(crate) fn stop(&self, error: Error) {
        self.stopped.borrow_mut().get_or_insert(error);
    }

    pub(crate) fn stopped(&self) -> Option<Error> {
        self.stopped.borrow().clone()
    }

    pub(crate) fn set_opening(&self, opening: bool) {
        self.opening.set(opening);
    }

    pub(crate) fn take_unread(&self) -> Option<Error> {
        self.unread.borrow_mut().take()
    }

    /// A write of `path` failed.
    pub(crate) fn write_failed(&self, attempt: &str, path: &Path, error: io::Error) -> rusty_leveldb::Status {
        let status = rusty_leveldb::Status::from(io::Error::new(error.kind(), error.to_string()));
        self.stop(Error::io(format!("{attempt} {}", path.display()), error));
        status
    }

    /// A read of `path` failed. Where the runtime can unwind this ends the running operation at once, since the engine
    /// takes no notice of errors and would skip entry after entry.
    pub(crate) fn read_failed(&self, error: Error) -> rusty_leveldb::Status {
        let status = rusty_leveldb::Status::new(rusty_leveldb::StatusCode::Corruption, &error.to_string());
        if self.opening.get() {
            self.stop(error.clone());
        }
        self.unread.borrow_mut().get_or_insert(error);
        if cfg!(panic = "unwind") && !std::thread::panicking() {
            resume_unwind(Box::new(Unreadable));
        }
        status
    }

    /// Fails if nothing may be changed any more.
    pub(crate) fn check(&self) -> Result<(), rusty_leveldb::Status> {
        match &*self.stopped.borrow() {
            Some(error) => Err(rusty_leveldb::Status::new(rusty_leveldb::StatusCode::IOError, &error.to_string())),
            None => Ok(()),
        }
    }
}

/// Damage in the file `path`.
pub(crate) fn damaged(path: &Path, what: &str) -> Error {
    Error::new(Code::Corruption, format!("{} is damaged: {what}", path.display()))
}
