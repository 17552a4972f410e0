//! Internal keys: a user's key, and which write of it this is.
//!
//! Every write has a sequence number, one higher than the one before. An internal key is the user's key and a *tag*: the
//! sequence number in the upper 56 bits and the kind of the write in the lowest byte. In files the tag follows the key as
//! eight bytes, least significant first. Internal keys are ordered by the user's key, ascending, then by the tag,
//! *descending*: the newest write of a key comes first.

use std::cmp::Ordering;

/// The number of a write.
pub(crate) type SequenceNumber = u64;

/// The highest sequence number there can be.
pub(crate) const MAX_SEQUENCE: SequenceNumber = (1 << 56) - 1;

/// Bytes of an encoded tag.
pub(crate) const TAG_LEN: usize = 8;

/// What a write does to its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Removes it.
    Deletion = 0,
    /// Gives it a value.
    Value = 1,
}

/// The tag of a write.
pub(crate) const fn tag(sequence: SequenceNumber, kind: Kind) -> u64 {
    (sequence << 8) | kind as u64
}

/// The tag that comes first among those visible at `sequence`: seeking to it finds the newest of them.
pub(crate) const fn seek_tag(sequence: SequenceNumber) -> u64 {
    tag(sequence, Kind::Value)
}

/// An internal key in its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InternalKey<'a> {
    /// The user's key.
    pub(crate) user_key: &'a [u8],
    /// The tag.
    pub(crate) tag: u64,
}

impl<'a> InternalKey<'a> {
    /// The write `sequence` of `user_key`.
    #[cfg(test)]
    pub(crate) const fn new(user_key: &'a [u8], sequence: SequenceNumber, kind: Kind) -> Self {
        Self { user_key, tag: tag(sequence, kind) }
    }

    /// Where the newest write of `user_key` visible at `sequence` would be.
    pub(crate) const fn seek(user_key: &'a [u8], sequence: SequenceNumber) -> Self {
        Self { user_key, tag: seek_tag(sequence) }
    }

    /// Takes apart an encoded key; `None` if it is too short or of an unknown kind.
    pub(crate) fn decode(encoded: &'a [u8]) -> Option<Self> {
        let (user_key, tag) = encoded.split_last_chunk::<TAG_LEN>()?;
        let tag = u64::from_le_bytes(*tag);
        (tag & 0xff <= 1).then_some(Self { user_key, tag })
    }

    /// The number of the write.
    pub(crate) const fn sequence(&self) -> SequenceNumber {
        self.tag >> 8
    }

    /// What the write does.
    pub(crate) const fn kind(&self) -> Kind {
        if self.tag & 0xff == Kind::Deletion as u64 { Kind::Deletion } else { Kind::Value }
    }

    /// Appends the encoded key.
    pub(crate) fn encode_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.user_key);
        out.extend_from_slice(&self.tag.to_le_bytes());
    }

    /// The encoded key.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.user_key.len() + TAG_LEN);
        self.encode_to(&mut out);
        out
    }
}

impl Ord for InternalKey<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.user_key.cmp(other.user_key).then_with(|| other.tag.cmp(&self.tag))
    }
}

impl PartialOrd for InternalKey<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The name of this order in the manifest.
pub(crate) const COMPARATOR_NAME: &str = "leveldb.BytewiseComparator";
