//! Hand-made tables and versions for tests.

use super::{BoundaryKey, TableInfo, Version, VersionEdit};
use crate::{
    compaction::LevelRules,
    key::{InternalKey, Kind},
    storage::{OsStorage, Storage},
};
use std::{io::IoSlice, sync::Arc};

/// The write `sequence` of a key.
pub(crate) fn key(user_key: &str, sequence: u64) -> BoundaryKey {
    BoundaryKey::new(InternalKey::new(user_key.as_bytes(), sequence, Kind::Value))
}

/// A table of a thousand bytes from the key `smallest` to the key `largest`.
pub(crate) fn table(number: u64, smallest: &str, largest: &str) -> TableInfo {
    sized(number, 1000, smallest, largest)
}

/// The same with another size; its writes' numbers are a hundred times its own.
pub(crate) fn sized(number: u64, size: u64, smallest: &str, largest: &str) -> TableInfo {
    TableInfo { number, size, smallest: key(smallest, number * 100), largest: key(largest, number * 100) }
}

/// The edit that adds tables to levels.
pub(crate) fn adding(tables: impl IntoIterator<Item = (usize, TableInfo)>) -> VersionEdit {
    VersionEdit { new_files: tables.into_iter().collect(), ..VersionEdit::default() }
}

/// The version with these tables.
pub(crate) fn version(rules: &LevelRules, tables: impl IntoIterator<Item = (usize, TableInfo)>) -> Version {
    Version::with_tables(rules, &tables.into_iter().collect::<Vec<_>>()).unwrap()
}

/// The numbers of tables.
pub(crate) fn numbers<'a>(files: impl IntoIterator<Item = &'a Arc<super::FileMetaData>>) -> Vec<u64> {
    files.into_iter().map(|file| file.number()).collect()
}

/// A directory of its own.
pub(crate) struct Scratch {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) storage: Arc<dyn Storage>,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let storage = Arc::new(OsStorage::new(directory.path().to_owned()));
        Self { directory, storage }
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        self.storage.create(name).unwrap().write(&mut [IoSlice::new(bytes)]).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.directory.path().join(name)).unwrap()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let mut names = self.storage.list().unwrap();
        names.sort();
        names
    }
}
