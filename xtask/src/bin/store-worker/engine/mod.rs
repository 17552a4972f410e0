//! One face for all engines. Every method waits until the engine has done what the call asks for.

mod fjall;
mod leveldb;
mod rave;
mod rusty;
mod sled;

use crate::{
    data::Key,
    job::{Job, Kind},
};
use anyhow::Result;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Forward,
    Reverse,
}

/// What an iterator delivered. Counting the bytes makes every engine hand out keys and values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub entries: usize,
    pub bytes: usize,
}

impl Seen {
    pub fn note(&mut self, key: &[u8], value: &[u8]) {
        self.entries += 1;
        self.bytes += key.len() + value.len();
    }
}

pub trait Engine: Send + Sync {
    /// Runs `work` as the engine's users would run it: in a runtime, if it wants one. Once per thread.
    fn in_context(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        work()
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<()>;

    /// Survives power loss.
    fn put_synced(&self, key: &[u8], value: &[u8]) -> Result<()>;

    /// Atomic.
    fn write(&self, entries: &[(Key, &[u8])]) -> Result<()>;

    /// The length of a value.
    fn get(&self, key: &[u8]) -> Result<Option<usize>>;

    /// All entries.
    fn scan(&self, direction: Direction) -> Result<Seen>;

    /// Opens an iterator and reads up to `entries` entries from `key` on.
    fn seek(&self, key: &[u8], entries: usize) -> Result<Seen>;

    /// Waits until what was written has left the process, and until nothing goes on in the background.
    fn settle(&self) -> Result<()>;

    /// Ends as the engine's users would, and waits for it.
    fn close(self: Box<Self>) -> Result<()>;
}

/// Opens a database, made if there is none.
pub fn open(job: &Job) -> Result<Box<dyn Engine>> {
    Ok(match job.kind {
        Kind::Leveldb => Box::new(leveldb::LevelDb::open(job)?),
        Kind::Rave => Box::new(rave::Rave::open(job)?),
        Kind::Rusty => Box::new(rusty::Rusty::open(job)?),
        Kind::Sled => Box::new(sled::Sled::open(job)?),
        Kind::Fjall => Box::new(fjall::Fjall::open(job)?),
    })
}
