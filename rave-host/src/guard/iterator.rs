//! An iterator that passes over the hidden keys.

use super::hidden::{far_end, is_hidden, overlaps, side};
use async_trait::async_trait;
use bytes::Bytes;
use rave_core::{AbstractLevel, Entry, IteratorOptions, LevelIterator, Result};
use std::slice;

/// Opens an iterator on `store` for a user: of its own if no hidden key lies in the range, which then costs nothing.
pub(super) async fn open(store: &dyn AbstractLevel, options: IteratorOptions) -> Result<Box<dyn LevelIterator>> {
    if options.internal || !overlaps(&options.range) {
        return store.iterator_opts(options).await;
    }
    let (reverse, keys, left) = (options.reverse, options.keys, options.limit);
    // The store would count hidden entries against the limit, and only keys tell which entries are hidden.
    let inner = store.iterator_opts(IteratorOptions { limit: None, keys: true, ..options }).await?;
    Ok(Box::new(HidingIterator { inner, reverse, keys, left }))
}

/// An iterator over a range with hidden keys in it.
///
/// It remembers nothing of where it stands, so a dropped future cannot lead it astray: each page is looked at, and one that
/// has hidden keys only makes it seek to their far end.
struct HidingIterator {
    /// Without a limit, and with keys.
    inner: Box<dyn LevelIterator>,
    reverse: bool,
    keys: bool,
    /// What the limit still allows.
    left: Option<u64>,
}

impl HidingIterator {
    /// How many of `size` entries the limit allows.
    async fn allowed(&mut self, size: usize) -> Result<usize> {
        let left = self.left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        if left == 0 {
            // There is nothing more for good, so it may stand anywhere; but if it was closed, that is the answer.
            self.inner.seek(far_end(self.reverse)).await?;
        }
        Ok(size.max(1).min(left))
    }

    /// Leaves the hidden keys, of which `last` came last.
    async fn leave(&mut self, last: Bytes) -> Result<()> {
        let end = far_end(self.reverse);
        // From the end itself it would come back here.
        if last != end { self.inner.seek(end).await } else { Ok(()) }
    }

    /// These are what the user gets.
    fn deliver(&mut self, entries: &mut [Entry]) {
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(entries.len() as u64);
        }
        if !self.keys {
            entries.iter_mut().for_each(|entry| entry.key = Bytes::new());
        }
    }
}

#[async_trait]
impl LevelIterator for HidingIterator {
    async fn next(&mut self) -> Result<Option<Entry>> {
        if self.allowed(1).await? == 0 {
            return Ok(None);
        }
        loop {
            let Some(mut entry) = self.inner.next().await? else { return Ok(None) };
            if is_hidden(&entry.key) {
                self.leave(entry.key).await?;
                continue;
            }
            self.deliver(slice::from_mut(&mut entry));
            return Ok(Some(entry));
        }
    }

    async fn next_many(&mut self, size: usize) -> Result<Vec<Entry>> {
        let want = self.allowed(size).await?;
        if want == 0 {
            return Ok(Vec::new());
        }
        loop {
            let mut entries = self.inner.next_many(want).await?;
            let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(entries) };
            // In their order: if both ends are on one side of the hidden keys, so is the page.
            if side(&first.key) != side(&last.key) || is_hidden(&first.key) {
                let last = last.key.clone();
                entries.retain(|entry| !is_hidden(&entry.key));
                if entries.is_empty() {
                    self.leave(last).await?;
                    continue;
                }
            }
            self.deliver(&mut entries);
            return Ok(entries);
        }
    }

    async fn seek(&mut self, target: Bytes) -> Result<()> {
        self.inner.seek(target).await
    }

    async fn close(&mut self) -> Result<()> {
        self.inner.close().await
    }
}
