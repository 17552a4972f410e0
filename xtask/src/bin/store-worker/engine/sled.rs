//! `sled`, as its users call it.

use super::{Direction, Engine, Seen};
use crate::{data::Key, job::Job};
use anyhow::Result;

pub struct Sled(sled::Db);

impl Sled {
    pub fn open(job: &Job) -> Result<Self> {
        let config = sled::Config::new().path(&job.directory).cache_capacity(job.cache_bytes as u64);
        Ok(Self(config.open()?))
    }
}

fn note(seen: &mut Seen, entry: sled::Result<(sled::IVec, sled::IVec)>) -> Result<()> {
    let (key, value) = entry?;
    seen.note(&key, &value);
    Ok(())
}

impl Engine for Sled {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.0.insert(key, value)?;
        Ok(())
    }

    fn put_synced(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.put(key, value)?;
        self.0.flush()?;
        Ok(())
    }

    fn write(&self, entries: &[(Key, &[u8])]) -> Result<()> {
        let mut batch = sled::Batch::default();
        entries.iter().for_each(|(key, value)| batch.insert(key, *value));
        Ok(self.0.apply_batch(batch)?)
    }

    fn get(&self, key: &[u8]) -> Result<Option<usize>> {
        Ok(self.0.get(key)?.map(|value| value.len()))
    }

    fn scan(&self, direction: Direction) -> Result<Seen> {
        let mut seen = Seen::default();
        match direction {
            Direction::Forward => self.0.iter().try_for_each(|entry| note(&mut seen, entry))?,
            Direction::Reverse => self.0.iter().rev().try_for_each(|entry| note(&mut seen, entry))?,
        }
        Ok(seen)
    }

    fn seek(&self, key: &[u8], entries: usize) -> Result<Seen> {
        let mut seen = Seen::default();
        self.0.range(key..).take(entries).try_for_each(|entry| note(&mut seen, entry))?;
        Ok(seen)
    }

    fn settle(&self) -> Result<()> {
        self.0.flush()?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.0.flush()?;
        Ok(())
    }
}
