//! A compaction: merges tables into new ones and leaves out what nothing can see.

use super::{Compaction, CompactionStatistics, Output, OutputFiles};
use crate::{
    error::ReadError,
    iterator::{Cursor, MergingCursor},
    key::{InternalKey, Kind, SequenceNumber},
    storage::Storage,
    table::{TableCache, TableOptions},
    version::{FileMetaData, FileNumbers, LEVELS, LevelCursor, TableInfo, Version, VersionEdit},
};
use rave_core::Result;
use std::{sync::Arc, time::Instant};

/// What a compaction works with. It holds no lock.
pub(crate) struct CompactionJob<'a> {
    /// What to merge.
    pub(crate) compaction: &'a Compaction,
    /// Where tables are written.
    pub(crate) storage: &'a Arc<dyn Storage>,
    /// Where tables are read.
    pub(crate) tables: &'a Arc<TableCache>,
    /// How tables are written.
    pub(crate) options: &'a TableOptions,
    /// Where the numbers of the outputs come from.
    pub(crate) numbers: &'a FileNumbers,
    /// The oldest snapshot that can be read, or the newest write: of what it can see only the newest write of each key
    /// is kept.
    pub(crate) smallest_snapshot: SequenceNumber,
}

/// What a compaction did.
pub(crate) struct CompactionOutcome {
    /// Replaces the inputs by the outputs. If it cannot be committed the outputs must not be removed: it is not known
    /// whether the manifest has them.
    pub(crate) edit: VersionEdit,
    /// How much work it was.
    pub(crate) statistics: CompactionStatistics,
}

/// How many entries are merged between two looks at whether to stop.
const STOP_INTERVAL: u32 = 256;

impl CompactionJob<'_> {
    /// Merges. `None` if `should_stop` said so. Then, and after an error, the outputs are gone and the inputs are as
    /// they were.
    pub(crate) fn run(&self, should_stop: &dyn Fn() -> bool) -> Result<Option<CompactionOutcome>> {
        let start = Instant::now();
        let mut files = OutputFiles::new(self.storage);
        let Some(outputs) = self.merge(&mut files, should_stop)? else { return Ok(None) };
        files.keep();
        let statistics = CompactionStatistics {
            count: 1,
            time: start.elapsed(),
            bytes_read: self.compaction.input_bytes(),
            bytes_written: outputs.iter().map(|table| table.size).sum(),
        };
        Ok(Some(CompactionOutcome { edit: self.compaction.edit(outputs), statistics }))
    }

    fn merge(&self, files: &mut OutputFiles, should_stop: &dyn Fn() -> bool) -> Result<Option<Vec<TableInfo>>> {
        let mut input = MergingCursor::new(self.sources());
        let mut dropping = Dropping::new(self.compaction, self.smallest_snapshot);
        let mut grandparents = Grandparents::new(self.compaction);
        let mut outputs = Vec::new();
        let mut current: Option<Output> = None;
        let mut until_look = 0;
        input.seek_to_first().map_err(ReadError::into_error)?;
        while input.valid() {
            if until_look == 0 {
                if should_stop() {
                    return Ok(None);
                }
                until_look = STOP_INTERVAL;
            }
            until_look -= 1;
            let Some(key) = input.key() else { break };
            let new_user_key = dropping.is_new_user_key(key);
            // All entries of a user key stay in one table, so that tables of a level never share a user key.
            if new_user_key {
                let too_wide = grandparents.too_many_before(key.user_key);
                let ended = current.take_if(|output| too_wide || output.size() >= self.compaction.max_output_size());
                if let Some(output) = ended {
                    outputs.extend(output.finish()?);
                }
            }
            if !dropping.drops(key, new_user_key) {
                let output = match &mut current {
                    Some(output) => output,
                    None => current.insert(files.create(self.numbers.allocate(), self.options)?),
                };
                output.add(key, &input.value())?;
            }
            input.next().map_err(ReadError::into_error)?;
        }
        if let Some(output) = current {
            outputs.extend(output.finish()?);
        }
        Ok(Some(outputs))
    }

    /// The inputs: tables of level 0 each by itself, of a deeper level one after the other. Blocks that are read once
    /// must not push others out of the cache.
    fn sources(&self) -> Vec<Box<dyn Cursor>> {
        let inputs = self.compaction.inputs();
        let mut sources: Vec<Box<dyn Cursor>> = Vec::new();
        let level = |files: &[Arc<FileMetaData>]| -> Box<dyn Cursor> {
            let mut files = files.to_vec();
            files.sort_by(|left, right| left.smallest().cmp(&right.smallest()));
            Box::new(LevelCursor::new(files.into(), Arc::clone(self.tables), false))
        };
        if self.compaction.level() == 0 {
            for file in &inputs.upper {
                sources.push(Box::new(self.tables.cursor(file.number(), file.size(), false)));
            }
        } else {
            sources.push(level(&inputs.upper));
        }
        if !inputs.lower.is_empty() {
            sources.push(level(&inputs.lower));
        }
        sources
    }
}

/// Which entries nothing can see any more.
struct Dropping<'a> {
    version: &'a Version,
    /// The first level that may have older entries of what is merged.
    deeper: usize,
    /// For each level the first table that does not end before the current key.
    positions: [usize; LEVELS],
    smallest_snapshot: SequenceNumber,
    user_key: Option<Vec<u8>>,
    /// The sequence number of the entry before, if it was of the same user key.
    newer: Option<SequenceNumber>,
}

impl<'a> Dropping<'a> {
    fn new(compaction: &'a Compaction, smallest_snapshot: SequenceNumber) -> Self {
        Self {
            version: compaction.version(),
            deeper: compaction.output_level() + 1,
            positions: [0; LEVELS],
            smallest_snapshot,
            user_key: None,
            newer: None,
        }
    }

    fn is_new_user_key(&self, key: InternalKey<'_>) -> bool {
        self.user_key.as_deref() != Some(key.user_key)
    }

    /// Whether the entry can be left out: a newer one hides it from every snapshot, or it is a deletion that every
    /// snapshot sees and that has nothing to hide, or it was there before, as after a repair that took in a table beside
    /// those that it had been compacted into. Entries must come in order.
    fn drops(&mut self, key: InternalKey<'_>, new_user_key: bool) -> bool {
        if new_user_key {
            let user_key = self.user_key.get_or_insert_default();
            user_key.clear();
            user_key.extend_from_slice(key.user_key);
            self.newer = None;
        }
        let hidden = self.newer.is_some_and(|newer| newer <= self.smallest_snapshot || newer == key.sequence());
        self.newer = Some(key.sequence());
        hidden
            || (key.kind() == Kind::Deletion
                && key.sequence() <= self.smallest_snapshot
                && self.is_base_level(key.user_key))
    }

    /// Whether no deeper level can have the key. Keys must come in order.
    fn is_base_level(&mut self, user_key: &[u8]) -> bool {
        for (level, position) in self.positions.iter_mut().enumerate().skip(self.deeper) {
            let files = self.version.files(level);
            while files.get(*position).is_some_and(|file| file.largest().user_key < user_key) {
                *position += 1;
            }
            if files.get(*position).is_some_and(|file| file.smallest().user_key <= user_key) {
                return false;
            }
        }
        true
    }
}

/// How much of the level below the result the current output overlaps.
struct Grandparents<'a> {
    files: &'a [Arc<FileMetaData>],
    limit: u64,
    position: usize,
    overlapped: u64,
    started: bool,
}

impl<'a> Grandparents<'a> {
    fn new(compaction: &'a Compaction) -> Self {
        let limit = compaction.max_grandparent_overlap();
        Self { files: &compaction.inputs().grandparents, limit, position: 0, overlapped: 0, started: false }
    }

    /// Whether an output should end before this key, which then begins the next one. Keys must come in order.
    fn too_many_before(&mut self, user_key: &[u8]) -> bool {
        while let Some(file) = self.files.get(self.position).filter(|file| file.largest().user_key < user_key) {
            // Those before the first key overlap nothing.
            if self.started {
                self.overlapped = self.overlapped.saturating_add(file.size());
            }
            self.position += 1;
        }
        self.started = true;
        let too_many = self.overlapped > self.limit;
        if too_many {
            self.overlapped = 0;
        }
        too_many
    }
}
