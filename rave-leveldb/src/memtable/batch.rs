//! The batch record: the form in which writes go into the log and the memtable.
//!
//! ```text
//! sequence: u64, least significant byte first: of the first operation; the others count up from it
//! count: u32, least significant byte first
//! count times:
//!     kind: u8                    0 deletion, 1 value
//!     key: varint length, bytes
//!     value: varint length, bytes only with kind 1
//! ```

use crate::{
    key::{Kind, MAX_SEQUENCE, SequenceNumber, tag},
    table::varint,
};
use rave_core::Operation;
use std::ops::Range;

/// Bytes in front of the operations.
pub(crate) const HEADER_LEN: usize = 12;

/// Appends a record of `operations`, of which the first has the number `sequence`.
pub(crate) fn encode<'a>(sequence: SequenceNumber, operations: impl Iterator<Item = &'a Operation>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    let mut count = 0u32;
    for operation in operations {
        count += 1;
        match operation {
            Operation::Put { key, value } => {
                out.push(Kind::Value as u8);
                varint::put_slice(out, key);
                varint::put_slice(out, value);
            }
            Operation::Del { key } => {
                out.push(Kind::Deletion as u8);
                varint::put_slice(out, key);
            }
        }
    }
    if let Some(field) = out.get_mut(start + 8..start + HEADER_LEN) {
        field.copy_from_slice(&count.to_le_bytes());
    }
}

/// The number of the first operation, and how many there are; `None` if the record is too short to say.
pub(crate) fn header(record: &[u8]) -> Option<(SequenceNumber, u32)> {
    let (sequence, rest) = record.split_first_chunk::<8>()?;
    let count = rest.first_chunk::<4>()?;
    Some((u64::from_le_bytes(*sequence), u32::from_le_bytes(*count)))
}

/// An operation of a record: where its key and its value are in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BatchEntry {
    pub(crate) tag: u64,
    pub(crate) key: Range<usize>,
    /// Empty for a deletion.
    pub(crate) value: Range<usize>,
}

/// The operations of a record, one by one, until the first that is malformed.
///
/// # Errors
///
/// If there is no header, or one whose numbers leave the range of sequence numbers.
pub(crate) fn operations(record: &[u8]) -> Result<Operations<'_>, String> {
    let (sequence, count) = header(record).ok_or("a batch shorter than its header")?;
    if sequence.checked_add(u64::from(count)).is_none_or(|end| end > MAX_SEQUENCE + 1) {
        return Err(format!("a batch with the sequence number {sequence}"));
    }
    Ok(Operations { record, position: HEADER_LEN, sequence, left: count })
}

/// Goes through a whole record without using it, and counts its operations.
pub(crate) fn check(record: &[u8]) -> Result<u32, String> {
    let operations = operations(record)?;
    let count = operations.left;
    for operation in operations {
        operation?;
    }
    Ok(count)
}

/// See [`operations`].
pub(crate) struct Operations<'a> {
    record: &'a [u8],
    position: usize,
    sequence: SequenceNumber,
    left: u32,
}

impl Operations<'_> {
    fn slice(&mut self) -> Option<Range<usize>> {
        let (length, used) = varint::get_u32(self.record.get(self.position..)?)?;
        let start = self.position + used;
        let end = start.checked_add(length as usize).filter(|&end| end <= self.record.len())?;
        self.position = end;
        Some(start..end)
    }

    fn read(&mut self) -> Option<BatchEntry> {
        let kind = match self.record.get(self.position)? {
            0 => Kind::Deletion,
            1 => Kind::Value,
            _ => return None,
        };
        self.position += 1;
        let key = self.slice()?;
        let value = if kind == Kind::Value { self.slice()? } else { key.end..key.end };
        let entry = BatchEntry { tag: tag(self.sequence, kind), key, value };
        self.sequence += 1;
        Some(entry)
    }
}

impl Iterator for Operations<'_> {
    type Item = Result<BatchEntry, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            let beyond = self.position < self.record.len();
            self.position = self.record.len();
            return beyond.then(|| Err("a batch with more operations than it counts".into()));
        }
        self.left -= 1;
        let entry = self.read();
        if entry.is_none() {
            (self.left, self.position) = (0, self.record.len());
        }
        Some(entry.ok_or_else(|| "a batch with a malformed operation".into()))
    }
}
