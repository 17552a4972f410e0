//! The files the engine writes and reads.

use crate::rusty::failure::{Failures, Faults, damaged};
use rave_core::Error;
use rusty_leveldb::env::RandomAccess;
use std::{
    cell::Cell,
    fs::File,
    io::{self, Write},
    path::PathBuf,
    rc::Rc,
    sync::Arc,
};

/// How a file has to be written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Each flush is one write; fsync on demand.
    Log,
    /// Each flush is one write and an fsync.
    Manifest,
    /// Written and fsynced when it is complete, that is, dropped.
    Whole,
}

/// A file being written. Nothing reaches the file but by `flush`, in one write for all that was gathered; whole files
/// are passed on in large pieces.
pub(crate) struct OutFile {
    pub(crate) path: PathBuf,
    pub(crate) file: Rc<File>,
    pub(crate) kind: Kind,
    pub(crate) buffer: Vec<u8>,
    pub(crate) failures: Rc<Failures>,
    pub(crate) faults: Option<Arc<Faults>>,
    /// Bytes written to logs, for the adapter to see how full the write buffer is.
    pub(crate) written: Rc<Cell<u64>>,
}

const PIECE: usize = 256 << 10;

impl OutFile {
    fn write_out(&mut self) -> io::Result<()> {
        if self.failures.check().is_err() {
            return Err(io::Error::other("an earlier write failed"));
        }
        if self.buffer.is_empty() {
            return Ok(());
        }
        let result = match self.faults.as_ref().map(|faults| faults.room_for(self.buffer.len())) {
            Some(room) if room < self.buffer.len() => {
                let part = self.buffer.get(..room).unwrap_or_default();
                (&*self.file).write_all(part).and(Err(io::Error::from(io::ErrorKind::StorageFull)))
            }
            _ => (&*self.file).write_all(&self.buffer),
        };
        let length = self.buffer.len() as u64;
        // A large batch must not keep its memory for ever.
        if self.buffer.capacity() > 4 * PIECE {
            self.buffer = Vec::new();
        } else {
            self.buffer.clear();
        }
        self.fail(result)?;
        if self.kind == Kind::Log {
            self.written.set(self.written.get() + length);
        }
        Ok(())
    }

    fn fail(&self, result: io::Result<()>) -> io::Result<()> {
        result.map_err(|error| {
            let copy = io::Error::new(error.kind(), error.to_string());
            self.failures.write_failed("writing", &self.path, error);
            copy
        })
    }

    fn sync(&self) -> io::Result<()> {
        let result = sync(&self.file, self.faults.as_deref());
        self.fail(result)
    }
}

/// Brings the contents of `file` to the disk.
pub(crate) fn sync(file: &File, faults: Option<&Faults>) -> io::Result<()> {
    faults.map_or(Ok(()), Faults::on_sync)?;
    if faults.is_some_and(Faults::skips_sync) { Ok(()) } else { file.sync_data() }
}

impl Write for OutFile {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(data);
        if self.kind == Kind::Whole && self.buffer.len() >= PIECE {
            self.write_out()?;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.kind != Kind::Whole {
            self.write_out()?;
        }
        if self.kind == Kind::Manifest {
            self.sync()?;
        }
        Ok(())
    }
}

impl Drop for OutFile {
    fn drop(&mut self) {
        // A failure is remembered, so that whatever builds on this file fails.
        if self.failures.check().is_ok() && self.write_out().is_ok() && self.kind == Kind::Whole {
            let _ = self.sync();
        }
    }
}

/// A table being read. Verifies what it delivers: the engine takes a damaged block for the end of a table.
pub(crate) struct TableFile {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    pub(crate) size: u64,
    pub(crate) reads: Cell<u32>,
    pub(crate) failures: Rc<Failures>,
    pub(crate) faults: Option<Arc<Faults>>,
}

/// The last bytes of a table, the last eight of them fixed.
pub(crate) const FOOTER: usize = 48;
const MAGIC: [u8; 8] = [0x57, 0xfb, 0x80, 0x8b, 0x24, 0x75, 0x47, 0xdb];
/// Behind each block: how it is compressed, and its checksum.
const TRAILER: usize = 5;

impl TableFile {
    fn read_exact(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.faults.as_ref().map_or(Ok(()), |faults| faults.on_read())?;
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::read_exact_at(&self.file, buffer, offset);
        #[cfg(not(unix))]
        {
            use std::io::{Read, Seek, SeekFrom};
            (&self.file).seek(SeekFrom::Start(offset))?;
            (&self.file).read_exact(buffer)
        }
    }

    /// The engine reads a table in this order: footer, index, directory of meta blocks, the filter if there is one
    /// (without its trailer), then data blocks in any order.
    fn verify(&self, nth: u32, offset: u64, data: &[u8]) -> bool {
        if nth == 0 {
            return data.len() == FOOTER && data.ends_with(&MAGIC);
        }
        if block_is_sound(data) {
            return true;
        }
        let mut whole = vec![0; data.len() + TRAILER];
        nth == 3 && self.read_exact(offset, &mut whole).is_ok() && block_is_sound(&whole)
    }
}

fn block_is_sound(block: &[u8]) -> bool {
    match block.split_last_chunk::<4>() {
        Some((data, checksum)) if !data.is_empty() => unmask(u32::from_le_bytes(*checksum)) == crc32c::crc32c(data),
        _ => false,
    }
}

/// Undoes what LevelDB does to checksums before it stores them.
pub(crate) fn unmask(masked: u32) -> u32 {
    masked.wrapping_sub(0xa282_ead8).rotate_left(15)
}

impl RandomAccess for TableFile {
    fn read_at(&self, offset: usize, destination: &mut [u8]) -> rusty_leveldb::Result<usize> {
        let nth = self.reads.get();
        self.reads.set(nth.saturating_add(1));
        let offset = offset as u64;
        if offset.checked_add(destination.len() as u64).is_none_or(|end| end > self.size) {
            return Err(self.failures.read_failed(damaged(&self.path, "it refers to a place behind its end")));
        }
        if let Err(error) = self.read_exact(offset, destination) {
            return Err(self.failures.read_failed(Error::io(format!("reading {}", self.path.display()), error)));
        }
        if !self.verify(nth, offset, destination) {
            let what = format!("the checksum at {offset} is wrong");
            return Err(self.failures.read_failed(damaged(&self.path, &what)));
        }
        Ok(destination.len())
    }
}
