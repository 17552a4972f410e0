//! Appending records to a log.

use super::format::{BLOCK_LEN, FragmentKind, HEADER_LEN, header};
use crate::storage::{ClosedFile, WriteFile};
use std::io::{self, IoSlice};

/// Writes a log. Nothing is buffered: an appended record has been handed to the operating system.
///
/// After an error it is unknown what the file holds, so nothing may be appended any more.
pub(crate) struct LogWriter {
    file: Box<dyn WriteFile>,
    length: u64,
    /// Where small records meet their headers.
    joined: Vec<u8>,
}

/// Up to so many bytes it is cheaper to copy a record than to hand the system several pieces.
const SMALL_RECORD: usize = 2 << 10;

impl LogWriter {
    /// Begins a log in an empty file.
    pub(crate) fn new(file: Box<dyn WriteFile>) -> Self {
        Self::continuing(file, 0)
    }

    /// Goes on with a log of `length` bytes, all of them whole records.
    pub(crate) fn continuing(file: Box<dyn WriteFile>, length: u64) -> Self {
        Self { file, length, joined: Vec::new() }
    }

    /// Appends a record in one call to the file; a large one is not copied.
    pub(crate) fn append(&mut self, record: &[u8]) -> io::Result<()> {
        let room = BLOCK_LEN - (self.length % BLOCK_LEN as u64) as usize;
        let padding = if room < HEADER_LEN { room } else { 0 };
        let room = if padding > 0 { BLOCK_LEN } else { room };
        let zeros = [0; HEADER_LEN];
        let zeros = IoSlice::new(zeros.get(..padding).unwrap_or_default());
        if record.len() <= room - HEADER_LEN {
            let header = header(FragmentKind::Full, record);
            if record.len() <= SMALL_RECORD {
                self.joined.clear();
                [&*zeros, &header, record].iter().for_each(|part| self.joined.extend_from_slice(part));
                self.file.write(&mut [IoSlice::new(&self.joined)])?;
            } else {
                self.file.write(&mut [zeros, IoSlice::new(&header), IoSlice::new(record)])?;
            }
            self.length += (padding + HEADER_LEN + record.len()) as u64;
            return Ok(());
        }
        let (first, rest) = record.split_at(room - HEADER_LEN);
        let rest = rest.chunks(BLOCK_LEN - HEADER_LEN);
        let last = rest.len();
        let fragments: Vec<_> = std::iter::once(first)
            .chain(rest)
            .enumerate()
            .map(|(index, payload)| (header(FragmentKind::of(index == 0, index == last), payload), payload))
            .collect();
        let mut parts = Vec::with_capacity(1 + 2 * fragments.len());
        parts.push(zeros);
        parts.extend(fragments.iter().flat_map(|(header, payload)| [IoSlice::new(header), IoSlice::new(payload)]));
        self.file.write(&mut parts)?;
        self.length += (padding + fragments.len() * HEADER_LEN + record.len()) as u64;
        Ok(())
    }

    /// Waits until all appended records would survive power loss.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }

    /// Closes the file. Whatever is appended later fails.
    pub(crate) fn close(&mut self) {
        self.file = Box::new(ClosedFile);
    }

    /// The length of the log in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.length
    }
}
