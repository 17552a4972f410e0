//! What a guest sends.

use super::{FrameError, body, message::*};
use bytes::{Buf as _, Bytes, BytesMut};
use std::borrow::Cow;

/// A message from guest to host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Tag 0.
    Get(Get),
    /// Tag 1.
    Put(Put),
    /// Tag 2.
    Del(Del),
    /// Tag 3.
    Batch(Batch),
    /// Tag 4.
    Iterator(Iterator),
    /// Tag 5.
    Clear(Clear),
    /// Tag 6.
    GetMany(GetMany),
    /// Tag 7.
    IteratorClose(IteratorClose),
    /// Tag 8.
    IteratorAck(IteratorAck),
    /// Tag 9.
    IteratorSeek(IteratorSeek),
    /// Tag 32, an extension.
    Hello(Hello),
    /// Tag 33, an extension.
    Status(StatusRequest),
    /// Tag 34, an extension.
    Goodbye(Goodbye),
    /// Tag 35, an extension.
    SnapshotOpen(SnapshotOpen),
    /// Tag 36, an extension.
    SnapshotClose(SnapshotClose),
    /// A tag this version does not know; to be ignored.
    Unknown(u8),
}

impl Request {
    /// Appends the message as one frame.
    ///
    /// [`Iterator`](Self::Iterator) and [`Clear`](Self::Clear) are completed with what legacy peers misread the absence of:
    /// no limit, forwards, keys and values. [`Unknown`](Self::Unknown) appends nothing.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Get(message) => body::encode(0, message, out),
            Self::Put(message) => body::encode(1, message, out),
            Self::Del(message) => body::encode(2, message, out),
            Self::Batch(message) => body::encode(3, message, out),
            Self::Iterator(message) => body::encode(4, message.completed().as_ref(), out),
            Self::Clear(message) => body::encode(5, message.completed().as_ref(), out),
            Self::GetMany(message) => body::encode(6, message, out),
            Self::IteratorClose(message) => body::encode(7, message, out),
            Self::IteratorAck(message) => body::encode(8, message, out),
            Self::IteratorSeek(message) => body::encode(9, message, out),
            Self::Hello(message) => body::encode(32, message, out),
            Self::Status(message) => body::encode(33, message, out),
            Self::Goodbye(message) => body::encode(34, message, out),
            Self::SnapshotOpen(message) => body::encode(35, message, out),
            Self::SnapshotClose(message) => body::encode(36, message, out),
            Self::Unknown(_) => {}
        }
    }

    /// Reads the message of one frame (`frame` is tag and body, without the length). Its bytes are slices of the frame.
    ///
    /// Errors: the body is no such message, or lacks a required field.
    pub fn decode(mut frame: Bytes) -> Result<Self, FrameError> {
        let tag = frame.try_get_u8().map_err(|_| FrameError::empty())?;
        Ok(match tag {
            0 => Self::Get(body::decode(tag, frame)?),
            1 => Self::Put(body::decode(tag, frame)?),
            2 => Self::Del(body::decode(tag, frame)?),
            3 => Self::Batch(body::decode(tag, frame)?),
            4 => Self::Iterator(body::decode(tag, frame)?),
            5 => Self::Clear(body::decode(tag, frame)?),
            6 => Self::GetMany(body::decode(tag, frame)?),
            7 => Self::IteratorClose(body::decode(tag, frame)?),
            8 => Self::IteratorAck(body::decode(tag, frame)?),
            9 => Self::IteratorSeek(body::decode(tag, frame)?),
            32 => Self::Hello(body::decode(tag, frame)?),
            33 => Self::Status(body::decode(tag, frame)?),
            34 => Self::Goodbye(body::decode(tag, frame)?),
            35 => Self::SnapshotOpen(body::decode(tag, frame)?),
            36 => Self::SnapshotClose(body::decode(tag, frame)?),
            _ => Self::Unknown(tag),
        })
    }
}

impl RangeOptions {
    fn is_complete(&self, iterates: bool) -> bool {
        self.limit.is_some() && self.reverse.is_some() && (!iterates || (self.keys.is_some() && self.values.is_some()))
    }

    fn complete(&mut self, iterates: bool) {
        self.limit.get_or_insert(-1);
        self.reverse.get_or_insert(false);
        if iterates {
            self.keys.get_or_insert(true);
            self.values.get_or_insert(true);
        }
    }
}

impl Iterator {
    fn completed(&self) -> Cow<'_, Self> {
        if self.consumed.is_some() && self.options.as_ref().is_some_and(|options| options.is_complete(true)) {
            return Cow::Borrowed(self);
        }
        let mut whole = self.clone();
        whole.consumed.get_or_insert(0);
        whole.options.get_or_insert_default().complete(true);
        Cow::Owned(whole)
    }
}

impl Clear {
    fn completed(&self) -> Cow<'_, Self> {
        if self.options.as_ref().is_some_and(|options| options.is_complete(false)) {
            return Cow::Borrowed(self);
        }
        let mut whole = self.clone();
        whole.options.get_or_insert_default().complete(false);
        Cow::Owned(whole)
    }
}
