//! Opening a directory: take its lock, then recover what is in it.

use crate::rusty::{
    cache::Cache,
    check,
    engine::Engine,
    failure::Faults,
    owner,
    store::{Shared, Store},
};
use crate::{Options, directory, version::Contents};
use async_trait::async_trait;
use rave_core::{
    AbstractLevel, Code, Error, Event, EventHub, FileLock, FileLockAttempt, LockAttempt, LockedStore, Opener, Result,
    process_name,
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
};
use tokio::sync::{oneshot, watch};

/// A database in a directory, not yet opened.
///
/// Of the [`Options`] these mean something else here: at least 64 tables are kept open, whatever
/// [`max_open_files`](Options::max_open_files) says; and [`cache_bytes`](Options::cache_bytes) are kept of blocks, and
/// as much of single values.
#[derive(Clone, Debug)]
pub struct RustyLevelDb {
    path: PathBuf,
    options: Options,
    faults: Option<Arc<Faults>>,
}

impl RustyLevelDb {
    /// The database in the directory `path`, with default options.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::with_options(path, Options::default())
    }

    /// The database in the directory `path`.
    pub fn with_options(path: impl Into<PathBuf>, options: Options) -> Self {
        Self { path: path.into(), options, faults: None }
    }

    /// For tests: where to fail.
    #[doc(hidden)]
    pub fn with_faults(self, faults: Arc<Faults>) -> Self {
        Self { faults: Some(faults), ..self }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Locks, recovers and opens the database for this process alone.
    ///
    /// Errors: `LEVEL_LOCKED` if another process, or another handle of this one, has it open; `LEVEL_DATABASE_FAILED_OPEN`
    /// if the path is no directory, has other files and no database, or is not what the options ask for;
    /// `LEVEL_CORRUPTION` if the database is damaged; `LEVEL_IO_ERROR`.
    pub async fn open(&self) -> Result<Arc<dyn AbstractLevel>> {
        match self.try_lock().await? {
            LockAttempt::Acquired(locked) => locked.open().await,
            LockAttempt::Held { holder } => {
                let by = process_name(holder);
                Err(Error::new(Code::Locked, format!("{} is held by {by}", self.path.display())))
            }
        }
    }

    fn prepare_directory(&self) -> Result<()> {
        directory::prepare(&self.path, self.options.create_if_missing, || {
            Ok(matches!(check::contents(&self.path)?, Contents::Database))
        })
    }
}

#[async_trait]
impl Opener for RustyLevelDb {
    async fn try_lock(&self) -> Result<LockAttempt> {
        self.prepare_directory()?;
        // The engine must not care about a change of the working directory.
        let directory = fs::canonicalize(&self.path)
            .map_err(|error| Error::io(format!("looking at {}", self.path.display()), error))?;
        Ok(match FileLock::try_acquire(&directory.join("LOCK"))? {
            FileLockAttempt::Acquired(lock) => {
                let (options, faults) = (self.options.clone(), self.faults.clone());
                LockAttempt::Acquired(Box::new(LockedDirectory { directory, options, faults, lock }))
            }
            FileLockAttempt::Held { holder } => LockAttempt::Held { holder },
        })
    }

    fn location(&self) -> String {
        self.path.display().to_string()
    }
}

/// A directory whose lock is held.
struct LockedDirectory {
    directory: PathBuf,
    options: Options,
    faults: Option<Arc<Faults>>,
    lock: FileLock,
}

#[async_trait]
impl LockedStore for LockedDirectory {
    async fn open(self: Box<Self>) -> Result<Arc<dyn AbstractLevel>> {
        let Self { directory, options, faults, lock } = *self;
        let (requests, queue) = mpsc::channel();
        let (closed, is_closed) = watch::channel(false);
        let (opened, outcome) = oneshot::channel();
        let events = EventHub::new();
        let cache = Arc::new(Cache::new(options.cache_bytes));
        let shared =
            Shared::new(directory.clone(), requests, cache.clone(), events.clone(), is_closed, options.read_only);
        let thread = thread::Builder::new().name("rave-leveldb".to_owned()).stack_size(8 << 20);
        let spawned = thread.spawn(move || {
            let engine = match Engine::open(&directory, options, faults) {
                Ok(engine) => engine,
                Err(error) => {
                    // The lock is free by the time the error is seen.
                    drop(lock);
                    let _ = opened.send(Err(error));
                    return;
                }
            };
            // If nobody waits any more the store is dropped here, which closes it.
            let _ = opened.send(Ok(Store::new(shared)));
            owner::serve(engine, cache, events.clone(), queue);
            // The last deed, when nothing of the store is left.
            drop(lock);
            closed.send_replace(true);
            events.emit(|| Event::Closed);
        });
        spawned.map_err(|error| Error::io("starting the store's thread", error))?;
        let store = outcome.await.map_err(|_| Error::new(Code::DatabaseFailedOpen, "the store's thread ended"))??;
        Ok(Arc::new(store))
    }
}
