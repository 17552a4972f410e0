//! Visiting entries in the order of their keys.

use crate::{IteratorOptions, KeyRange, Result};
use async_trait::async_trait;
use bytes::Bytes;

/// A key and its value. What the iterator's options left out is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
}

/// A cursor over a range of a database, made by [`AbstractLevel::iterator_opts`](crate::AbstractLevel::iterator_opts).
///
/// Keys are strictly monotonic in the direction asked for. The end is sticky until a `seek`, and for good once the
/// limit is reached. `&mut self` makes two calls at once impossible.
///
/// **Cancellation**: dropping the future of `next` or `next_many` loses no entry; the next call delivers it.
///
/// Dropping an iterator releases all it holds; `close` does so too and waits for it.
#[async_trait]
pub trait LevelIterator: Send {
    /// The next entry, or `None` at the end.
    ///
    /// Errors: `LEVEL_ITERATOR_NOT_OPEN` after `close`; `LEVEL_DATABASE_NOT_OPEN` if the database was closed.
    async fn next(&mut self) -> Result<Option<Entry>>;

    /// Up to `size` further entries (0 counts as 1). May give fewer; gives none only at the end.
    async fn next_many(&mut self, size: usize) -> Result<Vec<Entry>>;

    /// Continues at the first key ≥ `target` (in reverse: ≤ `target`). A target outside the range continues at the
    /// end. Entries already delivered still count against the limit, and the view stays the one of creation.
    async fn seek(&mut self, target: Bytes) -> Result<()>;

    /// Releases the iterator. Calling it again does nothing.
    async fn close(&mut self) -> Result<()>;
}

/// The bookkeeping every iterator shares: what remains of the range and of the limit, and whether the end was reached.
/// A store asks it where to read next and tells it what it delivered.
///
/// ```
/// use rave_core::{IteratorOptions, KeyRange, Progress};
/// let mut progress = Progress::new(&IteratorOptions::from(KeyRange::all().lt("c")).limited(2));
/// assert_eq!(progress.want(10), 2);
/// progress.delivered(b"a", 1);
/// assert!(progress.remaining_range().unwrap().contains(b"b"));
/// progress.delivered(b"b", 1);
/// assert_eq!(progress.want(10), 0); // the limit is reached
/// ```
#[derive(Clone, Debug)]
pub struct Progress {
    range: KeyRange,
    reverse: bool,
    remaining: Option<u64>,
    /// `None` at the end.
    rest: Option<KeyRange>,
}

impl Progress {
    /// At the start of the options' range.
    pub fn new(options: &IteratorOptions) -> Self {
        Self {
            range: options.range.clone(),
            reverse: options.reverse,
            remaining: options.limit,
            rest: Some(options.range.clone()),
        }
    }

    /// How many of `size` entries may still be delivered (0 counts as 1); 0 at the end.
    pub fn want(&self, size: usize) -> usize {
        if self.rest.is_none() {
            return 0;
        }
        let size = size.max(1);
        self.remaining.map_or(size, |left| size.min(usize::try_from(left).unwrap_or(usize::MAX)))
    }

    /// Entries that may still be delivered; `None` without a limit.
    pub fn remaining_limit(&self) -> Option<u64> {
        self.remaining
    }

    /// The direction.
    pub fn reverse(&self) -> bool {
        self.reverse
    }

    /// What is still to be visited; `None` at the end.
    pub fn remaining_range(&self) -> Option<&KeyRange> {
        self.rest.as_ref()
    }

    /// `count` entries were delivered, the last with the key `last`.
    pub fn delivered(&mut self, last: &[u8], count: usize) {
        if let Some(left) = &mut self.remaining {
            *left = left.saturating_sub(count as u64);
        }
        if self.rest.is_some() {
            self.rest = Some(self.range.behind(last, self.reverse));
        }
    }

    /// The range has no further entries.
    pub fn ended(&mut self) {
        self.rest = None;
    }

    /// The user seeks to `target`; returns whether it lies inside the range.
    pub fn seek(&mut self, target: &[u8]) -> bool {
        self.rest = self.range.from_target(target, self.reverse);
        self.rest.is_some()
    }
}
