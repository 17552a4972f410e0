//! What the tools tell of their work.

use rave_core::{Code, Error, Result};
use std::{fmt, ops::ControlFlow};

/// Something in a file that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// The name of the file, without its directory.
    pub file: String,
    /// Where in the file, in bytes; the beginning of what is damaged.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: {}", self.file, self.offset, self.what)
    }
}

/// How far a tool has come. Answer it with [`ControlFlow::Break`] to stop: the tool then fails with
/// [`Code::Aborted`], and the database is as it was.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// The file that is being read.
    pub file: &'a str,
    /// Bytes read so far, of all files.
    pub bytes_done: u64,
    /// Bytes of all files.
    pub bytes_total: u64,
}

/// What [`LevelDb::verify`](crate::LevelDb::verify) found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Tables that were read.
    pub tables: u64,
    /// Logs that were read.
    pub logs: u64,
    /// Entries in them, those that are overwritten or deleted included.
    pub entries: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// What is damaged, at most [`VerifyReport::MOST_DAMAGES`] of it.
    pub damages: Vec<Damage>,
    /// How much more is damaged.
    pub more_damages: u64,
}

impl VerifyReport {
    /// So many damages are listed; the rest is counted.
    pub const MOST_DAMAGES: usize = 1000;

    /// Whether nothing is damaged.
    pub fn is_sound(&self) -> bool {
        self.damages.is_empty()
    }

    pub(super) fn add(&mut self, file: &str, offset: u64, what: impl Into<String>) {
        if self.damages.len() < Self::MOST_DAMAGES {
            self.damages.push(Damage { file: file.to_owned(), offset, what: what.into() });
        } else {
            self.more_damages += 1;
        }
    }
}

/// What [`LevelDb::repair`](crate::LevelDb::repair) did.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RepairReport {
    /// The damaged files, and those that are missing. Each damaged one is kept beside the database, with `.damaged`
    /// behind its name; so is a log whose end a crash has torn off.
    pub files: Vec<RepairedFile>,
    /// Whether the manifest could not be used. Then all tables and logs that were there have been put together by the
    /// age of their entries, and a key that was deleted long ago may be back.
    pub rebuilt: bool,
    /// Tables that the database has now.
    pub tables: u64,
    /// Entries in the tables and logs that were read, those that are overwritten or deleted included.
    pub entries: u64,
}

/// A damaged file and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairedFile {
    /// Its name, without its directory.
    pub file: String,
    /// Entries that could be read and are in the database now.
    pub entries_kept: u64,
    /// What is damaged, at most [`VerifyReport::MOST_DAMAGES`] of it. What was there is lost to the database.
    pub damages: Vec<Damage>,
    /// How much more is damaged.
    pub more_damages: u64,
}

/// Tells of progress over several files.
pub(super) struct Meter<'a> {
    tell: &'a mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    done: u64,
    total: u64,
}

impl<'a> Meter<'a> {
    pub(super) fn new(tell: &'a mut dyn FnMut(Progress<'_>) -> ControlFlow<()>, total: u64) -> Self {
        Self { tell, done: 0, total }
    }

    /// Within `file`, which has been read up to `position`.
    pub(super) fn at(&mut self, file: &str, position: u64) -> ControlFlow<()> {
        (self.tell)(Progress { file, bytes_done: self.done.saturating_add(position), bytes_total: self.total })
    }

    /// A file of so many bytes has been read.
    pub(super) fn finish(&mut self, file: &str, length: u64) -> ControlFlow<()> {
        self.done = self.done.saturating_add(length);
        self.at(file, 0)
    }
}

/// The error of a tool that was asked to stop.
pub(super) fn unless_stopped(flow: ControlFlow<()>) -> Result<()> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::new(Code::Aborted, "stopped as asked")),
    }
}
