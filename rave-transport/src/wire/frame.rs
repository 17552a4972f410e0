//! How a byte stream is cut into frames.
//!
//! A frame is an unsigned LEB128 length of at most ten bytes, then that many bytes: one tag and a body.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use std::fmt;

/// What one connection may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the largest frame accepted.
    pub max_frame: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_frame: 256 << 20 }
    }
}

/// A frame that breaks the protocol. The connection it came on must end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The length is larger than the limit.
    TooLarge {
        /// What the peer announced.
        length: u64,
        /// What is allowed.
        limit: usize,
    },
    /// The length is no LEB128 number of at most ten bytes.
    BadLength,
    /// The body is no message of its tag.
    Malformed {
        /// The frame's tag.
        tag: u8,
        /// The request or iterator it speaks of, where that much could be read.
        id: Option<u32>,
        /// The seek of that iterator, where there is one that could be read.
        seq: Option<u32>,
        /// What is wrong.
        reason: String,
    },
}

impl FrameError {
    /// No tag: the decoder skips such frames, so only a caller that cut frames itself sees this.
    pub(super) fn empty() -> Self {
        Self::Malformed { tag: 0, id: None, seq: None, reason: "an empty frame".to_owned() }
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { length, limit } => write!(f, "a frame of {length} bytes; at most {limit} are accepted"),
            Self::BadLength => f.write_str("a frame length that is no number"),
            Self::Malformed { tag, reason, .. } => write!(f, "a malformed frame with tag {tag}: {reason}"),
        }
    }
}

impl std::error::Error for FrameError {}

/// Cuts a byte stream into frames.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    limits: Limits,
}

impl FrameDecoder {
    /// A decoder with these limits.
    pub fn new(limits: Limits) -> Self {
        Self { limits }
    }

    /// Takes the next whole frame (tag and body) off the front of `buffer`; `None` if more bytes are needed. Zero-length
    /// frames are skipped. Values of the frame are slices of the buffer, not copies.
    ///
    /// Errors: the stream breaks the protocol and cannot be read any further. A length beyond the limit is one as soon
    /// as it is known, before any of the body has arrived.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        loop {
            let Some((length, prefix)) = read_length(buffer)? else { return Ok(None) };
            if length == 0 {
                buffer.advance(prefix);
                continue;
            }
            let limit = self.limits.max_frame;
            let body = usize::try_from(length)
                .ok()
                .filter(|body| *body <= limit)
                .ok_or(FrameError::TooLarge { length, limit })?;
            let have = buffer.len() - prefix;
            if have < body {
                // An announcement alone must not cost memory: the buffer grows with what has really come.
                buffer.reserve((body - have).min(have.max(READ_AHEAD)));
                return Ok(None);
            }
            buffer.advance(prefix);
            return Ok(Some(buffer.split_to(body).freeze()));
        }
    }
}

/// Room made for a frame of which little has come so far.
const READ_AHEAD: usize = 64 << 10;

/// The length at the front of `bytes` and how many bytes it takes; `None` if it is not all there.
fn read_length(bytes: &[u8]) -> Result<Option<(u64, usize)>, FrameError> {
    let mut length = 0_u64;
    for (index, &byte) in bytes.iter().take(10).enumerate() {
        if index == 9 && byte > 1 {
            return Err(FrameError::BadLength);
        }
        length |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((length, index + 1)));
        }
    }
    Ok(None)
}

/// Appends a length as LEB128.
pub(super) fn put_length(mut length: u64, out: &mut BytesMut) {
    while length >= 0x80 {
        out.put_u8(length as u8 | 0x80);
        length >>= 7;
    }
    out.put_u8(length as u8);
}
