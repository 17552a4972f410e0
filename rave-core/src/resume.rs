//! Continuing an iteration on another store, or on the same one at a later time.

use crate::{AbstractLevel, Entry, IteratorOptions, LevelIterator, Result};
use async_trait::async_trait;
use bytes::Bytes;

/// How far an iteration got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Entries delivered so far; they count against the limit.
    pub delivered: u64,
    /// The bookmark: the last key delivered, if no seek came after it.
    pub bookmark: Option<Bytes>,
    /// The target of a seek after which nothing was delivered yet.
    pub seek: Option<Bytes>,
}

impl Position {
    /// Whether nothing has happened yet.
    pub fn is_start(&self) -> bool {
        *self == Self::default()
    }
}

/// Opens an iterator on `level` that goes on where another one with the same `options` stopped. It neither repeats the
/// bookmark nor skips a key beside it, whatever its length, and can still seek in the whole range.
///
/// Its view is the one of this call, so an iteration resumed so has seen two states of the database.
pub async fn resume_iterator(
    level: &dyn AbstractLevel,
    options: IteratorOptions,
    position: Position,
) -> Result<Box<dyn LevelIterator>> {
    if position.is_start() {
        return level.iterator_opts(options).await;
    }
    let left = options.limit.map(|limit| limit.saturating_sub(position.delivered));
    // Backwards there is no key "just before the bookmark" to seek to: seek to the bookmark itself and drop it if it
    // still exists. That needs keys.
    let mut skip = None;
    let target = match (position.seek, position.bookmark) {
        (Some(target), _) => Some(target),
        (None, Some(bookmark)) if options.reverse => {
            skip = Some(bookmark.clone());
            Some(bookmark)
        }
        (None, Some(bookmark)) => Some([bookmark.as_ref(), &[0]].concat().into()),
        (None, None) => None,
    };
    let strip_keys = !options.keys && skip.is_some();
    let mut inner =
        level.iterator_opts(IteratorOptions { limit: None, keys: options.keys || strip_keys, ..options }).await?;
    if let Some(target) = target {
        inner.seek(target).await?;
    }
    Ok(Box::new(Resumed { inner, left, skip, strip_keys }))
}

struct Resumed {
    inner: Box<dyn LevelIterator>,
    /// What the limit still allows.
    left: Option<u64>,
    /// The bookmark of a reverse iteration, to be dropped if it comes first.
    skip: Option<Bytes>,
    strip_keys: bool,
}

#[async_trait]
impl LevelIterator for Resumed {
    async fn next(&mut self) -> Result<Option<Entry>> {
        Ok(self.next_many(1).await?.pop())
    }

    async fn next_many(&mut self, size: usize) -> Result<Vec<Entry>> {
        let left = self.left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        let want = size.max(1).min(left);
        if want == 0 {
            return Ok(Vec::new());
        }
        let mut entries = self.inner.next_many(want).await?;
        // Taken only once the first page is here: the future may be dropped while it waits.
        if let Some(skip) = self.skip.take()
            && entries.first().is_some_and(|first| first.key == skip)
        {
            entries.remove(0);
            if entries.is_empty() {
                entries = self.inner.next_many(want).await?;
            }
        }
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(entries.len() as u64);
        }
        if self.strip_keys {
            entries.iter_mut().for_each(|entry| entry.key = Bytes::new());
        }
        Ok(entries)
    }

    async fn seek(&mut self, target: Bytes) -> Result<()> {
        self.skip = None;
        self.inner.seek(target).await
    }

    async fn close(&mut self) -> Result<()> {
        self.inner.close().await
    }
}
