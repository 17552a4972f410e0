//! The trait every database of rave-level implements, and every view of one.

use crate::{
    Batch, ClearOptions, EventStream, IteratorOptions, LevelIterator, Manifest, ReadOptions, Result, Snapshot,
    WriteOptions,
};
use async_trait::async_trait;
use bytes::Bytes;
use std::{any::Any, fmt, pin::Pin, sync::Arc};

/// Where a database is in its life. A handle is made open, so there is no state before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Operations are accepted.
    Open,
    /// `close` was called and has not ended.
    Closing,
    /// Nothing works any more.
    Closed,
}

/// An ordered key-value database: byte strings to byte strings, ordered bytewise. Empty keys and values are legal.
///
/// These are the primitives. `get`, `put`, `del`, `iterator`, `stream`, `sublevel` and the like are in
/// [`AbstractLevelExt`](crate::AbstractLevelExt). `Arc<dyn AbstractLevel>` is the common currency.
///
/// **Order.** Operations of one handle take effect in the order in which their futures are first polled.
///
/// **Cancellation.** Dropping a future that was polled leaves the handle usable; a write so dropped may or may not take
/// effect, all of it or nothing.
///
/// **After close** every operation gives `LEVEL_DATABASE_NOT_OPEN`, except `close` (succeeds), `status`, `manifest` and
/// `events`.
#[async_trait]
pub trait AbstractLevel: Any + Send + Sync + fmt::Debug {
    /// What this database offers. May change when a shared database gets another leader.
    fn manifest(&self) -> Manifest;

    /// Where the database is in its life.
    fn status(&self) -> Status;

    /// What happens from now on: the lifecycle of this handle and the writes made through it.
    fn events(&self) -> EventStream;

    /// The value of `key`, or `None`. Sees every write acknowledged before the call.
    async fn get_opts(&self, key: Bytes, options: ReadOptions) -> Result<Option<Bytes>>;

    /// The values of `keys`, in their order, all from one state where the manifest says `implicit_snapshots`.
    async fn get_many_opts(&self, keys: Vec<Bytes>, options: ReadOptions) -> Result<Vec<Option<Bytes>>>;

    /// Which of `keys` exist, in their order, all in one state where the manifest says `implicit_snapshots`.
    ///
    /// By default the values are read and thrown away; a store that can tell without does better.
    async fn has_many_opts(&self, keys: Vec<Bytes>, options: ReadOptions) -> Result<Vec<bool>> {
        Ok(self.get_many_opts(keys, options).await?.iter().map(Option::is_some).collect())
    }

    /// Applies a batch: all of it or nothing, in its order (a later operation on the same key wins). Returns when it is
    /// as durable as the options demand. An empty batch does nothing and emits no event.
    ///
    /// Conditions are checked against the state right before the batch, in the same atomic step: nothing comes between. If
    /// some do not hold, nothing is written and the error is `LEVEL_CONDITION_FAILED` with effect `None`, which names all
    /// of them. A store without `conditions` in its manifest refuses a batch that has any; see
    /// [`failed_conditions`](crate::failed_conditions) for one that has. A batch of conditions alone is only checked.
    ///
    /// Errors carry an [`Effect`](crate::Effect). A store that cannot honour `sync` refuses it.
    async fn write_opts(&self, batch: Batch, options: WriteOptions) -> Result<()>;

    /// Deletes the entries of a range. Without `atomic_clear` in the manifest others may see it half done; then an
    /// error with effect `Unknown` means that some were deleted.
    ///
    /// What [`except`](ClearOptions::except) names stays: a store clears [`ClearOptions::ranges`].
    /// [`and_write`](ClearOptions::and_write) is applied with the deletions as one step, or refused.
    async fn clear_opts(&self, options: ClearOptions) -> Result<()>;

    /// Opens an iterator. It sees the state at this call where the manifest says `implicit_snapshots`.
    async fn iterator_opts(&self, options: IteratorOptions) -> Result<Box<dyn LevelIterator>>;

    /// Takes an explicit snapshot, or refuses with `LEVEL_NOT_SUPPORTED`.
    async fn snapshot(&self) -> Result<Snapshot>;

    /// Closes: refuses further operations, lets those in flight finish, ends iterators and snapshots, releases the
    /// store and last its lock. Calling it again waits for the same end.
    async fn close(&self) -> Result<()>;
}

/// What an asynchronous method of the trait returns.
type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// A shared handle is the database itself. Written out, so that the future of the database is passed on as it is, instead
/// of being wrapped in another one for each operation.
impl<L: AbstractLevel + ?Sized> AbstractLevel for Arc<L> {
    fn manifest(&self) -> Manifest {
        (**self).manifest()
    }

    fn status(&self) -> Status {
        (**self).status()
    }

    fn events(&self) -> EventStream {
        (**self).events()
    }

    fn get_opts<'a, 'b>(&'a self, key: Bytes, options: ReadOptions) -> Answer<'b, Option<Bytes>>
    where
        'a: 'b,
        Self: 'b,
    {
        (**self).get_opts(key, options)
    }

    fn get_many_opts<'a, 'b>(&'a self, keys: Vec<Bytes>, options: ReadOptions) -> Answer<'b, Vec<Option<Bytes>>>
    where
        'a: 'b,
        Self: 'b,
    {
        (**self).get_many_opts(keys, options)
    }

    fn has_many_opts<'a, 'b>(&'a self, keys: Vec<Bytes>, options: ReadOptions) -> Answer<'b, Vec<bool>>
    where
        'a: 'b,
        Self: 'b,
    {
        (**self).has_many_opts(keys, options)
    }

    fn write_opts<'a, 'b>(&'a self, batch: Batch, options: WriteOptions) -> Answer<'b, ()>
    where
        'a: 'b,
        Self: 'b,
    {
        (**self).write_opts(batch, options)
    }

    fn clear_opts<'a, 'b>(&'a self, options: ClearOptions) -> Answer<'b, ()>
    where
        'a: 'b,
        Self: 'b,
    {
        (**self).clear_opts(options)
    }

    fn iterator_opts<'a, 'b>(&'a self, options: IteratorOptions) -> Answer<'b, Box<dyn LevelIterator>>
    where
        'a: 'b,
        Self: 'b,
    {
        (**self).iterator_opts(options)
    }

    fn snapshot<'a, 'b>(&'a self) -> Answer<'b, Snapshot>
    where
        'a: 'b,
        Self: 'b,
    {
        (**self).snapshot()
    }

    fn close<'a, 'b>(&'a self) -> Answer<'b, ()>
    where
        'a: 'b,
        Self: 'b,
    {
        (**self).close()
    }
}
