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
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use rave_core::{AbstractLevelExt, Batch, Condition, Digester, KeyRange, MemoryLevel};
    /// let db = MemoryLevel::new();
    /// let range = KeyRange::prefix("user:");
    /// let mut digester = Digester::default();
    /// let users = db.all(range.clone()).await?;
    /// users.iter().for_each(|user| digester.entry(&user.key, &user.value));
    /// let count = Batch::new().put("users", users.len().to_string());
    /// db.write(count.require(Condition::unchanged(range, digester.finish()))).await?;
    /// # Ok::<(), rave_core::Error>(()) }).unwrap();
    /// ```
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
                // A peer may have named any number.
                strip: strip.saturating_add(prefix.len()),
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
    let mut ranges = 0;
    let mut wanted: HashMap<&Bytes, (usize, Option<&Bytes>)> = HashMap::new();
    for (index, condition) in conditions.enumerate() {
        let (key, value) = match condition {
            Condition::Absent { key } => (key, None),
            Condition::Equals { key, value } => (key, Some(value)),
            Condition::Unchanged { ranges: more, .. } => {
                ranges += more.len();
                if ranges > MAX_CONDITIONS {
                    return invalid(format!("the conditions of a batch have more than {MAX_CONDITIONS} ranges"));
                }
                continue;
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Batch;
    use std::{collections::BTreeMap, convert::Infallible};

    fn digest(entries: &[(&str, &str)]) -> Digest {
        let mut digester = Digester::default();
        entries.iter().for_each(|(key, value)| digester.entry(key.as_bytes(), value.as_bytes()));
        digester.finish()
    }

    fn failed(batch: &Batch, state: &[(&str, &str)]) -> Vec<usize> {
        let state: BTreeMap<&[u8], &[u8]> = state.iter().map(|(k, v)| (k.as_bytes(), v.as_bytes())).collect();
        let get = |key: &Bytes| Ok::<_, Infallible>(state.get(&**key).map(|value| Bytes::copy_from_slice(value)));
        let Ok(failed) = failed_conditions(batch.conditions(), get, |range, show| {
            state.iter().filter(|(key, _)| range.contains(key)).for_each(|(key, value)| show(key, value));
            Ok(())
        });
        failed
    }

    #[test]
    fn digests_tell_all_lists_of_entries_apart() {
        let lists: [&[(&str, &str)]; 9] = [
            &[],
            &[("", "")],
            &[("", ""), ("", "")],
            &[("a", "")],
            &[("", "a")],
            &[("ab", "c")],
            &[("a", "bc")],
            &[("a", "b"), ("c", "d")],
            &[("c", "d"), ("a", "b")],
        ];
        for (i, one) in lists.iter().enumerate() {
            for (j, other) in lists.iter().enumerate() {
                assert_eq!(digest(one) == digest(other), i == j, "{one:?} and {other:?}");
            }
        }
        // Other processes compare with theirs, so that it stays what it is: SHA-256 of
        // 01 00 00 00 00 00 00 00 61 01 00 00 00 00 00 00 00 62.
        let known = "cf6ab613e3942391f88ed698557e1680f160bd10e88c6b668c50360c10930e2b";
        assert_eq!(hex::encode(digest(&[("a", "b")])), known);
    }

    #[test]
    fn those_that_fail_are_named_in_their_order() {
        let batch = Batch::new()
            .if_absent("a")
            .if_equals("b", "2")
            .require(Condition::unchanged(KeyRange::all().gt("a"), digest(&[("b", "2")])))
            .if_equals("c", "")
            .put("c", "");
        assert_eq!(failed(&batch, &[("b", "2")]), [3]);
        assert_eq!(failed(&batch, &[("a", ""), ("b", "1")]), [0, 1, 2, 3]);
        assert_eq!(failed(&batch, &[("a", ""), ("b", "2"), ("c", "")]), [0, 2]);
        assert_eq!(failed(&Batch::new().put("a", "1"), &[("a", "1")]), [0; 0]);
    }

    #[test]
    fn a_prefix_goes_in_front_of_keys_and_ranges_and_not_into_digests() {
        let within = |condition: Condition| {
            failed(
                &Batch::new().require(condition.within_prefix(b"!s!")),
                &[("!s!a", "1"), ("!s!b", "2"), ("a", "root")],
            )
        };
        assert_eq!(within(Condition::Equals { key: "a".into(), value: "1".into() }), [0; 0]);
        assert_eq!(within(Condition::Absent { key: "c".into() }), [0; 0]);
        assert_eq!(within(Condition::unchanged(KeyRange::all(), digest(&[("a", "1"), ("b", "2")]))), [0; 0]);
        assert_eq!(within(Condition::unchanged(KeyRange::all().gt("a"), digest(&[("b", "2")]))), [0; 0]);
        assert_eq!(within(Condition::unchanged(KeyRange::all(), digest(&[("!s!a", "1"), ("!s!b", "2")]))), [0]);
    }

    #[test]
    fn a_condition_that_strips_more_than_there_is_can_be_prefixed() {
        let condition =
            Condition::Unchanged { ranges: vec![KeyRange::all()], strip: usize::MAX, digest: digest(&[("", "1")]) };
        assert_eq!(
            failed(&Batch::new().require(condition.within_prefix(b"!s!")), &[("!s!a", "1"), ("z", "2")]),
            [0; 0]
        );
    }

    #[test]
    fn contradictions_are_found_wherever_they_are() {
        let is_valid = |batch: Batch| batch.validate().is_ok();
        assert!(is_valid(Batch::new().if_absent("a").if_absent("a").if_equals("b", "1").if_equals("b", "1")));
        assert!(!is_valid(Batch::new().if_absent("a").if_equals("b", "1").if_equals("a", "")));
        assert!(!is_valid(Batch::new().if_equals("a", "1").if_absent("b").if_equals("a", "2")));
        let error = Batch::new().if_equals("key", "secret").if_absent("key").validate().unwrap_err();
        assert_eq!(error.code(), Code::InvalidBatch);
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
