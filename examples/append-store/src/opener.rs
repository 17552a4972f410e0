//! Lock, then open.

use crate::store::AppendLevel;
use async_trait::async_trait;
use rave_level::{AbstractLevel, Code, Error, FileLock, FileLockAttempt, LockAttempt, LockedStore, Opener, Result};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The file that is locked. Stores of all kinds lock the same one, so that no two ever share a directory.
const LOCK: &str = "LOCK";
/// The file with the data.
const LOG: &str = "append.log";
/// The leader's socket: it listens before it opens the store.
const SOCKET: &str = "rave-level.sock";

/// Opens the store in a directory, alone or shared.
///
/// ```no_run
/// # async fn example() -> rave_level::Result<()> {
/// use append_store::AppendStore;
/// use rave_level::{AbstractLevelExt, Builder, transport::IpcTransport};
///
/// // In as many processes as you like.
/// let db = Builder::new(AppendStore::new("./db"), IpcTransport::for_directory("./db")?).open().await?;
/// db.put("hello", "world").await
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AppendStore {
    directory: PathBuf,
}

impl AppendStore {
    /// The store in `directory`, which need not exist yet.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }
}

#[async_trait]
impl Opener for AppendStore {
    async fn try_lock(&self) -> Result<LockAttempt> {
        let attempt = |error| Error::io(format!("creating the directory {}", self.location()), error);
        fs::create_dir_all(&self.directory).map_err(attempt)?;
        Ok(match FileLock::try_acquire(&self.directory.join(LOCK))? {
            FileLockAttempt::Held { holder } => LockAttempt::Held { holder },
            FileLockAttempt::Acquired(lock) => {
                LockAttempt::Acquired(Box::new(Locked { directory: self.directory.clone(), lock }))
            }
        })
    }

    fn location(&self) -> String {
        self.directory.display().to_string()
    }
}

/// Nobody else can open the store now.
struct Locked {
    directory: PathBuf,
    lock: FileLock,
}

#[async_trait]
impl LockedStore for Locked {
    async fn open(self: Box<Self>) -> Result<Arc<dyn AbstractLevel>> {
        // Reading a large log takes a while, and this is a thread that others need.
        let opening = tokio::task::spawn_blocking(move || {
            refuse_what_is_not_ours(&self.directory)?;
            AppendLevel::open(self.directory.join(LOG), self.lock)
        });
        let failed = |error| Error::new(Code::DatabaseFailedOpen, "opening the store").with_source(error);
        Ok(Arc::new(opening.await.map_err(failed)??))
    }
}

/// A directory without a log of ours is either new, and then empty, or somebody else's.
fn refuse_what_is_not_ours(directory: &Path) -> Result<()> {
    let attempt = |error: io::Error| Error::io(format!("looking at the directory {}", directory.display()), error);
    let entries = fs::read_dir(directory).map_err(attempt)?;
    let names: io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.file_name())).collect();
    let names = names.map_err(attempt)?;
    if names.iter().any(|name| name == LOG) {
        return Ok(());
    }
    match names.iter().find(|name| ![LOCK, SOCKET].iter().any(|own| name == own)) {
        None => Ok(()),
        Some(name) => {
            let (directory, name) = (directory.display(), name.to_string_lossy());
            let message = format!("{directory} holds {name} and no {LOG}: it is not a directory of this store");
            Err(Error::new(Code::DatabaseFailedOpen, message))
        }
    }
}
