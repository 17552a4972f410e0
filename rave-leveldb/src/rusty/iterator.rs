//! Iterators: pages from the owner thread, handed out one by one.

use crate::rusty::{
    owner::Command,
    scan::PageRequest,
    store::{Held, Shared},
};
use async_trait::async_trait;
use bytes::Bytes;
use rave_core::{Code, Entry, Error, IteratorOptions, LevelIterator, Progress, Result};
use std::{collections::VecDeque, sync::Arc};

/// Entries of an iterator's first page; each further one is twice as long, up to [`LARGEST`].
const FIRST: usize = 16;
const LARGEST: usize = 1024;

pub(crate) struct StoreIterator {
    shared: Arc<Shared>,
    /// `None` once closed.
    view: Option<Held>,
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
    pub(crate) fn new(shared: Arc<Shared>, view: Held, options: &IteratorOptions) -> Self {
        Self {
            shared,
            view: Some(view),
            progress: Progress::new(options),
            delivered: 0,
            ahead: Progress::new(options),
            buffered: VecDeque::new(),
            page: FIRST,
            keys: options.keys,
            values: options.values,
        }
    }

    /// Makes sure that there is something buffered, unless this is the end.
    async fn fill(&mut self, size: usize) -> Result<()> {
        let Some(view) = &self.view else {
            return Err(Error::new(Code::IteratorNotOpen, "the iterator is closed"));
        };
        self.shared.check_open()?;
        while self.buffered.is_empty() {
            let want = self.ahead.want(size.clamp(self.page, LARGEST));
            let Some(range) = self.ahead.remaining_range().filter(|_| want > 0) else { return Ok(()) };
            let request =
                PageRequest { range: range.clone(), reverse: self.ahead.reverse(), want, values: self.values };
            let id = view.id();
            // Nothing is noted before the page has arrived, so that a dropped future loses nothing.
            let page = self.shared.ask(|reply| Command::Page { view: id, request, reply }).await?;
            if let Some(last) = page.entries.last() {
                self.ahead.delivered(&last.key, page.entries.len());
            }
            if page.done {
                self.ahead.ended();
            }
            self.page = (self.page * 2).min(LARGEST);
            self.buffered = page.entries.into();
        }
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
        if self.view.is_none() {
            return Err(Error::new(Code::IteratorNotOpen, "the iterator is closed"));
        }
        self.shared.check_open()?;
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
        // The owner forgets the view when the command reaches it, before anything that is asked later.
        self.view = None;
        Ok(())
    }
}
