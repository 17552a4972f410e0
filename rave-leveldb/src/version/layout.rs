//! A version: the tables of every level at one moment.

use super::{
    LEVELS,
    builder::Builder,
    edit::VersionEdit,
    file::{FileMetaData, TableInfo, total_size},
    level_cursor::LevelCursor,
    obsolete::ObsoleteFiles,
};
use crate::{
    compaction::rules::{DEEPEST_FLUSH_LEVEL, LEVEL0_COMPACTION_TRIGGER, LevelRules},
    error::ReadResult,
    iterator::Cursor,
    key::{InternalKey, Kind, MAX_SEQUENCE},
    storage::Access,
    table::TableCache,
};
use bytes::Bytes;
use rave_core::Result;
use std::sync::{Arc, OnceLock};

/// The tables of one level, shared by the versions in which it is the same.
pub(crate) type Level = Arc<[Arc<FileMetaData>]>;

/// The tables of every level at one moment. Reading one needs no lock.
#[derive(Debug)]
pub(crate) struct Version {
    /// Level 0 from the newest table to the oldest, deeper levels by key.
    files: [Level; LEVELS],
    bytes: [u64; LEVELS],
    /// The level that needs compaction most, and how much: from 1 on it is due.
    score: (usize, f64),
    /// The first table into which too many reads looked in vain, and its level.
    sought: OnceLock<(usize, Arc<FileMetaData>)>,
}

/// What a get found.
pub(crate) struct Lookup<'a> {
    /// The value, or `Some(None)` if the newest entry is a deletion, or `None` if no table has the key.
    pub(crate) value: Option<Option<Bytes>>,
    /// The table that made the read slower than it had to be, for [`Version::charge`].
    pub(crate) charge: Option<SeekCharge<'a>>,
}

/// A table that was looked into before the one that had the answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SeekCharge<'a> {
    level: usize,
    file: &'a Arc<FileMetaData>,
}

impl Version {
    /// The version with these tables; level 0 from the newest to the oldest, deeper levels by key.
    pub(crate) fn new(files: [Level; LEVELS], rules: &LevelRules) -> Self {
        let bytes = std::array::from_fn(|level| files.get(level).map_or(0, |files| total_size(files)));
        let mut score = (0, files[0].len() as f64 / LEVEL0_COMPACTION_TRIGGER as f64);
        // The deepest level has nowhere to go.
        for (level, &bytes) in bytes.iter().enumerate().take(LEVELS - 1).skip(1) {
            let filled = bytes as f64 / rules.max_bytes(level) as f64;
            if filled > score.1 {
                score = (level, filled);
            }
        }
        Self { files, bytes, score, sought: OnceLock::new() }
    }

    /// The version without tables.
    pub(crate) fn empty(rules: &LevelRules) -> Self {
        Self::new(std::array::from_fn(|_| Level::from([])), rules)
    }

    /// The version with these tables, whose levels are given; or what would be wrong with it.
    pub(crate) fn with_tables(rules: &LevelRules, tables: &[(usize, TableInfo)]) -> Result<Self, String> {
        let (base, obsolete) = (Self::empty(rules), ObsoleteFiles::new());
        let mut builder = Builder::new(&base, &obsolete);
        builder.apply(&VersionEdit { new_files: tables.to_vec(), ..VersionEdit::default() });
        builder.finish(rules).map(|(version, _)| version)
    }

    /// The tables of a level; none if there is no such level.
    pub(crate) fn files(&self, level: usize) -> &[Arc<FileMetaData>] {
        self.files.get(level).map_or(&[], |files| files)
    }

    /// All levels.
    pub(super) fn levels(&self) -> &[Level; LEVELS] {
        &self.files
    }

    /// All tables and their levels, from level 0 down.
    pub(crate) fn all_files(&self) -> impl Iterator<Item = (usize, &Arc<FileMetaData>)> {
        self.files.iter().enumerate().flat_map(|(level, files)| files.iter().map(move |file| (level, file)))
    }

    /// The bytes of a level's tables.
    pub(crate) fn level_bytes(&self, level: usize) -> u64 {
        self.bytes.get(level).copied().unwrap_or(0)
    }

    /// The level that needs compaction most, and how much: from 1 on it is due.
    pub(crate) fn compaction_score(&self) -> (usize, f64) {
        self.score
    }

    /// The table that is worth compacting because reads look into it in vain, and its level.
    pub(crate) fn seek_candidate(&self) -> Option<(usize, &Arc<FileMetaData>)> {
        self.sought.get().map(|(level, file)| (*level, file))
    }

    /// Whether a compaction is due, by size or by seeks.
    pub(crate) fn needs_compaction(&self) -> bool {
        self.score.1 >= 1.0 || self.sought.get().is_some()
    }

    /// Finds the newest entry of `key`'s user key that is visible to `key`.
    pub(crate) fn get(&self, tables: &TableCache, key: InternalKey<'_>, access: Access) -> ReadResult<Lookup<'_>> {
        let mut first = None;
        let mut charge = None;
        for (level, file) in self.candidates(key) {
            match first {
                None => first = Some(SeekCharge { level, file }),
                Some(_) => charge = first,
            }
            if let Some((tag, value)) = tables.get(file.number(), file.size(), key, access)? {
                let deleted = tag & 0xff == Kind::Deletion as u64;
                return Ok(Lookup { value: Some((!deleted).then_some(value)), charge });
            }
        }
        Ok(Lookup { value: None, charge })
    }

    /// The tables that may have the newest entry visible to `key`, the one with newer entries first.
    fn candidates<'a, 'k>(
        &'a self,
        key: InternalKey<'k>,
    ) -> impl Iterator<Item = (usize, &'a Arc<FileMetaData>)> + use<'a, 'k> {
        let newest = self.files(0).iter().filter(move |file| file.covers(key.user_key)).map(|file| (0, file));
        let deeper = self.files.iter().enumerate().skip(1).filter_map(move |(level, files)| {
            let file = files.get(files.partition_point(|file| file.largest() < key))?;
            (file.smallest().user_key <= key.user_key).then_some((level, file))
        });
        newest.chain(deeper)
    }

    /// Counts a read's detour; says whether a compaction has become due by it.
    pub(crate) fn charge(&self, charge: SeekCharge<'_>) -> bool {
        charge.file.charge_seek() && self.sought.set((charge.level, Arc::clone(charge.file))).is_ok()
    }

    /// Counts what a read of `user_key` would cost, for iterators, which call this now and then for the key they stand
    /// on. Says whether a compaction has become due by it.
    pub(crate) fn sample_read(&self, user_key: &[u8]) -> bool {
        let key = InternalKey::seek(user_key, MAX_SEQUENCE);
        let mut candidates = self.candidates(key);
        match (candidates.next(), candidates.next()) {
            (Some((level, file)), Some(_)) => self.charge(SeekCharge { level, file }),
            _ => false,
        }
    }

    /// Cursors that together have every entry: one for each table of level 0 and one for each deeper level that has
    /// tables. Whoever uses the ones of level 0 keeps the version, which keeps the files.
    pub(crate) fn cursors(&self, tables: &Arc<TableCache>, fill_cache: bool) -> Vec<Box<dyn Cursor>> {
        let mut cursors: Vec<Box<dyn Cursor>> = Vec::new();
        for file in self.files(0) {
            cursors.push(Box::new(tables.cursor(file.number(), file.size(), fill_cache)));
        }
        for files in self.files.iter().skip(1).filter(|files| !files.is_empty()) {
            cursors.push(Box::new(LevelCursor::new(Arc::clone(files), Arc::clone(tables), fill_cache)));
        }
        cursors
    }

    /// The tables of a level with keys between `begin` and `end`, both included; `None` is no bound. In level 0 also
    /// those that overlap with one of these, and so on, so that no older entry of a key stays behind.
    pub(crate) fn overlapping(&self, level: usize, begin: Option<&[u8]>, end: Option<&[u8]>) -> Vec<Arc<FileMetaData>> {
        let files = self.files(level);
        if level > 0 {
            return self.overlapping_sorted(level, begin, end).to_vec();
        }
        let (mut begin, mut end) = (begin, end);
        loop {
            let found = files.iter().filter(|file| file.overlaps(begin, end));
            let wider_begin = begin
                .and_then(|begin| found.clone().map(|file| file.smallest().user_key).min().map(|key| key.min(begin)));
            let wider_end =
                end.and_then(|end| found.clone().map(|file| file.largest().user_key).max().map(|key| key.max(end)));
            if found.clone().next().is_none() || (wider_begin, wider_end) == (begin, end) {
                return found.cloned().collect();
            }
            (begin, end) = (wider_begin, wider_end);
        }
    }

    /// The same for a level that is sorted.
    fn overlapping_sorted(&self, level: usize, begin: Option<&[u8]>, end: Option<&[u8]>) -> &[Arc<FileMetaData>] {
        let files = self.files(level);
        let from = begin.map_or(0, |begin| files.partition_point(|file| file.largest().user_key < begin));
        let to = end.map_or(files.len(), |end| files.partition_point(|file| file.smallest().user_key <= end));
        files.get(from..to).unwrap_or_default()
    }

    /// Whether a level has tables with keys between `begin` and `end`, both included; `None` is no bound.
    pub(crate) fn overlaps(&self, level: usize, begin: Option<&[u8]>, end: Option<&[u8]>) -> bool {
        match level {
            0 => self.files(0).iter().any(|file| file.overlaps(begin, end)),
            _ => !self.overlapping_sorted(level, begin, end).is_empty(),
        }
    }

    /// The level for a memtable's table with these first and last user keys: deeper than 0 if nothing above it overlaps,
    /// which saves compactions, but not where it would make a later one expensive. For when no compaction runs.
    pub(crate) fn level_for_flush(&self, smallest: &[u8], largest: &[u8], rules: &LevelRules) -> usize {
        let (begin, end) = (Some(smallest), Some(largest));
        if self.overlaps(0, begin, end) {
            return 0;
        }
        let fits = |level: usize| {
            !self.overlaps(level, begin, end)
                && total_size(self.overlapping_sorted(level + 1, begin, end)) <= rules.max_grandparent_overlap()
        };
        (1..=DEEPEST_FLUSH_LEVEL).take_while(|&level| fits(level)).last().unwrap_or(0)
    }

    /// About how many bytes of the tables come before `key`.
    pub(crate) fn approximate_offset(&self, tables: &TableCache, key: InternalKey<'_>) -> Result<u64> {
        let mut offset = 0u64;
        for (_, file) in self.all_files() {
            if file.largest() < key {
                offset = offset.saturating_add(file.size());
            } else if file.smallest() < key {
                offset = offset.saturating_add(tables.approximate_offset(file.number(), file.size(), key)?);
            }
        }
        Ok(offset)
    }

    /// About how many bytes the entries from `begin` to before `end` take in the tables; `None` is no bound.
    pub(crate) fn approximate_size(
        &self,
        tables: &TableCache,
        begin: Option<&[u8]>,
        end: Option<&[u8]>,
    ) -> Result<u64> {
        let offset = |key: &[u8]| self.approximate_offset(tables, InternalKey::seek(key, MAX_SEQUENCE));
        let to = match end {
            Some(end) => offset(end)?,
            None => self.bytes.iter().sum(),
        };
        Ok(to.saturating_sub(begin.map_or(Ok(0), offset)?))
    }
}
