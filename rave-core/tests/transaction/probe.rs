//! A store that can be watched and disturbed.

use async_trait::async_trait;
use rave_core::{
    AbstractLevel, Batch, Bytes, ClearOptions, Effect, Entry, Error, EventStream, IteratorOptions, LevelIterator,
    Manifest, MemoryLevel, ReadOptions, Result, Snapshot, Status, WriteOptions,
};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

/// A memory store behind awaits that are not ready at once, as those of a guest are. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Probe {
    pub inner: MemoryLevel,
    /// What [`Probe::named`] said of the handle that committed or checked, in the order in which that took effect.
    pub settled: Arc<Mutex<Vec<usize>>>,
    /// Keys that were asked for.
    pub read: Arc<AtomicUsize>,
    /// How many batches were to be synced.
    pub synced: Arc<AtomicUsize>,
    /// Batches that came, whatever became of them.
    pub written: Arc<AtomicUsize>,
    /// What the next writes fail with, after they were applied if the effect is unknown.
    pub fault: Arc<Mutex<Option<Error>>>,
    pub lacks_conditions: bool,
    pub lacks_sync: bool,
    pub name: usize,
}

/// Another task's turn.
async fn pause() {
    for _ in 0..fastrand::u8(1..4) {
        tokio::task::yield_now().await;
    }
}

impl Probe {
    pub fn named(&self, name: usize) -> Self {
        Self { name, ..self.clone() }
    }

    pub fn written(&self) -> usize {
        self.written.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl AbstractLevel for Probe {
    fn manifest(&self) -> Manifest {
        let manifest = self.inner.manifest();
        Manifest {
            conditions: manifest.conditions && !self.lacks_conditions,
            sync_writes: manifest.sync_writes && !self.lacks_sync,
            ..manifest
        }
    }

    fn status(&self) -> Status {
        self.inner.status()
    }

    fn events(&self) -> EventStream {
        self.inner.events()
    }

    async fn get_opts(&self, key: Bytes, options: ReadOptions) -> Result<Option<Bytes>> {
        self.read.fetch_add(1, Ordering::SeqCst);
        pause().await;
        let value = self.inner.get_opts(key, options).await;
        pause().await;
        value
    }

    async fn get_many_opts(&self, keys: Vec<Bytes>, options: ReadOptions) -> Result<Vec<Option<Bytes>>> {
        self.read.fetch_add(keys.len(), Ordering::SeqCst);
        pause().await;
        let values = self.inner.get_many_opts(keys, options).await;
        pause().await;
        values
    }

    async fn write_opts(&self, batch: Batch, options: WriteOptions) -> Result<()> {
        pause().await;
        self.written.fetch_add(1, Ordering::SeqCst);
        self.synced.fetch_add(usize::from(options.sync), Ordering::SeqCst);
        let fault = self.fault.lock().unwrap().clone();
        if let Some(fault) = fault {
            if fault.effect() == Effect::Unknown {
                self.inner.write_opts(batch, options).await?;
            }
            return Err(fault);
        }
        {
            let mut settled = self.settled.lock().unwrap();
            // Nothing of a memory store has to be waited for, so this comes right behind the write.
            futures::executor::block_on(self.inner.write_opts(batch, options))?;
            settled.push(self.name);
        }
        pause().await;
        Ok(())
    }

    async fn clear_opts(&self, options: ClearOptions) -> Result<()> {
        self.inner.clear_opts(options).await
    }

    async fn iterator_opts(&self, options: IteratorOptions) -> Result<Box<dyn LevelIterator>> {
        pause().await;
        Ok(Box::new(PausingIterator(self.inner.iterator_opts(options).await?)))
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        self.inner.snapshot().await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

struct PausingIterator(Box<dyn LevelIterator>);

#[async_trait]
impl LevelIterator for PausingIterator {
    async fn next(&mut self) -> Result<Option<Entry>> {
        pause().await;
        self.0.next().await
    }

    async fn next_many(&mut self, size: usize) -> Result<Vec<Entry>> {
        pause().await;
        // Shorter pages than asked for are allowed.
        self.0.next_many(fastrand::usize(1..=size.clamp(1, 5))).await
    }

    async fn seek(&mut self, target: Bytes) -> Result<()> {
        pause().await;
        self.0.seek(target).await
    }

    async fn close(&mut self) -> Result<()> {
        self.0.close().await
    }
}
