//! What can be asked of an operation beyond its keys and values.

use crate::{Batch, Code, Error, KeyRange, Result, Snapshot};

/// How to read.
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// Read the state that this snapshot holds, instead of the present one.
    pub snapshot: Option<Snapshot>,
}

/// How durable a write must be before it is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// `false`: an acknowledged write survives the death of any process. `true`: it survives power loss too.
    pub sync: bool,
}

impl WriteOptions {
    /// Acknowledge only what survives power loss.
    pub const fn synced() -> Self {
        Self { sync: true }
    }
}

/// What to iterate over.
#[derive(Clone, Debug)]
pub struct IteratorOptions {
    /// The keys to visit.
    pub range: KeyRange,
    /// From the highest key to the lowest.
    pub reverse: bool,
    /// At most so many entries; `None` for all. With `reverse` these are the highest keys.
    pub limit: Option<u64>,
    /// Whether entries carry their keys; otherwise [`Entry::key`](crate::Entry::key) is empty.
    pub keys: bool,
    /// Whether entries carry their values; otherwise [`Entry::value`](crate::Entry::value) is empty.
    pub values: bool,
    /// Iterate over the state that this snapshot holds.
    pub snapshot: Option<Snapshot>,
    /// Also visit what rave-level keeps in a shared database for itself, see [`RESERVED`](crate::RESERVED). Stores need not
    /// care: they hide nothing.
    pub internal: bool,
}

impl Default for IteratorOptions {
    fn default() -> Self {
        Self {
            range: KeyRange::all(),
            reverse: false,
            limit: None,
            keys: true,
            values: true,
            snapshot: None,
            internal: false,
        }
    }
}

impl From<KeyRange> for IteratorOptions {
    fn from(range: KeyRange) -> Self {
        Self { range, ..Self::default() }
    }
}

impl IteratorOptions {
    /// The same from the highest key to the lowest.
    pub fn reversed(mut self) -> Self {
        self.reverse = true;
        self
    }

    /// The same with at most `limit` entries.
    pub fn limited(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }
}

/// What to delete.
#[derive(Clone, Debug, Default)]
pub struct ClearOptions {
    /// The keys to delete.
    pub range: KeyRange,
    /// Parts of the range that stay as they are and do not count against the limit. A guest of a shared database refuses
    /// to have any.
    pub except: Vec<KeyRange>,
    /// With a limit, delete the highest keys instead of the lowest.
    pub reverse: bool,
    /// At most so many keys; `None` for all.
    pub limit: Option<u64>,
    /// Delete the keys that this snapshot holds, and leave those that came later.
    pub snapshot: Option<Snapshot>,
    /// See [`WriteOptions::sync`].
    pub sync: bool,
    /// Apply these operations behind the deletions, in the same atomic step, also if there is nothing to delete. A store
    /// without `atomic_clear` refuses that, and every store refuses conditions here.
    pub and_write: Batch,
}

impl ClearOptions {
    /// Checks what can be said of the options by themselves; stores and leaders do so before anything else.
    ///
    /// Errors: `LEVEL_INVALID_BATCH` if `and_write` has conditions.
    pub fn validate(&self) -> Result<()> {
        if self.and_write.is_conditional() {
            return Err(Error::new(Code::InvalidBatch, "a clear takes no conditions"));
        }
        Ok(())
    }

    /// The keys to delete as ranges without a key in common, in the order in which a limit takes them. For stores, which
    /// clear these rather than [`range`](Self::range).
    ///
    /// ```
    /// use rave_core::{ClearOptions, KeyRange};
    /// let options = ClearOptions { except: vec![KeyRange::prefix("b")], ..ClearOptions::default() };
    /// assert_eq!(options.ranges(), [KeyRange::all().lt("b"), KeyRange::all().gte("c")]);
    /// ```
    pub fn ranges(&self) -> Vec<KeyRange> {
        let mut ranges = vec![self.range.clone()];
        for hole in &self.except {
            let parts = ranges.iter().flat_map(|range| range.without(hole));
            ranges = parts.filter(|part| !part.is_empty()).collect();
        }
        if self.reverse {
            ranges.reverse();
        }
        ranges
    }

    /// Whether they ask for nothing at all: no key may be deleted, and nothing is to be written.
    pub fn is_nothing(&self) -> bool {
        self.limit == Some(0) && self.and_write.is_empty()
    }
}

impl From<KeyRange> for ClearOptions {
    fn from(range: KeyRange) -> Self {
        Self { range, ..Self::default() }
    }
}
