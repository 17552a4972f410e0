//! Fragments: the parts of which records are made.

use bytes::Bytes;

/// Bytes of a block.
pub(crate) const BLOCK_LEN: usize = 32 << 10;

/// Bytes of a fragment's header.
pub(crate) const HEADER_LEN: usize = 7;

const MASK_DELTA: u32 = 0xa282_ead8;

/// A CRC as it is stored: the CRC of bytes that hold a CRC of their own would have too little to say.
pub(crate) const fn mask(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(MASK_DELTA)
}

/// The CRC that is stored as `masked`.
pub(crate) const fn unmask(masked: u32) -> u32 {
    masked.wrapping_sub(MASK_DELTA).rotate_left(15)
}

/// Which part of a record a fragment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum FragmentKind {
    Full = 1,
    First = 2,
    Middle = 3,
    Last = 4,
}

impl FragmentKind {
    fn decode(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Full,
            2 => Self::First,
            3 => Self::Middle,
            4 => Self::Last,
            _ => return None,
        })
    }

    /// The kind of a fragment that is, or is not, the first and the last of its record.
    pub(crate) const fn of(first: bool, last: bool) -> Self {
        match (first, last) {
            (true, true) => Self::Full,
            (true, false) => Self::First,
            (false, false) => Self::Middle,
            (false, true) => Self::Last,
        }
    }
}

/// The header of a fragment.
pub(crate) fn header(kind: FragmentKind, payload: &[u8]) -> [u8; HEADER_LEN] {
    let crc = mask(checksum(kind, payload)).to_le_bytes();
    // A payload is shorter than a block.
    let length = (payload.len() as u16).to_le_bytes();
    [crc[0], crc[1], crc[2], crc[3], length[0], length[1], kind as u8]
}

/// What stands at a position of a block.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// An intact fragment.
    Fragment { kind: FragmentKind, payload: Bytes, end: usize },
    /// A header of zeros.
    Zeros,
    /// Less than a header: the end of a block, or of a file in mid-header.
    TooShort,
    /// A fragment that goes on beyond the bytes there are.
    Overlong,
    /// A fragment that is not what was written; `end` is where it would end.
    Damaged { what: &'static str, end: usize },
}

/// Reads the fragment at `position` of `block`.
pub(crate) fn parse(block: &Bytes, position: usize) -> Parsed {
    let Some((header, rest)) = block.get(position..).and_then(|rest| rest.split_first_chunk::<HEADER_LEN>()) else {
        return Parsed::TooShort;
    };
    let [c0, c1, c2, c3, l0, l1, kind] = *header;
    if *header == [0; HEADER_LEN] {
        return Parsed::Zeros;
    }
    let length = usize::from(u16::from_le_bytes([l0, l1]));
    let Some(payload) = rest.get(..length) else { return Parsed::Overlong };
    let start = position + HEADER_LEN;
    let end = start + length;
    let Some(kind) = FragmentKind::decode(kind) else {
        return Parsed::Damaged { what: "a fragment of an unknown kind", end };
    };
    if unmask(u32::from_le_bytes([c0, c1, c2, c3])) != checksum(kind, payload) {
        return Parsed::Damaged { what: "checksum mismatch", end };
    }
    Parsed::Fragment { kind, payload: block.slice(start..end), end }
}

fn checksum(kind: FragmentKind, payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&[kind as u8]), payload)
}
