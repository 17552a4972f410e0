//! The convenience methods, on top of the primitives.

use crate::{
    AbstractLevel, Batch, ChainedBatch, ClearOptions, Entry, Error, IteratorOptions, LevelIterator, ReadOptions,
    Result, Sublevel, SublevelOptions, Transaction, TransactionOptions, TypedLevel, WriteOptions, encoding::Encoding,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream::BoxStream};
use std::sync::Arc;

fn bytes(data: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(data.as_ref())
}

/// Everyday methods of every [`AbstractLevel`].
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use rave_core::{AbstractLevelExt, KeyRange, MemoryLevel};
/// let db = MemoryLevel::new();
/// db.put("a", "1").await?;
/// assert_eq!(db.get("a").await?.as_deref(), Some(&b"1"[..]));
/// assert_eq!(db.all(KeyRange::prefix("a")).await?.len(), 1);
/// # Ok::<(), rave_core::Error>(()) }).unwrap();
/// ```
#[async_trait]
pub trait AbstractLevelExt: AbstractLevel {
    /// The value of `key`, or `None`.
    async fn get<K: AsRef<[u8]> + Send>(&self, key: K) -> Result<Option<Bytes>> {
        self.get_opts(bytes(key), ReadOptions::default()).await
    }

    /// Whether `key` exists.
    async fn has<K: AsRef<[u8]> + Send>(&self, key: K) -> Result<bool> {
        let found = self.has_many_opts(vec![bytes(key)], ReadOptions::default()).await?;
        Ok(found.first().copied().unwrap_or(false))
    }

    /// The values of `keys`, in their order.
    async fn get_many<K: AsRef<[u8]> + Send>(&self, keys: Vec<K>) -> Result<Vec<Option<Bytes>>> {
        let keys: Vec<Bytes> = keys.into_iter().map(bytes).collect();
        self.get_many_opts(keys, ReadOptions::default()).await
    }

    /// Which of `keys` exist, in their order.
    async fn has_many<K: AsRef<[u8]> + Send>(&self, keys: Vec<K>) -> Result<Vec<bool>> {
        let keys: Vec<Bytes> = keys.into_iter().map(bytes).collect();
        self.has_many_opts(keys, ReadOptions::default()).await
    }

    /// Stores `value` under `key`.
    async fn put<K: AsRef<[u8]> + Send, V: AsRef<[u8]> + Send>(&self, key: K, value: V) -> Result<()> {
        self.write_opts(Batch::new().put(key, value), WriteOptions::default()).await
    }

    /// Deletes `key`, whether it exists or not.
    async fn del<K: AsRef<[u8]> + Send>(&self, key: K) -> Result<()> {
        self.write_opts(Batch::new().del(key), WriteOptions::default()).await
    }

    /// Applies a batch atomically.
    async fn write(&self, batch: Batch) -> Result<()> {
        self.write_opts(batch, WriteOptions::default()).await
    }

    /// Deletes the entries of a range: `db.clear(KeyRange::all())`.
    async fn clear<O: Into<ClearOptions> + Send>(&self, options: O) -> Result<()> {
        self.clear_opts(options.into()).await
    }

    /// Opens an iterator over a range, or over what [`IteratorOptions`] say.
    async fn iterator<O: Into<IteratorOptions> + Send>(&self, options: O) -> Result<Box<dyn LevelIterator>> {
        self.iterator_opts(options.into()).await
    }

    /// All entries of a range at once.
    async fn all<O: Into<IteratorOptions> + Send>(&self, options: O) -> Result<Vec<Entry>> {
        let mut iterator = self.iterator_opts(options.into()).await?;
        let mut entries = Vec::new();
        loop {
            let page = iterator.next_many(PAGE).await?;
            if page.is_empty() {
                iterator.close().await?;
                return Ok(entries);
            }
            entries.extend(page);
        }
    }

    /// The entries of a range as a stream. The iterator opens at the first poll and closes with the stream.
    fn stream<O: Into<IteratorOptions>>(&self, options: O) -> BoxStream<'_, Result<Entry>>
    where
        Self: Sized,
    {
        stream(self, options.into()).boxed()
    }

    /// The keys of a range as a stream.
    fn keys<O: Into<IteratorOptions>>(&self, options: O) -> BoxStream<'_, Result<Bytes>>
    where
        Self: Sized,
    {
        let options = IteratorOptions { keys: true, values: false, ..options.into() };
        stream(self, options).map_ok(|entry| entry.key).boxed()
    }

    /// The values of a range as a stream.
    fn values<O: Into<IteratorOptions>>(&self, options: O) -> BoxStream<'_, Result<Bytes>>
    where
        Self: Sized,
    {
        let options = IteratorOptions { keys: false, values: true, ..options.into() };
        stream(self, options).map_ok(|entry| entry.value).boxed()
    }

    /// A batch that is built step by step and written at the end.
    fn chained_batch(&self) -> ChainedBatch<Self>
    where
        Self: Sized + Clone,
    {
        ChainedBatch::new(self.clone())
    }

    /// Runs `body` as one step: all that it read was still so when all that it wrote was applied.
    ///
    /// The body works on the [`Transaction`] that it is given as on a database, also through sublevels and typed views of
    /// it. What it writes is kept back until it ends well, and then committed as one batch, on the condition that nothing
    /// it has read has changed: keys that it read, whether they existed, and ranges as far as it read them. If something
    /// has, the body runs again after a short, random pause. So it must be fit to run more than once, and should leave
    /// alone what is not in the database.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let db = rave_core::MemoryLevel::new();
    /// use rave_core::{AbstractLevelExt, Error, encoding::{Json, Utf8}};
    /// let count: u64 = db.transaction(|tx| async move {
    ///     let counters = tx.typed(Utf8, Json::<u64>::new());
    ///     let count = counters.get("count").await?.unwrap_or(0) + 1;
    ///     counters.put("count", &count).await?;
    ///     Ok::<_, Error>(count)
    /// }).await?;
    /// assert_eq!(count, 1);
    /// # Ok::<(), rave_core::Error>(()) }).unwrap();
    /// ```
    ///
    /// **A body that fails** leaves nothing behind. Before its error is returned, what it had read is checked as for a
    /// commit: if that was never true all at once, the error may be owed to it, and the body runs again instead. A body
    /// that panics, or a future that is dropped before the commit, leaves nothing behind either; dropped during the commit it leaves all or
    /// nothing.
    ///
    /// **Reading only.** What a body read that wrote nothing is checked at its end too: it was all true at one moment.
    ///
    /// Errors, beside those of the body: `LEVEL_TRANSACTION_CONFLICT` if others were faster at every attempt;
    /// `LEVEL_NOT_SUPPORTED` before the body runs, if the database cannot check conditions. A commit that fails otherwise is
    /// not tried again and tells its [`Effect`](crate::Effect).
    ///
    /// Needs a tokio runtime with time enabled.
    async fn transaction<T, E, F, R>(&self, body: F) -> Result<T, E>
    where
        Self: Sized + Clone,
        T: Send,
        E: From<Error> + Send,
        F: Fn(Transaction) -> R + Send,
        R: Future<Output = Result<T, E>> + Send,
    {
        self.transaction_with(TransactionOptions::default(), body).await
    }

    /// [`transaction`](Self::transaction) with options.
    async fn transaction_with<T, E, F, R>(&self, options: TransactionOptions, body: F) -> Result<T, E>
    where
        Self: Sized + Clone,
        T: Send,
        E: From<Error> + Send,
        F: Fn(Transaction) -> R + Send,
        R: Future<Output = Result<T, E>> + Send,
    {
        options.run(Arc::new(self.clone()), body).await
    }

    /// The part of this database under `name`.
    ///
    /// Errors: `LEVEL_INVALID_PREFIX` if the name contains bytes that it must not.
    fn sublevel(&self, name: &str) -> Result<Sublevel>
    where
        Self: Sized + Clone,
    {
        self.sublevel_with(&[name], SublevelOptions::default())
    }

    /// The part of this database under a path of names, with another separator than `!` if so wished.
    fn sublevel_with(&self, names: &[&str], options: SublevelOptions) -> Result<Sublevel>
    where
        Self: Sized + Clone,
    {
        Sublevel::new(Arc::new(self.clone()), names, options)
    }

    /// This database with typed keys and values.
    fn typed<K: Encoding, V: Encoding>(&self, keys: K, values: V) -> TypedLevel<Self, K, V>
    where
        Self: Sized + Clone,
    {
        TypedLevel::new(self.clone(), keys, values)
    }
}

impl<T: AbstractLevel + ?Sized> AbstractLevelExt for T {}

/// Entries fetched at once where the user does not say.
const PAGE: usize = 1000;

fn stream(db: &impl AbstractLevel, options: IteratorOptions) -> impl Stream<Item = Result<Entry>> {
    let pages = futures::stream::once(async move { db.iterator_opts(options).await }).map_ok(|iterator| {
        futures::stream::try_unfold(iterator, |mut iterator| async move {
            let page = iterator.next_many(PAGE).await?;
            Result::Ok((!page.is_empty()).then(|| (futures::stream::iter(page.into_iter().map(Ok)), iterator)))
        })
        .try_flatten()
    });
    pages.try_flatten()
}
