//! `fjall`, as its users call it.

use super::{Direction, Engine, Seen};
use crate::{data::Key, job::Job};
use anyhow::Result;
use fjall::{Database, Guard, Keyspace, KeyspaceCreateOptions, PersistMode};
use std::{thread, time::Duration};

pub struct Fjall {
    database: Database,
    entries: Keyspace,
}

impl Fjall {
    pub fn open(job: &Job) -> Result<Self> {
        let database = Database::builder(&job.directory).cache_size(job.cache_bytes as u64).open()?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(job.write_buffer_bytes as u64);
        let entries = database.keyspace("entries", options)?;
        Ok(Self { database, entries })
    }
}

fn note(seen: &mut Seen, guard: Guard) -> Result<()> {
    let (key, value) = guard.into_inner()?;
    seen.note(&key, &value);
    Ok(())
}

impl Engine for Fjall {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.entries.insert(key, value)?)
    }

    fn put_synced(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.put(key, value)?;
        Ok(self.database.persist(PersistMode::SyncData)?)
    }

    fn write(&self, entries: &[(Key, &[u8])]) -> Result<()> {
        let mut batch = self.database.batch();
        entries.iter().for_each(|(key, value)| batch.insert(&self.entries, *key, *value));
        Ok(batch.commit()?)
    }

    fn get(&self, key: &[u8]) -> Result<Option<usize>> {
        Ok(self.entries.get(key)?.map(|value| value.len()))
    }

    fn scan(&self, direction: Direction) -> Result<Seen> {
        let mut seen = Seen::default();
        match direction {
            Direction::Forward => self.entries.iter().try_for_each(|guard| note(&mut seen, guard))?,
            Direction::Reverse => self.entries.iter().rev().try_for_each(|guard| note(&mut seen, guard))?,
        }
        Ok(seen)
    }

    fn seek(&self, key: &[u8], entries: usize) -> Result<Seen> {
        let mut seen = Seen::default();
        self.entries.range(key..).take(entries).try_for_each(|guard| note(&mut seen, guard))?;
        Ok(seen)
    }

    fn settle(&self) -> Result<()> {
        let busy = || self.database.outstanding_flushes() > 0 || self.database.active_compactions() > 0;
        let mut quiet = 0;
        while quiet < 10 {
            quiet = if busy() { 0 } else { quiet + 1 };
            thread::sleep(Duration::from_millis(100));
        }
        Ok(self.database.persist(PersistMode::SyncAll)?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.database.persist(PersistMode::SyncAll)?)
    }
}
