//! What to compact next.

use super::inputs::Inputs;
use crate::version::{BoundaryKey, FileMetaData, LEVELS, Manifest, Version, VersionEdit, VersionSet, total_size};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Tables to merge into the next level. While it exists no other compaction is picked, and the tables stay.
#[derive(Debug)]
pub(crate) struct Compaction {
    level: usize,
    inputs: Inputs,
    /// The version that has the inputs, and from which deeper levels are judged.
    version: Arc<Version>,
    /// For a compaction of a range that does not end it: where to go on.
    resume_at: Option<BoundaryKey>,
    may_move: bool,
    max_grandparent_overlap: u64,
    max_output_size: u64,
    _running: Running,
}

/// Marks that a compaction runs, for as long as it exists.
#[derive(Debug)]
struct Running(Arc<AtomicBool>);

impl Running {
    fn begin(set: &VersionSet) -> Option<Self> {
        let flag = Arc::clone(set.compaction_running());
        (!flag.swap(true, Ordering::AcqRel)).then(|| Self(flag))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// The compaction that is due, by the size of a level or by reads that looked into a table in vain; `None` if none is,
/// or if one runs. The manifest is asked for only because its lock must be held.
pub(crate) fn pick(set: &mut VersionSet, _: &Manifest) -> Option<Compaction> {
    let version = set.current();
    let (level, upper) = match version.compaction_score() {
        (level, score) if score >= 1.0 => (level, pick_by_size(set, &version, level)?),
        _ => {
            let (level, file) = version.seek_candidate()?;
            (level, Arc::clone(file))
        }
    };
    let upper = match level {
        // Older entries of its keys may be in other tables of level 0; they must not stay above.
        0 => version.overlapping(0, Some(upper.smallest().user_key), Some(upper.largest().user_key)),
        _ => vec![upper],
    };
    start(set, version, level, upper, true)
}

/// The first table behind where the level's last compaction ended. In level 0 it is the oldest.
fn pick_by_size(set: &VersionSet, version: &Version, level: usize) -> Option<Arc<FileMetaData>> {
    let files = version.files(level);
    if level == 0 {
        return files.last().cloned();
    }
    let pointer = set.compact_pointer(level);
    let next = files.iter().find(|file| pointer.is_none_or(|pointer| file.largest() > pointer.as_key()));
    next.or(files.first()).cloned()
}

/// A compaction of the tables of `level` that have keys between `begin` and `end`, both included; `None` is no bound.
/// `None` if there are no such tables, or a compaction runs. If it would be too much at once it is the first part, and
/// [`Compaction::resume_at`] says where the next begins.
pub(crate) fn pick_range(
    set: &mut VersionSet,
    _: &Manifest,
    level: usize,
    begin: Option<&[u8]>,
    end: Option<&[u8]>,
) -> Option<Compaction> {
    let version = set.current();
    let mut upper = version.overlapping(level, begin, end);
    let mut whole = true;
    // Tables of level 0 overlap, so none may be left out.
    if level > 0 {
        let mut bytes = 0;
        let limit = set.rules().max_file_size;
        let enough = upper.iter().position(|file| {
            bytes += file.size();
            bytes >= limit
        });
        if let Some(last) = enough.filter(|last| last + 1 < upper.len()) {
            upper.truncate(last + 1);
            whole = false;
        }
    }
    let mut compaction = start(set, version, level, upper, false)?;
    if !whole {
        compaction.resume_at = compaction.inputs.upper.iter().map(|file| file.largest()).max().map(BoundaryKey::new);
    }
    Some(compaction)
}

fn start(
    set: &mut VersionSet,
    version: Arc<Version>,
    level: usize,
    upper: Vec<Arc<FileMetaData>>,
    may_move: bool,
) -> Option<Compaction> {
    if upper.is_empty() || level + 1 >= LEVELS {
        return None;
    }
    let running = Running::begin(set)?;
    let rules = *set.rules();
    let inputs = Inputs::complete(&version, &rules, level, upper);
    if let Some(largest) = inputs.upper.iter().map(|file| file.largest()).max() {
        set.set_compact_pointer(level, BoundaryKey::new(largest));
    }
    Some(Compaction {
        level,
        inputs,
        version,
        resume_at: None,
        may_move,
        max_grandparent_overlap: rules.max_grandparent_overlap(),
        max_output_size: rules.max_file_size,
        _running: running,
    })
}

impl Compaction {
    /// The level whose tables are merged into the next.
    pub(crate) fn level(&self) -> usize {
        self.level
    }

    /// The level that gets the result.
    pub(crate) fn output_level(&self) -> usize {
        self.level + 1
    }

    /// What is merged.
    pub(crate) fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    /// The version that has the inputs.
    pub(crate) fn version(&self) -> &Arc<Version> {
        &self.version
    }

    /// Where the compaction of the range goes on after this one, if it does.
    pub(crate) fn resume_at(&self) -> Option<&[u8]> {
        self.resume_at.as_ref().map(|key| key.as_key().user_key)
    }

    /// Bytes at which an output ends.
    pub(crate) fn max_output_size(&self) -> u64 {
        self.max_output_size
    }

    /// Bytes of the level below the result that one output may overlap.
    pub(crate) fn max_grandparent_overlap(&self) -> u64 {
        self.max_grandparent_overlap
    }

    /// The bytes of what is merged.
    pub(crate) fn input_bytes(&self) -> u64 {
        total_size(&self.inputs.upper).saturating_add(total_size(&self.inputs.lower))
    }

    /// The edit that moves the only input down as it is, if that does: nothing has to be merged with it, and it does
    /// not overlap so much further down that a later merge became expensive. Never for a compaction of a range, which
    /// is meant to drop entries.
    pub(crate) fn trivial_move(&self) -> Option<VersionEdit> {
        let ([file], []) = (self.inputs.upper.as_slice(), self.inputs.lower.as_slice()) else { return None };
        if !self.may_move || total_size(&self.inputs.grandparents) > self.max_grandparent_overlap {
            return None;
        }
        let mut edit = self.edit(vec![]);
        edit.new_files.push((self.output_level(), file.info().clone()));
        Some(edit)
    }

    /// The edit that replaces the inputs by `outputs`.
    pub(crate) fn edit(&self, outputs: Vec<crate::version::TableInfo>) -> VersionEdit {
        let upper = self.inputs.upper.iter().map(|file| (self.level, file.number()));
        let lower = self.inputs.lower.iter().map(|file| (self.output_level(), file.number()));
        let pointer = self.inputs.upper.iter().map(|file| file.largest()).max();
        VersionEdit {
            compact_pointers: pointer.map(|key| (self.level, BoundaryKey::new(key))).into_iter().collect(),
            deleted_files: upper.chain(lower).collect(),
            new_files: outputs.into_iter().map(|table| (self.output_level(), table)).collect(),
            ..VersionEdit::default()
        }
    }
}
