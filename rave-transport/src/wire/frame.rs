//! Framing.

use bytes::{Bytes, BytesMut};
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
        /// What is wrong.
        reason: String,
    },
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
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        let _ = (buffer, self.limits);
        Ok(None)
    }
}
