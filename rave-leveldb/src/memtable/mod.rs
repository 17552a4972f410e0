//! The memtable: the newest writes, sorted, in memory.
//!
//! It is a skip list of internal keys. One thread at a time inserts; any number read meanwhile, and none of them waits.
//! Nothing is removed: deletions are entries too. Keys and values are slices of the batch records that were applied, so
//! that inserting copies no bytes.

pub(crate) mod batch;
mod cursor;

pub(crate) use cursor::MemTableCursor;

use crate::key::{InternalKey, Kind, SequenceNumber};
use bytes::Bytes;
use crossbeam_skiplist::SkipMap;
use std::{
    borrow::Borrow,
    cmp::Ordering,
    ops::{Bound, Range},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// What an entry takes beyond its bytes: its node with its share of the links, and the allocator's own share.
const ENTRY_OVERHEAD: usize = 128;

/// What a record takes beyond its bytes: its reference count and the allocator's own share.
const RECORD_OVERHEAD: usize = 48;

/// Writes in memory, sorted by internal key.
pub(crate) struct MemTable {
    entries: SkipMap<MemKey, Range<usize>>,
    memory: AtomicUsize,
}

/// The key of an entry, and the record that holds its bytes.
#[derive(Clone)]
struct MemKey {
    record: Bytes,
    user_key: Range<usize>,
    tag: u64,
}

impl MemKey {
    fn internal(&self) -> InternalKey<'_> {
        InternalKey { user_key: self.record.get(self.user_key.clone()).unwrap_or_default(), tag: self.tag }
    }

    fn value(&self, value: &Range<usize>) -> Bytes {
        // The ranges are made by the record's parser, so they lie within it.
        self.record.slice(value.clone())
    }
}

/// What the skip list is searched with: the keys it holds, and keys that are only borrowed.
trait AsInternalKey {
    fn as_internal_key(&self) -> InternalKey<'_>;
}

impl AsInternalKey for MemKey {
    fn as_internal_key(&self) -> InternalKey<'_> {
        self.internal()
    }
}

impl AsInternalKey for InternalKey<'_> {
    fn as_internal_key(&self) -> InternalKey<'_> {
        *self
    }
}

impl<'a> Borrow<dyn AsInternalKey + 'a> for MemKey {
    fn borrow(&self) -> &(dyn AsInternalKey + 'a) {
        self
    }
}

impl Ord for dyn AsInternalKey + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_internal_key().cmp(&other.as_internal_key())
    }
}

impl PartialOrd for dyn AsInternalKey + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for dyn AsInternalKey + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for dyn AsInternalKey + '_ {}

impl Ord for MemKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.internal().cmp(&other.internal())
    }
}

impl PartialOrd for MemKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for MemKey {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for MemKey {}

impl MemTable {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self { entries: SkipMap::new(), memory: AtomicUsize::new(0) }
    }

    /// Inserts the operations of an encoded batch, which `record` goes on holding in memory, and says how many they were.
    ///
    /// # Errors
    ///
    /// What is wrong with the record; then nothing of it was inserted.
    pub(crate) fn apply(&self, record: &Bytes) -> Result<u32, String> {
        let count = batch::check(record)?;
        for operation in batch::operations(record)? {
            let operation = operation?;
            let key = MemKey { record: record.clone(), user_key: operation.key, tag: operation.tag };
            self.entries.insert(key, operation.value);
        }
        let memory = record.len() + RECORD_OVERHEAD + count as usize * ENTRY_OVERHEAD;
        self.memory.fetch_add(memory, Relaxed);
        Ok(count)
    }

    /// The newest write of a key that is visible at `sequence`: its value, or `Some(None)` if that deleted it.
    pub(crate) fn get(&self, user_key: &[u8], sequence: SequenceNumber) -> Option<Option<Bytes>> {
        let target = InternalKey::seek(user_key, sequence);
        let entry = self.entries.lower_bound::<dyn AsInternalKey>(Bound::Included(&target))?;
        let found = entry.key().internal();
        if found.user_key != user_key {
            return None;
        }
        Some(match found.kind() {
            Kind::Deletion => None,
            Kind::Value => Some(entry.key().value(entry.value())),
        })
    }

    /// Bytes that it holds in memory, about.
    pub(crate) fn memory(&self) -> usize {
        self.memory.load(Relaxed)
    }

    /// Whether nothing was inserted.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A cursor over its entries. It sees what was inserted before it comes to a place, and may or may not see what is
    /// inserted later.
    pub(crate) fn cursor(self: &Arc<Self>) -> MemTableCursor {
        MemTableCursor::new(self.clone())
    }
}

#[cfg(test)]
mod tests;
