//! Stores that do wrong with what a clear brings along.

use async_trait::async_trait;
use rave_core::{
    AbstractLevel, AbstractLevelExt, Batch, Bytes, ClearOptions, EventStream, IteratorOptions, LevelIterator, Manifest,
    MemoryLevel, ReadOptions, Result, Snapshot, Status, WriteOptions,
    conformance::{self, Flavor, Harness},
};
use std::{mem, panic};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The same wrapper without a mistake.
    None,
    Dropped,
    DroppedAtLimitZero,
    DroppedWithNothingToDelete,
    InAStepBehind,
    InFront,
    ConditionsIgnored,
    NotDeclared,
}

#[derive(Clone, Debug)]
struct Broken {
    inner: MemoryLevel,
    fault: Fault,
}

impl Broken {
    fn new(fault: Fault) -> Self {
        Self { inner: MemoryLevel::new(), fault }
    }
}

#[async_trait]
impl AbstractLevel for Broken {
    fn manifest(&self) -> Manifest {
        Manifest { atomic_clear: self.fault != Fault::NotDeclared, ..self.inner.manifest() }
    }

    fn status(&self) -> Status {
        self.inner.status()
    }

    fn events(&self) -> EventStream {
        self.inner.events()
    }

    async fn get_opts(&self, key: Bytes, options: ReadOptions) -> Result<Option<Bytes>> {
        self.inner.get_opts(key, options).await
    }

    async fn get_many_opts(&self, keys: Vec<Bytes>, options: ReadOptions) -> Result<Vec<Option<Bytes>>> {
        self.inner.get_many_opts(keys, options).await
    }

    async fn write_opts(&self, batch: Batch, options: WriteOptions) -> Result<()> {
        self.inner.write_opts(batch, options).await
    }

    async fn clear_opts(&self, mut options: ClearOptions) -> Result<()> {
        let dropped = match self.fault {
            Fault::Dropped => true,
            Fault::DroppedAtLimitZero => options.limit == Some(0),
            Fault::DroppedWithNothingToDelete => self.inner.all(options.range.clone()).await?.is_empty(),
            _ => false,
        };
        if dropped {
            options.and_write.clear();
        }
        match self.fault {
            Fault::InAStepBehind => {
                let batch = mem::take(&mut options.and_write);
                self.inner.clear_opts(options).await?;
                tokio::task::yield_now().await;
                self.inner.write(batch).await
            }
            Fault::InFront => {
                self.inner.write(mem::take(&mut options.and_write)).await?;
                self.inner.clear_opts(options).await
            }
            Fault::ConditionsIgnored => {
                options.and_write = options.and_write.into_operations().collect();
                self.inner.clear_opts(options).await
            }
            _ => self.inner.clear_opts(options).await,
        }
    }

    async fn iterator_opts(&self, options: IteratorOptions) -> Result<Box<dyn LevelIterator>> {
        self.inner.iterator_opts(options).await
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        self.inner.snapshot().await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

caught! {
    dropped: Dropped by clear::what_comes_with_a_clear_is_written, clear::a_clear_and_its_writes_are_one_step,
        clear::a_clear_writes_where_it_belongs;
    dropped_at_limit_zero: DroppedAtLimitZero by clear::what_comes_with_a_clear_is_written;
    dropped_with_nothing_to_delete: DroppedWithNothingToDelete by clear::what_comes_with_a_clear_is_written;
    in_a_step_behind: InAStepBehind by clear::a_clear_and_its_writes_are_one_step;
    in_front: InFront by clear::what_comes_with_a_clear_is_written;
    conditions_ignored: ConditionsIgnored by clear::a_clear_writes_where_it_belongs;
    not_declared: NotDeclared by clear::what_comes_with_a_clear_is_written,
        clear::a_clear_and_its_writes_are_one_step, clear::a_clear_writes_where_it_belongs;
}
