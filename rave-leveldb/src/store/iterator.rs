//! Iterators as their users hold them.

use super::{blocking::blocking, gate::Inside};
use crate::{
    db::{Db, View},
    error::{ReadError, ReadResult},
    iterator::VisibleEntries,
    key::SequenceNumber,
    storage::Access,
};
use async_trait::async_trait;
use bytes::Bytes;
use rave_core::{Code, Entry, Error, IteratorOptions, KeyRange, LevelIterator, Result};
use std::{collections::VecDeque, sync::Arc};

/// Entries that one stay on a blocking thread reads, at first; each further one reads twice as many, up to [`LARGEST`].
const FIRST: usize = 16;
const LARGEST: usize = 1024;
/// Bytes after which a page is given, though more was asked for.
const PAGE_BYTES: usize = 256 << 10;

/// Bytes of entries between two looks at whether compacting what is read would make reading cheaper.
const SAMPLE_BYTES: usize = 1 << 20;

/// What an iterator looks at: held for as long as it is open.
struct Source {
    view: Arc<View>,
    sequence: SequenceNumber,
}

impl Source {
    fn entries(&self, db: &Db, reverse: bool) -> VisibleEntries {
        db.entries_of(&self.view, self.sequence, reverse, true)
    }
}

pub(super) struct StoreIterator {
    db: Arc<Db>,
    /// `None` once closed.
    source: Option<Source>,
    /// `None` while it is on a blocking thread, and at first.
    entries: Option<VisibleEntries>,
    /// Whether `entries` stands behind the last entry that was read.
    in_step: bool,
    /// What a blocking thread has read ahead.
    ahead: VecDeque<Entry>,
    page: usize,
    options: IteratorOptions,
    /// Where the last seek began; `None` at the end.
    range: Option<KeyRange>,
    /// The key that was delivered last since then, as far as `entries` does not know it.
    bookmark: Option<Bytes>,
    /// Entries that may still be delivered.
    left: u64,
    /// Bytes delivered since the last look.
    unsampled: usize,
}

impl StoreIterator {
    pub(super) fn new(db: Arc<Db>, view: Arc<View>, sequence: SequenceNumber, options: IteratorOptions) -> Self {
        let (range, left) = (Some(options.range.clone()), options.limit.unwrap_or(u64::MAX));
        Self {
            db,
            source: Some(Source { view, sequence }),
            entries: None,
            in_step: false,
            ahead: VecDeque::new(),
            page: FIRST,
            options,
            range,
            bookmark: None,
            left,
            unsampled: 0,
        }
    }

    /// Lets the iterator in, for as long as the result lives: the files stay open meanwhile.
    fn enter(&self) -> Result<Inside> {
        if self.source.is_none() {
            return Err(Error::new(Code::IteratorNotOpen, "the iterator is closed"));
        }
        self.db.gate.enter()
    }

    /// The next entry, if it can be had without waiting. `Ok(None)` is the end.
    fn step(&mut self) -> ReadResult<Option<Entry>> {
        if self.left == 0 {
            return Ok(None);
        }
        let entry = match self.ahead.pop_front() {
            Some(entry) => {
                self.bookmark = Some(entry.key.clone());
                entry
            }
            None => match self.read()? {
                Some(entry) => entry,
                None => {
                    self.range = None;
                    return Ok(None);
                }
            },
        };
        self.left -= 1;
        self.sample(&entry);
        Ok(Some(if self.options.keys { entry } else { Entry { key: Bytes::new(), ..entry } }))
    }

    /// Now and then counts what reading the entry costs, so that tables which make scans slow get compacted.
    fn sample(&mut self, entry: &Entry) {
        self.unsampled += entry.key.len() + entry.value.len();
        if self.unsampled >= SAMPLE_BYTES
            && let Some(source) = &self.source
        {
            self.unsampled = 0;
            if source.view.version.sample_read(&entry.key) {
                self.db.seeks_exhausted();
            }
        }
    }

    fn read(&mut self) -> ReadResult<Option<Entry>> {
        let Some(source) = &self.source else { return Ok(None) };
        if !self.in_step {
            let Some(rest) = self.rest() else { return Ok(None) };
            let entries = self.entries.get_or_insert_with(|| source.entries(&self.db, self.options.reverse));
            entries.restart(rest);
            entries.set_access(Access::InMemory);
        }
        let Some(entries) = &mut self.entries else { return Ok(None) };
        let entry = entries.next_entry(self.options.values);
        self.in_step = entry.is_ok();
        if !self.in_step
            && let Some(passed) = entries.passed()
        {
            self.bookmark = Some(Bytes::copy_from_slice(passed));
        }
        entry
    }

    /// What is still to be visited; `None` at the end.
    fn rest(&self) -> Option<KeyRange> {
        let range = self.range.as_ref()?;
        Some(match &self.bookmark {
            Some(bookmark) => range.behind(bookmark, self.options.reverse),
            None => range.clone(),
        })
    }

    /// Reads a page where it may wait. Notes nothing before it has arrived, so that a dropped future loses nothing.
    async fn read_ahead(&mut self, size: usize) -> Result<()> {
        let (Some(source), Some(rest)) = (&self.source, self.rest()) else { return Ok(()) };
        let inside = self.db.gate.enter()?;
        let mut entries = self.entries.take().unwrap_or_else(|| source.entries(&self.db, self.options.reverse));
        // Without this a dropped future would leave the walk, made anew, out of step.
        self.in_step = false;
        let values = self.options.values;
        let want = size.clamp(self.page, LARGEST).min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let (entries, page) = blocking(move || {
            let _inside = inside;
            entries.restart(rest);
            entries.set_access(Access::Blocking);
            let page = read_page(&mut entries, want, values);
            entries.set_access(Access::InMemory);
            (entries, page)
        })
        .await?;
        self.entries = Some(entries);
        let page = page?;
        self.in_step = page.in_step;
        if page.entries.is_empty() && page.in_step {
            self.range = None;
        }
        self.ahead = page.entries;
        self.page = (self.page * 2).min(LARGEST);
        Ok(())
    }
}

struct Page {
    entries: VecDeque<Entry>,
    /// Whether the walk stands behind the last of them.
    in_step: bool,
}

/// Up to `want` entries; none only at the end.
fn read_page(walk: &mut VisibleEntries, want: usize, values: bool) -> Result<Page> {
    let (mut entries, mut bytes) = (VecDeque::with_capacity(want), 0);
    while entries.len() < want && bytes < PAGE_BYTES {
        match walk.next_entry(values) {
            Ok(Some(entry)) => {
                bytes += entry.key.len() + entry.value.len();
                entries.push_back(entry);
            }
            Ok(None) => break,
            // What was found before is delivered first; the next page meets the trouble again.
            Err(_) if !entries.is_empty() => return Ok(Page { entries, in_step: false }),
            Err(error) => return Err(error.into_error()),
        }
    }
    Ok(Page { entries, in_step: true })
}

#[async_trait]
impl LevelIterator for StoreIterator {
    async fn next(&mut self) -> Result<Option<Entry>> {
        loop {
            let step = {
                let _inside = self.enter()?;
                self.step()
            };
            match step {
                Ok(entry) => return Ok(entry),
                Err(ReadError::Failed(error)) => return Err(error),
                Err(ReadError::WouldBlock) => self.read_ahead(1).await?,
            }
        }
    }

    async fn next_many(&mut self, size: usize) -> Result<Vec<Entry>> {
        let size = size.max(1);
        let (mut entries, mut bytes) = (Vec::with_capacity(size.min(LARGEST)), 0);
        loop {
            {
                let _inside = self.enter()?;
                while entries.len() < size && bytes < PAGE_BYTES {
                    match self.step() {
                        Ok(Some(entry)) => {
                            bytes += entry.key.len() + entry.value.len();
                            entries.push(entry);
                        }
                        Ok(None) => return Ok(entries),
                        // What there is is given; the next call meets the trouble again.
                        Err(_) if !entries.is_empty() => return Ok(entries),
                        Err(ReadError::Failed(error)) => return Err(error),
                        Err(ReadError::WouldBlock) => break,
                    }
                }
            }
            if !entries.is_empty() {
                return Ok(entries);
            }
            self.read_ahead(size).await?;
        }
    }

    async fn seek(&mut self, target: Bytes) -> Result<()> {
        drop(self.enter()?);
        self.ahead.clear();
        self.in_step = false;
        self.bookmark = None;
        self.page = FIRST;
        self.range = self.options.range.from_target(&target, self.options.reverse);
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        (self.source, self.entries) = (None, None);
        self.ahead = VecDeque::new();
        Ok(())
    }
}
