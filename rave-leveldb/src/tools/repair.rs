//! Repair: makes a database of what can be read.
//!
//! As long as the manifest can be read it says which tables and logs count, and a damaged table is replaced, where it
//! is, by one with the entries that can be read. Without it all tables and logs there are count, also those that had
//! been compacted into others. Which of two tables is newer cannot be told by their numbers then, but every entry has
//! its sequence number: all are merged into one level, so that the newest entry of each key comes first.
//!
//! Nothing that is there is given up before what replaces it is durable: new tables get new numbers, damaged files are
//! copied, then a new manifest is written and `CURRENT` is made to name it, and only then files are removed.

use super::{
    Damage, Progress, RepairReport, RepairedFile,
    destroy::create_log,
    manifest_of,
    report::Meter,
    salvage::{Survey, length, replay, rewrite_table, survey_log, survey_table},
    verify::name_of,
};
use crate::{
    compaction::{LevelRules, OutputFiles, build_table, merge_tables},
    error::io_failed,
    key::SequenceNumber,
    memtable::MemTable,
    storage::{Access, FileName, OpenFiles, Storage},
    table::{TableCache, TableOptions},
    version::{
        FileNumbers, LEVELS, Recovered, SetOptions, TableInfo, Version, VersionEdit, VersionSet, list, remove_files,
        set_aside_name,
    },
};
use rave_core::{Code, Error, Result};
use std::{io::IoSlice, ops::ControlFlow, sync::Arc};

/// How a database is repaired.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RepairOptions {
    /// The shape of the levels.
    pub(crate) rules: LevelRules,
    /// How new tables are written.
    pub(crate) table: TableOptions,
    /// Bytes of a log that go into one table.
    pub(crate) write_buffer_size: usize,
}

/// Memory for blocks while tables are merged.
const CACHE_BYTES: usize = 4 << 20;
/// Tables that are open at a time.
const OPEN_FILES: usize = 64;

/// Makes a database of what can be read, and says what could not be.
///
/// # Errors
///
/// If there is no database, it has another order of keys, files cannot be listed, opened or written, or `progress` says
/// to stop. Then the database is as it was.
pub(crate) fn repair(
    storage: &Arc<dyn Storage>,
    options: &RepairOptions,
    progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<RepairReport> {
    let names = list(&**storage)?;
    let known = |name: &String| {
        matches!(
            FileName::parse(name),
            Some(FileName::Current | FileName::Manifest(_) | FileName::Table(_) | FileName::Log(_))
        )
    };
    if !names.iter().any(known) {
        let what = format!("there is no database in {}", storage.directory().display());
        return Err(Error::new(Code::DatabaseFailedOpen, what));
    }
    let numbers = FileNumbers::new(2);
    numbers.skip_files(&names);
    let sources = Sources::find(storage, options, &names)?;
    let total = sources.names(storage).map(|name| length(&**storage, &name)).sum();
    let files = Arc::new(OpenFiles::new(Arc::clone(storage), OPEN_FILES));
    let mut repair = Repair {
        storage,
        options,
        numbers,
        tables: Arc::new(TableCache::new(Arc::clone(&files), CACHE_BYTES)),
        files,
        outputs: OutputFiles::new(storage),
        meter: Meter::new(progress, total),
        report: RepairReport { rebuilt: sources.listed.is_none(), ..RepairReport::default() },
        last_sequence: sources.last_sequence,
        replaced: Vec::new(),
        torn: Vec::new(),
    };
    repair.note_lost(&sources);
    let edit = repair.gather(&sources)?;
    repair.install(edit)
}

/// What the database is made of.
struct Sources {
    /// Tables and their levels, as the manifest has them, without those that are missing; `None` if it cannot be used.
    listed: Option<Vec<(usize, u64)>>,
    /// All tables that count.
    tables: Vec<u64>,
    /// All logs that count, oldest first.
    logs: Vec<u64>,
    last_sequence: SequenceNumber,
    missing: Vec<FileName>,
    /// A file that could not be used to find the others, and why.
    unusable: Option<(String, Error)>,
}

impl Sources {
    fn find(storage: &Arc<dyn Storage>, options: &RepairOptions, names: &[String]) -> Result<Self> {
        let set_options = SetOptions { rules: options.rules, ..SetOptions::default() };
        let unusable = match VersionSet::read(storage, set_options) {
            Ok(Recovered { set, manifest, torn }) => {
                let missing = set.missing_files(&**storage)?;
                if !torn || missing.is_empty() {
                    return Self::listed(storage, &set, missing);
                }
                let what = Error::new(Code::Corruption, "its last edit is torn, and files that it replaced are gone");
                (FileName::Manifest(manifest.number()).to_string(), what)
            }
            // A passing failure must not cost what the manifest knows, and another order must not be mixed up.
            Err(error) if matches!(error.code(), Code::NotSupported) => return Err(error),
            Err(error) if error.code() == Code::Io && names.iter().any(|name| name == "CURRENT") => return Err(error),
            Err(error) => match crate::version::read_current(&**storage) {
                Ok(number) => (FileName::Manifest(number).to_string(), error),
                Err(error) => ("CURRENT".to_owned(), error),
            },
        };
        let (mut tables, mut logs) = (Vec::new(), Vec::new());
        for name in names.iter().filter_map(|name| FileName::parse(name)) {
            match name {
                FileName::Table(number) => tables.push(number),
                FileName::Log(number) => logs.push(number),
                _ => {}
            }
        }
        logs.sort_unstable();
        Ok(Self { listed: None, tables, logs, last_sequence: 0, missing: Vec::new(), unusable: Some(unusable) })
    }

    fn listed(storage: &Arc<dyn Storage>, set: &VersionSet, missing: Vec<FileName>) -> Result<Self> {
        let version = set.current();
        let tables = version.all_files().map(|(level, file)| (level, file.number()));
        let listed: Vec<_> = tables.filter(|(_, number)| !missing.contains(&FileName::Table(*number))).collect();
        Ok(Self {
            tables: listed.iter().map(|(_, number)| *number).collect(),
            listed: Some(listed),
            logs: crate::version::live_logs(&**storage, set)?,
            last_sequence: set.last_sequence(),
            missing,
            unusable: None,
        })
    }

    fn names(&self, storage: &Arc<dyn Storage>) -> impl Iterator<Item = String> {
        let tables = self.tables.iter().map(|&number| FileName::Table(number));
        let logs = self.logs.iter().map(|&number| FileName::Log(number));
        tables.chain(logs).map(|name| name_of(storage, name))
    }
}

/// A table that can be read from its first entry to its last.
struct Sound {
    /// Its number before it had to be rewritten.
    was: u64,
    info: TableInfo,
}

/// A repair at work.
struct Repair<'a> {
    storage: &'a Arc<dyn Storage>,
    options: &'a RepairOptions,
    numbers: FileNumbers,
    files: Arc<OpenFiles>,
    tables: Arc<TableCache>,
    outputs: OutputFiles,
    meter: Meter<'a>,
    report: RepairReport,
    last_sequence: SequenceNumber,
    /// Files whose entries are all in other ones now.
    replaced: Vec<FileName>,
    /// Logs that have more than the database gets of them.
    torn: Vec<String>,
}

impl Repair<'_> {
    /// Reports what is lost as a whole.
    fn note_lost(&mut self, sources: &Sources) {
        let mut note = |file: String, what: String| {
            let damages = vec![Damage { file: file.clone(), offset: 0, what }];
            self.report.files.push(RepairedFile { file, entries_kept: 0, damages, more_damages: 0 });
        };
        for name in &sources.missing {
            note(name.to_string(), "the file is missing".to_owned());
        }
        if let Some((name, error)) = &sources.unusable {
            note(name.clone(), error.full_message());
        }
    }

    /// Reads everything and writes what is missing; the result is the tables of the database.
    fn gather(&mut self, sources: &Sources) -> Result<VersionEdit> {
        let mut sound = Vec::new();
        for &number in &sources.tables {
            sound.extend(self.table(number)?);
        }
        let from_logs = self.logs(sources)?;
        let mut new_files = match &sources.listed {
            Some(listed) => self.arrange(listed, &sound)?,
            None => None,
        };
        match &mut new_files {
            // The newest tables of level 0 have the highest numbers.
            Some(new_files) => new_files.extend(from_logs.into_iter().map(|table| (0, table))),
            None => {
                self.report.rebuilt = true;
                let all = sound.into_iter().map(|table| table.info).chain(from_logs).collect();
                let merged = self.merge(all)?;
                let bytes = merged.iter().map(|table| table.size).sum();
                let level = (1..LEVELS - 1).find(|&level| self.options.rules.max_bytes(level) > bytes);
                let level = level.unwrap_or(LEVELS - 1);
                new_files = Some(merged.into_iter().map(|table| (level, table)).collect());
            }
        }
        let new_files = new_files.unwrap_or_default();
        self.report.tables = new_files.len() as u64;
        Ok(VersionEdit { last_sequence: Some(self.last_sequence), new_files, ..VersionEdit::default() })
    }

    /// Puts the tables where the manifest had them; `None` if that cannot be, because a table is not the one it was.
    fn arrange(&mut self, listed: &[(usize, u64)], sound: &[Sound]) -> Result<Option<Vec<(usize, TableInfo)>>> {
        let find = |number: u64| sound.iter().find(|table| table.was == number);
        let mut level_0 = Vec::new();
        let mut rewritten = false;
        let mut placed = Vec::new();
        for &(level, number) in listed {
            let Some(table) = find(number) else { continue };
            if level > 0 {
                placed.push((level, table.info.clone()));
            } else {
                rewritten |= table.was != table.info.number;
                level_0.push(table.info.clone());
            }
        }
        let fits = Version::with_tables(&self.options.rules, &placed).is_ok();
        if !fits {
            return Ok(None);
        }
        // In level 0 the higher number is the newer table, which a rewritten one would be wrongly. Merged tables do not
        // overlap, so that their numbers do not matter.
        if rewritten {
            level_0 = self.merge(level_0)?;
        }
        placed.extend(level_0.into_iter().map(|table| (0, table)));
        Ok(Some(placed))
    }

    /// Looks through a table and rewrites it if it is damaged. `None` if nothing of it can be read.
    fn table(&mut self, number: u64) -> Result<Option<Sound>> {
        let name = name_of(self.storage, FileName::Table(number));
        let survey = survey_table(&self.files, number, &name, &mut self.meter)?;
        let table = match &survey.range {
            Some((smallest, largest)) if survey.damages.is_empty() => {
                Some(TableInfo { number, size: survey.size, smallest: smallest.clone(), largest: largest.clone() })
            }
            Some(_) => {
                let to = self.numbers.allocate();
                rewrite_table(&self.files, number, to, &mut self.outputs, &self.options.table)?
            }
            None => None,
        };
        self.take(name, FileName::Table(number), survey);
        Ok(table.map(|info| Sound { was: number, info }))
    }

    /// Converts the logs to tables: as opening would, if it would, so that what a crash has torn off stays off; else with
    /// every batch that can be read.
    fn logs(&mut self, sources: &Sources) -> Result<Vec<TableInfo>> {
        let (storage, buffer) = (self.storage, self.options.write_buffer_size);
        let replay = |spill: &mut dyn FnMut(&Arc<MemTable>) -> Result<()>| {
            replay(&**storage, &sources.logs, sources.last_sequence, buffer, spill)
        };
        let opens = match replay(&mut |_| Ok(())) {
            // Without a log that should be there the others would seem to come after a crash.
            Ok(_) => sources.listed.is_some() && !sources.missing.iter().any(|name| matches!(name, FileName::Log(_))),
            Err(error) if error.code() == Code::Corruption => false,
            Err(error) => return Err(error),
        };
        let mut tables = Vec::new();
        if opens {
            let sequence = replay(&mut |memtable| {
                tables.extend(flush(storage, self.options, &self.numbers, &mut self.outputs, memtable)?);
                Ok(())
            })?;
            self.last_sequence = self.last_sequence.max(sequence);
        }
        for &number in &sources.logs {
            self.log(number, opens, &mut tables)?;
        }
        Ok(tables)
    }

    /// Looks through a log and, unless it was `converted` before, makes tables of its batches.
    fn log(&mut self, number: u64, converted: bool, tables: &mut Vec<TableInfo>) -> Result<()> {
        let name = name_of(self.storage, FileName::Log(number));
        let path = self.storage.directory().join(&name);
        let file = self.storage.open(&name).map_err(|error| io_failed("opening", &path, error))?;
        let mut memtable = Arc::new(MemTable::new());
        let Self { storage, options, numbers, outputs, meter, .. } = self;
        let mut flush = |memtable: &Arc<MemTable>| flush(storage, options, numbers, outputs, memtable);
        let mut survey = survey_log(&*file, &path, &name, meter, &mut |batch| {
            if converted {
                return Ok(());
            }
            // It was checked before.
            memtable.apply(&batch).map_err(|what| Error::new(Code::Corruption, what))?;
            if memtable.memory() > options.write_buffer_size {
                tables.extend(flush(&std::mem::replace(&mut memtable, Arc::new(MemTable::new())))?);
            }
            Ok(())
        })?;
        tables.extend(flush(&memtable)?);
        if converted {
            // Torn, perhaps, but not damaged. What opening would drop is kept all the same.
            if !survey.damages.is_empty() || survey.last_sequence > self.last_sequence {
                self.torn.push(name.clone());
            }
            survey = Survey { damages: Vec::new(), last_sequence: 0, ..survey };
        }
        self.replaced.push(FileName::Log(number));
        self.take(name, FileName::Log(number), survey);
        Ok(())
    }

    fn take(&mut self, name: String, file: FileName, survey: Survey) {
        self.report.entries += survey.entries;
        self.last_sequence = self.last_sequence.max(survey.last_sequence);
        if survey.damages.is_empty() {
            return;
        }
        self.replaced.push(file);
        let damage = |(offset, what)| Damage { file: name.clone(), offset, what };
        self.report.files.push(RepairedFile {
            entries_kept: survey.entries,
            damages: survey.damages.into_iter().map(damage).collect(),
            more_damages: survey.more_damages,
            file: name,
        });
    }

    /// Makes tables that do not overlap of these; keeps every entry.
    fn merge(&mut self, tables: Vec<TableInfo>) -> Result<Vec<TableInfo>> {
        let merged = merge_tables(
            &self.tables,
            tables.clone(),
            &mut self.outputs,
            &self.numbers,
            &self.options.table,
            self.options.rules.max_file_size,
        )?;
        let gone = tables.iter().filter(|table| !merged.contains(table));
        self.replaced.extend(gone.map(|table| FileName::Table(table.number)));
        Ok(merged)
    }

    /// Makes the database that what `edit` says, then removes what has been replaced.
    fn install(self, mut edit: VersionEdit) -> Result<RepairReport> {
        for name in self.report.files.iter().map(|file| &file.file).chain(&self.torn) {
            set_aside(&**self.storage, name)?;
        }
        let log = self.numbers.allocate();
        create_log(&**self.storage, log)?;
        edit.log_number = Some(log);
        let manifest = self.numbers.allocate();
        // Should this fail it is not known whether the new manifest counts, so its tables must stay.
        self.outputs.keep();
        drop(manifest_of(self.storage, manifest, &self.numbers, edit)?);
        let replaced: Vec<_> = list(&**self.storage)?
            .into_iter()
            .filter(|name| match FileName::parse(name) {
                Some(FileName::Manifest(number)) => number != manifest,
                Some(file) => self.replaced.contains(&file),
                None => false,
            })
            .collect();
        remove_files(&**self.storage, &replaced);
        Ok(self.report)
    }
}

/// Makes a table of a memtable; `None` if it is empty.
fn flush(
    storage: &Arc<dyn Storage>,
    options: &RepairOptions,
    numbers: &FileNumbers,
    outputs: &mut OutputFiles,
    memtable: &Arc<MemTable>,
) -> Result<Option<TableInfo>> {
    let number = numbers.allocate();
    outputs.claim(number);
    build_table(storage, &options.table, number, &mut memtable.cursor())
}

/// Copies a damaged file, so that what is in it can still be looked at. One that is missing is left out.
fn set_aside(storage: &dyn Storage, name: &str) -> Result<()> {
    const CHUNK: usize = 1 << 20;
    let path = storage.directory().join(name);
    let Ok(source) = storage.open(name) else { return Ok(()) };
    let copy_name = set_aside_name(name);
    let copy_path = storage.directory().join(&copy_name);
    let failed = |error| io_failed("writing", &copy_path, error);
    let mut copy = storage.create(&copy_name).map_err(failed)?;
    let mut buffer = vec![0; CHUNK];
    let mut offset = 0;
    loop {
        // What the disk does not give is as good as not there; the copy then ends.
        let read = source.read_at(&mut buffer, offset, Access::Blocking).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "cannot copy all of a damaged file");
            0
        });
        if read == 0 {
            return copy.sync().map_err(failed);
        }
        copy.write(&mut [IoSlice::new(buffer.get(..read).unwrap_or_default())]).map_err(failed)?;
        offset += read as u64;
    }
}
