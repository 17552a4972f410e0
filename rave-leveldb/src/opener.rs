//! Opening a directory: take its lock, then recover what is in it.

use crate::{
    Options, Store,
    db::Db,
    directory,
    storage::{OsStorage, Storage},
    version::{Contents, contents},
};
use async_trait::async_trait;
use rave_core::{
    AbstractLevel, Code, Error, Event, EventHub, FileLock, FileLockAttempt, LockAttempt, LockedStore, Opener, Result,
    process_name,
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};
use tokio::sync::{oneshot, watch};

/// A database in a directory, not yet opened.
#[derive(Clone, Debug)]
pub struct LevelDb {
    path: PathBuf,
    options: Options,
}

impl LevelDb {
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
    /// if the path is no directory, has other files and no database, or is not what the options ask for;
    /// `LEVEL_CORRUPTION` if the database is damaged; `LEVEL_NOT_SUPPORTED` if it orders its keys in another way;
    /// `LEVEL_IO_ERROR`.
    pub async fn open(&self) -> Result<Arc<dyn AbstractLevel>> {
        Ok(self.open_store().await?)
    }

    /// The same as [`open`](Self::open), for those who need what only this kind of store has.
    pub async fn open_store(&self) -> Result<Arc<Store>> {
        self.prepare_directory(self.options.create_if_missing)?;
        self.lock()?.open_store().await
    }

    /// Takes the lock or says who has it. Requires that the directory exists.
    pub(crate) fn lock(&self) -> Result<LockedDirectory> {
        match self.attempt_lock()? {
            Ok(locked) => Ok(locked),
            Err(holder) => {
                let by = process_name(holder);
                Err(Error::new(Code::Locked, format!("{} is held by {by}", self.path.display())))
            }
        }
    }

    fn attempt_lock(&self) -> Result<std::result::Result<LockedDirectory, Option<u32>>> {
        // The engine must not care about a change of the working directory.
        let directory = fs::canonicalize(&self.path)
            .map_err(|error| Error::io(format!("looking at {}", self.path.display()), error))?;
        Ok(match FileLock::try_acquire(&directory.join("LOCK"))? {
            FileLockAttempt::Acquired(lock) => {
                Ok(LockedDirectory { storage: self.storage(directory), options: self.options.clone(), lock })
            }
            FileLockAttempt::Held { holder } => Err(holder),
        })
    }

    fn storage(&self, directory: PathBuf) -> Arc<dyn Storage> {
        #[cfg(feature = "testing")]
        if let Some(disk) = &self.options.disk {
            return disk.storage(directory);
        }
        Arc::new(OsStorage::new(directory))
    }

    /// Makes sure that the directory exists and may hold a database.
    pub(crate) fn prepare_directory(&self, create: bool) -> Result<()> {
        directory::prepare(&self.path, create, || {
            Ok(matches!(contents(self.storage(self.path.clone()).as_ref())?, Contents::Database))
        })
    }
}

#[async_trait]
impl Opener for LevelDb {
    async fn try_lock(&self) -> Result<LockAttempt> {
        self.prepare_directory(self.options.create_if_missing)?;
        Ok(match self.attempt_lock()? {
            Ok(locked) => LockAttempt::Acquired(Box::new(locked)),
            Err(holder) => LockAttempt::Held { holder },
        })
    }

    fn location(&self) -> String {
        self.path.display().to_string()
    }
}

/// A directory whose lock is held.
pub(crate) struct LockedDirectory {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) options: Options,
    lock: FileLock,
}

impl LockedDirectory {
    async fn open_store(self) -> Result<Arc<Store>> {
        let Self { storage, options, lock } = self;
        let (opened, outcome) = oneshot::channel();
        let (closed, is_closed) = watch::channel(false);
        let events = EventHub::new();
        // The writer's thread owns the lock, from before the recovery until nothing of the database is left.
        let writer = thread::Builder::new().name("rave-leveldb-write".to_owned());
        let spawned = writer.spawn(move || {
            let db = Db::open(storage, options, events.clone()).map(Arc::new);
            let ready = db.and_then(|db| Ok((db.start()?, db)));
            let (workers, db) = match ready {
                Ok(ready) => ready,
                Err(error) => {
                    // The lock is free by the time the error is seen.
                    drop(lock);
                    let _ = opened.send(Err(error));
                    return;
                }
            };
            // If nobody waits any more the store is dropped here, which closes it.
            let _ = opened.send(Ok(Store::new(db.clone(), is_closed)));
            db.run(workers);
            drop(db);
            drop(lock);
            closed.send_replace(true);
            events.emit(|| Event::Closed);
        });
        spawned.map_err(|error| Error::io("starting the database's thread", error))?;
        let store =
            outcome.await.map_err(|_| Error::new(Code::DatabaseFailedOpen, "the database's thread ended"))??;
        Ok(Arc::new(store))
    }
}

#[async_trait]
impl LockedStore for LockedDirectory {
    async fn open(self: Box<Self>) -> Result<Arc<dyn AbstractLevel>> {
        Ok(self.open_store().await?)
    }
}
