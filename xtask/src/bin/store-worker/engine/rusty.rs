//! `rusty-leveldb`, as its users call it: from one thread at a time, hence behind a lock.

use super::{Direction, Engine, Seen};
use crate::{data::Key, job::Job};
use anyhow::{Result, anyhow, ensure};
use rusty_leveldb::{BloomPolicy, CompressorId, DB, LdbIterator, Options, WriteBatch, compressor::SnappyCompressor};
use std::{
    rc::Rc,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Its handle is `Send` as long as all that shares its innards stays behind the same lock.
pub struct Rusty(Mutex<DB>);

fn failed(status: rusty_leveldb::Status) -> anyhow::Error {
    anyhow!("rusty-leveldb: {}", status.err)
}

impl Rusty {
    pub fn open(job: &Job) -> Result<Self> {
        let options = Options {
            write_buffer_size: job.write_buffer_bytes,
            block_cache_capacity_bytes: job.cache_bytes,
            compressor: SnappyCompressor::ID,
            filter_policy: Rc::new(Box::new(BloomPolicy::new(job.bloom_bits))),
            // As C++ LevelDB does by default.
            reuse_logs: false,
            reuse_manifest: false,
            ..Options::default()
        };
        Ok(Self(Mutex::new(DB::open(&job.directory, options).map_err(failed)?)))
    }

    fn lock(&self) -> MutexGuard<'_, DB> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for Rusty {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.lock().put(key, value).map_err(failed)
    }

    fn put_synced(&self, key: &[u8], value: &[u8]) -> Result<()> {
        let mut batch = WriteBatch::default();
        batch.put(key, value);
        self.lock().write(batch, true).map_err(failed)
    }

    fn write(&self, entries: &[(Key, &[u8])]) -> Result<()> {
        let mut batch = WriteBatch::default();
        entries.iter().for_each(|(key, value)| batch.put(key, value));
        self.lock().write(batch, false).map_err(failed)
    }

    fn get(&self, key: &[u8]) -> Result<Option<usize>> {
        Ok(self.lock().get(key).map(|value| value.len()))
    }

    fn scan(&self, direction: Direction) -> Result<Seen> {
        ensure!(direction == Direction::Forward, "rusty-leveldb loses entries in reverse");
        let mut iterator = self.lock().new_iter().map_err(failed)?;
        let mut seen = Seen::default();
        while iterator.advance() {
            if let Some((key, value)) = iterator.current() {
                seen.note(&key, &value);
            }
        }
        Ok(seen)
    }

    fn seek(&self, key: &[u8], entries: usize) -> Result<Seen> {
        let mut iterator = self.lock().new_iter().map_err(failed)?;
        iterator.seek(key);
        let mut seen = Seen::default();
        while seen.entries < entries
            && let Some((key, value)) = iterator.current()
        {
            seen.note(&key, &value);
            iterator.advance();
        }
        Ok(seen)
    }

    fn settle(&self) -> Result<()> {
        // It has no background.
        self.lock().flush().map_err(failed)
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.lock().close().map_err(failed)
    }
}
