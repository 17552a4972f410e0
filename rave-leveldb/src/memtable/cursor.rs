//! A position among the entries of a memtable.

use super::{MemEntry, MemTable};
use crate::{error::ReadResult, iterator::Cursor, key::InternalKey, storage::Access};
use bytes::Bytes;
use std::{collections::VecDeque, ops::Bound, sync::Arc};

/// Entries that are fetched at first; each further time twice as many, up to the second number.
const FIRST_FETCH: usize = 4;
const MOST_FETCHED: usize = 128;

/// Walks a memtable in both directions.
///
/// A reference into the skip list would have to borrow from it. So entries are fetched in portions and kept: they point
/// to their bytes, and a search is due only once per portion.
pub(crate) struct MemTableCursor {
    table: Arc<MemTable>,
    /// The entry it stands on, and those that follow in the direction of travel.
    fetched: VecDeque<MemEntry>,
    backwards: bool,
    portion: usize,
}

impl MemTableCursor {
    pub(super) fn new(table: Arc<MemTable>) -> Self {
        Self { table, fetched: VecDeque::new(), backwards: false, portion: FIRST_FETCH }
    }

    /// Fetches anew from `from` on, in the direction of travel.
    fn fetch(&mut self, from: Bound<&MemEntry>) {
        self.fetched.clear();
        let entries = &self.table.entries;
        let mut entry = match (self.backwards, from) {
            (false, Bound::Unbounded) => entries.front(),
            (true, Bound::Unbounded) => entries.back(),
            (false, bound) => entries.lower_bound(bound),
            (true, bound) => entries.upper_bound(bound),
        };
        while let Some(found) = entry {
            self.fetched.push_back(found.value().clone());
            if self.fetched.len() >= self.portion {
                break;
            }
            entry = if self.backwards { found.prev() } else { found.next() };
        }
        self.portion = (2 * self.portion).min(MOST_FETCHED);
    }

    fn restart(&mut self, backwards: bool, from: Bound<&MemEntry>) -> ReadResult<()> {
        self.backwards = backwards;
        self.portion = FIRST_FETCH;
        self.fetch(from);
        Ok(())
    }

    fn step(&mut self, backwards: bool) -> ReadResult<()> {
        let Some(left) = self.fetched.pop_front() else { return Ok(()) };
        if backwards != self.backwards {
            return self.restart(backwards, Bound::Excluded(&left));
        }
        if self.fetched.is_empty() {
            self.fetch(Bound::Excluded(&left));
        }
        Ok(())
    }
}

impl Cursor for MemTableCursor {
    fn valid(&self) -> bool {
        !self.fetched.is_empty()
    }

    fn key(&self) -> InternalKey<'_> {
        self.fetched.front().map_or(InternalKey { user_key: &[], tag: 0 }, MemEntry::key)
    }

    fn value(&self) -> Bytes {
        self.fetched.front().map_or_else(Bytes::new, MemEntry::value)
    }

    fn seek_to_first(&mut self) -> ReadResult<()> {
        self.restart(false, Bound::Unbounded)
    }

    fn seek_to_last(&mut self) -> ReadResult<()> {
        self.restart(true, Bound::Unbounded)
    }

    fn seek(&mut self, target: InternalKey<'_>) -> ReadResult<()> {
        let key = target.user_key;
        let bound = MemEntry::bound(key, target.tag, || Bytes::copy_from_slice(key));
        self.restart(false, Bound::Included(&bound))
    }

    fn next(&mut self) -> ReadResult<()> {
        self.step(false)
    }

    fn prev(&mut self) -> ReadResult<()> {
        self.step(true)
    }

    fn set_access(&mut self, _access: Access) {}
}
