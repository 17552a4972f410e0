//! The manifest: the log of all version edits, and `CURRENT`, which names it.

use super::{FileNumbers, VersionEdit};
use crate::{
    error::{damaged, io_failed},
    key::COMPARATOR_NAME,
    log::{LogEntry, LogReader, LogWriter},
    storage::{Access, FileName, ReadFile, Storage},
};
use rave_core::{Code, Error, Result};
use std::{
    io::{self, ErrorKind, IoSlice},
    path::Path,
    sync::Arc,
};

/// The manifest as it is written. There is one edit at a time; see the module's documentation for the locks.
#[derive(Debug)]
pub(crate) struct Manifest {
    storage: Arc<dyn Storage>,
    number: u64,
    target: Target,
    /// Bytes from which on a new manifest is begun.
    limit: u64,
    /// Why no more edits are taken: it is not known what the file holds.
    failed: Option<Error>,
}

/// Where the next record goes.
enum Target {
    /// To the end of the file, which is whole and so long; it has not been opened for writing yet.
    Continue(u64),
    Open(LogWriter),
    /// To a new file: this one is torn or has grown too long.
    New,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Continue(_) => "Continue",
            Self::Open(_) => "Open",
            Self::New => "New",
        })
    }
}

impl Manifest {
    /// The manifest `number` as [`read_manifest`] found it. Nothing is written before the first edit.
    pub(super) fn continuing(storage: Arc<dyn Storage>, number: u64, tail: &ManifestTail, limit: u64) -> Self {
        let target = if tail.whole && tail.length < limit { Target::Continue(tail.length) } else { Target::New };
        Self { storage, number, target, limit, failed: None }
    }

    /// Begins a database, or replaces it: writes the manifest `number` with one record and makes it the current one.
    pub(crate) fn create(storage: Arc<dyn Storage>, number: u64, record: &[u8], limit: u64) -> Result<Self> {
        let mut manifest = Self { storage, number, target: Target::New, limit, failed: None };
        manifest.begin(number, record)?;
        Ok(manifest)
    }

    /// The number of the file.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Closes the file. Requires that no edit follows.
    pub(crate) fn close(&mut self) {
        if let Target::Open(writer) = &mut self.target {
            writer.close();
        }
    }

    /// Refuses if an edit has failed.
    pub(super) fn check(&self) -> Result<()> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// Makes durable what the process before wrote: it may have died before it synced its last edit, or the name of its
    /// manifest. Required before a file is created, or one is removed that only an older state needs. Writes nothing, so
    /// that it costs next to nothing where all of it is durable already.
    pub(crate) fn settle(&mut self) -> Result<()> {
        if let Target::Open(_) = self.target {
            return Ok(());
        }
        let name = FileName::Manifest(self.number).to_string();
        let path = self.storage.directory().join(&name);
        let mut file = self.storage.append(&name).map_err(|error| io_failed("opening", &path, error))?;
        file.sync().map_err(|error| io_failed("syncing", &path, error))?;
        self.sync_directory()
    }

    /// Appends `record` durably, or begins a new manifest with what `snapshot` gives: all of the state, `record`'s
    /// changes included. `new_files` says that the record tells of files whose names are not yet durable.
    pub(super) fn append(
        &mut self,
        record: &[u8],
        new_files: bool,
        numbers: &FileNumbers,
        snapshot: impl FnOnce(&FileNumbers) -> Vec<u8>,
    ) -> Result<()> {
        self.check()?;
        let result = self.try_append(record, new_files, numbers, snapshot);
        if let Err(error) = &result {
            self.failed = Some(error.clone().context("an earlier change to the manifest failed"));
        }
        result
    }

    fn try_append(
        &mut self,
        record: &[u8],
        new_files: bool,
        numbers: &FileNumbers,
        snapshot: impl FnOnce(&FileNumbers) -> Vec<u8>,
    ) -> Result<()> {
        // A process that died may have left `CURRENT` renamed, but not durably.
        if new_files || matches!(self.target, Target::Continue(_)) {
            self.sync_directory()?;
        }
        let name = FileName::Manifest(self.number).to_string();
        let path = self.storage.directory().join(&name);
        if let Target::Continue(length) = self.target {
            let file = self.storage.append(&name).map_err(|error| io_failed("opening", &path, error))?;
            self.target = Target::Open(LogWriter::continuing(file, length));
        }
        if let Target::Open(writer) = &mut self.target
            && writer.len() < self.limit
        {
            writer.append(record).map_err(|error| io_failed("writing", &path, error))?;
            return writer.sync().map_err(|error| io_failed("syncing", &path, error));
        }
        let old = path;
        let number = numbers.allocate();
        self.begin(number, &snapshot(numbers))?;
        if let Err(error) = self.storage.remove(&name) {
            tracing::warn!(path = %old.display(), %error, "cannot remove the old manifest");
        }
        Ok(())
    }

    /// Writes the manifest `number` and makes it the current one.
    fn begin(&mut self, number: u64, record: &[u8]) -> Result<()> {
        let name = FileName::Manifest(number).to_string();
        let path = self.storage.directory().join(&name);
        let file = self.storage.create(&name).map_err(|error| io_failed("creating", &path, error))?;
        let mut writer = LogWriter::new(file);
        writer.append(record).map_err(|error| io_failed("writing", &path, error))?;
        writer.sync().map_err(|error| io_failed("syncing", &path, error))?;
        self.sync_directory()?;
        set_current(&*self.storage, number)?;
        // The record of a large database must not make every edit begin another manifest.
        self.limit = self.limit.max(writer.len().saturating_mul(2));
        self.number = number;
        self.target = Target::Open(writer);
        Ok(())
    }

    fn sync_directory(&self) -> Result<()> {
        self.storage.sync_directory().map_err(|error| io_failed("syncing", self.storage.directory(), error))
    }
}

/// Points `CURRENT` to the manifest `number`, in one step: after a crash it names the old one or the new one.
pub(super) fn set_current(storage: &dyn Storage, number: u64) -> Result<()> {
    let temporary = FileName::Temporary(number).to_string();
    let path = storage.directory().join(&temporary);
    let text = format!("{}\n", FileName::Manifest(number));
    let write = || {
        let mut file = storage.create(&temporary)?;
        file.write(&mut [IoSlice::new(text.as_bytes())])?;
        file.sync()
    };
    write().map_err(|error| io_failed("writing", &path, error))?;
    let current = storage.directory().join("CURRENT");
    storage.rename(&temporary, "CURRENT").map_err(|error| io_failed("replacing", &current, error))?;
    storage.sync_directory().map_err(|error| io_failed("syncing", storage.directory(), error))
}

/// The number of the manifest that `CURRENT` names.
pub(crate) fn read_current(storage: &dyn Storage) -> Result<u64> {
    let path = storage.directory().join("CURRENT");
    let failed = |error| io_failed("reading", &path, error);
    let wrong = || damaged(&path, 0, "it does not name a manifest");
    let file = storage.open("CURRENT").map_err(failed)?;
    // Longer than the name of any manifest.
    let mut text = [0; 64];
    let length = file.read_at(&mut text, 0, Access::Blocking).map_err(failed)?;
    let text = text.get(..length).filter(|text| text.len() < 64).ok_or_else(wrong)?;
    let name = std::str::from_utf8(text).ok().and_then(|text| text.strip_suffix('\n'));
    match name.and_then(FileName::parse) {
        Some(FileName::Manifest(number)) => Ok(number),
        _ => Err(wrong()),
    }
}

/// How a manifest ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ManifestTail {
    /// Whether it ends with a whole record. Otherwise the last one was never acknowledged, or is damaged.
    pub(crate) whole: bool,
    /// Where the next record would start.
    pub(crate) length: u64,
}

/// Reads the manifest `number`, calling `each` with every edit and where it is. Damage is an error if something intact
/// follows: else it is what an interrupted write leaves.
pub(crate) fn read_manifest(
    storage: &dyn Storage,
    number: u64,
    mut each: impl FnMut(u64, VersionEdit) -> Result<()>,
) -> Result<ManifestTail> {
    let name = FileName::Manifest(number).to_string();
    let path = storage.directory().join(&name);
    let file = open_existing(storage, &name, &path)?;
    let mut reader = LogReader::new(&*file, &path)?;
    let mut first = true;
    loop {
        match reader.next()? {
            LogEntry::Record { offset, payload } => {
                let edit = VersionEdit::decode(&payload).map_err(|what| damaged(&path, offset, what))?;
                check_comparator(storage, &path, offset, &edit, first)?;
                first = false;
                each(offset, edit)?;
            }
            LogEntry::End { .. } if first => return Err(damaged(&path, 0, "it has no edit")),
            LogEntry::End { whole, length } => return Ok(ManifestTail { whole, length }),
            LogEntry::Damaged { offset, what, intact_after, .. } if intact_after || first => {
                return Err(damaged(&path, offset, what));
            }
            LogEntry::Damaged { offset, what, .. } => {
                tracing::warn!(path = %path.display(), offset, what, "the manifest ends in a damaged edit, which is dropped");
                return Ok(ManifestTail { whole: false, length: offset });
            }
        }
    }
}

fn open_existing(storage: &dyn Storage, name: &str, path: &Path) -> Result<Box<dyn ReadFile>> {
    storage.open(name).map_err(|error: io::Error| match error.kind() {
        ErrorKind::NotFound => damaged(path, 0, "the file is missing"),
        _ => io_failed("opening", path, error),
    })
}

fn check_comparator(storage: &dyn Storage, path: &Path, offset: u64, edit: &VersionEdit, first: bool) -> Result<()> {
    match &edit.comparator {
        Some(name) if name == COMPARATOR_NAME.as_bytes() => Ok(()),
        Some(other) => {
            let (directory, other) = (storage.directory().display(), String::from_utf8_lossy(other));
            let what = format!("{directory} orders its keys by {other:?}; only bytewise order is supported");
            Err(Error::new(Code::NotSupported, what))
        }
        None if first => Err(damaged(path, offset, "it does not start with a comparator")),
        None => Ok(()),
    }
}
