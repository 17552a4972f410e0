//! Opening a directory: take its lock, then recover what is in it.

use crate::{
    Options, directory,
    engine::Engine,
    flusher::Flusher,
    owner,
    store::{Shared, Store},
};
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
#[derive(Clone, Debug)]
pub struct SledDb {
    path: PathBuf,
    options: Options,
}

impl SledDb {
    /// The database in the directory `path`, with default options.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::with_options(path, Options::default())
    }

    /// The database in the directory `path`.
    pub fn with_options(path: impl Into<PathBuf>, options: Options) -> Self {
        Self { path: path.into(), options }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Locks, recovers and opens the database for this process alone.
    ///
    /// Errors: `LEVEL_LOCKED` if another process, or another handle of this one, has it open; `LEVEL_DATABASE_FAILED_OPEN`
    /// if the path is no directory, has other files and no database, holds a LevelDB database, or is not what the options
    /// ask for; `LEVEL_CORRUPTION` if the database is damaged; `LEVEL_IO_ERROR`.
    pub async fn open(&self) -> Result<Arc<dyn AbstractLevel>> {
        match self.try_lock().await? {
            LockAttempt::Acquired(locked) => locked.open().await,
            LockAttempt::Held { holder } => {
                let by = process_name(holder);
                Err(Error::new(Code::Locked, format!("{} is held by {by}", self.path.display())))
            }
        }
    }
}

#[async_trait]
impl Opener for SledDb {
    async fn try_lock(&self) -> Result<LockAttempt> {
        directory::prepare(&self.path, &self.options)?;
        // The engine must not care about a change of the working directory.
        let directory = fs::canonicalize(&self.path)
            .map_err(|error| Error::io(format!("looking at {}", self.path.display()), error))?;
        Ok(match FileLock::try_acquire(&directory.join("LOCK"))? {
            FileLockAttempt::Acquired(lock) => {
                LockAttempt::Acquired(Box::new(LockedDirectory { directory, options: self.options.clone(), lock }))
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
    lock: FileLock,
}

#[async_trait]
impl LockedStore for LockedDirectory {
    async fn open(self: Box<Self>) -> Result<Arc<dyn AbstractLevel>> {
        let Self { directory, options, lock } = *self;
        let (opened, outcome) = oneshot::channel();
        // The thread owns the lock, from before the recovery until nothing of the database is left.
        let thread = thread::Builder::new().name("rave-sled".to_owned());
        let spawned = thread.spawn(move || run(&directory, &options, lock, opened));
        spawned.map_err(|error| Error::io("starting the store's thread", error))?;
        let store = outcome.await.map_err(|_| Error::new(Code::DatabaseFailedOpen, "the store's thread ended"))??;
        Ok(Arc::new(store))
    }
}

/// The life of a store, from its recovery to the release of its lock.
fn run(directory: &Path, options: &Options, lock: FileLock, opened: oneshot::Sender<Result<Store>>) {
    let (messages, queue) = mpsc::channel();
    let (closed, is_closed) = watch::channel(None);
    let events = EventHub::new();
    let ready = Engine::open(directory, options)
        .and_then(|engine| Ok((Flusher::start(engine.clone(), messages.clone())?, engine)));
    let (flusher, engine) = match ready {
        Ok(ready) => ready,
        Err(error) => {
            // The lock is free by the time the error is seen.
            drop(lock);
            let _ = opened.send(Err(error));
            return;
        }
    };
    // If nobody waits any more the store is dropped here, which closes it.
    let shared = Shared::new(directory.to_owned(), messages, events.clone(), is_closed, options.read_only);
    let _ = opened.send(Ok(Store::new(shared)));
    let engine = owner::serve(engine, flusher, events.clone(), &queue);
    let outcome = engine.close();
    match &outcome {
        // The last deed, when nothing of the store is left.
        Ok(()) => drop(lock),
        Err(error) => {
            tracing::error!(directory = %directory.display(), %error, "the store cannot be closed");
            // Whoever opened the files now would share them with what is left of sled.
            std::mem::forget(lock);
        }
    }
    closed.send_replace(Some(outcome));
    events.emit(|| Event::Closed);
}
