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
        let place = Place {
            file,
            path: path.to_owned(),
            file_length,
            block: Bytes::new(),
            block_start: 0,
            position: 0,
            not_zero: None,
        };
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
                    let begins = matches!(kind, FragmentKind::Full | FragmentKind::First);
                    // An empty beginning is none: old versions of LevelDB wrote some at the ends of blocks.
                    let unfinished = self.partial.as_ref().filter(|(_, gathered)| begins && !gathered.is_empty());
                    if let Some(&(start, _)) = unfinished {
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
                Parsed::Overlong if self.place.is_last() && self.place.find_whole_tail().is_none() => {
                    return self.end();
                }
                Parsed::Zeros if self.place.is_zero_to_the_end()? => return self.end(),
                Parsed::Overlong => return self.fragment_damage("the length of a record", None),
                Parsed::Zeros => return self.fragment_damage("zeros in place of a record", None),
                Parsed::Damaged { what, end } => return self.fragment_damage(what, Some(end)),
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

    /// Damage to the fragment here, which seems to end at `end` of the block.
    fn fragment_damage(&mut self, what: &'static str, end: Option<usize>) -> Result<LogEntry> {
        self.resume_at = Some(self.place.behind_damage(end));
        let extent_end = end.map_or(self.place.block_end(), |end| self.place.block_start + end as u64);
        self.damage(self.place.offset(), extent_end, what)
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
                Parsed::TooShort => {
                    if self.place.is_last() {
                        return Ok(None);
                    }
                    self.place.next_block()?;
                }
                Parsed::Damaged { end, .. } => self.skip_damage(Some(end))?,
                Parsed::Overlong | Parsed::Zeros => self.skip_damage(None)?,
            }
        }
    }

    fn skip_damage(&mut self, end: Option<usize>) -> Result<()> {
        self.partial = None;
        let behind = self.place.behind_damage(end);
        self.place.go_to(behind)
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
    /// A byte that is known not to be zero.
    not_zero: Option<u64>,
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

    fn is_zero_to_the_end(&mut self) -> Result<bool> {
        let mut from = self.offset();
        if self.not_zero.is_some_and(|at| at >= from) {
            return Ok(false);
        }
        while from < self.file_length {
            let bytes = self.read(from, BLOCK_LEN)?;
            if let Some(index) = bytes.iter().position(|&byte| byte != 0) {
                self.not_zero = Some(from + index as u64);
                return Ok(false);
            }
            from += bytes.len() as u64;
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

    /// Where reading can go on behind the damaged fragment at `position`, which seems to end at `end`.
    fn behind_damage(&self, end: Option<usize>) -> u64 {
        // Its length may be what is damaged: believe it only if it leads to something intact.
        match end {
            Some(end) if matches!(parse(&self.block, end), Parsed::Fragment { .. }) => self.block_start + end as u64,
            _ => self.find_whole_tail().unwrap_or(self.block_end()),
        }
    }

    /// Where, behind the header at `position`, a row of intact fragments begins that leads right to the end of the block.
    ///
    /// Those were written after the fragment at `position`, whose length is wrong. Where the last block of a log ends
    /// within a fragment that was never written in full, there is no such row.
    fn find_whole_tail(&self) -> Option<u64> {
        let last = self.block.len().saturating_sub(HEADER_LEN);
        (self.position + 1..=last)
            .find(|&candidate| {
                let mut position = candidate;
                while let Parsed::Fragment { end, .. } = parse(&self.block, position) {
                    position = end;
                }
                let left = self.block.len() - position;
                position > candidate && (left == 0 || left < HEADER_LEN && self.block.len() == BLOCK_LEN)
            })
            .map(|candidate| self.block_start + candidate as u64)
    }
}
