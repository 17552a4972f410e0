//! Iterators: pages from the owner of the engine, handed out one by one.

use crate::{
    command::{Command, PageRequest, Read},
    store::Shared,
};
use async_trait::async_trait;
use bytes::Bytes;
use rave_core::{Code, Entry, Error, IteratorOptions, LevelIterator, Progress, Result};
use std::{collections::VecDeque, sync::Arc};

/// Entries of an iterator's first page; each further one is twice as long, up to [`LARGEST`].
const FIRST: usize = 16;
const LARGEST: usize = 1024;

pub(crate) struct StoreIterator {
    /// `None` once closed.
    shared: Option<Arc<Shared>>,
    /// Where the last seek began, and what was delivered before it.
    progress: Progress,
    /// Entries delivered since then.
    delivered: usize,
    /// Where the owner has to read on: behind what is buffered.
    ahead: Progress,
    buffered: VecDeque<Entry>,
    page: usize,
    keys: bool,
    values: bool,
}

impl StoreIterator {
    pub(crate) fn new(shared: Arc<Shared>, options: &IteratorOptions) -> Self {
        Self {
            shared: Some(shared),
            progress: Progress::new(options),
            delivered: 0,
            ahead: Progress::new(options),
            buffered: VecDeque::new(),
            page: FIRST,
            keys: options.keys,
            values: options.values,
        }
    }

    fn shared(&self) -> Result<&Shared> {
        let closed = || Error::new(Code::IteratorNotOpen, "the iterator is closed");
        let shared = self.shared.as_deref().ok_or_else(closed)?;
        shared.check_open()?;
        Ok(shared)
    }

    /// Makes sure that there is something buffered, unless this is the end.
    async fn fill(&mut self, size: usize) -> Result<()> {
        let shared = self.shared()?;
        if !self.buffered.is_empty() {
            return Ok(());
        }
        let want = self.ahead.want(size.clamp(self.page, LARGEST));
        let Some(range) = self.ahead.remaining_range().filter(|_| want > 0) else { return Ok(()) };
        let request = PageRequest { range: range.clone(), reverse: self.ahead.reverse(), want, values: self.values };
        // Nothing is noted before the page has arrived, so that a dropped future loses nothing.
        let page = shared.ask(|reply| Command::Read(Read::Page { request, reply })).await?;
        if let Some(last) = page.entries.last() {
            self.ahead.delivered(&last.key, page.entries.len());
        }
        if page.done {
            self.ahead.ended();
        }
        self.page = (self.page * 2).min(LARGEST);
        self.buffered = page.entries.into();
        Ok(())
    }

    /// Notes that the entry is delivered.
    fn deliver(&mut self, mut entry: Entry) -> Entry {
        self.delivered += 1;
        if !self.keys {
            entry.key = Bytes::new();
        }
        entry
    }
}

#[async_trait]
impl LevelIterator for StoreIterator {
    async fn next(&mut self) -> Result<Option<Entry>> {
        self.fill(1).await?;
        let entry = self.buffered.pop_front();
        Ok(entry.map(|entry| self.deliver(entry)))
    }

    async fn next_many(&mut self, size: usize) -> Result<Vec<Entry>> {
        let size = size.max(1);
        self.fill(size).await?;
        let count = size.min(self.buffered.len());
        let entries: Vec<Entry> = self.buffered.drain(..count).collect();
        Ok(entries.into_iter().map(|entry| self.deliver(entry)).collect())
    }

    async fn seek(&mut self, target: Bytes) -> Result<()> {
        self.shared()?;
        // What was read ahead was not delivered and must not count against the limit.
        self.buffered.clear();
        self.progress.delivered(&[], std::mem::take(&mut self.delivered));
        self.progress.seek(&target);
        self.ahead = self.progress.clone();
        self.page = FIRST;
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        self.buffered.clear();
        self.shared = None;
        Ok(())
    }
}
