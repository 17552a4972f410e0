//! The file: what is appended to it, and what is read from it when it is opened.
//!
//! It begins with [`MAGIC`], then come records. Two things can be wrong with a file, and they are not the same:
//!
//! - **A torn tail**: its writer died in the middle of the last record. Nobody was told that it was written, so it is cut
//!   off.
//! - **Damage**: a record does not read, and a later one does. To go on would lose what was acknowledged, so it is an
//!   error, and nothing is changed.

use crate::record::{self, HEADER, Header};
use bytes::Bytes;
use rave_level::{Code, Effect, Error, Operation, Result};
use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

/// What a file of ours begins with. Another format would get another number.
const MAGIC: &[u8] = b"append-store 1\n";

/// The file, open for appending.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    file: Arc<File>,
    /// Where the next record goes.
    end: u64,
    /// What is in the file behind `end`, or on the disk, is not known. Nothing may be written any more.
    broken: bool,
}

impl Log {
    /// Opens the file, or makes it, and gives every operation in it to `apply`, in order.
    pub(crate) fn open(path: PathBuf, apply: impl FnMut(Operation)) -> Result<Self> {
        let attempt = |error| Error::io(format!("opening {}", path.display()), error);
        let file = File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(attempt)?;
        let mut log = Self { path: path.clone(), file: Arc::new(file), end: 0, broken: false };
        log.recover(apply)?;
        // The name of a new file has to be on the disk before anybody relies on what is in it.
        log.file.sync_all().and_then(|()| sync_directories(&path)).map_err(attempt)?;
        Ok(log)
    }

    fn recover(&mut self, mut apply: impl FnMut(Operation)) -> Result<()> {
        let attempt = |error| Error::io(format!("reading {}", self.path.display()), error);
        let size = self.file.metadata().map_err(attempt)?.len();
        let mut reader = BufReader::new(&*self.file);
        let mut magic = Vec::new();
        reader.by_ref().take(MAGIC.len() as u64).read_to_end(&mut magic).map_err(attempt)?;
        if !MAGIC.starts_with(&magic) {
            return Err(self.corruption("it is no file of this store: it begins with something else".into()));
        }
        if magic.len() < MAGIC.len() {
            // It is new, or its writer died at the very beginning.
            self.cut().and_then(|()| (&*self.file).write_all(MAGIC)).map_err(attempt)?;
            self.end = MAGIC.len() as u64;
            return Ok(());
        }
        self.end = MAGIC.len() as u64;
        while let Some(body) = next_record(&mut reader, self.end, size).map_err(attempt)? {
            let next = self.end + (HEADER + body.len()) as u64;
            let operations = record::decode(body);
            let what = || format!("the record at byte {} has a right checksum and wrong contents", self.end);
            operations.ok_or_else(|| self.corruption(what()))?.into_iter().for_each(&mut apply);
            self.end = next;
        }
        if let Some(later) = self.later_record().map_err(attempt)? {
            return Err(self.corruption(format!(
                "what begins at byte {} does not read, and a whole record begins at byte {later}. Restore the file from a \
                 copy; or cut it at byte {}, which keeps what was written before and loses the rest",
                self.end, self.end
            )));
        }
        self.cut().map_err(attempt)
    }

    /// Where behind `end` a whole record begins, if anywhere.
    fn later_record(&self) -> io::Result<Option<u64>> {
        let mut rest = Vec::new();
        (&*self.file).seek(SeekFrom::Start(self.end))?;
        (&*self.file).read_to_end(&mut rest)?;
        let is_record = |start: &usize| {
            let bytes = rest.get(*start..).unwrap_or_default();
            let header = Header::read(self.end + *start as u64, bytes);
            header
                .is_some_and(|header| bytes.get(HEADER..HEADER + header.length).is_some_and(|body| header.is_of(body)))
        };
        Ok((1..rest.len()).find(is_record).map(|start| self.end + start as u64))
    }

    /// Makes the file end at `end`, where the next record goes.
    fn cut(&self) -> io::Result<()> {
        self.file.set_len(self.end)?;
        (&*self.file).seek(SeekFrom::Start(self.end)).map(drop)
    }

    fn corruption(&self, what: String) -> Error {
        Error::new(Code::Corruption, format!("{} cannot be opened: {what}", self.path.display()))
    }

    /// Appends a record: it is in the hands of the operating system, so it survives the death of this process.
    ///
    /// Errors: with effect `None`, if the file was brought back to what it was; else with effect `Unknown`.
    pub(crate) fn append<'a>(&mut self, operations: impl Iterator<Item = &'a Operation>) -> Result<()> {
        if self.broken {
            let message = format!("an earlier write to {} failed; close it and open it again", self.path.display());
            return Err(Error::new(Code::Io, message));
        }
        let record = record::encode(self.end, operations)?;
        if let Err(error) = (&*self.file).write_all(&record) {
            self.broken = self.cut().is_err();
            let effect = if self.broken { Effect::Unknown } else { Effect::None };
            return Err(Error::io(format!("writing to {}", self.path.display()), error).with_effect(effect));
        }
        self.end += record.len() as u64;
        Ok(())
    }

    /// For waiting until the disk has what was appended, which may be done without the log.
    pub(crate) fn file(&self) -> Arc<File> {
        self.file.clone()
    }

    /// Waiting for the disk failed. Whether a second try would tell the truth is up to the system, so there is none.
    pub(crate) fn sync_failed(&mut self, error: io::Error) -> Error {
        self.broken = true;
        Error::io(format!("waiting for the disk to have {}", self.path.display()), error).with_effect(Effect::Unknown)
    }
}

/// The body of the record at the place `at`; `None` if there is no whole one. Never asks for more memory than the file has
/// bytes left, whatever it says of itself.
fn next_record(reader: &mut impl Read, at: u64, size: u64) -> io::Result<Option<Bytes>> {
    let left = size - at;
    let mut header = [0; HEADER];
    if left < HEADER as u64 {
        return Ok(None);
    }
    reader.read_exact(&mut header)?;
    let Some(header) = Header::read(at, &header).filter(|header| header.length as u64 <= left - HEADER as u64) else {
        return Ok(None);
    };
    let mut body = vec![0; header.length];
    reader.read_exact(&mut body)?;
    Ok(header.is_of(&body).then(|| body.into()))
}

/// Makes the name of a file durable, and the names of the directories that it is in, as far as we may.
fn sync_directories(file: &Path) -> io::Result<()> {
    // Windows cannot open directories so, and has no need to.
    if cfg!(unix) {
        let file = file.canonicalize()?;
        let mut directories = file.ancestors().skip(1);
        directories.next().map_or(Ok(()), |directory| File::open(directory)?.sync_all())?;
        directories.for_each(|directory| drop(File::open(directory).and_then(|directory| directory.sync_all())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rave_level::Batch;

    #[test]
    fn a_write_that_fails_is_cut_off_or_is_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = Log::open(path.clone(), |_| ()).unwrap();
        let batch = Batch::new().put("a", "1");
        log.append(batch.operations()).unwrap();

        // A file that cannot be written: neither the record nor the cut succeeds.
        log.file = Arc::new(File::open(&path).unwrap());
        assert_eq!(log.append(batch.operations()).unwrap_err().effect(), Effect::Unknown);
        log.file = Arc::new(File::options().write(true).open(&path).unwrap());
        assert_eq!(log.append(batch.operations()).unwrap_err().effect(), Effect::None);

        let mut found = Vec::new();
        let mut log = Log::open(path, |operation| found.push(operation)).unwrap();
        assert_eq!(found, batch.clone().into_operations().collect::<Vec<_>>());
        assert_eq!(log.sync_failed(io::ErrorKind::Other.into()).effect(), Effect::Unknown);
        assert_eq!(log.append(batch.operations()).unwrap_err().code(), Code::Io);
    }
}
