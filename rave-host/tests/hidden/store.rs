//! A store that has hidden records at all times, and a watch that nobody asks for them.

use async_trait::async_trait;
use rave_core::{
    AbstractLevel, AbstractLevelExt, Batch, Bytes, ClearOptions, Condition, EventStream, IteratorOptions, KeyRange,
    LevelIterator, Manifest, MemoryLevel, RESERVED, ReadOptions, Result, Snapshot, Status, WriteOptions,
};

/// Hidden keys, the lowest and about the highest among them.
pub const RECORDS: [&[u8]; 5] = [
    b"!rave-level!",
    b"!rave-level!\0",
    b"!rave-level!s0123456789abcdef",
    b"!rave-level!z",
    b"!rave-level!\xff\xff\xff",
];

pub fn is_hidden(key: &[u8]) -> bool {
    key.starts_with(RESERVED.as_bytes())
}

pub async fn keys(level: &dyn AbstractLevel, options: impl Into<IteratorOptions>) -> Vec<Bytes> {
    level.all(options.into()).await.unwrap().into_iter().map(|entry| entry.key).collect()
}

/// A store in memory in the state in which a leader keeps it.
#[derive(Clone, Debug)]
pub struct Peopled(pub MemoryLevel);

impl Peopled {
    pub async fn new() -> Self {
        let store = MemoryLevel::new();
        store.write(RECORDS.iter().fold(Batch::new(), |batch, key| batch.put(key, "record"))).await.unwrap();
        Self(store)
    }

    pub async fn records(&self) -> Vec<Bytes> {
        keys(&self.0, KeyRange::prefix(RESERVED)).await
    }
}

fn watch<'a>(keys: impl IntoIterator<Item = &'a Bytes>) {
    for key in keys {
        assert!(!is_hidden(key), "the store was asked for {key:?}");
    }
}

#[async_trait]
impl AbstractLevel for Peopled {
    fn manifest(&self) -> Manifest {
        self.0.manifest()
    }

    fn status(&self) -> Status {
        self.0.status()
    }

    fn events(&self) -> EventStream {
        self.0.events()
    }

    async fn get_opts(&self, key: Bytes, options: ReadOptions) -> Result<Option<Bytes>> {
        watch([&key]);
        self.0.get_opts(key, options).await
    }

    async fn get_many_opts(&self, keys: Vec<Bytes>, options: ReadOptions) -> Result<Vec<Option<Bytes>>> {
        watch(&keys);
        self.0.get_many_opts(keys, options).await
    }

    async fn write_opts(&self, batch: Batch, options: WriteOptions) -> Result<()> {
        watch(batch.operations().map(|operation| operation.key()));
        watch(batch.conditions().filter_map(|condition| match condition {
            Condition::Absent { key } | Condition::Equals { key, .. } => Some(key),
            Condition::Unchanged { .. } => None,
        }));
        // As a leader does, who writes a record with each batch of a guest.
        let batch = if batch.is_empty() { batch } else { batch.put(RECORDS[2], "record") };
        self.0.write_opts(batch, options).await
    }

    async fn clear_opts(&self, options: ClearOptions) -> Result<()> {
        watch(options.and_write.operations().map(|operation| operation.key()));
        self.0.clear_opts(options.clone()).await?;
        assert_eq!(self.records().await, RECORDS, "{options:?}");
        Ok(())
    }

    async fn iterator_opts(&self, options: IteratorOptions) -> Result<Box<dyn LevelIterator>> {
        self.0.iterator_opts(options).await
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        self.0.snapshot().await
    }

    async fn close(&self) -> Result<()> {
        self.0.close().await
    }
}
