//! A database with typed keys and values, as a thin layer over its bytes.

use crate::{
    AbstractLevel, AbstractLevelExt, Batch, ClearOptions, Condition, Entry, IteratorOptions, KeyRange, LevelIterator,
    Operation, ReadOptions, Result, Snapshot, WriteOptions, encoding::Encoding,
};
use futures::{
    Stream, TryStreamExt,
    stream::{BoxStream, StreamExt},
};
use std::{collections::VecDeque, fmt};

/// A database whose keys and values are encoded by `K` and `V`; made by
/// [`AbstractLevelExt::typed`](crate::AbstractLevelExt::typed). It holds no state of its own, so that a database can be
/// seen through any number of them.
///
/// What is stored and does not fit the encoding gives `LEVEL_DECODE_ERROR`; what cannot be encoded gives
/// `LEVEL_INVALID_KEY` or `LEVEL_INVALID_VALUE` before anything happens.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use rave_core::{AbstractLevelExt, MemoryLevel, encoding::{Json, Utf8}};
///
/// #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
/// struct User { age: u32 }
///
/// let users = MemoryLevel::new().typed(Utf8, Json::<User>::new());
/// users.put("alice", &User { age: 40 }).await?;
/// users.put("bob", &User { age: 50 }).await?;
/// assert_eq!(users.get("alice").await?, Some(User { age: 40 }));
/// let later = users.all(users.range().gt("alice").limited(10)).await?;
/// assert_eq!(later, [("bob".to_owned(), User { age: 50 })]);
/// # Ok::<(), rave_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct TypedLevel<D, K, V> {
    db: D,
    keys: K,
    values: V,
}

impl<D: fmt::Debug, K: Encoding, V: Encoding> fmt::Debug for TypedLevel<D, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedLevel")
            .field("db", &self.db)
            .field("keys", &self.keys.name())
            .field("values", &self.values.name())
            .finish()
    }
}

impl<D: AbstractLevel, K: Encoding, V: Encoding> TypedLevel<D, K, V> {
    pub(crate) fn new(db: D, keys: K, values: V) -> Self {
        Self { db, keys, values }
    }

    /// The database behind.
    pub fn level(&self) -> &D {
        &self.db
    }

    /// The value of `key`, or `None`.
    pub async fn get(&self, key: &K::Input) -> Result<Option<V::Item>> {
        self.get_opts(key, ReadOptions::default()).await
    }

    /// [`get`](Self::get) with options.
    pub async fn get_opts(&self, key: &K::Input, options: ReadOptions) -> Result<Option<V::Item>> {
        let value = self.db.get_opts(self.keys.encode_key(key)?, options).await?;
        value.map(|value| self.values.decode_value(&value)).transpose()
    }

    /// Whether `key` exists, also with a value that cannot be decoded.
    pub async fn has(&self, key: &K::Input) -> Result<bool> {
        let found = self.db.has_many_opts(vec![self.keys.encode_key(key)?], ReadOptions::default()).await?;
        Ok(found.first().copied().unwrap_or(false))
    }

    /// The values of `keys`, in their order.
    pub async fn get_many<'a>(&self, keys: impl IntoIterator<Item = &'a K::Input>) -> Result<Vec<Option<V::Item>>> {
        let keys = keys.into_iter().map(|key| self.keys.encode_key(key)).collect::<Result<_>>()?;
        let values = self.db.get_many_opts(keys, ReadOptions::default()).await?;
        values.into_iter().map(|value| value.map(|value| self.values.decode_value(&value)).transpose()).collect()
    }

    /// Stores `value` under `key`.
    pub async fn put(&self, key: &K::Input, value: &V::Input) -> Result<()> {
        self.batch().put(key, value).write().await
    }

    /// Deletes `key`, whether it exists or not.
    pub async fn del(&self, key: &K::Input) -> Result<()> {
        self.batch().del(key).write().await
    }

    /// A batch to be filled and written: `users.batch().put("a", &a).del("b").write().await?`.
    pub fn batch(&self) -> TypedBatch<'_, D, K, V> {
        TypedBatch { level: self, batch: Ok(Batch::new()) }
    }

    /// Every key, to be narrowed: `users.range().gte("a").reversed()`.
    pub fn range(&self) -> TypedRange<K> {
        TypedRange { keys: self.keys.clone(), options: Ok(IteratorOptions::default()) }
    }

    /// Deletes the entries of a range, also ones that cannot be decoded.
    pub async fn clear(&self, range: TypedRange<K>) -> Result<()> {
        let IteratorOptions { range, reverse, limit, snapshot, .. } = range.options?;
        let options = ClearOptions { range, reverse, limit, snapshot, ..ClearOptions::default() };
        self.db.clear_opts(options).await
    }

    /// Opens an iterator over a range.
    pub async fn iterator(&self, range: TypedRange<K>) -> Result<TypedIterator<K, V>> {
        let inner = self.db.iterator_opts(range.options?).await?;
        Ok(TypedIterator { inner, keys: self.keys.clone(), values: self.values.clone(), ready: VecDeque::new() })
    }

    /// All entries of a range at once.
    pub async fn all(&self, range: TypedRange<K>) -> Result<Vec<(K::Item, V::Item)>> {
        self.db.all(range.options?).await?.iter().map(|entry| decode(&self.keys, &self.values, entry)).collect()
    }

    /// The entries of a range as a stream. An entry that cannot be decoded is an error in its place.
    pub fn stream(&self, range: TypedRange<K>) -> BoxStream<'_, Result<(K::Item, V::Item)>> {
        self.entries(range, |_| {})
            .map(|entry| entry.and_then(|entry| decode(&self.keys, &self.values, &entry)))
            .boxed()
    }

    /// The keys of a range as a stream.
    pub fn keys(&self, range: TypedRange<K>) -> BoxStream<'_, Result<K::Item>> {
        self.entries(range, |options| options.values = false)
            .map(|entry| entry.and_then(|entry| self.keys.decode_key(&entry.key)))
            .boxed()
    }

    /// The values of a range as a stream.
    pub fn values(&self, range: TypedRange<K>) -> BoxStream<'_, Result<V::Item>> {
        self.entries(range, |options| options.keys = false)
            .map(|entry| entry.and_then(|entry| self.values.decode_value(&entry.value)))
            .boxed()
    }

    fn entries(
        &self,
        range: TypedRange<K>,
        adjust: impl FnOnce(&mut IteratorOptions),
    ) -> impl Stream<Item = Result<Entry>> + Send + '_ {
        let options = range.options.map(|mut options| {
            adjust(&mut options);
            options
        });
        futures::stream::once(std::future::ready(options)).map_ok(|options| self.db.stream(options)).try_flatten()
    }
}

fn decode<K: Encoding, V: Encoding>(keys: &K, values: &V, entry: &Entry) -> Result<(K::Item, V::Item)> {
    Ok((keys.decode_key(&entry.key)?, values.decode_value(&entry.value)?))
}

/// Which entries of a [`TypedLevel`] to visit or clear, and how; made by [`TypedLevel::range`]. A bound that cannot be
/// encoded is reported by the operation that uses the range.
pub struct TypedRange<K> {
    keys: K,
    options: Result<IteratorOptions>,
}

impl<K> fmt::Debug for TypedRange<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedRange").field("options", &self.options).finish_non_exhaustive()
    }
}

impl<K: Encoding> TypedRange<K> {
    fn bound(mut self, key: &K::Input, narrow: impl FnOnce(KeyRange, &[u8]) -> KeyRange) -> Self {
        if let Ok(options) = &mut self.options {
            match self.keys.encode_key(key) {
                Ok(key) => options.range = narrow(std::mem::take(&mut options.range), &key),
                Err(error) => self.options = Err(error),
            }
        }
        self
    }

    fn option(mut self, set: impl FnOnce(&mut IteratorOptions)) -> Self {
        if let Ok(options) = &mut self.options {
            set(options);
        }
        self
    }

    /// Only keys that are greater than `key` once encoded; without effect beside [`gte`](Self::gte).
    #[must_use]
    pub fn gt(self, key: &K::Input) -> Self {
        self.bound(key, |range, key| range.gt(key))
    }

    /// Only `key` and keys that are greater once encoded.
    #[must_use]
    pub fn gte(self, key: &K::Input) -> Self {
        self.bound(key, |range, key| range.gte(key))
    }

    /// Only keys that are less than `key` once encoded; without effect beside [`lte`](Self::lte).
    #[must_use]
    pub fn lt(self, key: &K::Input) -> Self {
        self.bound(key, |range, key| range.lt(key))
    }

    /// Only `key` and keys that are less once encoded.
    #[must_use]
    pub fn lte(self, key: &K::Input) -> Self {
        self.bound(key, |range, key| range.lte(key))
    }

    /// From the highest key to the lowest.
    #[must_use]
    pub fn reversed(self) -> Self {
        self.option(|options| options.reverse = true)
    }

    /// At most `limit` entries.
    #[must_use]
    pub fn limited(self, limit: u64) -> Self {
        self.option(|options| options.limit = Some(limit))
    }

    /// As the database was when `snapshot` was taken.
    #[must_use]
    pub fn at(self, snapshot: Snapshot) -> Self {
        self.option(|options| options.snapshot = Some(snapshot))
    }
}

/// Several typed writes as one atomic step; made by [`TypedLevel::batch`]. What cannot be encoded is reported by `write`,
/// which then writes nothing.
#[must_use = "a batch does nothing until it is written"]
pub struct TypedBatch<'a, D, K, V> {
    level: &'a TypedLevel<D, K, V>,
    batch: Result<Batch>,
}

impl<D, K, V> fmt::Debug for TypedBatch<'_, D, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedBatch").field("length", &self.batch.as_ref().map(Batch::len)).finish_non_exhaustive()
    }
}

impl<D: AbstractLevel, K: Encoding, V: Encoding> TypedBatch<'_, D, K, V> {
    fn add<T>(mut self, encode: impl FnOnce(&K, &V) -> Result<T>, add: impl FnOnce(Batch, T) -> Batch) -> Self {
        let encoded = encode(&self.level.keys, &self.level.values);
        self.batch = self.batch.and_then(|batch| Ok(add(batch, encoded?)));
        self
    }

    fn operation(self, encode: impl FnOnce(&K, &V) -> Result<Operation>) -> Self {
        self.add(encode, |mut batch, operation| {
            batch.push(operation);
            batch
        })
    }

    /// The batch with a put behind.
    pub fn put(self, key: &K::Input, value: &V::Input) -> Self {
        self.operation(|keys, values| {
            Ok(Operation::Put { key: keys.encode_key(key)?, value: values.encode_value(value)? })
        })
    }

    /// The batch with a delete behind.
    pub fn del(self, key: &K::Input) -> Self {
        self.operation(|keys, _| Ok(Operation::Del { key: keys.encode_key(key)? }))
    }

    /// The batch, only if `key` does not exist, not even with a value that cannot be decoded.
    pub fn if_absent(self, key: &K::Input) -> Self {
        self.add(|keys, _| Ok(Condition::Absent { key: keys.encode_key(key)? }), Batch::require)
    }

    /// The batch, only if `key` has exactly the bytes that `value` is encoded to. Where an encoding has several forms for
    /// one value, such as JSON that other programs wrote, the others are not equal to it.
    pub fn if_equals(self, key: &K::Input, value: &V::Input) -> Self {
        let encode = |keys: &K, values: &V| {
            Ok(Condition::Equals { key: keys.encode_key(key)?, value: values.encode_value(value)? })
        };
        self.add(encode, Batch::require)
    }

    /// Applies the batch atomically, in its order, if its conditions hold.
    pub async fn write(self) -> Result<()> {
        self.write_with(WriteOptions::default()).await
    }

    /// [`write`](Self::write) with options.
    pub async fn write_with(self, options: WriteOptions) -> Result<()> {
        self.level.db.write_opts(self.batch?, options).await
    }
}

/// A cursor over typed entries; made by [`TypedLevel::iterator`]. It keeps the rules of [`LevelIterator`]. An entry that
/// cannot be decoded is an error in its place, and the next call goes on behind it.
pub struct TypedIterator<K, V> {
    inner: Box<dyn LevelIterator>,
    keys: K,
    values: V,
    /// Fetched, and not delivered because an entry before them could not be decoded.
    ready: VecDeque<Entry>,
}

impl<K: Encoding, V: Encoding> fmt::Debug for TypedIterator<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedIterator")
            .field("keys", &self.keys.name())
            .field("values", &self.values.name())
            .finish_non_exhaustive()
    }
}

impl<K: Encoding, V: Encoding> TypedIterator<K, V> {
    /// The next entry, or `None` at the end.
    pub async fn next(&mut self) -> Result<Option<(K::Item, V::Item)>> {
        Ok(self.next_many(1).await?.pop())
    }

    /// Up to `size` further entries (0 counts as 1). May give fewer; gives none only at the end.
    pub async fn next_many(&mut self, size: usize) -> Result<Vec<(K::Item, V::Item)>> {
        let size = size.max(1);
        if self.ready.is_empty() {
            self.ready.extend(self.inner.next_many(size).await?);
        }
        let mut entries = Vec::new();
        while entries.len() < size
            && let Some(entry) = self.ready.front()
        {
            match decode(&self.keys, &self.values, entry) {
                Ok(decoded) => entries.push(decoded),
                // Not yet: what comes before it is delivered first.
                Err(_) if !entries.is_empty() => break,
                Err(error) => {
                    self.ready.pop_front();
                    return Err(error);
                }
            }
            self.ready.pop_front();
        }
        Ok(entries)
    }

    /// Continues at the first key ≥ `target` (in reverse: ≤ `target`), as they are encoded.
    pub async fn seek(&mut self, target: &K::Input) -> Result<()> {
        self.inner.seek(self.keys.encode_key(target)?).await?;
        self.ready.clear();
        Ok(())
    }

    /// Releases the iterator. Calling it again does nothing.
    pub async fn close(&mut self) -> Result<()> {
        self.ready.clear();
        self.inner.close().await
    }
}
