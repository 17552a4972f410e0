//! What must hold for a batch to be applied.

use crate::{Code, Error, KeyRange, Result};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::fmt;

/// The most conditions that a batch may carry.
pub const MAX_CONDITIONS: usize = 1024;

/// Something that must hold for a [`Batch`](crate::Batch) to be applied. It is checked against the state right before the
/// batch, in the same atomic step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The key does not exist.
    Absent {
        /// The key.
        key: Bytes,
    },
    /// The key has exactly this value.
    Equals {
        /// The key.
        key: Bytes,
        /// The value that it must have.
        value: Bytes,
    },
    /// The entries of some ranges are those that this digest was made of, no more, no fewer and with the same values.
    Unchanged {
        /// The ranges, one after the other.
        ranges: Vec<KeyRange>,
        /// Bytes at the beginning of each key that are not part of the digest: the prefix of a sublevel.
        strip: usize,
        /// Of the entries, in ascending order within each range.
        digest: Digest,
    },
}

impl Condition {
    /// The condition that the entries of `range` still have this `digest`.
    pub fn unchanged(range: KeyRange, digest: Digest) -> Self {
        Self::Unchanged { ranges: vec![range], strip: 0, digest }
    }

    /// Bytes of its keys and values.
    pub fn byte_len(&self) -> usize {
        match self {
            Self::Absent { key } => key.len(),
            Self::Equals { key, value } => key.len() + value.len(),
            Self::Unchanged { ranges, .. } => {
                ranges.iter().map(KeyRange::byte_len).sum::<usize>() + size_of::<Digest>()
            }
        }
    }

    /// The same condition for a database where all keys carry `prefix`.
    pub(crate) fn within_prefix(self, prefix: &[u8]) -> Self {
        let absolute = |key: Bytes| Bytes::from([prefix, &key].concat());
        match self {
            Self::Absent { key } => Self::Absent { key: absolute(key) },
            Self::Equals { key, value } => Self::Equals { key: absolute(key), value },
            Self::Unchanged { ranges, strip, digest } => Self::Unchanged {
                ranges: ranges.iter().map(|range| range.within_prefix(prefix)).collect(),
                strip: strip + prefix.len(),
                digest,
            },
        }
    }

    /// The same condition with another key, or `None` where `f` gives none. Ranges are always given to the view that they
    /// are of, so there is none for them.
    pub(crate) fn try_map_key(self, f: impl FnOnce(Bytes) -> Option<Bytes>) -> Option<Self> {
        match self {
            Self::Absent { key } => Some(Self::Absent { key: f(key)? }),
            Self::Equals { key, value } => Some(Self::Equals { key: f(key)?, value }),
            Self::Unchanged { .. } => None,
        }
    }
}

/// A summary of entries: equal for equal entries in the same order, and different for all others that anybody can find
/// (SHA-256 over the lengths and bytes of keys and values).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", hex::encode(&self.0[..8]))
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl AsRef<[u8]> for Digest {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Makes a [`Digest`] of entries that it is shown one after the other.
#[derive(Clone, Debug, Default)]
pub struct Digester(Sha256);

impl Digester {
    /// Adds an entry.
    pub fn entry(&mut self, key: &[u8], value: &[u8]) {
        for part in [key, value] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
    }

    /// The digest of all entries added.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

/// Which of `conditions` do not hold, as indices in ascending order. For stores: `get` gives the value that a key has, and
/// `visit` shows the entries of a range in ascending order; both must see the state right before the batch.
///
/// Errors: those of `get` and `visit`.
pub fn failed_conditions<'a, E>(
    conditions: impl IntoIterator<Item = &'a Condition>,
    mut get: impl FnMut(&Bytes) -> Result<Option<Bytes>, E>,
    mut visit: impl FnMut(&KeyRange, &mut dyn FnMut(&[u8], &[u8])) -> Result<(), E>,
) -> Result<Vec<usize>, E> {
    let mut failed = Vec::new();
    for (index, condition) in conditions.into_iter().enumerate() {
        let holds = match condition {
            Condition::Absent { key } => get(key)?.is_none(),
            Condition::Equals { key, value } => get(key)?.as_ref() == Some(value),
            Condition::Unchanged { ranges, strip, digest } => {
                let mut digester = Digester::default();
                for range in ranges {
                    visit(range, &mut |key, value| digester.entry(key.get(*strip..).unwrap_or_default(), value))?;
                }
                digester.finish() == *digest
            }
        };
        if !holds {
            failed.push(index);
        }
    }
    Ok(failed)
}

/// Refuses conditions that cannot all hold, and more of them than a batch may carry.
pub(crate) fn validate<'a>(conditions: impl ExactSizeIterator<Item = &'a Condition>) -> Result<()> {
    let invalid = |message: String| Err(Error::new(Code::InvalidBatch, message));
    if conditions.len() > MAX_CONDITIONS {
        return invalid(format!("a batch has {} conditions; it may have {MAX_CONDITIONS}", conditions.len()));
    }
    let mut wanted: HashMap<&Bytes, (usize, Option<&Bytes>)> = HashMap::new();
    for (index, condition) in conditions.enumerate() {
        let (key, value) = match condition {
            Condition::Absent { key } => (key, None),
            Condition::Equals { key, value } => (key, Some(value)),
            Condition::Unchanged { .. } => continue,
        };
        let (first, other) = *wanted.entry(key).or_insert((index, value));
        if other != value {
            return invalid(format!(
                "conditions {first} and {index} of a batch contradict each other: they name one key"
            ));
        }
    }
    Ok(())
}
