//! From internal entries to what a user sees: of every key its newest write that is visible, unless it is a deletion.

use super::merging::MergingCursor;
use crate::{
    chunks::Chunks,
    error::{ReadError, ReadResult},
    key::{InternalKey, Kind, SequenceNumber},
    storage::Access,
};
use bytes::Bytes;
use rave_core::{Entry, KeyRange};
use std::{any::Any, ops::Bound, sync::Arc};

/// Versions of one key that are passed one by one; then it is cheaper to seek behind the rest.
const PATIENCE: usize = 16;

/// Entries that a walk in memory passes without finding a visible one, before it is better done elsewhere.
const STRETCH: usize = 4096;

/// Bytes of keys that are allocated at once, at first and later.
const FIRST_CHUNK: usize = 256;
const CHUNK: usize = 4 << 10;

/// The lowest tag: behind all writes of a key.
const OLDEST: u64 = 0;
/// The highest: before all writes of a key.
const NEWEST: u64 = u64::MAX;

/// A walk over the entries of a range that are visible at a sequence number, in one direction.
pub(crate) struct VisibleEntries {
    merged: MergingCursor,
    sequence: SequenceNumber,
    reverse: bool,
    range: KeyRange,
    positioned: bool,
    /// Whether a long stretch of invisible entries counts as something to wait for.
    impatient: bool,
    /// The key that was decided last: it was given, or there is none. Forwards the cursor may stand on it still, and older
    /// writes of it are passed over.
    decided: Option<Vec<u8>>,
    /// What the keys that are delivered are copied into.
    keys: Chunks,
    /// What the sources read from: stays for as long as this lives.
    _kept: Arc<dyn Any + Send + Sync>,
}

impl VisibleEntries {
    /// A walk that begins with [`restart`](Self::restart). It keeps `kept`, which the sources of `merged` need.
    pub(crate) fn new(
        merged: MergingCursor,
        sequence: SequenceNumber,
        reverse: bool,
        kept: Arc<dyn Any + Send + Sync>,
    ) -> Self {
        Self {
            _kept: kept,
            merged,
            sequence,
            reverse,
            range: KeyRange::all(),
            positioned: false,
            impatient: false,
            decided: None,
            keys: Chunks::new(FIRST_CHUNK, CHUNK),
        }
    }

    /// Whether reads from here on may wait for the disk.
    pub(crate) fn set_access(&mut self, access: Access) {
        self.merged.set_access(access);
        self.impatient = access == Access::InMemory;
    }

    /// Continues at the beginning of `range` (in reverse: at its end), with the next call of
    /// [`next_entry`](Self::next_entry). To be called after an error before anything else.
    pub(crate) fn restart(&mut self, range: KeyRange) {
        self.range = range;
        self.positioned = false;
    }

    /// The next entry; `None` behind the last one. `values` says whether its value is wanted.
    pub(crate) fn next_entry(&mut self, values: bool) -> ReadResult<Option<Entry>> {
        if !self.positioned {
            self.position()?;
            self.positioned = true;
        }
        if self.reverse { self.backward(values) } else { self.forward(values) }
    }

    /// The last key since the restart that need not be visited again; `None` if there is none.
    pub(crate) fn passed(&self) -> Option<&[u8]> {
        self.decided.as_deref().filter(|key| self.positioned && self.range.contains(key))
    }

    fn position(&mut self) -> ReadResult<()> {
        self.decided = None;
        if self.reverse {
            match self.range.upper() {
                Bound::Unbounded => self.merged.seek_to_last(),
                Bound::Included(key) => self.merged.seek_before(InternalKey { user_key: key, tag: OLDEST }),
                Bound::Excluded(key) => self.merged.seek_before(InternalKey { user_key: key, tag: NEWEST }),
            }
        } else {
            match self.range.lower() {
                Bound::Unbounded => self.merged.seek_to_first(),
                Bound::Included(key) => self.merged.seek(InternalKey::seek(key, self.sequence)),
                Bound::Excluded(key) => self.merged.seek(InternalKey { user_key: key, tag: OLDEST }),
            }
        }
    }

    fn forward(&mut self, values: bool) -> ReadResult<Option<Entry>> {
        let (mut passed, mut stretch) = (0, 0);
        while let Some(key) = self.merged.key() {
            stretch += 1;
            if self.impatient && stretch > STRETCH {
                return Err(ReadError::WouldBlock);
            }
            let older = self.decided.as_deref() == Some(key.user_key);
            if older || key.sequence() > self.sequence {
                passed += 1;
                if passed < PATIENCE {
                    self.merged.next()?;
                } else {
                    passed = 0;
                    let user_key = key.user_key.to_vec();
                    let past = InternalKey { user_key: &user_key, tag: OLDEST };
                    self.merged.seek(if older { past } else { InternalKey::seek(&user_key, self.sequence) })?;
                }
                continue;
            }
            if !self.range.below_upper(key.user_key) {
                return Ok(None);
            }
            passed = 0;
            let excluded = !self.range.above_lower(key.user_key);
            let decided = self.decided.get_or_insert_default();
            decided.clear();
            decided.extend_from_slice(key.user_key);
            if key.kind() == Kind::Value && !excluded {
                // The cursor stays here, so that trouble further on does not take this entry along.
                let value = if values { self.merged.value() } else { Bytes::new() };
                return Ok(Some(Entry { key: self.keys.copy(key.user_key), value }));
            }
        }
        Ok(None)
    }

    /// Backwards the oldest write of a key comes first: the last visible one of its run decides.
    fn backward(&mut self, values: bool) -> ReadResult<Option<Entry>> {
        let mut stretch = 0;
        while let Some(key) = self.merged.key() {
            stretch += 1;
            if self.impatient && stretch > STRETCH {
                return Err(ReadError::WouldBlock);
            }
            if !self.range.above_lower(key.user_key) {
                return Ok(None);
            }
            let user_key = self.keys.copy(key.user_key);
            let mut newest = None;
            let mut unseen = 0;
            while let Some(key) = self.merged.key().filter(|key| key.user_key == user_key) {
                if key.sequence() <= self.sequence {
                    let value = || if values { self.merged.value() } else { Bytes::new() };
                    newest = (key.kind() == Kind::Value).then(value);
                } else {
                    unseen += 1;
                    if unseen == PATIENCE {
                        self.merged.seek_before(InternalKey { user_key: &user_key, tag: NEWEST })?;
                        continue;
                    }
                }
                self.merged.prev()?;
            }
            let decided = self.decided.get_or_insert_default();
            decided.clear();
            decided.extend_from_slice(&user_key);
            if let Some(value) = newest.filter(|_| self.range.below_upper(&user_key)) {
                return Ok(Some(Entry { key: user_key, value }));
            }
        }
        Ok(None)
    }
}
