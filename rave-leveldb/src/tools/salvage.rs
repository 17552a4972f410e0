//! Reading whatever can be read of tables and logs.

use super::report::{Meter, unless_stopped};
use crate::{
    compaction::OutputFiles,
    db::{Replay, Replayed},
    error::{ReadError, io_failed},
    key::{InternalKey, SequenceNumber},
    log::{LogEntry, LogReader},
    memtable::{MemTable, batch},
    storage::{OpenFiles, ReadFile, Storage},
    table::{Scanned, TableOptions, scan_table},
    version::{BoundaryKey, TableInfo},
};
use bytes::Bytes;
use rave_core::Result;
use std::{ops::ControlFlow, path::Path, sync::Arc};

/// What a look through a table or a log has seen.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// The length of the file in bytes.
    pub(super) size: u64,
    /// How many entries.
    pub(super) entries: u64,
    /// The highest sequence number among them.
    pub(super) last_sequence: SequenceNumber,
    /// The first and the last key of a table.
    pub(super) range: Option<(BoundaryKey, BoundaryKey)>,
    /// What is wrong, and where.
    pub(super) damages: Vec<(u64, String)>,
    /// How much more is wrong.
    pub(super) more_damages: u64,
}

impl Survey {
    pub(super) fn damage(&mut self, offset: u64, what: &str) {
        if self.damages.len() < super::VerifyReport::MOST_DAMAGES {
            self.damages.push((offset, what.to_owned()));
        } else {
            self.more_damages += 1;
        }
    }
}

/// Looks through the table `number`.
pub(super) fn survey_table(files: &OpenFiles, number: u64, name: &str, meter: &mut Meter<'_>) -> Result<Survey> {
    let size = files.len(number).map_err(ReadError::into_error)?;
    let mut survey = Survey { size, ..Survey::default() };
    let mut first: Option<BoundaryKey> = None;
    let mut last: (Vec<u8>, u64) = Default::default();
    let flow = scan_table(files, number, &mut |scanned| {
        match scanned {
            Scanned::Entry(key, _) => {
                survey.entries += 1;
                survey.last_sequence = survey.last_sequence.max(key.sequence());
                if first.is_none() {
                    first = Some(BoundaryKey::new(key));
                }
                last.0.clear();
                last.0.extend_from_slice(key.user_key);
                last.1 = key.tag;
            }
            Scanned::Damage(offset, what) => survey.damage(offset, what),
            Scanned::Position(position) => return meter.at(name, position),
        }
        ControlFlow::Continue(())
    })?;
    unless_stopped(flow)?;
    unless_stopped(meter.finish(name, size))?;
    let last = BoundaryKey::new(InternalKey { user_key: &last.0, tag: last.1 });
    survey.range = first.map(|first| (first, last));
    Ok(survey)
}

/// Writes what can be read of the table `number` as the table `to`; `None` if that is nothing.
pub(super) fn rewrite_table(
    files: &OpenFiles,
    number: u64,
    to: u64,
    outputs: &mut OutputFiles,
    options: &TableOptions,
) -> Result<Option<TableInfo>> {
    let mut output = outputs.create(to, options)?;
    let mut failed = None;
    let flow = scan_table(files, number, &mut |scanned| {
        if let Scanned::Entry(key, value) = scanned
            && let Err(error) = output.add(key, &value)
        {
            failed = Some(error);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    match (flow, failed) {
        (ControlFlow::Break(()), Some(error)) => Err(error),
        _ => output.finish(),
    }
}

/// Looks through a log, calling `each` with every batch in it. Whether what is wrong is damage or only what a crash
/// leaves cannot be told from one log; see [`replay`].
pub(super) fn survey_log(
    file: &dyn ReadFile,
    path: &Path,
    name: &str,
    meter: &mut Meter<'_>,
    each: &mut dyn FnMut(Bytes) -> Result<()>,
) -> Result<Survey> {
    let size = file.len().map_err(|error| io_failed("reading", path, error))?;
    let mut survey = Survey { size, ..Survey::default() };
    let mut reader = LogReader::new(file, path)?;
    loop {
        match reader.next()? {
            LogEntry::Record { offset, payload } => {
                unless_stopped(meter.at(name, offset))?;
                match batch::check(&payload) {
                    Ok(count) => {
                        let (sequence, _) = batch::header(&payload).unwrap_or_default();
                        let last = sequence.saturating_add(u64::from(count)).saturating_sub(1);
                        survey.last_sequence = survey.last_sequence.max(last);
                        survey.entries += u64::from(count);
                        if count > 0 {
                            each(payload)?;
                        }
                    }
                    Err(what) => survey.damage(offset, &what),
                }
            }
            LogEntry::End { whole, length } => {
                if !whole {
                    survey.damage(length, "it ends within a batch");
                }
                unless_stopped(meter.finish(name, size))?;
                return Ok(survey);
            }
            LogEntry::Damaged { offset, what, .. } => {
                survey.damage(offset, what);
                reader.resume()?;
            }
        }
    }
}

/// Replays logs as opening does, giving every full memtable to `spill`; says which the last write was. Fails where
/// opening would: what it takes is what a crash leaves at the most.
pub(super) fn replay(
    storage: &dyn Storage,
    logs: &[u64],
    last_sequence: SequenceNumber,
    write_buffer_size: usize,
    mut spill: impl FnMut(&Arc<MemTable>) -> Result<()>,
) -> Result<SequenceNumber> {
    let mut replay = Replay::new(storage, write_buffer_size, last_sequence, &mut spill);
    for &log in logs {
        replay.replay(log)?;
    }
    let Replayed { sequence, memtable, .. } = replay.finish()?;
    if !memtable.is_empty() {
        spill(&memtable)?;
    }
    Ok(sequence)
}

/// The length of a file for showing progress; 0 if it cannot be told.
pub(super) fn length(storage: &dyn Storage, name: &str) -> u64 {
    storage.open(name).and_then(|file| file.len()).unwrap_or(0)
}
