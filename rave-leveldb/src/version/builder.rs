//! From one version and some edits to the next version.

use super::{
    LEVELS,
    edit::VersionEdit,
    file::FileMetaData,
    layout::{Level, Version},
    obsolete::ObsoleteFiles,
};
use crate::compaction::rules::LevelRules;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Gathers edits and makes a version of them.
pub(crate) struct Builder<'a> {
    base: &'a Version,
    /// The levels that edits have touched, by number of table.
    touched: [Option<BTreeMap<u64, Arc<FileMetaData>>>; LEVELS],
    /// What edits have removed: a table that moves to another level is removed and added, and stays the same.
    removed: HashMap<u64, Arc<FileMetaData>>,
    obsolete: &'a Arc<ObsoleteFiles>,
}

impl<'a> Builder<'a> {
    /// Begins with `base`.
    pub(crate) fn new(base: &'a Version, obsolete: &'a Arc<ObsoleteFiles>) -> Self {
        Self { base, touched: Default::default(), removed: HashMap::new(), obsolete }
    }

    /// Applies one more edit.
    pub(crate) fn apply(&mut self, edit: &VersionEdit) {
        for &(level, number) in &edit.deleted_files {
            if let Some(file) = self.level(level).and_then(|files| files.remove(&number)) {
                self.removed.insert(number, file);
            }
        }
        for (level, info) in &edit.new_files {
            let moved = self.removed.remove(&info.number).filter(|file| file.info() == info);
            let file = moved.unwrap_or_else(|| FileMetaData::new(info.clone(), self.obsolete));
            if let Some(files) = self.level(*level) {
                files.insert(info.number, file);
            }
        }
    }

    fn level(&mut self, level: usize) -> Option<&mut BTreeMap<u64, Arc<FileMetaData>>> {
        let files = self.base.files(level);
        let touched = self.touched.get_mut(level)?;
        Some(touched.get_or_insert_with(|| files.iter().map(|file| (file.number(), Arc::clone(file))).collect()))
    }

    /// The version, and the tables of `base` that are not in it; or what would be wrong with it.
    pub(crate) fn finish(self, rules: &LevelRules) -> Result<(Version, Vec<Arc<FileMetaData>>), String> {
        let mut levels: [Level; LEVELS] = std::array::from_fn(|level| Arc::clone(&self.base.levels()[level]));
        for (level, (files, touched)) in levels.iter_mut().zip(self.touched).enumerate() {
            let Some(touched) = touched else { continue };
            let mut sorted: Vec<_> = touched.into_values().collect();
            if level == 0 {
                sorted.reverse();
            } else {
                sorted.sort_by(|left, right| left.smallest().cmp(&right.smallest()));
                let mut pairs = sorted.iter().zip(sorted.iter().skip(1));
                if let Some((left, right)) = pairs.find(|(left, right)| left.largest() >= right.smallest()) {
                    return Err(format!("tables {} and {} of level {level} overlap", left.number(), right.number()));
                }
            }
            *files = sorted.into();
        }
        Ok((Version::new(levels, rules), self.removed.into_values().collect()))
    }
}
