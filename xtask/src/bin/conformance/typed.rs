//! A database whose every operation goes through a typed view, as far as that can say it.

use async_trait::async_trait;
use rave_level::{
    AbstractLevel, Batch, Bytes, ClearOptions, Condition, Entry, EventStream, IteratorOptions, LevelIterator, Manifest,
    Operation, ReadOptions, Result, Snapshot, Status, TypedIterator, TypedLevel, TypedRange, WriteOptions,
    encoding::{Base64, Encoding, Hex},
};
use std::{ops::Bound, sync::Arc};

/// Gives keys to a typed view as hexadecimal and values as Base64, and takes back what it reads. The bytes in the store are
/// the same, so what typed views cannot say goes to the store as it is: conditions on whole ranges, ranges with holes,
/// `sync` and further writes of a clear.
#[derive(Debug)]
pub struct Typed(TypedLevel<Arc<dyn AbstractLevel>, Hex, Base64>);

impl Typed {
    /// The database seen so.
    pub fn new(level: Arc<dyn AbstractLevel>) -> Self {
        Self(rave_level::AbstractLevelExt::typed(&level, Hex, Base64))
    }

    fn range(&self, options: &IteratorOptions) -> Result<TypedRange<Hex>> {
        let mut range = self.0.range();
        range = match options.range.lower() {
            Bound::Included(key) => range.gte(&text(&Hex, key)?),
            Bound::Excluded(key) => range.gt(&text(&Hex, key)?),
            Bound::Unbounded => range,
        };
        range = match options.range.upper() {
            Bound::Included(key) => range.lte(&text(&Hex, key)?),
            Bound::Excluded(key) => range.lt(&text(&Hex, key)?),
            Bound::Unbounded => range,
        };
        if options.reverse {
            range = range.reversed();
        }
        if let Some(limit) = options.limit {
            range = range.limited(limit);
        }
        if let Some(snapshot) = &options.snapshot {
            range = range.at(snapshot.clone());
        }
        Ok(range)
    }
}

/// The text that an encoding shows for these bytes.
fn text(encoding: &impl Encoding<Item = String>, bytes: &[u8]) -> Result<String> {
    encoding.decode_value(bytes)
}

/// The bytes that a text shows.
fn bytes(encoding: &impl Encoding<Input = str>, text: &str) -> Result<Bytes> {
    encoding.encode_value(text)
}

#[async_trait]
impl AbstractLevel for Typed {
    fn manifest(&self) -> Manifest {
        self.0.level().manifest()
    }

    fn status(&self) -> Status {
        self.0.level().status()
    }

    fn events(&self) -> EventStream {
        self.0.level().events()
    }

    async fn get_opts(&self, key: Bytes, options: ReadOptions) -> Result<Option<Bytes>> {
        let value = self.0.get_opts(&text(&Hex, &key)?, options).await?;
        value.map(|value| bytes(&Base64, &value)).transpose()
    }

    async fn get_many_opts(&self, keys: Vec<Bytes>, options: ReadOptions) -> Result<Vec<Option<Bytes>>> {
        let keys = keys.iter().map(|key| text(&Hex, key)).collect::<Result<Vec<_>>>()?;
        let keys = keys.iter().map(String::as_str);
        let values = match options.snapshot {
            None => self.0.get_many(keys).await?,
            // One state also when asked one by one.
            Some(_) => {
                let mut values = Vec::new();
                for key in keys {
                    values.push(self.0.get_opts(key, options.clone()).await?);
                }
                values
            }
        };
        values.into_iter().map(|value| value.map(|value| bytes(&Base64, &value)).transpose()).collect()
    }

    async fn has_many_opts(&self, keys: Vec<Bytes>, options: ReadOptions) -> Result<Vec<bool>> {
        match (keys.as_slice(), &options.snapshot) {
            ([key], None) => Ok(vec![self.0.has(&text(&Hex, key)?).await?]),
            _ => self.0.level().has_many_opts(keys, options).await,
        }
    }

    async fn write_opts(&self, batch: Batch, options: WriteOptions) -> Result<()> {
        if batch.conditions().any(|condition| matches!(condition, Condition::Unchanged { .. })) {
            return self.0.level().write_opts(batch, options).await;
        }
        let mut typed = self.0.batch();
        for condition in batch.conditions() {
            typed = match condition {
                Condition::Absent { key } => typed.if_absent(&text(&Hex, key)?),
                Condition::Equals { key, value } => typed.if_equals(&text(&Hex, key)?, &text(&Base64, value)?),
                Condition::Unchanged { .. } => typed,
            };
        }
        for operation in batch.operations() {
            typed = match operation {
                Operation::Put { key, value } => typed.put(&text(&Hex, key)?, &text(&Base64, value)?),
                Operation::Del { key } => typed.del(&text(&Hex, key)?),
            };
        }
        typed.write_with(options).await
    }

    async fn clear_opts(&self, options: ClearOptions) -> Result<()> {
        if options.sync || !options.except.is_empty() || !options.and_write.is_empty() {
            return self.0.level().clear_opts(options).await;
        }
        let ClearOptions { range, reverse, limit, snapshot, .. } = options;
        let options = IteratorOptions { range, reverse, limit, snapshot, ..IteratorOptions::default() };
        self.0.clear(self.range(&options)?).await
    }

    async fn iterator_opts(&self, options: IteratorOptions) -> Result<Box<dyn LevelIterator>> {
        let iterator = self.0.iterator(self.range(&options)?).await?;
        Ok(Box::new(Iterator { iterator, keys: options.keys, values: options.values }))
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        self.0.level().snapshot().await
    }

    async fn close(&self) -> Result<()> {
        self.0.level().close().await
    }
}

/// A typed iterator, which always has both keys and values.
struct Iterator {
    iterator: TypedIterator<Hex, Base64>,
    keys: bool,
    values: bool,
}

impl Iterator {
    fn entry(&self, (key, value): (String, String)) -> Result<Entry> {
        Ok(Entry {
            key: if self.keys { bytes(&Hex, &key)? } else { Bytes::new() },
            value: if self.values { bytes(&Base64, &value)? } else { Bytes::new() },
        })
    }
}

#[async_trait]
impl LevelIterator for Iterator {
    async fn next(&mut self) -> Result<Option<Entry>> {
        let item = self.iterator.next().await?;
        item.map(|item| self.entry(item)).transpose()
    }

    async fn next_many(&mut self, size: usize) -> Result<Vec<Entry>> {
        let items = self.iterator.next_many(size).await?;
        items.into_iter().map(|item| self.entry(item)).collect()
    }

    async fn seek(&mut self, target: Bytes) -> Result<()> {
        self.iterator.seek(&text(&Hex, &target)?).await
    }

    async fn close(&mut self) -> Result<()> {
        self.iterator.close().await
    }
}
