//! A batch that is built step by step and knows the database it will be written to.

use crate::{AbstractLevel, Batch, Code, Error, Result, Sublevel, WriteOptions};
use std::fmt;

/// Collects puts and deletes and writes them as one atomic step; made by
/// [`AbstractLevelExt::chained_batch`](crate::AbstractLevelExt::chained_batch). Nothing happens to the database before
/// [`write`](Self::write).
///
/// After `write` (also one that failed) or `close` every method but `close` and `length` gives `LEVEL_BATCH_NOT_OPEN`.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use rave_core::{AbstractLevelExt, MemoryLevel};
/// let db = MemoryLevel::new();
/// let mut batch = db.chained_batch();
/// batch.put("a", "1")?.put("b", "2")?.del("a")?;
/// batch.write().await?;
/// assert!(!db.has("a").await? && db.has("b").await?);
/// # Ok::<(), rave_core::Error>(()) }).unwrap();
/// ```
pub struct ChainedBatch<D> {
    db: D,
    /// `None` once written or closed.
    batch: Option<Batch>,
}

impl<D: fmt::Debug> fmt::Debug for ChainedBatch<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChainedBatch").field("db", &self.db).field("length", &self.length()).finish()
    }
}

fn not_open() -> Error {
    Error::new(Code::BatchNotOpen, "the batch has been written or closed")
}

impl<D> ChainedBatch<D> {
    pub(crate) fn new(db: D) -> Self {
        Self { db, batch: Some(Batch::new()) }
    }

    fn change(&mut self, change: impl FnOnce(Batch) -> Batch) -> Result<&mut Self> {
        let batch = self.batch.take().ok_or_else(not_open)?;
        self.batch = Some(change(batch));
        Ok(self)
    }

    /// Adds a put.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<&mut Self> {
        self.change(|batch| batch.put(key, value))
    }

    /// Adds a delete.
    pub fn del(&mut self, key: impl AsRef<[u8]>) -> Result<&mut Self> {
        self.change(|batch| batch.del(key))
    }

    /// Adds a put into a sublevel of the database; see [`Batch::put_in`].
    pub fn put_in(&mut self, sublevel: &Sublevel, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<&mut Self> {
        self.change(|batch| batch.put_in(sublevel, key, value))
    }

    /// Adds a delete from a sublevel of the database; see [`Batch::put_in`].
    pub fn del_in(&mut self, sublevel: &Sublevel, key: impl AsRef<[u8]>) -> Result<&mut Self> {
        self.change(|batch| batch.del_in(sublevel, key))
    }

    /// Adds the condition that `key` does not exist; see [`Batch::if_absent`].
    pub fn if_absent(&mut self, key: impl AsRef<[u8]>) -> Result<&mut Self> {
        self.change(|batch| batch.if_absent(key))
    }

    /// Adds the condition that `key` has exactly this value; see [`Batch::if_equals`].
    pub fn if_equals(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<&mut Self> {
        self.change(|batch| batch.if_equals(key, value))
    }

    /// Drops all operations and conditions; the batch stays usable.
    pub fn clear(&mut self) -> Result<&mut Self> {
        self.change(|_| Batch::new())
    }

    /// The number of operations added.
    pub fn length(&self) -> usize {
        self.batch.as_ref().map_or(0, Batch::len)
    }

    /// Drops the batch without writing it. Calling it again, or after `write`, does nothing.
    pub fn close(&mut self) {
        self.batch = None;
    }
}

impl<D: AbstractLevel> ChainedBatch<D> {
    /// Writes the batch atomically, in its order, if its conditions hold. Without operations and conditions it does as
    /// `close` does.
    pub async fn write(&mut self) -> Result<()> {
        self.write_with(WriteOptions::default()).await
    }

    /// [`write`](Self::write) with options.
    pub async fn write_with(&mut self, options: WriteOptions) -> Result<()> {
        let batch = self.batch.take().ok_or_else(not_open)?;
        if batch.is_empty() {
            return Ok(());
        }
        self.db.write_opts(batch, options).await
    }
}
