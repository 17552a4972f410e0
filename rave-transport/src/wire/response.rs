//! What a host sends.

use super::{FrameError, body, message::*};
use bytes::{Buf as _, Bytes, BytesMut};

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
    ///
    /// [`Unknown`](Self::Unknown) appends nothing.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Callback(message) => body::encode(0, message, out),
            Self::IteratorData(message) => body::encode(1, message, out),
            Self::GetManyCallback(message) => body::encode(2, message, out),
            Self::IteratorError(message) => body::encode(3, message, out),
            Self::IteratorEnd(message) => body::encode(4, message, out),
            Self::Welcome(message) => body::encode(32, message, out),
            Self::Leaving(message) => body::encode(33, message, out),
            Self::Status(message) => body::encode(34, message, out),
            Self::Unknown(_) => {}
        }
    }

    /// Reads the message of one frame (`frame` is tag and body, without the length). Its bytes are slices of the frame.
    ///
    /// Errors: the body is no such message, or lacks a required field.
    pub fn decode(mut frame: Bytes) -> Result<Self, FrameError> {
        let tag = frame.try_get_u8().map_err(|_| FrameError::empty())?;
        Ok(match tag {
            0 => Self::Callback(body::decode(tag, frame)?),
            1 => Self::IteratorData(body::decode(tag, frame)?),
            2 => Self::GetManyCallback(body::decode(tag, frame)?),
            3 => Self::IteratorError(body::decode(tag, frame)?),
            4 => Self::IteratorEnd(body::decode(tag, frame)?),
            32 => Self::Welcome(body::decode(tag, frame)?),
            33 => Self::Leaving(body::decode(tag, frame)?),
            34 => Self::Status(body::decode(tag, frame)?),
            _ => Self::Unknown(tag),
        })
    }
}
