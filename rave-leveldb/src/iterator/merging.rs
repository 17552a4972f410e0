//! Many sorted sources as one.

use super::Cursor;
use crate::{error::ReadResult, key::InternalKey, storage::Access};
use bytes::Bytes;
use std::cmp::Ordering;

/// Visits the entries of several sources in the order of their internal keys.
///
/// It goes one way at a time: [`seek_to_first`](Self::seek_to_first) and [`seek`](Self::seek) begin a walk forwards, in
/// which only [`next`](Self::next) is legal; [`seek_to_last`](Self::seek_to_last) and [`seek_before`](Self::seek_before)
/// begin one backwards, with [`prev`](Self::prev). Equal internal keys do not occur: every write has its own number.
pub(crate) struct MergingCursor {
    sources: Vec<Box<dyn Cursor>>,
    /// The source whose entry is the next in the direction of the walk.
    current: Option<usize>,
    /// The source that comes after it. As long as `current` stays ahead of it no other needs to be looked at, which makes
    /// long runs from one source cheap.
    runner_up: Option<usize>,
}

impl MergingCursor {
    pub(crate) fn new(sources: Vec<Box<dyn Cursor>>) -> Self {
        Self { sources, current: None, runner_up: None }
    }

    /// Whether reads from here on may wait for the disk.
    pub(crate) fn set_access(&mut self, access: Access) {
        self.sources.iter_mut().for_each(|source| source.set_access(access));
    }

    pub(crate) fn valid(&self) -> bool {
        self.current.is_some()
    }

    /// The key of the entry; `None` at the end.
    pub(crate) fn key(&self) -> Option<InternalKey<'_>> {
        Some(self.sources.get(self.current?)?.key())
    }

    /// The value of the entry; empty at the end.
    pub(crate) fn value(&self) -> Bytes {
        self.current.and_then(|current| self.sources.get(current)).map(|source| source.value()).unwrap_or_default()
    }

    /// Goes to the first entry, to walk forwards.
    pub(crate) fn seek_to_first(&mut self) -> ReadResult<()> {
        self.each(|source| source.seek_to_first())?;
        self.elect(Ordering::Less);
        Ok(())
    }

    /// Goes to the first entry at or behind `target`, to walk forwards.
    pub(crate) fn seek(&mut self, target: InternalKey<'_>) -> ReadResult<()> {
        self.each(|source| source.seek(target))?;
        self.elect(Ordering::Less);
        Ok(())
    }

    /// Goes to the last entry, to walk backwards.
    pub(crate) fn seek_to_last(&mut self) -> ReadResult<()> {
        self.each(|source| source.seek_to_last())?;
        self.elect(Ordering::Greater);
        Ok(())
    }

    /// Goes to the last entry before `target`, to walk backwards.
    pub(crate) fn seek_before(&mut self, target: InternalKey<'_>) -> ReadResult<()> {
        self.each(|source| {
            source.seek(target)?;
            if source.valid() { source.prev() } else { source.seek_to_last() }
        })?;
        self.elect(Ordering::Greater);
        Ok(())
    }

    /// Goes to the next entry of a walk forwards.
    pub(crate) fn next(&mut self) -> ReadResult<()> {
        self.step(Ordering::Less, |source| source.next())
    }

    /// Goes to the next entry of a walk backwards.
    pub(crate) fn prev(&mut self) -> ReadResult<()> {
        self.step(Ordering::Greater, |source| source.prev())
    }

    fn each(&mut self, mut position: impl FnMut(&mut dyn Cursor) -> ReadResult<()>) -> ReadResult<()> {
        // A failure leaves no position that could be taken for one.
        (self.current, self.runner_up) = (None, None);
        self.sources.iter_mut().try_for_each(|source| position(source.as_mut()))
    }

    fn step(&mut self, ahead: Ordering, advance: impl FnOnce(&mut dyn Cursor) -> ReadResult<()>) -> ReadResult<()> {
        let Some(current) = self.current else { return Ok(()) };
        let Some(source) = self.sources.get_mut(current) else { return Ok(()) };
        if let Err(error) = advance(source.as_mut()) {
            (self.current, self.runner_up) = (None, None);
            return Err(error);
        }
        let stays = source.valid()
            && match self.runner_up {
                None => true,
                Some(second) => self.compare(current, second) == Some(ahead),
            };
        if !stays {
            self.elect(ahead);
        }
        Ok(())
    }

    fn compare(&self, a: usize, b: usize) -> Option<Ordering> {
        Some(self.sources.get(a)?.key().cmp(&self.sources.get(b)?.key()))
    }

    /// Finds the source that is `ahead` of all others, and the one after it.
    fn elect(&mut self, ahead: Ordering) {
        let mut first = None;
        let mut second = None;
        for (index, source) in self.sources.iter().enumerate().filter(|(_, source)| source.valid()) {
            let candidate = Candidate { index, key: source.key() };
            if candidate.leads(&first, ahead) {
                second = first.replace(candidate);
            } else if candidate.leads(&second, ahead) {
                second = Some(candidate);
            }
        }
        let index = |candidate: Option<Candidate<'_>>| candidate.map(|candidate| candidate.index);
        (self.current, self.runner_up) = (index(first), index(second));
    }
}

struct Candidate<'a> {
    index: usize,
    key: InternalKey<'a>,
}

impl Candidate<'_> {
    fn leads(&self, other: &Option<Candidate<'_>>, ahead: Ordering) -> bool {
        other.as_ref().is_none_or(|other| self.key.cmp(&other.key) == ahead)
    }
}
