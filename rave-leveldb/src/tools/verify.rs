//! Verify: reads everything and says what is damaged.

use super::{
    Progress, VerifyReport,
    report::Meter,
    salvage::{Survey, length, replay, survey_log, survey_table},
};
use crate::{
    error::io_failed,
    key::SequenceNumber,
    log::{LogEntry, LogReader},
    storage::{FileName, OpenFiles, Storage},
    version::{Contents, FileMetaData, Recovered, SetOptions, VersionSet, contents, list, live_logs, read_current},
};
use rave_core::{Code, Error, Result};
use std::{ops::ControlFlow, sync::Arc};

/// Reads the manifest, every live table and every live log, and checks whatever can be checked: all checksums, the order
/// of the entries, that the manifest gives each table's range, that indexes and filters lead to the entries. If the
/// manifest cannot be read, every table and log there is counts as live. Changes nothing.
///
/// # Errors
///
/// If there is no database, files cannot be listed or opened, or `progress` says to stop. Damage is no error.
pub(crate) fn verify(
    storage: &Arc<dyn Storage>,
    progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<VerifyReport> {
    let mut report = VerifyReport::default();
    let live = find_live(storage, &mut report)?;
    let name_table = |number| name_of(storage, FileName::Table(number));
    let tables: Vec<_> = live.tables.into_iter().map(|table| (name_table(table.number()), table)).collect();
    let logs: Vec<_> = live.logs.iter().map(|&number| name_of(storage, FileName::Log(number))).collect();
    let names = tables.iter().map(|(name, _)| name).chain(&logs);
    report.bytes = names.map(|name| length(&**storage, name)).sum();
    let mut meter = Meter::new(progress, report.bytes);

    let files = OpenFiles::new(Arc::clone(storage), 1);
    for (name, table) in tables {
        let survey = survey_table(&files, table.number(), &name, &mut meter)?;
        report.tables += 1;
        take(&mut report, &name, &survey);
        if let Table::Listed(expected) = &table {
            compare(&mut report, &name, expected, &survey);
        }
        files.forget(table.number());
    }
    let damaged = match replay(&**storage, &live.logs, live.last_sequence, REPLAY_BYTES, |_| Ok(())) {
        Ok(_) if live.listed => None,
        Err(error) if error.code() != Code::Corruption => return Err(error),
        result => Some(result.err()),
    };
    let damages_before = report.damages.len();
    for name in &logs {
        let path = storage.directory().join(name);
        let file = storage.open(name).map_err(|error| io_failed("opening", &path, error))?;
        report.logs += 1;
        let mut survey = survey_log(&*file, &path, name, &mut meter, &mut |_| Ok(()))?;
        // What opening takes for the traces of a crash is none the worse.
        if damaged.is_none() {
            survey.damages.clear();
        }
        take(&mut report, name, &survey);
    }
    if let (Some(Some(error)), Some(last)) = (damaged, logs.last())
        && report.damages.len() == damages_before
        && live.listed
    {
        // Each log by itself is in order.
        report.add(last, 0, error.full_message());
    }
    Ok(report)
}

/// Memory for replaying logs.
const REPLAY_BYTES: usize = 4 << 20;

/// What has to be read.
struct Live {
    tables: Vec<Table>,
    logs: Vec<u64>,
    last_sequence: SequenceNumber,
    /// Whether the manifest says so.
    listed: bool,
}

/// A table to read.
enum Table {
    /// In the manifest.
    Listed(Arc<FileMetaData>),
    /// In the directory, when there is no telling what should be.
    Found(u64),
}

impl Table {
    fn number(&self) -> u64 {
        match self {
            Self::Listed(file) => file.number(),
            Self::Found(number) => *number,
        }
    }
}

fn find_live(storage: &Arc<dyn Storage>, report: &mut VerifyReport) -> Result<Live> {
    match contents(&**storage) {
        Ok(Contents::Database) => {}
        Ok(Contents::Empty) => {
            let what = format!("there is no database in {}", storage.directory().display());
            return Err(Error::new(Code::DatabaseFailedOpen, what));
        }
        Err(error) if error.code() == Code::Corruption => report.add("CURRENT", 0, "the file is missing"),
        Err(error) => return Err(error),
    }
    match VersionSet::read(storage, SetOptions::default()) {
        Ok(Recovered { set, .. }) => {
            let missing = set.missing_files(&**storage)?;
            for name in &missing {
                report.add(&name.to_string(), 0, "the file is missing");
            }
            let files = set.current();
            let there = |file: &&Arc<FileMetaData>| !missing.contains(&FileName::Table(file.number()));
            let tables =
                files.all_files().map(|(_, file)| file).filter(there).map(|file| Table::Listed(Arc::clone(file)));
            let (logs, last_sequence) = (live_logs(&**storage, &set)?, set.last_sequence());
            Ok(Live { tables: tables.collect(), logs, last_sequence, listed: true })
        }
        Err(error) if error.code() == Code::NotSupported => Err(error),
        Err(error) => {
            if report.is_sound() {
                survey_manifest(&**storage, report, &error);
            }
            let (mut tables, mut logs) = (Vec::new(), Vec::new());
            for name in list(&**storage)?.iter().filter_map(|name| FileName::parse(name)) {
                match name {
                    FileName::Table(number) => tables.push(Table::Found(number)),
                    FileName::Log(number) => logs.push(number),
                    _ => {}
                }
            }
            logs.sort_unstable();
            Ok(Live { tables, logs, last_sequence: 0, listed: false })
        }
    }
}

/// Lists what is damaged in a manifest that cannot be used because of `error`.
fn survey_manifest(storage: &dyn Storage, report: &mut VerifyReport, error: &Error) {
    let Ok(number) = read_current(storage) else {
        return report.add("CURRENT", 0, "it does not name a manifest");
    };
    let name = FileName::Manifest(number).to_string();
    let path = storage.directory().join(&name);
    if let Ok(file) = storage.open(&name)
        && let Ok(mut reader) = LogReader::new(&*file, &path)
    {
        while let Ok(entry) = reader.next() {
            match entry {
                LogEntry::Record { .. } => {}
                LogEntry::End { .. } => break,
                LogEntry::Damaged { offset, what, .. } => {
                    report.add(&name, offset, what);
                    if reader.resume().is_err() {
                        break;
                    }
                }
            }
        }
    }
    if report.is_sound() {
        // Its records are whole, but not what they say.
        report.add(&name, 0, error.full_message());
    }
}

fn take(report: &mut VerifyReport, name: &str, survey: &Survey) {
    report.entries += survey.entries;
    for (offset, what) in &survey.damages {
        report.add(name, *offset, what.as_str());
    }
    report.more_damages += survey.more_damages;
}

/// Compares a table with what the manifest says of it.
fn compare(report: &mut VerifyReport, name: &str, expected: &FileMetaData, survey: &Survey) {
    let bytes = survey.size;
    if bytes != expected.size() {
        let what = format!("the file has {bytes} bytes, but the manifest says {}", expected.size());
        report.add(name, bytes.min(expected.size()), what);
    }
    // Where a part cannot be read the first and the last entry are not known.
    if !survey.damages.is_empty() {
        return;
    }
    let info = expected.info();
    let as_listed = survey.range.as_ref().is_some_and(|(first, last)| *first == info.smallest && *last == info.largest);
    if !as_listed {
        report.add(name, 0, "its first and last key are not those that the manifest gives");
    }
}

/// The name that a file has: a table may have the old one, and numbers may be written with fewer digits.
pub(super) fn name_of(storage: &Arc<dyn Storage>, file: FileName) -> String {
    let names = storage.list().unwrap_or_default();
    names.into_iter().find(|name| FileName::parse(name) == Some(file)).unwrap_or_else(|| file.to_string())
}
