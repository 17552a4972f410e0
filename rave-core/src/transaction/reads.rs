//! What a transaction was told by the database, as the conditions under which its commit is right.

use crate::{Code, Condition, Digester, Entry, Error, KeyRange, MAX_CONDITIONS, Result};
use bytes::Bytes;
use std::{collections::BTreeMap, mem, ops::Bound};

/// Values longer than this are not sent back to be compared: their digest is.
const COMPARED_WHOLE: usize = 64;
/// Reading backwards, so many entries, or bytes of them, are turned around at once: digests are of ascending entries.
const TURNED_ENTRIES: usize = 1000;
const TURNED_BYTES: usize = 256 * 1024;

/// All that was read.
#[derive(Default)]
pub(super) struct Reads {
    points: BTreeMap<Bytes, Option<Bytes>>,
    /// One for each iterator that is open.
    ranges: BTreeMap<usize, RangeRead>,
    /// What iterators had read when they went; what several have read in the same way is here once.
    finished: Vec<Condition>,
    opened: usize,
    /// Keys and pieces of ranges.
    count: usize,
    bytes: usize,
}

impl Reads {
    /// What is remembered of `key`.
    pub(super) fn point(&self, key: &Bytes) -> Option<&Option<Bytes>> {
        self.points.get(key)
    }

    /// Remembers the value of `key`, and gives the one that was remembered first.
    pub(super) fn learn(&mut self, key: Bytes, value: Option<Bytes>) -> Result<Option<Bytes>> {
        if let Some(known) = self.points.get(&key) {
            return Ok(known.clone());
        }
        self.take_place()?;
        self.bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
        self.points.insert(key, value.clone());
        Ok(value)
    }

    /// A place for what an iterator will read.
    pub(super) fn open_range(&mut self, reverse: bool) -> usize {
        self.opened += 1;
        self.ranges.insert(self.opened, RangeRead { reverse, ..RangeRead::default() });
        self.opened
    }

    /// The iterator at `place` reads no more.
    pub(super) fn close_range(&mut self, place: usize) {
        let Some(mut read) = self.ranges.remove(&place) else { return };
        self.bytes -= read.bytes();
        read.finish_piece();
        let Some(condition) = read.condition() else { return };
        if self.finished.contains(&condition) {
            self.count -= read.pieces.len();
        } else {
            self.bytes += read.bytes();
            self.finished.push(condition);
        }
    }

    /// The iterator at `place` has met `entries`, which are all that is between the beginning of `rest` and the key `to`,
    /// or the end of `rest`. With `jumped` that is not where it was before.
    pub(super) fn met(
        &mut self,
        place: usize,
        rest: &KeyRange,
        to: Option<&Bytes>,
        entries: Vec<Entry>,
        jumped: bool,
    ) -> Result<()> {
        if jumped || self.ranges.get(&place).is_some_and(|read| read.piece.is_none()) {
            self.take_place()?;
        }
        let Some(read) = self.ranges.get_mut(&place) else { return Ok(()) };
        let before = read.bytes();
        if jumped {
            read.finish_piece();
        }
        read.add(rest, to, entries);
        self.bytes = self.bytes + read.bytes() - before;
        Ok(())
    }

    /// Bytes of all that is remembered.
    pub(super) fn byte_len(&self) -> usize {
        self.bytes
    }

    /// What has to hold for everything that was read to be true.
    pub(super) fn conditions(&self) -> impl Iterator<Item = Condition> + '_ {
        let points = self.points.iter().map(|(key, value)| match value {
            None => Condition::Absent { key: key.clone() },
            Some(value) if value.len() <= COMPARED_WHOLE => {
                Condition::Equals { key: key.clone(), value: value.clone() }
            }
            Some(value) => {
                let mut digester = Digester::default();
                digester.entry(key, value);
                let only = KeyRange::new(Bound::Included(key.clone()), Bound::Included(key.clone()));
                Condition::unchanged(only, digester.finish())
            }
        });
        points.chain(self.finished.iter().cloned()).chain(self.ranges.values().filter_map(RangeRead::condition))
    }

    fn take_place(&mut self) -> Result<()> {
        if self.count == MAX_CONDITIONS {
            let message = format!(
                "a transaction reads more than {MAX_CONDITIONS} keys one by one; a range of them counts only once"
            );
            return Err(Error::new(Code::InvalidBatch, message));
        }
        self.count += 1;
        Ok(())
    }
}

/// What one iterator has read: pieces of a range, in the order in which it came to them.
#[derive(Clone, Default)]
struct RangeRead {
    reverse: bool,
    /// Those that are finished.
    pieces: Vec<KeyRange>,
    /// The one that grows.
    piece: Option<KeyRange>,
    /// Of all entries but the ones in `descending`.
    digester: Digester,
    /// Reading backwards: the entries of `piece`, from the highest.
    descending: Vec<Entry>,
    descending_bytes: usize,
}

impl RangeRead {
    fn add(&mut self, rest: &KeyRange, to: Option<&Bytes>, entries: Vec<Entry>) {
        let piece = self.piece.take().unwrap_or_else(|| rest.clone());
        let (lower, upper) = (piece.lower().cloned(), piece.upper().cloned());
        let to = to.cloned().map(Bound::Included);
        self.piece = Some(match self.reverse {
            false => KeyRange::new(lower, to.unwrap_or_else(|| rest.upper().cloned())),
            true => KeyRange::new(to.unwrap_or_else(|| rest.lower().cloned()), upper),
        });
        if !self.reverse {
            entries.iter().for_each(|entry| self.digester.entry(&entry.key, &entry.value));
            return;
        }
        self.descending_bytes += entries.iter().map(|entry| entry.key.len() + entry.value.len()).sum::<usize>();
        self.descending.extend(entries);
        if self.descending.len() >= TURNED_ENTRIES || self.descending_bytes >= TURNED_BYTES {
            self.finish_piece();
        }
    }

    fn finish_piece(&mut self) {
        self.pieces.extend(self.piece.take());
        self.descending_bytes = 0;
        for entry in mem::take(&mut self.descending).iter().rev() {
            self.digester.entry(&entry.key, &entry.value);
        }
    }

    fn bytes(&self) -> usize {
        self.pieces.iter().chain(&self.piece).map(KeyRange::byte_len).sum::<usize>() + self.descending_bytes
    }

    /// `None` if nothing was read.
    fn condition(&self) -> Option<Condition> {
        let mut whole = self.clone();
        whole.finish_piece();
        let Self { pieces, digester, .. } = whole;
        (!pieces.is_empty()).then(|| Condition::Unchanged { ranges: pieces, strip: 0, digest: digester.finish() })
    }
}
