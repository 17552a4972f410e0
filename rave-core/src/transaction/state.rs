//! What a transaction has read and wants to write, and the bound of both together.

use super::{TransactionOptions, reads::Reads};
use crate::{AbstractLevel, Batch, Code, Condition, Error, Operation, Result, WriteOptions};
use bytes::Bytes;
use std::{collections::BTreeMap, sync::Arc};

/// What each key written is to become; `None` for one that is deleted.
pub(super) type Writes = BTreeMap<Bytes, Option<Bytes>>;

pub(super) struct State {
    pub(super) base: Arc<dyn AbstractLevel>,
    pub(super) reads: Reads,
    /// Shared with the iterators that were opened since the last write, which see it as it was.
    pub(super) writes: Arc<Writes>,
    write_bytes: usize,
    sync: bool,
    max_bytes: usize,
    /// Nothing can be read or written any more; what was written can still be committed.
    pub(super) closed: bool,
}

impl State {
    pub(super) fn new(base: Arc<dyn AbstractLevel>, options: &TransactionOptions) -> Self {
        Self {
            base,
            reads: Reads::default(),
            writes: Arc::default(),
            write_bytes: 0,
            sync: options.sync,
            max_bytes: options.max_bytes,
            closed: false,
        }
    }

    /// What the transaction knows of `key` without asking the database.
    pub(super) fn known(&self, key: &Bytes) -> Option<&Option<Bytes>> {
        self.writes.get(key).or_else(|| self.reads.point(key))
    }

    /// Remembers what the database said of `key`, and gives what it said first.
    pub(super) fn learn(&mut self, key: Bytes, value: Option<Bytes>) -> Result<Option<Bytes>> {
        self.check_room(key.len() + value.as_ref().map_or(0, Bytes::len))?;
        self.reads.learn(key, value)
    }

    /// Keeps operations for the commit: all of them, or none if there are too many bytes.
    pub(super) fn write(&mut self, operations: impl Iterator<Item = Operation>, sync: bool) -> Result<()> {
        let operations: Vec<Operation> = operations.collect();
        self.check_room(operations.iter().map(Operation::byte_len).sum())?;
        let writes = Arc::make_mut(&mut self.writes);
        for operation in operations {
            self.write_bytes += operation.byte_len();
            let (key, value) = match operation {
                Operation::Put { key, value } => (key, Some(value)),
                Operation::Del { key } => (key, None),
            };
            let length = key.len();
            if let Some(old) = writes.insert(key, value) {
                self.write_bytes -= length + old.map_or(0, |old| old.len());
            }
        }
        self.sync |= sync;
        Ok(())
    }

    /// Fails if so many bytes are too many on top of what there is.
    pub(super) fn check_room(&self, bytes: usize) -> Result<()> {
        let needed = bytes.saturating_add(self.write_bytes).saturating_add(self.reads.byte_len());
        if needed <= self.max_bytes {
            return Ok(());
        }
        let message = format!("a transaction reads and writes {needed} bytes; it may have {}", self.max_bytes);
        Err(Error::new(Code::InvalidBatch, message))
    }

    /// Applies what was written, if `commit`, on the condition that what was read is still so.
    ///
    /// Errors: `LEVEL_CONDITION_FAILED` if it is not; those of the database.
    pub(super) async fn settle(&self, commit: bool) -> Result<()> {
        let mut batch = Batch::new();
        if commit {
            batch.extend(self.writes.iter().map(|(key, value)| match value {
                Some(value) => Operation::Put { key: key.clone(), value: value.clone() },
                None => Operation::Del { key: key.clone() },
            }));
        }
        let batch = self.reads.conditions().fold(batch, Batch::require);
        if batch.is_empty() {
            return Ok(());
        }
        let sync = self.sync && !batch.writes_nothing();
        self.base.write_opts(batch, WriteOptions { sync }).await
    }

    /// The reading behind the condition with this index.
    pub(super) fn reading(&self, index: usize) -> Option<Condition> {
        self.reads.conditions().nth(index)
    }
}
