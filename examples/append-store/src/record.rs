//! How a batch becomes bytes: one record, which counts only if it is whole.
//!
//! ```text
//! record:     length of the body | checksum of the body | checksum of the place and the 8 bytes before | body
//! body:       operation, operation, …
//! operation:  1 | length of the key | length of the value | key | value     a put
//!             0 | length of the key | key                                  a delete
//! ```
//!
//! Lengths and checksums are `u32`, little-endian. The second checksum makes the length trustworthy before anything is
//! read by it. It covers the place in the file too, so that a record inside of somebody's value is never taken for one.

use bytes::{Buf, BufMut, Bytes};
use rave_level::{Code, Error, Operation, Result};

/// Bytes in front of a body.
pub(crate) const HEADER: usize = 12;

const DEL: u8 = 0;
const PUT: u8 = 1;

/// The record of `operations` for the place `at` in the file.
pub(crate) fn encode<'a>(at: u64, operations: impl Iterator<Item = &'a Operation>) -> Result<Vec<u8>> {
    let mut record = vec![0; HEADER];
    for operation in operations {
        match operation {
            Operation::Put { key, value } => {
                record.put_u8(PUT);
                record.put_u32_le(length(key)?);
                record.put_u32_le(length(value)?);
                record.put_slice(key);
                record.put_slice(value);
            }
            Operation::Del { key } => {
                record.put_u8(DEL);
                record.put_u32_le(length(key)?);
                record.put_slice(key);
            }
        }
    }
    let (mut header, body) = record.split_at_mut(HEADER);
    let (length, sum) = (length(body)?, crc32c::crc32c(body));
    header.put_u32_le(length);
    header.put_u32_le(sum);
    header.put_u32_le(header_sum(at, length, sum));
    Ok(record)
}

fn length(bytes: &[u8]) -> Result<u32> {
    let too_large = |_| Error::new(Code::InvalidBatch, "a batch may have 4 GiB in all; write several smaller ones");
    u32::try_from(bytes.len()).map_err(too_large)
}

fn header_sum(at: u64, length: u32, sum: u32) -> u32 {
    let place = crc32c::crc32c(&at.to_le_bytes());
    let length = crc32c::crc32c_append(place, &length.to_le_bytes());
    crc32c::crc32c_append(length, &sum.to_le_bytes())
}

/// What the first bytes of a record say of its body.
pub(crate) struct Header {
    pub(crate) length: usize,
    sum: u32,
}

impl Header {
    /// `None` if these bytes are not the header of a record at the place `at`.
    pub(crate) fn read(at: u64, mut bytes: &[u8]) -> Option<Self> {
        if bytes.len() < HEADER {
            return None;
        }
        let (length, sum, own) = (bytes.get_u32_le(), bytes.get_u32_le(), bytes.get_u32_le());
        (own == header_sum(at, length, sum)).then_some(Self { length: usize::try_from(length).ok()?, sum })
    }

    /// Whether this is the body.
    pub(crate) fn is_of(&self, body: &[u8]) -> bool {
        body.len() == self.length && crc32c::crc32c(body) == self.sum
    }
}

/// The operations of a body; `None` if that is not what it is.
pub(crate) fn decode(mut body: Bytes) -> Option<Vec<Operation>> {
    let mut operations = Vec::new();
    while body.has_remaining() {
        let kind = body.try_get_u8().ok()?;
        let key = usize::try_from(body.try_get_u32_le().ok()?).ok()?;
        let value = if kind == PUT { usize::try_from(body.try_get_u32_le().ok()?).ok()? } else { 0 };
        if body.remaining() < key.checked_add(value)? {
            return None;
        }
        let key = body.split_to(key);
        operations.push(match kind {
            PUT => Operation::Put { key, value: body.split_to(value) },
            DEL => Operation::Del { key },
            _ => return None,
        });
    }
    Some(operations)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rave_level::Batch;

    #[test]
    fn a_batch_comes_back_from_its_own_place_only() {
        let batch = Batch::new().put("a", "1").del("b").put("", "");
        let record = encode(100, batch.operations()).unwrap();
        let body = Bytes::copy_from_slice(&record[HEADER..]);
        assert!(Header::read(100, &record).unwrap().is_of(&body));
        assert!(Header::read(101, &record).is_none());
        assert_eq!(decode(body).unwrap(), batch.into_operations().collect::<Vec<_>>());
    }

    #[test]
    fn no_changed_byte_goes_unnoticed() {
        let whole = encode(0, Batch::new().put("key", "value").del("b").operations()).unwrap();
        for at in 0..whole.len() {
            let mut record = whole.clone();
            record[at] ^= 1;
            assert!(!Header::read(0, &record).is_some_and(|header| header.is_of(&record[HEADER..])), "byte {at}");
        }
    }

    #[test]
    fn what_is_no_body_is_no_panic() {
        for body in [&[1][..], &[1, 255, 255, 255, 255, 255, 255, 255, 255], &[0, 1, 0, 0, 0], &[2, 0, 0, 0, 0]] {
            assert_eq!(decode(Bytes::copy_from_slice(body)), None);
        }
    }
}
