//! Reading a log, also one that power loss or a failing disk has touched.

use super::format::{BLOCK_LEN, FragmentKind, HEADER_LEN, Parsed, parse};
use crate::{
    error::{damaged, io_failed},
    storage::{Access, ReadFile},
};
use bytes::{Bytes, BytesMut};
use rave_core::Result;
use std::path::{Path, PathBuf};

/// What power loss loses at the least.
const SECTOR_LEN: usize = 512;

/// What a log holds next.
#[derive(Debug)]
pub(crate) enum LogEntry {
    /// A record that is as it was written, beginning at the byte `offset`.
    Record { offset: u64, payload: Bytes },
    /// The end of the file.
    End {
        /// Whether the file ends where a record ends; otherwise it ends within one, or in zeros.
        whole: bool,
        /// Where the next record would be if the file ends whole; otherwise where the last, unfinished one begins.
        length: u64,
    },
    /// Something at the byte `offset` is not as it was written. [`LogReader::resume`] goes on behind it.
    Damaged {
        offset: u64,
        what: &'static str,
        /// Whether there is, from `offset` to the end of the fragment there, a sector without anything but zeros, as
        /// power loss leaves it behind.
        lost_page: bool,
        /// Whether a whole record begins further on in the file.
        intact_after: bool,
    },
}

/// Reads a log from its beginning to its end, block by block.
pub(crate) struct LogReader<'a> {
    place: Place<'a>,
    /// The first fragments of a record, and where it begins.
    partial: Option<(u64, BytesMut)>,
    /// After damage: fragments whose record began before it are no news.
    resynchronising: bool,
    /// What the last look for a whole record behind damage has found, and where that look began.
    next_intact: Option<Option<u64>>,
    /// Where to go on after damage.
    resume_at: Option<u64>,
}

impl<'a> LogReader<'a> {
    /// Reads from the beginning of `file`; `path` is for messages. Bytes that are appended from now on are not read.
    pub(crate) fn new(file: &'a dyn ReadFile, path: &Path) -> Result<Self> {
        let file_length = file.len().map_err(|error| io_failed("reading", path, error))?;
        let place =
            Place { file, path: path.to_owned(), file_length, block: Bytes::new(), block_start: 0, position: 0 };
        let mut reader = Self { place, partial: None, resynchronising: false, next_intact: None, resume_at: None };
        reader.place.go_to(0)?;
        Ok(reader)
    }

    /// The next record, or what there is instead. After [`LogEntry::End`] that is the end again, and after
    /// [`LogEntry::Damaged`] the same damage.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub(crate) fn next(&mut self) -> Result<LogEntry> {
        loop {
            let offset = self.place.offset();
            match parse(&self.place.block, self.place.position) {
                Parsed::Fragment { kind, payload, end } => {
                    let unfinished = self.partial.as_ref().is_some_and(|(_, gathered)| !gathered.is_empty());
                    let begins = matches!(kind, FragmentKind::Full | FragmentKind::First);
                    if begins && unfinished {
                        let (start, _) = self.partial.take().unwrap_or_default();
                        self.resume_at = Some(offset);
                        return self.damage(start, offset, "a record without its end");
                    }
                    if !begins && self.partial.is_none() && !self.resynchronising {
                        self.resume_at = Some(self.place.block_start + end as u64);
                        return self.damage(offset, offset + 1, "a record without its beginning");
                    }
                    self.place.position = end;
                    if let Some(record) = self.assemble(offset, kind, payload) {
                        return Ok(record);
                    }
                }
                Parsed::TooShort if self.place.is_last() => return self.end(),
                Parsed::TooShort => self.place.next_block()?,
                Parsed::Overlong if self.place.is_last() => {
                    return match self.place.find_whole_tail() {
                        None => self.end(),
                        Some(tail) => {
                            self.resume_at = Some(tail);
                            self.damage(offset, tail, "the length of a record")
                        }
                    };
                }
                Parsed::Overlong => {
                    let end = self.place.block_end();
                    self.resume_at = Some(end);
                    return self.damage(offset, end, "the length of a record");
                }
                Parsed::Zeros => {
                    if self.place.is_zero_to_the_end()? {
                        return self.end();
                    }
                    let end = self.place.block_end();
                    self.resume_at = Some(end);
                    return self.damage(offset, end, "zeros in place of a record");
                }
                Parsed::Damaged { what, end } => {
                    // The length may be what is damaged: believe it only if it leads to something intact.
                    let chained = matches!(parse(&self.place.block, end), Parsed::Fragment { .. });
                    let end = self.place.block_start + end as u64;
                    self.resume_at = Some(if chained { end } else { self.place.block_end() });
                    return self.damage(offset, end, what);
                }
            }
        }
    }

    /// Goes on behind the damage that `next` has found, where reading can start anew.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub(crate) fn resume(&mut self) -> Result<()> {
        if let Some(at) = self.resume_at.take() {
            self.partial = None;
            self.resynchronising = true;
            self.place.go_to(at)?;
        }
        Ok(())
    }

    /// Takes in an intact fragment; the record if that was its last one.
    fn assemble(&mut self, offset: u64, kind: FragmentKind, payload: Bytes) -> Option<LogEntry> {
        match kind {
            FragmentKind::Full => {
                (self.partial, self.resynchronising) = (None, false);
                Some(LogEntry::Record { offset, payload })
            }
            FragmentKind::First => {
                (self.partial, self.resynchronising) = (Some((offset, BytesMut::from(payload))), false);
                None
            }
            FragmentKind::Middle => {
                if let Some((_, gathered)) = &mut self.partial {
                    gathered.extend_from_slice(&payload);
                }
                None
            }
            FragmentKind::Last => {
                let (offset, mut gathered) = self.partial.take()?;
                gathered.extend_from_slice(&payload);
                Some(LogEntry::Record { offset, payload: gathered.freeze() })
            }
        }
    }

    fn end(&self) -> Result<LogEntry> {
        let offset = self.place.offset();
        if let Some((start, _)) = &self.partial {
            return Ok(LogEntry::End { whole: false, length: *start });
        }
        // What is left of a block when no header fits any more is whole, whether it was filled up already or not.
        let at_trailer = self.place.position > BLOCK_LEN - HEADER_LEN;
        let whole = offset == self.place.file_length || at_trailer;
        Ok(LogEntry::End { whole, length: if at_trailer { self.place.file_length } else { offset } })
    }

    fn damage(&mut self, offset: u64, extent_end: u64, what: &'static str) -> Result<LogEntry> {
        let lost_page = self.place.has_lost_page(offset, extent_end)?;
        let intact_after = self.find_intact()?;
        Ok(LogEntry::Damaged { offset, what, lost_page, intact_after })
    }

    /// Whether a whole record begins at `resume_at` or behind it. The answer is kept until reading comes to it, so that
    /// a log full of damage is not read once more for each of it.
    fn find_intact(&mut self) -> Result<bool> {
        let Some(from) = self.resume_at else { return Ok(false) };
        match self.next_intact {
            Some(None) => return Ok(false),
            Some(Some(at)) if at >= from => return Ok(true),
            _ => {}
        }
        let mut ahead = Self {
            place: self.place.clone(),
            partial: None,
            resynchronising: true,
            next_intact: None,
            resume_at: None,
        };
        let found = ahead.skip_to_intact(from)?;
        self.next_intact = Some(found);
        Ok(found.is_some())
    }

    fn skip_to_intact(&mut self, from: u64) -> Result<Option<u64>> {
        self.place.go_to(from)?;
        loop {
            let offset = self.place.offset();
            match parse(&self.place.block, self.place.position) {
                Parsed::Fragment { kind, payload, end } => {
                    self.place.position = end;
                    if let Some(LogEntry::Record { offset, .. }) = self.assemble(offset, kind, payload) {
                        return Ok(Some(offset));
                    }
                }
                Parsed::Damaged { end, .. } if matches!(parse(&self.place.block, end), Parsed::Fragment { .. }) => {
                    self.partial = None;
                    self.place.position = end;
                }
                other => {
                    if !matches!(other, Parsed::TooShort) {
                        self.partial = None;
                    }
                    if self.place.is_last() {
                        return Ok(None);
                    }
                    self.place.next_block()?;
                }
            }
        }
    }
}

/// A place in the file, and the block around it.
#[derive(Clone)]
struct Place<'a> {
    file: &'a dyn ReadFile,
    path: PathBuf,
    file_length: u64,
    block: Bytes,
    block_start: u64,
    position: usize,
}

impl Place<'_> {
    fn offset(&self) -> u64 {
        self.block_start + self.position as u64
    }

    fn block_end(&self) -> u64 {
        self.block_start + self.block.len() as u64
    }

    fn is_last(&self) -> bool {
        self.block_end() >= self.file_length
    }

    fn next_block(&mut self) -> Result<()> {
        self.go_to(self.block_end())
    }

    fn go_to(&mut self, offset: u64) -> Result<()> {
        let start = offset - offset % BLOCK_LEN as u64;
        if start != self.block_start || self.block.is_empty() {
            self.block = self.read(start, BLOCK_LEN)?;
            self.block_start = start;
        }
        self.position = (offset - start) as usize;
        Ok(())
    }

    /// The bytes from `start` on, `length` of them or as many as there are.
    fn read(&self, start: u64, length: usize) -> Result<Bytes> {
        let length = self.file_length.saturating_sub(start).min(length as u64) as usize;
        let mut buffer = vec![0; length];
        let read = self.file.read_at(&mut buffer, start, Access::Blocking);
        if read.map_err(|error| io_failed("reading", &self.path, error))? < length {
            return Err(damaged(&self.path, start, "the file became shorter while it was read"));
        }
        Ok(buffer.into())
    }

    fn is_zero_to_the_end(&self) -> Result<bool> {
        let is_zero = |bytes: &[u8]| bytes.iter().all(|&byte| byte == 0);
        if !is_zero(self.block.get(self.position..).unwrap_or_default()) {
            return Ok(false);
        }
        let mut start = self.block_end();
        while start < self.file_length {
            let bytes = self.read(start, BLOCK_LEN)?;
            if !is_zero(&bytes) {
                return Ok(false);
            }
            start += bytes.len() as u64;
        }
        Ok(true)
    }

    /// Whether a sector that overlaps `start..end` is zero from there to its own end. What follows the fragment counts
    /// too: power loss takes whole sectors.
    fn has_lost_page(&self, start: u64, end: u64) -> Result<bool> {
        let mut from = start;
        while from < end.min(self.file_length) {
            let block = self.read(from, BLOCK_LEN - (from % BLOCK_LEN as u64) as usize)?;
            let mut position = 0;
            while position < block.len() && from + (position as u64) < end {
                let in_sector = (from as usize + position) % SECTOR_LEN;
                let sector_end = (position + SECTOR_LEN - in_sector).min(block.len());
                if block.get(position..sector_end).is_some_and(|sector| sector.iter().all(|&byte| byte == 0)) {
                    return Ok(true);
                }
                position = sector_end;
            }
            from += block.len() as u64;
        }
        Ok(false)
    }

    /// In the last block: the fragment at `position` claims to be longer than the file. Usually the rest of it was never
    /// written. But if a row of intact fragments leads from somewhere behind its header right to the end of the file,
    /// it is its length that is wrong, and those fragments were written after it.
    fn find_whole_tail(&self) -> Option<u64> {
        (self.position + 1..self.block.len().saturating_sub(HEADER_LEN - 1))
            .find(|&candidate| {
                let mut position = candidate;
                while let Parsed::Fragment { end, .. } = parse(&self.block, position) {
                    position = end;
                }
                position == self.block.len()
            })
            .map(|candidate| self.block_start + candidate as u64)
    }
}
