//! Databases of real tables on a simulated disk, put together by hand.

use super::{Compaction, CompactionJob, LevelRules, Output, pick_range};
use crate::{
    iterator::MergingCursor,
    key::{InternalKey, Kind},
    options::Compression,
    storage::{Access, OpenFiles, Storage, sim::SimulatedDisk},
    table::{TableCache, TableOptions},
    version::{Manifest, Recovered, SetOptions, TableInfo, Version, VersionEdit, VersionSet, testing::adding},
};
use std::{path::PathBuf, sync::Arc};

/// Small blocks, so that small tables have many.
pub(crate) const OPTIONS: TableOptions =
    TableOptions { compression: Compression::Snappy, block_size: 256, restart_interval: 4, bloom_bits: 10 };

/// A key, the number of its write, and the value unless it is a deletion.
pub(crate) type Entry = (String, u64, Option<String>);

/// A write whose value tells which one it is.
pub(crate) fn put(key: &str, sequence: u64) -> Entry {
    (key.to_owned(), sequence, Some(format!("{key}={sequence}")))
}

/// A deletion.
pub(crate) fn delete(key: &str, sequence: u64) -> Entry {
    (key.to_owned(), sequence, None)
}

/// A database without a log, and without threads.
pub(crate) struct Bench {
    pub(crate) disk: SimulatedDisk,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) tables: Arc<TableCache>,
    pub(crate) set: VersionSet,
    pub(crate) manifest: Manifest,
}

impl Bench {
    /// An empty one.
    pub(crate) fn new(max_file_size: u64) -> Self {
        let disk = SimulatedDisk::new();
        let storage = disk.storage(PathBuf::from("/db"));
        let options = SetOptions { rules: LevelRules { max_file_size }, ..SetOptions::default() };
        let Recovered { set, manifest, .. } = VersionSet::create(&storage, options).unwrap();
        let tables = TableCache::new(Arc::new(OpenFiles::new(Arc::clone(&storage), 100)), 1 << 20);
        Self { disk, storage, tables: Arc::new(tables), set, manifest }
    }

    /// Writes a table that no version lists.
    pub(crate) fn write(&mut self, mut entries: Vec<Entry>) -> TableInfo {
        entries.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        let number = self.set.new_file_number();
        let mut output = Output::create(&*self.storage, number, &OPTIONS).unwrap();
        for (key, sequence, value) in &entries {
            let kind = if value.is_some() { Kind::Value } else { Kind::Deletion };
            let key = InternalKey::new(key.as_bytes(), *sequence, kind);
            output.add(key, value.as_deref().unwrap_or_default().as_bytes()).unwrap();
        }
        output.finish().unwrap().unwrap()
    }

    /// Adds a table to a level.
    pub(crate) fn add(&mut self, level: usize, entries: Vec<Entry>) {
        let table = self.write(entries);
        self.apply(adding([(level, table)]));
    }

    /// Applies an edit.
    pub(crate) fn apply(&mut self, edit: VersionEdit) {
        self.set.log_and_apply(&mut self.manifest, edit).unwrap();
    }

    /// The job of a compaction.
    pub(crate) fn job<'a>(&'a self, compaction: &'a Compaction, smallest_snapshot: u64) -> CompactionJob<'a> {
        CompactionJob {
            compaction,
            storage: &self.storage,
            tables: &self.tables,
            options: &OPTIONS,
            numbers: self.set.numbers(),
            smallest_snapshot,
        }
    }

    /// Compacts all of a level.
    pub(crate) fn compact(&mut self, level: usize, smallest_snapshot: u64) {
        let mut begin: Option<Vec<u8>> = None;
        loop {
            let Some(compaction) = pick_range(&mut self.set, &self.manifest, level, begin.as_deref(), None) else {
                return;
            };
            let outcome = self.job(&compaction, smallest_snapshot).run(&|| false).unwrap().unwrap();
            self.apply(outcome.edit);
            begin = compaction.resume_at().map(<[u8]>::to_vec);
            if begin.is_none() {
                return;
            }
        }
    }

    /// The current version.
    pub(crate) fn version(&self) -> Arc<Version> {
        self.set.current()
    }

    /// The value that a read at `sequence` finds.
    pub(crate) fn get(&self, key: &str, sequence: u64) -> Option<String> {
        let version = self.version();
        let found = version.get(&self.tables, InternalKey::seek(key.as_bytes(), sequence), Access::Blocking).unwrap();
        found.value.flatten().map(|value| String::from_utf8(value.to_vec()).unwrap())
    }

    /// Every entry of the tables.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let mut cursor = MergingCursor::new(self.version().cursors(&self.tables, true));
        let mut entries = Vec::new();
        cursor.seek_to_first().unwrap();
        while let Some(key) = cursor.key() {
            entries.push(entry(key, &cursor.value()));
            cursor.next().unwrap();
        }
        entries
    }
}

/// An entry as tests write it.
pub(crate) fn entry(key: InternalKey<'_>, value: &[u8]) -> Entry {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(key.user_key), key.sequence(), (key.kind() == Kind::Value).then(|| text(value)))
}
