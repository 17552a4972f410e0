//! Which tables must be compacted together.

use super::LevelRules;
use crate::{
    key::InternalKey,
    version::{FileMetaData, LEVELS, Version, total_size},
};
use std::sync::Arc;

/// Tables of a level and of the next one that are merged, and the ones of the level after next that they overlap.
#[derive(Clone, Debug)]
pub(crate) struct Inputs {
    /// Of the level that is compacted.
    pub(crate) upper: Vec<Arc<FileMetaData>>,
    /// Of the level into which it is compacted.
    pub(crate) lower: Vec<Arc<FileMetaData>>,
    /// Of the level below that.
    pub(crate) grandparents: Vec<Arc<FileMetaData>>,
}

type UserRange<'a> = Option<(&'a [u8], &'a [u8])>;

/// The first and the last user key of some tables.
pub(crate) fn user_range<'a>(files: impl Iterator<Item = &'a Arc<FileMetaData>>) -> UserRange<'a> {
    files.fold(None, |range: UserRange<'a>, file| {
        let (smallest, largest) = (file.smallest().user_key, file.largest().user_key);
        Some(range.map_or((smallest, largest), |(begin, end)| (begin.min(smallest), end.max(largest))))
    })
}

impl Inputs {
    /// Completes `upper`, tables of `level`, with everything that has to be merged with them.
    pub(crate) fn complete(
        version: &Version,
        rules: &LevelRules,
        level: usize,
        mut upper: Vec<Arc<FileMetaData>>,
    ) -> Self {
        add_boundary_inputs(version.files(level), &mut upper);
        let mut lower = overlapping_range(version, level + 1, user_range(upper.iter()));
        add_boundary_inputs(version.files(level + 1), &mut lower);

        // More of the upper level may be taken as long as that takes no more of the lower one.
        if !lower.is_empty() {
            let mut wider = overlapping_range(version, level, user_range(upper.iter().chain(&lower)));
            add_boundary_inputs(version.files(level), &mut wider);
            let bytes = total_size(&lower).saturating_add(total_size(&wider));
            if wider.len() > upper.len() && bytes < rules.max_expanded_compaction() {
                let mut wider_lower = overlapping_range(version, level + 1, user_range(wider.iter()));
                add_boundary_inputs(version.files(level + 1), &mut wider_lower);
                if wider_lower.len() == lower.len() {
                    (upper, lower) = (wider, wider_lower);
                }
            }
        }
        let grandparents = if level + 2 < LEVELS {
            overlapping_range(version, level + 2, user_range(upper.iter().chain(&lower)))
        } else {
            Vec::new()
        };
        Self { upper, lower, grandparents }
    }
}

fn overlapping_range(version: &Version, level: usize, range: UserRange<'_>) -> Vec<Arc<FileMetaData>> {
    range.map_or_else(Vec::new, |(begin, end)| version.overlapping(level, Some(begin), Some(end)))
}

/// Adds the tables of a level that go on with the user key in which one of `files` ends. If the newer entries of a key
/// went down without the older ones, the older ones would be found first.
fn add_boundary_inputs(level: &[Arc<FileMetaData>], files: &mut Vec<Arc<FileMetaData>>) {
    loop {
        let Some(largest) = files.iter().map(|file| file.largest()).max() else { return };
        let next = level.iter().filter(|file| continues(file, largest)).min_by(|a, b| a.smallest().cmp(&b.smallest()));
        let Some(next) = next.cloned() else { return };
        files.push(next);
    }
}

fn continues(file: &FileMetaData, largest: InternalKey<'_>) -> bool {
    file.smallest().user_key == largest.user_key && file.smallest() > largest
}
