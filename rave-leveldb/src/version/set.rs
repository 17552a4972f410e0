//! The version set: the current version, and what goes into the manifest besides tables.

use super::{
    LEVELS,
    builder::Builder,
    directory::list,
    edit::VersionEdit,
    file::{BoundaryKey, FileMetaData},
    layout::Version,
    manifest::{Manifest, read_current, read_manifest},
    numbers::FileNumbers,
    obsolete::ObsoleteFiles,
};
use crate::{
    compaction::{CompactionStatistics, LevelRules},
    error::damaged,
    key::{COMPARATOR_NAME, SequenceNumber},
    storage::{FileName, Storage},
};
use rave_core::Result;
use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// What a version set is opened with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SetOptions {
    /// The shape of the levels.
    pub(crate) rules: LevelRules,
    /// Bytes of the manifest from which on a new one is begun.
    pub(crate) manifest_limit: u64,
}

impl Default for SetOptions {
    fn default() -> Self {
        Self { rules: LevelRules::default(), manifest_limit: 1 << 20 }
    }
}

/// The current version and the numbers of the database. The caller keeps it in a lock; see the module's documentation.
#[derive(Debug)]
pub(crate) struct VersionSet {
    rules: LevelRules,
    numbers: Arc<FileNumbers>,
    current: Arc<Version>,
    state: State,
    obsolete: Arc<ObsoleteFiles>,
    compaction_running: Arc<AtomicBool>,
    compactions: [CompactionStatistics; LEVELS],
}

/// What the manifest says besides which tables there are.
#[derive(Clone, Debug, Default)]
struct State {
    log_number: u64,
    prev_log_number: u64,
    last_sequence: SequenceNumber,
    compact_pointers: [Option<BoundaryKey>; LEVELS],
}

impl State {
    fn apply(&mut self, edit: &VersionEdit) {
        self.log_number = edit.log_number.unwrap_or(self.log_number);
        self.prev_log_number = edit.prev_log_number.unwrap_or(self.prev_log_number);
        self.last_sequence = edit.last_sequence.unwrap_or(0).max(self.last_sequence);
        for (level, key) in &edit.compact_pointers {
            if let Some(pointer) = self.compact_pointers.get_mut(*level) {
                *pointer = Some(key.clone());
            }
        }
    }

    /// The edit that leads from nothing to this state and the tables of `version`.
    fn snapshot(&self, version: &Version, numbers: &FileNumbers) -> VersionEdit {
        let pointers = self.compact_pointers.iter().enumerate();
        VersionEdit {
            comparator: Some(COMPARATOR_NAME.as_bytes().to_vec()),
            log_number: Some(self.log_number),
            prev_log_number: Some(self.prev_log_number),
            next_file_number: Some(numbers.next()),
            last_sequence: Some(self.last_sequence),
            compact_pointers: pointers.filter_map(|(level, key)| Some((level, key.clone()?))).collect(),
            deleted_files: Vec::new(),
            new_files: version.all_files().map(|(level, file)| (level, file.info().clone())).collect(),
        }
    }
}

/// A database's versions as they were found or created.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// The versions.
    pub(crate) set: VersionSet,
    /// Where edits are written. Goes into a lock of its own.
    pub(crate) manifest: Manifest,
    /// Whether the manifest ended in a record that was dropped.
    pub(crate) torn: bool,
}

/// An edit that is ready to be written.
#[derive(Debug)]
pub(crate) struct PendingEdit {
    record: Vec<u8>,
    new_files: bool,
    state: State,
    version: Arc<Version>,
    removed: Vec<Arc<FileMetaData>>,
    numbers: Arc<FileNumbers>,
}

/// An edit that is in the manifest for good.
#[derive(Debug)]
#[must_use = "the version that memory has is behind the manifest until the edit is installed"]
pub(crate) struct CommittedEdit(PendingEdit);

impl PendingEdit {
    /// Writes the edit and waits until it is durable, with the directory entries of the files that it names. Takes its
    /// time: only the manifest's lock may be held.
    ///
    /// After an error it is not known whether the manifest has the edit, so the manifest takes no more of them, and no
    /// file that the edit adds or removes may be deleted.
    pub(crate) fn commit(self, manifest: &mut Manifest) -> Result<CommittedEdit> {
        manifest.append(&self.record, self.new_files, &self.numbers, |numbers| {
            let mut snapshot = Vec::new();
            self.state.snapshot(&self.version, numbers).encode_to(&mut snapshot);
            snapshot
        })?;
        Ok(CommittedEdit(self))
    }
}

/// The statistics of one level.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LevelStatistics {
    /// How many tables it has.
    pub(crate) files: usize,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// What was written into it since the database was opened.
    pub(crate) compactions: CompactionStatistics,
}

impl VersionSet {
    /// Creates a database in an empty directory.
    pub(crate) fn create(storage: &Arc<dyn Storage>, options: SetOptions) -> Result<Recovered> {
        // LevelDB's first manifest has this number too, and everyone knows that it alone is no database yet.
        const FIRST_MANIFEST: u64 = 1;
        let set = Self::new(options.rules, FileNumbers::new(FIRST_MANIFEST + 1));
        let mut record = Vec::new();
        set.state.snapshot(&set.current, &set.numbers).encode_to(&mut record);
        let manifest = Manifest::create(Arc::clone(storage), FIRST_MANIFEST, &record, options.manifest_limit)?;
        Ok(Recovered { set, manifest, torn: false })
    }

    /// Finds the versions of a database that exists. Writes nothing. Refuses if a table or the log that the manifest
    /// names is missing: the manifest is then older than what was acknowledged, or files were lost.
    pub(crate) fn recover(storage: &Arc<dyn Storage>, options: SetOptions) -> Result<Recovered> {
        let recovered = Self::read(storage, options)?;
        match recovered.set.missing_files(&**storage)?.first() {
            None => Ok(recovered),
            Some(name) => Err(damaged(&storage.directory().join(name.to_string()), 0, "the file is missing")),
        }
    }

    /// Finds the versions by the manifest alone, whether the files are there or not.
    pub(crate) fn read(storage: &Arc<dyn Storage>, options: SetOptions) -> Result<Recovered> {
        let number = read_current(&**storage)?;
        let path = storage.directory().join(FileName::Manifest(number).to_string());
        let mut set = Self::new(options.rules, FileNumbers::new(number.saturating_add(1)));
        let base = Version::empty(&options.rules);
        let mut builder = Builder::new(&base, &set.obsolete);
        let mut named = (false, false, false);
        let tail = read_manifest(&**storage, number, |_, edit| {
            builder.apply(&edit);
            set.state.apply(&edit);
            set.numbers.skip(edit.next_file_number.unwrap_or(0).saturating_sub(1));
            named.0 |= edit.log_number.is_some();
            named.1 |= edit.next_file_number.is_some();
            named.2 |= edit.last_sequence.is_some();
            Ok(())
        })?;
        if named != (true, true, true) {
            return Err(damaged(&path, 0, "it does not say which numbers are taken"));
        }
        let (version, _) = builder.finish(&options.rules).map_err(|what| damaged(&path, 0, &what))?;
        let mut seen = HashSet::new();
        if let Some((_, file)) = version.all_files().find(|(_, file)| !seen.insert(file.number())) {
            return Err(damaged(&path, 0, &format!("table {} is in two levels", file.number())));
        }
        set.current = Arc::new(version);
        set.numbers.skip_files(&list(&**storage)?);
        let manifest = Manifest::continuing(Arc::clone(storage), number, &tail, options.manifest_limit);
        Ok(Recovered { set, manifest, torn: !tail.whole })
    }

    fn new(rules: LevelRules, numbers: FileNumbers) -> Self {
        Self {
            rules,
            numbers: Arc::new(numbers),
            current: Arc::new(Version::empty(&rules)),
            state: State::default(),
            obsolete: ObsoleteFiles::new(),
            compaction_running: Arc::default(),
            compactions: Default::default(),
        }
    }

    /// The tables of the current version that are not there, and the log that should be.
    pub(crate) fn missing_files(&self, storage: &dyn Storage) -> Result<Vec<FileName>> {
        let there: HashSet<FileName> = list(storage)?.iter().filter_map(|name| FileName::parse(name)).collect();
        let tables = self.current.all_files().map(|(_, file)| FileName::Table(file.number()));
        let log = (self.state.log_number > 0).then_some(FileName::Log(self.state.log_number));
        Ok(tables.chain(log).filter(|name| !there.contains(name)).collect())
    }

    /// The version that reads use now.
    pub(crate) fn current(&self) -> Arc<Version> {
        Arc::clone(&self.current)
    }

    /// The shape of the levels.
    pub(crate) fn rules(&self) -> &LevelRules {
        &self.rules
    }

    /// Where the numbers of new files come from, for threads that do not hold the set.
    pub(crate) fn numbers(&self) -> &Arc<FileNumbers> {
        &self.numbers
    }

    /// A number that no file has or had.
    pub(crate) fn new_file_number(&mut self) -> u64 {
        self.numbers.allocate()
    }

    /// The queue of files to delete, for the thread that deletes them, and to close when the database closes.
    pub(crate) fn obsolete(&self) -> &Arc<ObsoleteFiles> {
        &self.obsolete
    }

    /// The newest write that was told to the set.
    pub(crate) fn last_sequence(&self) -> SequenceNumber {
        self.state.last_sequence
    }

    /// Tells the newest write; each edit takes it along.
    pub(crate) fn set_last_sequence(&mut self, sequence: SequenceNumber) {
        self.state.last_sequence = self.state.last_sequence.max(sequence);
    }

    /// The oldest log whose writes are not all in tables.
    pub(crate) fn log_number(&self) -> u64 {
        self.state.log_number
    }

    /// Whether the log `number` may have writes that are not in tables.
    pub(crate) fn needs_log(&self, number: u64) -> bool {
        number >= self.state.log_number || (number == self.state.prev_log_number && number > 0)
    }

    /// The numbers of the current version's tables.
    pub(crate) fn live_files(&self) -> HashSet<u64> {
        self.current.all_files().map(|(_, file)| file.number()).collect()
    }

    /// The level for a memtable's table with these first and last user keys. Only with the manifest's lock held until
    /// the edit that adds the table is installed, lest a compaction begins that has the same range.
    pub(crate) fn level_for_flush(&self, _: &Manifest, smallest: &[u8], largest: &[u8]) -> usize {
        if self.compaction_running.load(Ordering::Acquire) {
            return 0;
        }
        self.current.level_for_flush(smallest, largest, &self.rules)
    }

    /// Up to where a level has been compacted.
    pub(crate) fn compact_pointer(&self, level: usize) -> Option<&BoundaryKey> {
        self.state.compact_pointers.get(level)?.as_ref()
    }

    /// Remembers up to where a level is being compacted, so that the next compaction goes on from there even if this one
    /// fails.
    pub(crate) fn set_compact_pointer(&mut self, level: usize, key: BoundaryKey) {
        if let Some(pointer) = self.state.compact_pointers.get_mut(level) {
            *pointer = Some(key);
        }
    }

    /// Set while a compaction runs; there is one at a time.
    pub(crate) fn compaction_running(&self) -> &Arc<AtomicBool> {
        &self.compaction_running
    }

    /// First step of applying an edit: the next version and its record. Changes nothing; the result may be dropped.
    /// Refuses an edit whose version could not be, and every edit after one failed.
    pub(crate) fn prepare(&self, manifest: &Manifest, mut edit: VersionEdit) -> Result<PendingEdit> {
        manifest.check()?;
        let mut builder = Builder::new(&self.current, &self.obsolete);
        builder.apply(&edit);
        let (version, removed) = builder.finish(&self.rules).map_err(|what| {
            rave_core::Error::new(rave_core::Code::Corruption, format!("a change of the tables was refused: {what}"))
        })?;
        let mut state = self.state.clone();
        state.apply(&edit);
        edit.log_number = Some(state.log_number);
        edit.prev_log_number = Some(state.prev_log_number);
        edit.last_sequence = Some(state.last_sequence);
        edit.next_file_number = Some(self.numbers.next());
        let mut record = Vec::new();
        edit.encode_to(&mut record);
        let new_files = !edit.new_files.is_empty() || state.log_number != self.state.log_number;
        let version = Arc::new(version);
        Ok(PendingEdit { record, new_files, state, version, removed, numbers: Arc::clone(&self.numbers) })
    }

    /// Last step of applying an edit: makes its version the current one. Tables that left it are deleted when nothing
    /// reads them any more.
    pub(crate) fn install(&mut self, committed: CommittedEdit) -> Arc<Version> {
        let CommittedEdit(PendingEdit { mut state, version, removed, .. }) = committed;
        // Writes went on meanwhile.
        state.last_sequence = state.last_sequence.max(self.state.last_sequence);
        self.state = state;
        self.current = Arc::clone(&version);
        for file in removed {
            file.mark_obsolete();
        }
        version
    }

    /// All steps of applying an edit, for who has the set and the manifest to themselves.
    pub(crate) fn log_and_apply(&mut self, manifest: &mut Manifest, edit: VersionEdit) -> Result<Arc<Version>> {
        let committed = self.prepare(manifest, edit)?.commit(manifest)?;
        Ok(self.install(committed))
    }

    /// Counts a flush or compaction that wrote into `level`.
    pub(crate) fn count(&mut self, level: usize, statistics: &CompactionStatistics) {
        if let Some(sum) = self.compactions.get_mut(level) {
            sum.add(statistics);
        }
    }

    /// How much each level has, and what was written into it.
    pub(crate) fn statistics(&self) -> [LevelStatistics; LEVELS] {
        std::array::from_fn(|level| LevelStatistics {
            files: self.current.files(level).len(),
            bytes: self.current.level_bytes(level),
            compactions: self.compactions.get(level).copied().unwrap_or_default(),
        })
    }
}
