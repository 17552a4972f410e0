//! The store of this crate, through its public face.

use crate::{
    generate::Settings,
    model::Query,
    subject::{Answer, Departure, Subject},
};
use rave_core::{
    AbstractLevel, Batch, Bytes, ClearOptions, Code, Entry, IteratorOptions, KeyRange, LevelIterator, Operation,
    ReadOptions, Snapshot, WriteOptions,
};
use rave_leveldb::{
    Compression, LevelDb, Options, Store,
    testing::{CrashMode, SimulatedDisk},
};
use std::{future::poll_fn, ops::Bound, sync::Arc, task::Poll};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

pub struct Native {
    runtime: Runtime,
    disk: SimulatedDisk,
    options: Options,
    /// How many of a hundred reads need the disk.
    cold_percent: u8,
    db: Option<Arc<Store>>,
    kills: u64,
    /// Has the lock and nothing else.
    directory: TempDir,
}

fn text<T>(result: rave_core::Result<T>) -> Answer<T> {
    result.map_err(|error| error.to_string())
}

fn range(query: &Query) -> KeyRange {
    KeyRange::new(query.lower.clone(), query.upper.clone())
}

impl Native {
    fn wait<T>(&self, operation: impl AsyncFnOnce(&Store) -> rave_core::Result<T>) -> Answer<T> {
        let db = self.db.as_ref().ok_or("the database could not be opened")?;
        text(self.runtime.block_on(operation(db)))
    }

    fn open(&mut self) -> Answer<()> {
        self.disk.cold_sometimes(self.cold_percent);
        let options = Options { disk: Some(self.disk.clone()), ..self.options.clone() };
        let opener = LevelDb::with_options(self.directory.path(), options);
        self.db = Some(text(self.runtime.block_on(opener.open_store()))?);
        Ok(())
    }
}

impl Subject for Native {
    type Snapshot = Snapshot;
    type Cursor = Box<dyn LevelIterator>;

    const TURNS: bool = false;

    fn create(settings: &Settings) -> Answer<Self> {
        let options = Options {
            compression: if settings.snappy { Compression::Snappy } else { Compression::None },
            write_buffer_size: settings.write_buffer_size,
            max_file_size: settings.max_file_size,
            block_size: settings.block_size,
            bloom_bits: settings.bloom_bits,
            cache_bytes: settings.cache_bytes,
            max_open_files: settings.max_open_files,
            ..Options::default()
        };
        let mut native = Self {
            runtime: Builder::new_current_thread().build().map_err(|error| error.to_string())?,
            disk: SimulatedDisk::new(),
            options,
            cold_percent: settings.cold_percent,
            db: None,
            kills: 0,
            directory: tempfile::tempdir().map_err(|error| error.to_string())?,
        };
        native.open()?;
        Ok(native)
    }

    fn reopen(&mut self, how: Departure) -> Answer<()> {
        match how {
            Departure::Close => self.wait(async |db| db.close().await)?,
            Departure::Kill => {
                // The background dies at once, or in one of the next things it does.
                self.kills += 1;
                self.disk.crash_after(self.disk.operations() + self.kills % 7);
                // On a dead disk closing only ends the threads.
                self.wait(async |db| db.close().await)?;
                self.disk = self.disk.after_crash(self.kills, CrashMode::ProcessKilled);
            }
        }
        self.db = None;
        self.open()
    }

    fn write(&mut self, batch: Vec<Operation>, sync: bool) -> Answer<()> {
        let batch = Batch::from_iter(batch);
        self.wait(async |db| db.write_opts(batch, WriteOptions { sync }).await)
    }

    fn write_together(&mut self, batches: Vec<Vec<Operation>>) -> Answer<()> {
        self.wait(async |db| {
            let writes =
                batches.into_iter().map(|batch| db.write_opts(Batch::from_iter(batch), WriteOptions::default()));
            let mut writes: Vec<_> = writes.map(Some).collect();
            poll_fn(|context| {
                for write in &mut writes {
                    if let Some(pending) = write
                        && let Poll::Ready(result) = pending.as_mut().poll(context)
                    {
                        result?;
                        *write = None;
                    }
                }
                if writes.iter().all(Option::is_none) { Poll::Ready(Ok(())) } else { Poll::Pending }
            })
            .await
        })
    }

    fn write_if(&mut self, batch: Batch, sync: bool, _: &[usize]) -> Answer<Vec<usize>> {
        self.wait(async |db| match db.write_opts(batch, WriteOptions { sync }).await {
            Ok(()) => Ok(Vec::new()),
            Err(error) if error.code() == Code::ConditionFailed => Ok(error.failed_conditions().to_vec()),
            Err(error) => Err(error),
        })
    }

    fn get(&mut self, key: &Bytes, snapshot: Option<&Snapshot>) -> Answer<Option<Bytes>> {
        let options = ReadOptions { snapshot: snapshot.cloned() };
        self.wait(async |db| db.get_opts(key.clone(), options).await)
    }

    fn get_many(&mut self, keys: &[Bytes], snapshot: Option<&Snapshot>) -> Answer<Vec<Option<Bytes>>> {
        let options = ReadOptions { snapshot: snapshot.cloned() };
        self.wait(async |db| db.get_many_opts(keys.to_vec(), options).await)
    }

    fn clear(&mut self, query: &Query, snapshot: Option<&Snapshot>, _: Vec<Bytes>) -> Answer<()> {
        let (reverse, limit, snapshot) = (query.reverse, query.limit, snapshot.cloned());
        let options = ClearOptions { range: range(query), reverse, limit, snapshot, ..ClearOptions::default() };
        self.wait(async |db| db.clear_opts(options).await)
    }

    fn snapshot(&mut self) -> Answer<Snapshot> {
        self.wait(async |db| db.snapshot().await)
    }

    fn cursor(&mut self, query: &Query, snapshot: Option<&Snapshot>) -> Answer<Self::Cursor> {
        let (reverse, limit, snapshot) = (query.reverse, query.limit, snapshot.cloned());
        let options = IteratorOptions { range: range(query), reverse, limit, snapshot, ..IteratorOptions::default() };
        self.wait(async |db| db.iterator_opts(options).await)
    }

    fn next(&mut self, cursor: &mut Self::Cursor) -> Answer<Option<Entry>> {
        text(self.runtime.block_on(cursor.next()))
    }

    fn next_many(&mut self, cursor: &mut Self::Cursor, count: usize) -> Answer<Vec<Entry>> {
        text(self.runtime.block_on(cursor.next_many(count)))
    }

    fn seek(&mut self, cursor: &mut Self::Cursor, target: &Bytes) -> Answer<()> {
        text(self.runtime.block_on(cursor.seek(target.clone())))
    }

    fn turn(&mut self, _: &mut Self::Cursor) {}

    fn compact_range(&mut self, lower: Bound<Bytes>, upper: Bound<Bytes>) -> Answer<()> {
        self.wait(async |db| db.compact_range(KeyRange::new(lower, upper)).await)
    }

    fn tables_by_level(&mut self) -> Vec<usize> {
        let levels = self.db.as_ref().map(|db| db.stats().levels).unwrap_or_default();
        levels.iter().map(|level| level.tables).collect()
    }
}
