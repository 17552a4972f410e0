//! Which keys have writes that would not survive this process yet.

use bytes::Bytes;
use rave_core::{Batch, ClearOptions, KeyRange, Operation};
use std::collections::BTreeSet;

/// Keys and ranges of writes that are not flushed. What is read of them must not be told before they are: if the process
/// were killed, it would never have been so.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    keys: BTreeSet<Bytes>,
    ranges: Vec<KeyRange>,
}

impl Touched {
    /// Adds what a batch writes.
    pub(crate) fn add_batch(&mut self, batch: &Batch) {
        self.keys.extend(batch.operations().map(Operation::key).cloned());
    }

    /// Adds what a clear may delete, and what it writes.
    pub(crate) fn add_clear(&mut self, options: &ClearOptions) {
        self.ranges.push(options.range.clone());
        self.add_batch(&options.and_write);
    }

    /// Whether there is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.ranges.is_empty()
    }

    /// Whether `key` is one of them.
    pub(crate) fn has_key(&self, key: &Bytes) -> bool {
        self.keys.contains(key) || self.ranges.iter().any(|range| range.contains(key))
    }

    /// Whether any key of `range` is one of them.
    pub(crate) fn meets(&self, range: &KeyRange) -> bool {
        // The set panics if it is asked for an empty range.
        !range.is_empty()
            && (self.keys.range::<Bytes, _>((range.lower(), range.upper())).next().is_some()
                || self.ranges.iter().any(|other| !other.intersection(range).is_empty()))
    }

    /// All is flushed.
    pub(crate) fn clear(&mut self) {
        self.keys.clear();
        self.ranges.clear();
    }
}
