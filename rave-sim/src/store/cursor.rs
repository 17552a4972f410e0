//! An iterator of the simulated store: over the state that was visible when it was opened.

use super::{Shared, store_delay};
use crate::disk::{Entries, in_range};
use async_trait::async_trait;
use rave_core::{Bytes, Code, Entry, Error, IteratorOptions, LevelIterator, Progress, Result};
use std::sync::{Arc, atomic::Ordering::Relaxed};

pub(super) struct Cursor {
    store: Arc<Shared>,
    /// `None` once closed.
    state: Option<Entries>,
    progress: Progress,
    keys: bool,
    values: bool,
}

impl Cursor {
    pub(super) fn new(store: Arc<Shared>, state: Entries, options: &IteratorOptions) -> Self {
        let progress = Progress::new(options);
        Self { store, state: Some(state), progress, keys: options.keys, values: options.values }
    }

    fn state(&self) -> Result<&Entries> {
        let Shared { sim, number, closing, .. } = &*self.store;
        if closing.load(Relaxed) || !sim.with(|kernel| kernel.disk.is_open(*number)) {
            return Err(Error::not_open());
        }
        self.state.as_ref().ok_or_else(|| Error::new(Code::IteratorNotOpen, "the iterator is closed"))
    }
}

#[async_trait]
impl LevelIterator for Cursor {
    async fn next(&mut self) -> Result<Option<Entry>> {
        Ok(self.next_many(1).await?.pop())
    }

    async fn next_many(&mut self, size: usize) -> Result<Vec<Entry>> {
        self.store.sim.pause(self.store.pid, store_delay).await;
        let state = self.state()?;
        let want = self.progress.want(size);
        let Some(range) = self.progress.remaining_range().filter(|_| want > 0) else { return Ok(Vec::new()) };
        let pair = |(key, value): (&Bytes, &Bytes)| (key.clone(), value.clone());
        let found: Vec<(Bytes, Bytes)> = match self.progress.reverse() {
            false => in_range(state, range).take(want).map(pair).collect(),
            true => in_range(state, range).rev().take(want).map(pair).collect(),
        };
        match found.last() {
            Some((last, _)) => self.progress.delivered(last, found.len()),
            None => self.progress.ended(),
        }
        let (keys, values) = (self.keys, self.values);
        let entry = |(key, value)| Entry {
            key: if keys { key } else { Bytes::new() },
            value: if values { value } else { Bytes::new() },
        };
        Ok(found.into_iter().map(entry).collect())
    }

    async fn seek(&mut self, target: Bytes) -> Result<()> {
        self.state()?;
        self.progress.seek(&target);
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        self.state = None;
        Ok(())
    }
}
