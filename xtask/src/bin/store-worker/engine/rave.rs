//! This project's store, through the traits its users see.

use super::{Direction, Engine, Seen};
use crate::{data::Key, job::Job};
use anyhow::Result;
use rave_level::{
    AbstractLevel, AbstractLevelExt, Batch, IteratorOptions, KeyRange, WriteOptions,
    leveldb::{LevelDb, Options},
};
use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};
use tokio::runtime::Runtime;

/// Entries asked for at once, as `all` and `stream` do.
const PAGE: usize = 1000;

pub struct Rave {
    runtime: Runtime,
    database: Arc<dyn AbstractLevel>,
}

impl Rave {
    pub fn open(job: &Job) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let options =
            Options { write_buffer_size: job.write_buffer_bytes, cache_bytes: job.cache_bytes, ..Options::default() };
        let database = runtime.block_on(LevelDb::with_options(&job.directory, options).open())?;
        Ok(Self { runtime, database })
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

thread_local! {
    static WAKER: Waker = Waker::from(Arc::new(Unpark(thread::current())));
}

/// Polls in place: an operation that is ready at once pays for no executor.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    WAKER.with(|waker| {
        let mut context = Context::from_waker(waker);
        loop {
            match future.as_mut().poll(&mut context) {
                Poll::Ready(output) => return output,
                Poll::Pending => thread::park(),
            }
        }
    })
}

impl Engine for Rave {
    fn in_context(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        let _guard = self.runtime.enter();
        work()
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(block_on(self.database.put(key, value))?)
    }

    fn put_synced(&self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(block_on(self.database.write_opts(Batch::new().put(key, value), WriteOptions::synced()))?)
    }

    fn write(&self, entries: &[(Key, &[u8])]) -> Result<()> {
        let batch = entries.iter().fold(Batch::new(), |batch, (key, value)| batch.put(key, value));
        Ok(block_on(self.database.write(batch))?)
    }

    fn get(&self, key: &[u8]) -> Result<Option<usize>> {
        Ok(block_on(self.database.get(key))?.map(|value| value.len()))
    }

    fn scan(&self, direction: Direction) -> Result<Seen> {
        let options = IteratorOptions { reverse: direction == Direction::Reverse, ..IteratorOptions::default() };
        block_on(async {
            let mut iterator = self.database.iterator(options).await?;
            let mut seen = Seen::default();
            loop {
                let page = iterator.next_many(PAGE).await?;
                if page.is_empty() {
                    return Ok(seen);
                }
                page.iter().for_each(|entry| seen.note(&entry.key, &entry.value));
            }
        })
    }

    fn seek(&self, key: &[u8], entries: usize) -> Result<Seen> {
        let options = IteratorOptions::from(KeyRange::all().gte(key)).limited(entries as u64);
        let mut seen = Seen::default();
        for entry in block_on(self.database.all(options))? {
            seen.note(&entry.key, &entry.value);
        }
        Ok(seen)
    }

    fn settle(&self) -> Result<()> {
        // It tells nothing about its background; after this long there is nothing left to do.
        thread::sleep(Duration::from_secs(2));
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.runtime.block_on(self.database.close())?)
    }
}
