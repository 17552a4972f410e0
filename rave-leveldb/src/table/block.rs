//! A block: entries with compressed keys, and where in them reading can start.
//!
//! ```text
//! entries             shared: varint, unshared: varint, value length: varint, rest of the key, value
//! restarts            u32 each: offsets of the entries whose keys are whole
//! restart count       u32
//! ```
//!
//! A key shares its first bytes with the key before, except at the restarts, so that a search can jump to those.

use super::varint;
use crate::key::InternalKey;
use bytes::Bytes;
use std::{cmp::Ordering, ops::Range};

/// What is wrong with a block whose checksum is right.
pub(super) type Malformed = &'static str;

const RESTARTS: Malformed = "a block with malformed restarts";
const ENTRY: Malformed = "a block with a malformed entry";
const KEY: Malformed = "a block with a malformed key";

/// Bytes of keys that are remembered between a restart and an entry behind it. Keys that share nearly all of their bytes
/// could be much longer together than the block.
const MOST_PASSED: usize = 16 << 10;

/// The contents of a block.
#[derive(Clone)]
pub(super) struct Block {
    data: Bytes,
    /// Where the entries end and the restarts begin.
    entries_end: usize,
    restarts: usize,
}

/// Where the parts of an entry are.
struct Entry {
    shared: usize,
    unshared: Range<usize>,
    value: Range<usize>,
}

impl Block {
    /// Checks that there are restarts where the block says so. Each of them, and each entry, is checked when it is used.
    pub(super) fn new(data: Bytes) -> Result<Self, Malformed> {
        let (rest, count) = data.split_last_chunk::<4>().ok_or(RESTARTS)?;
        let restarts = u32::from_le_bytes(*count) as usize;
        let entries_end = restarts.checked_mul(4).and_then(|bytes| rest.len().checked_sub(bytes)).ok_or(RESTARTS)?;
        if restarts == 0 && entries_end > 0 {
            return Err(RESTARTS);
        }
        Ok(Self { data, entries_end, restarts })
    }

    /// Bytes in memory.
    pub(super) fn len(&self) -> usize {
        self.data.len()
    }

    fn restart(&self, index: usize) -> Result<usize, Malformed> {
        let at = self.entries_end + 4 * index;
        let bytes = self.data.get(at..).and_then(|rest| rest.first_chunk::<4>()).ok_or(RESTARTS)?;
        let offset = u32::from_le_bytes(*bytes) as usize;
        if offset <= self.entries_end { Ok(offset) } else { Err(RESTARTS) }
    }

    #[inline]
    fn entry(&self, offset: usize) -> Result<Entry, Malformed> {
        let bytes = self.data.get(offset..self.entries_end).ok_or(ENTRY)?;
        let (shared, unshared, value, header) = match *bytes {
            // Nearly always each of the lengths is a single byte.
            [shared, unshared, value, ..] if (shared | unshared | value) < 0x80 => {
                (shared.into(), unshared.into(), value.into(), 3)
            }
            _ => {
                let mut header = 0;
                let mut length = || {
                    let (length, used) = varint::get_u32(bytes.get(header..)?)?;
                    header += used;
                    Some(length as usize)
                };
                let shared = length().ok_or(ENTRY)?;
                let unshared = length().ok_or(ENTRY)?;
                let value = length().ok_or(ENTRY)?;
                (shared, unshared, value, header)
            }
        };
        let start = offset + header;
        let end = start.checked_add(unshared).ok_or(ENTRY)?;
        let value_end = end.checked_add(value).filter(|&end| end <= self.entries_end).ok_or(ENTRY)?;
        Ok(Entry { shared, unshared: start..end, value: end..value_end })
    }

    fn restart_key(&self, index: usize) -> Result<InternalKey<'_>, Malformed> {
        let entry = self.entry(self.restart(index)?)?;
        if entry.shared > 0 {
            return Err(RESTARTS);
        }
        self.data.get(entry.unshared).and_then(InternalKey::decode).ok_or(KEY)
    }

    /// The last of the restarts from the second one on for which `is_before` holds, or the first one.
    fn last_restart(&self, mut is_before: impl FnMut(usize) -> Result<bool, Malformed>) -> Result<usize, Malformed> {
        let (mut low, mut high) = (0, self.restarts.saturating_sub(1));
        while low < high {
            let middle = (low + high).div_ceil(2);
            if is_before(middle)? {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        Ok(low)
    }

    /// The value of the entry whose key is `name`, in a block whose keys are plain names.
    pub(super) fn find_name(&self, name: &[u8]) -> Result<Option<Bytes>, Malformed> {
        let mut cursor = BlockCursor::new(self.clone());
        while cursor.read_entry()? {
            if cursor.key == name {
                return Ok(Some(cursor.value()));
            }
        }
        Ok(None)
    }
}

/// A position in a block.
pub(super) struct BlockCursor {
    block: Block,
    /// Where the entry it stands on begins; the end of the entries if it stands on none.
    current: usize,
    /// Where the entry after it begins.
    next: usize,
    key: Vec<u8>,
    value: Range<usize>,
    /// Entries right before this one, the nearest last, if it was reached going backwards.
    passed: Vec<Passed>,
    /// Their keys.
    passed_keys: Vec<u8>,
}

/// An entry that was read on the way from a restart to a later one.
struct Passed {
    offset: usize,
    key_start: usize,
    value: Range<usize>,
}

impl BlockCursor {
    /// Stands on nothing yet.
    pub(super) fn new(block: Block) -> Self {
        Self::with_buffer(block, Vec::new())
    }

    /// The same, with a buffer from an earlier use for its key.
    pub(super) fn with_buffer(block: Block, buffer: Vec<u8>) -> Self {
        let current = block.entries_end;
        Self { block, current, next: 0, key: buffer, value: 0..0, passed: Vec::new(), passed_keys: Vec::new() }
    }

    /// The buffer, for another use.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.key
    }

    pub(super) fn valid(&self) -> bool {
        self.current < self.block.entries_end
    }

    /// Requires `valid`.
    pub(super) fn key(&self) -> InternalKey<'_> {
        // Every key was checked when the cursor came to it.
        InternalKey::decode(&self.key).unwrap_or(InternalKey { user_key: &[], tag: 0 })
    }

    /// Requires `valid`.
    pub(super) fn value(&self) -> Bytes {
        self.block.data.slice(self.value.clone())
    }

    /// The value, not to be kept. Requires `valid`.
    pub(super) fn value_bytes(&self) -> &[u8] {
        self.block.data.get(self.value.clone()).unwrap_or_default()
    }

    pub(super) fn seek_to_first(&mut self) -> Result<(), Malformed> {
        self.go_to_offset(0);
        self.next()
    }

    pub(super) fn seek_to_last(&mut self) -> Result<(), Malformed> {
        let last = self.block.last_restart(|_| Ok(true))?;
        self.go_to_restart(last)?;
        self.read_before(self.block.entries_end)
    }

    pub(super) fn seek(&mut self, target: InternalKey<'_>) -> Result<(), Malformed> {
        let block = &self.block;
        let restart = block.last_restart(|index| Ok(block.restart_key(index)? < target))?;
        self.go_to_restart(restart)?;
        loop {
            self.advance()?;
            if !self.valid() || self.key().cmp(&target) != Ordering::Less {
                return Ok(());
            }
        }
    }

    pub(super) fn next(&mut self) -> Result<(), Malformed> {
        self.forget_passed();
        self.advance()
    }

    fn advance(&mut self) -> Result<(), Malformed> {
        if self.read_entry()? && InternalKey::decode(&self.key).is_none() {
            return Err(KEY);
        }
        Ok(())
    }

    pub(super) fn prev(&mut self) -> Result<(), Malformed> {
        if let Some(Passed { offset, key_start, value }) = self.passed.pop() {
            self.key.clear();
            self.key.extend_from_slice(self.passed_keys.get(key_start..).unwrap_or_default());
            self.passed_keys.truncate(key_start);
            (self.current, self.next) = (offset, value.end);
            self.value = value;
            return Ok(());
        }
        let end = self.current;
        if end == 0 {
            self.go_to_offset(self.block.entries_end);
            return Ok(());
        }
        let block = &self.block;
        let restart = block.last_restart(|index| Ok(block.restart(index)? < end))?;
        self.go_to_restart(restart)?;
        self.read_before(end)
    }

    /// Reads on up to the entry that ends at `end`, and remembers those on the way: going on backwards comes to them next.
    fn read_before(&mut self, end: usize) -> Result<(), Malformed> {
        while self.next < end {
            if self.valid() {
                if self.passed_keys.len() > MOST_PASSED {
                    self.forget_passed();
                }
                let key_start = self.passed_keys.len();
                self.passed_keys.extend_from_slice(&self.key);
                self.passed.push(Passed { offset: self.current, key_start, value: self.value.clone() });
            }
            self.advance()?;
        }
        Ok(())
    }

    fn forget_passed(&mut self) {
        self.passed.clear();
        self.passed_keys.clear();
    }

    fn go_to_restart(&mut self, index: usize) -> Result<(), Malformed> {
        let offset = if self.block.restarts == 0 { 0 } else { self.block.restart(index)? };
        self.go_to_offset(offset);
        Ok(())
    }

    /// Makes the entry at `offset`, whose key has to be whole, the next one.
    fn go_to_offset(&mut self, offset: usize) {
        self.forget_passed();
        self.key.clear();
        self.current = self.block.entries_end;
        self.next = offset;
    }

    /// Reads the next entry; `false` if there is none.
    #[inline]
    fn read_entry(&mut self) -> Result<bool, Malformed> {
        if self.next >= self.block.entries_end {
            self.go_to_offset(self.block.entries_end);
            return Ok(false);
        }
        let entry = self.block.entry(self.next)?;
        if entry.shared > self.key.len() {
            return Err(ENTRY);
        }
        self.key.truncate(entry.shared);
        self.key.extend_from_slice(self.block.data.get(entry.unshared).ok_or(ENTRY)?);
        self.current = self.next;
        self.next = entry.value.end;
        self.value = entry.value;
        Ok(true)
    }
}
