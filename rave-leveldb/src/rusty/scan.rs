//! Reading one state of the database, in both directions, with forward seeks only.
//!
//! Of the engine's reading operations only a forward iterator gives right answers, so everything is made of it. An
//! iterator sees the state of its creation for as long as it lives, however often it seeks.

use bytes::Bytes;
use rave_core::{Entry, KeyRange};
use rusty_leveldb::{DBIterator, LdbIterator};
use std::{cell::RefCell, collections::VecDeque, ops::Bound};

/// Bytes of entries that one page holds at most, unless it is a single larger entry.
pub(crate) const PAGE_BYTES: usize = 1 << 20;

/// A state of the database.
pub(crate) struct View {
    cursor: RefCell<DBIterator>,
}

/// Some entries, in the order of the iteration.
#[derive(Default)]
pub(crate) struct Page {
    pub(crate) entries: Vec<Entry>,
    /// Nothing follows.
    pub(crate) done: bool,
}

/// What a page has to contain.
#[derive(Clone, Debug)]
pub(crate) struct PageRequest {
    pub(crate) range: KeyRange,
    pub(crate) reverse: bool,
    /// Entries, at most.
    pub(crate) want: usize,
    pub(crate) values: bool,
}

enum Tail {
    /// The last entries before the end, and how many there are from the start on.
    Complete(VecDeque<Entry>, usize),
    TooMany,
}

impl View {
    pub(crate) fn new(cursor: DBIterator) -> Self {
        Self { cursor: RefCell::new(cursor) }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Bytes> {
        let mut cursor = self.cursor.borrow_mut();
        cursor.seek(key);
        let (found, value) = current(&cursor)?;
        (found == key).then_some(value)
    }

    /// The first key ≥ `key` that is not above the range.
    fn key_at(&self, key: &[u8], range: &KeyRange) -> Option<Bytes> {
        let mut cursor = self.cursor.borrow_mut();
        cursor.seek(key);
        current(&cursor).map(|(key, _)| key).filter(|key| range.below_upper(key))
    }

    /// The next entries of an iteration. `samples` belongs to the iterator; see [`reverse`](Self::reverse).
    pub(crate) fn page(&self, request: &PageRequest, samples: &mut Vec<Bytes>) -> Page {
        if request.range.is_empty() || request.want == 0 {
            return Page { entries: Vec::new(), done: true };
        }
        let lower = match request.range.lower() {
            Bound::Unbounded => Bytes::new(),
            Bound::Included(key) => key.clone(),
            Bound::Excluded(key) => [key.as_ref(), &[0]].concat().into(),
        };
        if request.reverse { self.reverse(request, &lower, samples) } else { self.forward(request, &lower) }
    }

    fn forward(&self, request: &PageRequest, lower: &[u8]) -> Page {
        let mut cursor = self.cursor.borrow_mut();
        let mut page = Page::default();
        let mut bytes = 0;
        cursor.seek(lower);
        while let Some((key, value)) = current(&cursor) {
            if !request.range.below_upper(&key) {
                page.done = true;
                return page;
            }
            let value = if request.values { value } else { Bytes::new() };
            bytes += key.len() + value.len();
            page.entries.push(Entry { key, value });
            if page.entries.len() >= request.want || bytes >= PAGE_BYTES {
                return page;
            }
            cursor.advance();
        }
        page.done = true;
        page
    }

    /// A page backwards is the tail of a forward scan, so what is needed is a key to start from that lies not too far
    /// before the upper bound. Such keys are found by halving the space between a known key and the bound. `samples`
    /// are the keys so found, ascending, each in the range; they serve the later pages too.
    ///
    /// Whatever the samples are, the result is right: they are keys of this view, and each scan goes on to the bound.
    fn reverse(&self, request: &PageRequest, lower: &[u8], samples: &mut Vec<Bytes>) -> Page {
        while samples.pop_if(|key| !request.range.below_upper(key)).is_some() {}
        if samples.is_empty() {
            match self.key_at(lower, &request.range) {
                Some(first) => samples.push(first),
                None => return Page { entries: Vec::new(), done: true },
            }
        }
        let near = request.want.saturating_mul(4).max(128);
        let mut best: Option<VecDeque<Entry>> = None;
        while let Some(start) = samples.last().cloned() {
            match self.tail(&start, request, near, None) {
                Tail::Complete(entries, total) => {
                    let all = samples.len() == 1;
                    if total >= request.want || all {
                        return page_of(entries, all, total);
                    }
                    // Try one further from the bound, to fill the page.
                    best = Some(entries);
                    samples.pop();
                }
                Tail::TooMany => {
                    if let Some(entries) = best {
                        return page_of(entries, false, usize::MAX);
                    }
                    if !self.halve(&start, &request.range, samples) {
                        // The keys are too close to each other to be told apart cheaply.
                        if let Tail::Complete(entries, _) = self.tail(&start, request, usize::MAX, Some(samples)) {
                            return page_of(entries, false, usize::MAX);
                        }
                    }
                }
            }
        }
        // Not reached: the first sample is never popped here.
        Page { entries: Vec::new(), done: true }
    }

    /// The last entries from `start` to the upper bound, unless there are more than `limit`. Adds every so many keys to
    /// `samples`.
    fn tail(&self, start: &[u8], request: &PageRequest, limit: usize, mut samples: Option<&mut Vec<Bytes>>) -> Tail {
        let mut cursor = self.cursor.borrow_mut();
        let mut last = VecDeque::new();
        let (mut bytes, mut total) = (0, 0);
        cursor.seek(start);
        while let Some((key, value)) = current(&cursor) {
            if !request.range.below_upper(&key) {
                break;
            }
            total += 1;
            if total > limit {
                return Tail::TooMany;
            }
            if let Some(samples) = samples.as_mut()
                && total.is_multiple_of(512)
            {
                samples.push(key.clone());
            }
            let value = if request.values { value } else { Bytes::new() };
            bytes += key.len() + value.len();
            last.push_back(Entry { key, value });
            while last.len() > request.want || (bytes > PAGE_BYTES && last.len() > 1) {
                if let Some(Entry { key, value }) = last.pop_front() {
                    bytes -= key.len() + value.len();
                }
            }
            cursor.advance();
        }
        Tail::Complete(last, total)
    }

    /// Finds up to eight keys between `start` and the upper bound, each in the upper half of what remains. Returns
    /// whether it found any.
    fn halve(&self, start: &[u8], range: &KeyRange, samples: &mut Vec<Bytes>) -> bool {
        let mut low = start.to_vec();
        let mut high = match range.upper() {
            Bound::Unbounded => None,
            Bound::Included(key) | Bound::Excluded(key) => Some(key.to_vec()),
        };
        let mut found = 0;
        while found < 8 {
            let Some(middle) = midpoint(&low, high.as_deref()) else { break };
            match self.key_at(&middle, range) {
                Some(key) => {
                    low = key.to_vec();
                    samples.push(key);
                    found += 1;
                }
                None => high = Some(middle),
            }
        }
        found > 0
    }
}

fn current(cursor: &DBIterator) -> Option<(Bytes, Bytes)> {
    if cursor.valid() { cursor.current() } else { None }
}

/// `all`: the scan started at the first key of the range.
fn page_of(entries: VecDeque<Entry>, all: bool, total: usize) -> Page {
    let done = all && entries.len() == total;
    Page { entries: entries.into_iter().rev().collect(), done }
}

/// A byte string strictly between `low` and `high` (`None`: above everything), about half-way, if there is one of
/// moderate length. Read as fractions: `[0x80]` is one half.
fn midpoint(low: &[u8], high: Option<&[u8]>) -> Option<Vec<u8>> {
    const LONGEST: usize = 4096;
    let length = low.len().max(high.map_or(0, <[u8]>::len)) + 1;
    if length > LONGEST {
        return None;
    }
    let digit = |digits: &[u8], i: usize| u16::from(digits.get(i).copied().unwrap_or(0));
    // The sum, with its carry in front.
    let mut sum = vec![0u16; length + 1];
    let mut carry = 0;
    for i in (0..length).rev() {
        let digits = digit(low, i) + high.map_or(0, |high| digit(high, i)) + carry;
        *sum.get_mut(i + 1)? = digits & 0xff;
        carry = digits >> 8;
    }
    *sum.first_mut()? = carry + u16::from(high.is_none());
    let mut middle = Vec::with_capacity(length);
    let mut remainder = sum.first().copied()?;
    for digits in sum.iter().skip(1) {
        let value = (remainder << 8) | digits;
        middle.push(u8::try_from(value >> 1).ok()?);
        remainder = value & 1;
    }
    // Shorter is cheaper; the digits behind the first that differs from `low` hardly matter, unless they are needed to
    // stay above it.
    let differs = middle.iter().enumerate().position(|(i, &byte)| low.get(i) != Some(&byte))?;
    if middle.get(differs) > low.get(differs) && low.get(differs).is_some() {
        middle.truncate(differs + 2);
    }
    let inside = middle.as_slice() > low && high.is_none_or(|high| middle.as_slice() < high);
    inside.then_some(middle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn midpoints_lie_between_and_halve() {
        assert_eq!(midpoint(b"", None), Some(vec![0x80]));
        assert_eq!(midpoint(&[0x80], None).as_deref(), Some(&[0xc0, 0][..]));
        assert_eq!(midpoint(b"a", Some(b"a\0")), None);
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let mut key =
                || -> Vec<u8> { (0..random.usize(0..5)).map(|_| [0, 1, 97, 255][random.usize(0..4)]).collect() };
            let (a, b) = (key(), key());
            let (low, high) = if a < b { (a, b) } else { (b, a) };
            if let Some(middle) = midpoint(&low, Some(&high)) {
                assert!(low < middle && middle < high, "{low:?} {middle:?} {high:?}");
            }
            if let Some(middle) = midpoint(&low, None) {
                assert!(low < middle, "{low:?} {middle:?}");
            }
        }
    }
}
