//! The stores, and a fresh database of one.

use crate::part::Part;
use anyhow::{Context, Result, bail};
use append_store::AppendStore;
use clap::ValueEnum;
use rave_level::{
    AbstractLevel, LockAttempt, MemoryOpener, Opener,
    leveldb::{LevelDb, rusty::RustyLevelDb},
    sled::SledDb,
    transport::IpcTransport,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tempfile::TempDir;

/// What keeps the data: a column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Store {
    /// In the memory of this process.
    Memory,
    /// The engine of our own for LevelDB's files.
    Leveldb,
    /// The engine on the crate `rusty-leveldb`.
    LeveldbRusty,
    /// On the engine `sled`.
    Sled,
    /// The one that `docs/custom-store.md` builds, on one append-only file.
    Append,
}

/// A database that did not exist before, in a folder of its own that goes with it. Clones are the same database.
#[derive(Clone, Debug)]
pub struct Database {
    pub opener: Part<dyn Opener>,
    /// Its directory. One in memory leaves it empty, and only meets others there.
    pub path: PathBuf,
    folder: Arc<TempDir>,
}

impl Database {
    /// A new one in a new folder below `root`.
    pub fn new(store: Store, root: &Path) -> Result<Self> {
        let folder = tempfile::tempdir_in(root).context("a folder for the database")?;
        let path = folder.path().join("db");
        let opener: Arc<dyn Opener> = match store {
            Store::Memory => {
                std::fs::create_dir(&path).context("a directory to meet in")?;
                Arc::new(MemoryOpener::new())
            }
            Store::Leveldb => Arc::new(LevelDb::new(&path)),
            Store::LeveldbRusty => Arc::new(RustyLevelDb::new(&path)),
            Store::Sled => Arc::new(SledDb::new(&path)),
            Store::Append => Arc::new(AppendStore::new(&path)),
        };
        Ok(Self { opener: Part(opener), path, folder: Arc::new(folder) })
    }

    /// Opens it for this process alone.
    pub async fn open(&self) -> Result<Arc<dyn AbstractLevel>> {
        match self.opener.try_lock().await? {
            LockAttempt::Acquired(locked) => Ok(locked.open().await?),
            LockAttempt::Held { .. } => bail!("{} is locked although it was closed", self.opener.location()),
        }
    }

    /// A place for a file that goes with the database and is none of its own.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where the processes that share it meet.
    pub fn socket(&self) -> Result<IpcTransport> {
        Ok(IpcTransport::for_directory(&self.path)?)
    }
}
