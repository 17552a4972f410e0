//! What is measured, and on which keys and values: the same in both languages.

use anyhow::{Context, Result, bail, ensure};
use futures::future::try_join_all;
use rave_level::{AbstractLevelExt, Batch, KeyRange, RaveLevel};
use std::{
    cell::Cell,
    time::{Duration, Instant},
};

const VALUE: usize = 100;
const BATCH: u64 = 100;
const PAGE: usize = 1000;

/// Reads and writes over `entries` keys of 16 bytes with values of 100 bytes.
pub struct Workload {
    entries: u32,
    random: Cell<u32>,
    /// Values are slices of this: random bytes, so that compression has nothing to win.
    pool: Vec<u8>,
}

impl Workload {
    pub fn new() -> Self {
        let mut this = Self { entries: 1, random: Cell::new(0x9e37_79b9), pool: Vec::new() };
        this.pool = (0..1 << 16).map(|_| this.random() as u8).collect();
        this
    }

    /// xorshift32.
    fn random(&self) -> u32 {
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        self.random.set(x);
        x
    }

    fn any(&self) -> u32 {
        self.random() % self.entries
    }

    fn value(&self) -> &[u8] {
        let start = self.random() as usize % (self.pool.len() - VALUE);
        &self.pool[start..start + VALUE]
    }

    pub async fn fill(&mut self, db: &RaveLevel, entries: u32) -> Result<()> {
        self.entries = entries;
        for start in (0..entries).step_by(1000) {
            let batch = (start..entries.min(start + 1000)).fold(Batch::new(), |b, i| b.put(key(i), self.value()));
            db.write(batch).await?;
        }
        Ok(())
    }

    /// Says how many entries another process has filled in.
    pub fn expect(&mut self, entries: u32) {
        self.entries = entries;
    }

    pub async fn put(&self, db: &RaveLevel) -> Result<()> {
        Ok(db.put(key(self.any()), self.value()).await?)
    }

    async fn get(&self, db: &RaveLevel) -> Result<()> {
        let key = key(self.any());
        let value = db.get(&key).await?.with_context(|| format!("{key} is missing"))?;
        ensure!(value.len() == VALUE, "{key} has a value of {} bytes", value.len());
        Ok(())
    }

    async fn batch(&self, db: &RaveLevel) -> Result<()> {
        let batch = (0..BATCH).fold(Batch::new(), |batch, _| batch.put(key(self.any()), self.value()));
        Ok(db.write(batch).await?)
    }

    async fn scan(&self, db: &RaveLevel) -> Result<u64> {
        let mut iterator = db.iterator(KeyRange::all()).await?;
        let mut entries = 0;
        loop {
            let page = iterator.next_many(PAGE).await?;
            if page.is_empty() {
                break;
            }
            entries += page.len() as u64;
        }
        iterator.close().await?;
        ensure!(entries == u64::from(self.entries), "a scan met {entries} entries");
        Ok(entries)
    }

    /// Repeats a workload for some time; the operations done, and how long they took.
    pub async fn run(&self, db: &RaveLevel, name: &str, time: Duration) -> Result<(u64, Duration)> {
        let start = Instant::now();
        let deadline = start + time;
        let mut operations = 0;
        match name {
            "put-1" => operations += repeat(deadline, async || self.put(db).await).await?,
            "get-1" => operations += repeat(deadline, async || self.get(db).await).await?,
            "put-64" => {
                let lanes = (0..64).map(|_| repeat(deadline, async || self.put(db).await));
                operations += try_join_all(lanes).await?.iter().sum::<u64>();
            }
            "get-64" => {
                let lanes = (0..64).map(|_| repeat(deadline, async || self.get(db).await));
                operations += try_join_all(lanes).await?.iter().sum::<u64>();
            }
            "batch-100" => operations += BATCH * repeat(deadline, async || self.batch(db).await).await?,
            "scan" => {
                while operations == 0 || Instant::now() < deadline {
                    operations += self.scan(db).await?;
                }
            }
            _ => bail!("there is no workload {name:?}"),
        }
        Ok((operations, start.elapsed()))
    }
}

fn key(index: u32) -> String {
    format!("{index:016}")
}

async fn repeat(deadline: Instant, step: impl AsyncFn() -> Result<()>) -> Result<u64> {
    let mut operations = 0;
    while Instant::now() < deadline {
        step().await?;
        operations += 1;
    }
    Ok(operations)
}
