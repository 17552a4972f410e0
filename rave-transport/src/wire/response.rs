//! What a host sends.

use super::{FrameError, message::*};
use bytes::{Bytes, BytesMut};

/// A message from host to guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// Tag 0.
    Callback(Callback),
    /// Tag 1.
    IteratorData(IteratorData),
    /// Tag 2.
    GetManyCallback(GetManyCallback),
    /// Tag 3.
    IteratorError(IteratorError),
    /// Tag 4.
    IteratorEnd(IteratorEnd),
    /// Tag 32, an extension.
    Welcome(Welcome),
    /// Tag 33, an extension.
    Leaving(Leaving),
    /// Tag 34, an extension.
    Status(StatusReply),
    /// A tag this version does not know; to be ignored.
    Unknown(u8),
}

impl Response {
    /// Appends the message as one frame.
    pub fn encode(&self, out: &mut BytesMut) {
        let _ = (out, self);
    }

    /// Reads the message of one frame (`frame` is tag and body, without the length).
    ///
    /// Errors: the body is no such message, or lacks a required field.
    pub fn decode(frame: Bytes) -> Result<Self, FrameError> {
        let _ = frame;
        Ok(Self::Unknown(0))
    }
}
