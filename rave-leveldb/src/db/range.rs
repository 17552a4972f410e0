//! Compacting a range because somebody asked for it, and measuring one.

use super::{Db, State};
use crate::{
    compaction::{Compaction, pick_range},
    version::{LEVELS, Manifest},
};
use bytes::Bytes;
use rave_core::{Error, KeyRange, Result};
use std::ops::Bound;

/// A range on its way down, level by level.
pub(super) struct RangeCompaction {
    begin: Option<Vec<u8>>,
    end: Option<Vec<u8>>,
    level: usize,
    /// Where the next part of the level begins, if not at `begin`.
    resume_at: Option<Vec<u8>>,
    /// Whether the last compaction was a part of it.
    had_turn: bool,
}

impl State {
    pub(super) fn wants_compaction(&self) -> bool {
        self.range.is_some() || self.versions.current().needs_compaction()
    }

    /// Whether a compaction that is due goes before the next step of the compaction of a range: they take turns, so that
    /// neither a long range nor many writes hold up the other.
    pub(super) fn range_gives_way(&mut self) -> bool {
        self.range.as_mut().is_some_and(|range| std::mem::take(&mut range.had_turn))
    }

    /// The next step of the compaction of a range, after the one before has ended; ends it when there is none.
    pub(super) fn next_of_range(&mut self, manifest: &Manifest) -> Option<Compaction> {
        let range = self.range.as_mut()?;
        // Looked for anew, because other compactions go on meanwhile and may have moved it.
        let version = self.versions.current();
        let overlaps = |level: &usize| version.overlaps(*level, range.begin.as_deref(), range.end.as_deref());
        let deepest = (0..LEVELS).rev().find(overlaps).unwrap_or(0);
        while range.level < deepest.max(1) {
            let begin = range.resume_at.as_deref().or(range.begin.as_deref());
            match pick_range(&mut self.versions, manifest, range.level, begin, range.end.as_deref()) {
                Some(compaction) => {
                    range.had_turn = true;
                    range.resume_at = compaction.resume_at().map(<[u8]>::to_vec);
                    if range.resume_at.is_none() {
                        range.level += 1;
                    }
                    return Some(compaction);
                }
                None => {
                    range.level += 1;
                    range.resume_at = None;
                }
            }
        }
        self.range = None;
        None
    }
}

impl Db {
    /// Compacts a range, level by level, and waits for the end.
    pub(crate) fn compact_range(&self, range: &KeyRange) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let (begin, end) = (key_of(range.lower()), key_of(range.upper()));
        let mut state = self.state.lock();
        // What was in memory when this was asked for becomes a table first.
        while self.current.read().0.immutable.is_some() || state.range.is_some() {
            self.check_compacting()?;
            self.changed.wait(&mut state);
        }
        self.check_compacting()?;
        state.range = Some(RangeCompaction { begin, end, level: 0, resume_at: None, had_turn: false });
        self.compaction_wanted.notify_one();
        while state.range.is_some() {
            self.check_compacting().inspect_err(|_| state.range = None)?;
            self.changed.wait(&mut state);
        }
        Ok(())
    }

    fn check_compacting(&self) -> Result<()> {
        if self.is_closing() { Err(Error::not_open()) } else { self.failure.check() }
    }

    /// Bytes that a range takes in tables, about.
    pub(crate) fn approximate_size(&self, range: &KeyRange) -> Result<u64> {
        let (view, _) = self.current.hold();
        let (begin, end) = (key_of(range.lower()), key_of(range.upper()));
        view.version.approximate_size(&self.tables, begin.as_deref(), end.as_deref())
    }
}

/// A bound without whether it belongs to the range itself, which makes no difference here: compactions take whole tables,
/// and sizes are rough.
fn key_of(bound: Bound<&Bytes>) -> Option<Vec<u8>> {
    match bound {
        Bound::Unbounded => None,
        Bound::Included(key) | Bound::Excluded(key) => Some(key.to_vec()),
    }
}
