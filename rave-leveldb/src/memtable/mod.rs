//! The memtable: the newest writes, sorted, in memory.
//!
//! It is a skip list of internal keys. One thread at a time inserts; any number read meanwhile, and none of them waits.
//! Nothing is removed: deletions are entries too. Keys and values are slices of the batch records that were applied, so
//! that inserting copies no bytes.
//!
//! A search compares some thirty keys in as many places of memory. So each node has the beginning of its key with it, and
//! only long keys that begin alike are looked up in their records.

pub(crate) mod batch;
mod cursor;

pub(crate) use cursor::MemTableCursor;

use crate::key::{InternalKey, Kind, SequenceNumber, seek_tag};
use bytes::Bytes;
use crossbeam_skiplist::SkipSet;
use std::{
    cmp::Ordering,
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// What an entry takes beyond its bytes: its node with its share of the links, and the allocator's own share.
const ENTRY_OVERHEAD: usize = 128;

/// Values up to this length are copied out by [`MemTable::get`], lest a small value keeps a large record in memory.
const COPIED: usize = 1 << 10;

/// Bytes of a key that a node has with it.
const PREFIX_LEN: usize = 24;

/// Writes in memory, sorted by internal key.
pub(crate) struct MemTable {
    entries: SkipSet<MemEntry>,
    memory: AtomicUsize,
}

/// A write. Ordered by its internal key.
#[derive(Clone)]
struct MemEntry {
    prefix: Prefix,
    tag: u64,
    /// The key first, the value last: a slice of a batch record.
    bytes: Bytes,
    key_len: u32,
    value_at: u32,
}

/// The first bytes of a key as numbers, the most significant byte first, with zeros behind a short key.
type Prefix = [u64; PREFIX_LEN / 8];

fn prefix(key: &[u8]) -> Prefix {
    let mut padded = [0; PREFIX_LEN];
    let length = key.len().min(PREFIX_LEN);
    if let (Some(to), Some(from)) = (padded.get_mut(..length), key.get(..length)) {
        to.copy_from_slice(from);
    }
    let mut chunks = padded.chunks_exact(8).map(|chunk| chunk.try_into().map_or(0, u64::from_be_bytes));
    std::array::from_fn(|_| chunks.next().unwrap_or(0))
}

impl MemEntry {
    /// Where the entries of `key` with this tag, or a lower one, begin. `whole` gives the key again, if a node would not
    /// have all of it.
    fn bound(key: &[u8], tag: u64, whole: impl FnOnce() -> Bytes) -> Self {
        let key_len = key.len() as u32;
        let bytes = if key.len() > PREFIX_LEN { whole() } else { Bytes::new() };
        Self { prefix: prefix(key), tag, bytes, key_len, value_at: key_len }
    }

    fn user_key(&self) -> &[u8] {
        self.bytes.get(..self.key_len as usize).unwrap_or_default()
    }

    fn key(&self) -> InternalKey<'_> {
        InternalKey { user_key: self.user_key(), tag: self.tag }
    }

    fn value(&self) -> Bytes {
        self.bytes.slice((self.value_at as usize).min(self.bytes.len())..)
    }
}

impl MemEntry {
    fn cmp_keys(&self, other: &Self) -> Ordering {
        self.prefix.cmp(&other.prefix).then_with(|| {
            if self.key_len.min(other.key_len) as usize <= PREFIX_LEN {
                // The longer one goes on where the shorter one ends, perhaps with zeros.
                self.key_len.cmp(&other.key_len)
            } else {
                self.user_key().cmp(other.user_key())
            }
        })
    }
}

impl Ord for MemEntry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.cmp_keys(other).then_with(|| other.tag.cmp(&self.tag))
    }
}

impl PartialOrd for MemEntry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for MemEntry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for MemEntry {}

impl MemTable {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self { entries: SkipSet::new(), memory: AtomicUsize::new(0) }
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
            let bytes = record.slice(operation.key.start..operation.value.end.max(operation.key.end));
            let too_long = |_| "a key of 4 GiB or more".to_owned();
            let key_len = u32::try_from(operation.key.len()).map_err(too_long)?;
            let value_at = match operation.value.len() {
                0 => bytes.len(),
                length => bytes.len() - length,
            };
            let value_at = u32::try_from(value_at).map_err(too_long)?;
            let prefix = prefix(record.get(operation.key).unwrap_or_default());
            self.entries.insert(MemEntry { prefix, tag: operation.tag, bytes, key_len, value_at });
        }
        self.memory.fetch_add(record.len() + count as usize * ENTRY_OVERHEAD, Relaxed);
        Ok(count)
    }

    /// The newest write of a key that is visible at `sequence`: its value, or `Some(None)` if that deleted it.
    pub(crate) fn get(&self, user_key: &Bytes, sequence: SequenceNumber) -> Option<Option<Bytes>> {
        let target = MemEntry::bound(user_key, seek_tag(sequence), || user_key.clone());
        let entry = self.entries.lower_bound(Bound::Included(&target))?;
        let found = entry.value();
        if found.cmp_keys(&target).is_ne() {
            return None;
        }
        Some(match found.key().kind() {
            Kind::Deletion => None,
            Kind::Value => {
                let value = found.bytes.get(found.value_at as usize..).unwrap_or_default();
                Some(if value.len() <= COPIED { Bytes::copy_from_slice(value) } else { found.value() })
            }
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
