//! Opening: finding the version in the manifest and the newest writes in the logs.
//!
//! # What a log's end means
//!
//! All live logs, in the order of their numbers, are one stream of writes. A *tear* is where the stream breaks off as
//! power loss leaves it: a record cut short, a record in pages that came back as zeros, or a log whose beginning says
//! that writes before it are missing. What stands behind a tear was never synced, and is dropped with it: what remains
//! is what the database was at some earlier moment. Anything else is damage, and the database does not open:
//!
//! - a wrong record that no lost page explains and that intact ones follow in the same log;
//! - a tear with a mark of an fsync (see `append.rs`) anywhere behind it: it has hit what was synced;
//! - a wrong record at the end of a log that no lost page explains, if another log follows;
//! - a tear before a log without our mark at its beginning, which LevelDB wrote: nothing tells what it belongs to.

use crate::{
    error::{damaged, io_failed},
    key::SequenceNumber,
    log::{LogEntry, LogReader},
    memtable::{MemTable, batch},
    storage::{FileName, Storage},
};
use rave_core::Result;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where the stream of writes breaks off.
pub(crate) struct Tear {
    path: PathBuf,
    offset: u64,
    what: &'static str,
    /// Whether it looks as power loss leaves it.
    explained: bool,
}

/// How a log that was replayed can be continued.
pub(crate) struct Tail {
    pub(super) number: u64,
    pub(super) length: u64,
}

/// The logs, applied one after the other.
pub(crate) struct Replay<'a, F> {
    storage: &'a dyn Storage,
    write_buffer: usize,
    /// Makes a table of a full memtable.
    spill: F,
    sequence: SequenceNumber,
    /// The last write that the logs so far have, or had before they were emptied into tables. The manifest's number, from
    /// which `sequence` starts, may be that of a write whose log was lost.
    reached: Option<SequenceNumber>,
    memtable: Arc<MemTable>,
    tear: Option<Tear>,
    /// How many logs there were, and the last one if it ends with a whole record.
    logs: usize,
    tail: Option<Tail>,
    spilled: bool,
}

/// What came of it.
pub(crate) struct Replayed {
    pub(crate) sequence: SequenceNumber,
    /// The writes that no table has.
    pub(crate) memtable: Arc<MemTable>,
    /// The log that has exactly these writes and can be continued.
    pub(crate) tail: Option<Tail>,
    /// Where the logs break off, if they do.
    pub(crate) tear: Option<Tear>,
}

impl<'a, F: FnMut(&Arc<MemTable>) -> Result<()>> Replay<'a, F> {
    pub(crate) fn new(storage: &'a dyn Storage, write_buffer: usize, sequence: SequenceNumber, spill: F) -> Self {
        Self {
            storage,
            write_buffer,
            spill,
            sequence,
            reached: None,
            memtable: Arc::new(MemTable::new()),
            tear: None,
            logs: 0,
            tail: None,
            spilled: false,
        }
    }

    /// Applies the log `number`, which is newer than all before.
    pub(crate) fn replay(&mut self, number: u64) -> Result<()> {
        let name = FileName::Log(number).to_string();
        let path = self.storage.directory().join(&name);
        let file = self.storage.open(&name).map_err(|error| io_failed("opening", &path, error))?;
        let mut reader = LogReader::new(file.as_ref(), &path)?;
        self.logs += 1;
        self.tail = None;
        let (mut first, mut ours, mut torn_here) = (true, false, false);
        loop {
            match reader.next()? {
                LogEntry::Record { offset, payload } => {
                    let Some((sequence, count)) = batch::header(&payload) else {
                        return Err(damaged(&path, offset, "a record is too short for a batch"));
                    };
                    if count > 0 {
                        match &self.tear {
                            None => self.apply(&path, offset, sequence, &payload)?,
                            Some(tear) if !torn_here && (!ours || !tear.explained) => return Err(tear.damage()),
                            Some(_) => {}
                        }
                    } else if first {
                        ours = true;
                        let before = if self.logs == 1 { Some(self.sequence) } else { self.reached };
                        if before.is_none_or(|before| sequence > before.saturating_add(1)) {
                            self.tear(&path, offset, "writes before this log are missing", true);
                        }
                    } else if let Some(tear) = &self.tear {
                        return Err(tear.damage());
                    }
                    if self.tear.is_none() {
                        self.reached = Some(sequence.saturating_add(u64::from(count)).saturating_sub(1));
                    }
                    first = false;
                }
                LogEntry::End { whole: true, length } => {
                    self.tail = Some(Tail { number, length });
                    return Ok(());
                }
                LogEntry::End { whole: false, length } => {
                    self.tear(&path, length, "the file ends inside a record", true);
                    return Ok(());
                }
                LogEntry::Damaged { offset, what, lost_page, intact_after } => {
                    if self.tear.is_none() && intact_after && !lost_page {
                        return Err(damaged(&path, offset, what));
                    }
                    self.tear(&path, offset, what, lost_page);
                    torn_here = true;
                    if !intact_after {
                        return Ok(());
                    }
                    reader.resume()?;
                    first = false;
                }
            }
        }
    }

    fn tear(&mut self, path: &Path, offset: u64, what: &'static str, explained: bool) {
        if self.tear.is_none() {
            self.tear = Some(Tear { path: path.to_owned(), offset, what, explained });
        }
    }

    fn apply(&mut self, path: &Path, offset: u64, sequence: SequenceNumber, batch: &bytes::Bytes) -> Result<()> {
        let count = self.memtable.apply(batch).map_err(|what| damaged(path, offset, &what))?;
        self.sequence = self.sequence.max(sequence.saturating_add(u64::from(count)).saturating_sub(1));
        if self.memtable.memory() >= self.write_buffer {
            let full = std::mem::replace(&mut self.memtable, Arc::new(MemTable::new()));
            (self.spill)(&full)?;
            self.spilled = true;
        }
        Ok(())
    }

    /// Ends the replay.
    pub(crate) fn finish(mut self) -> Result<Replayed> {
        // One that ends before the manifest's number cannot go on: the next log would seem to follow on missing writes.
        let complete = self.reached.is_some_and(|reached| reached >= self.sequence);
        let continues = self.logs == 1 && self.tear.is_none() && !self.spilled && complete;
        let tail = self.tail.take().filter(|_| continues);
        if tail.is_none() && !self.memtable.is_empty() {
            let rest = std::mem::replace(&mut self.memtable, Arc::new(MemTable::new()));
            (self.spill)(&rest)?;
        }
        Ok(Replayed { sequence: self.sequence, memtable: self.memtable, tail, tear: self.tear })
    }
}

impl Tear {
    /// Tells that writes were dropped.
    pub(super) fn warn(&self) {
        let (log, offset, what) = (self.path.display(), self.offset, self.what);
        tracing::warn!(%log, offset, what, "the log is torn; what follows was never synced and is dropped");
    }

    fn damage(&self) -> rave_core::Error {
        damaged(&self.path, self.offset, &format!("{}, but whole writes follow", self.what))
    }
}
