//! Conditions of a batch as they are on the wire.

use super::message::BatchCondition;
use bytes::{BufMut as _, Bytes, BytesMut};
use rave_core::{Condition, Digest, KeyRange};
use std::ops::Bound;

impl From<&Condition> for BatchCondition {
    fn from(condition: &Condition) -> Self {
        match condition {
            Condition::Absent { key } => Self { key: Some(key.clone()), ..Self::default() },
            Condition::Equals { key, value } => {
                Self { key: Some(key.clone()), equals: Some(value.clone()), ..Self::default() }
            }
            Condition::Unchanged { ranges, strip, digest } => Self {
                bounds: ranges.iter().flat_map(|range| [range.lower(), range.upper()]).map(bound).collect(),
                strip: Some(*strip as u64),
                digest: Some(Bytes::copy_from_slice(digest.as_ref())),
                ..Self::default()
            },
        }
    }
}

impl TryFrom<BatchCondition> for Condition {
    /// What is wrong with it.
    type Error = &'static str;

    fn try_from(condition: BatchCondition) -> Result<Self, Self::Error> {
        let Some(digest) = condition.digest else {
            let key = condition.key.ok_or("a condition has neither key nor digest")?;
            return Ok(match condition.equals {
                Some(value) => Self::Equals { key, value },
                None => Self::Absent { key },
            });
        };
        let digest: [u8; 32] = digest.as_ref().try_into().map_err(|_| "a digest does not have 32 bytes")?;
        let (bounds, rest) = condition.bounds.as_chunks::<2>();
        if !rest.is_empty() {
            return Err("a range has only one bound");
        }
        let range = |[lower, upper]: &[Bytes; 2]| Ok(KeyRange::new(read_bound(lower)?, read_bound(upper)?));
        let ranges = bounds.iter().map(range).collect::<Result<_, _>>()?;
        let strip = usize::try_from(condition.strip.unwrap_or(0)).map_err(|_| "a prefix is too long")?;
        Ok(Self::Unchanged { ranges, strip, digest: Digest::from(digest) })
    }
}

fn bound(bound: Bound<&Bytes>) -> Bytes {
    let (kind, key) = match bound {
        Bound::Unbounded => (0, &[][..]),
        Bound::Included(key) => (1, key.as_ref()),
        Bound::Excluded(key) => (2, key.as_ref()),
    };
    let mut bytes = BytesMut::with_capacity(1 + key.len());
    bytes.put_u8(kind);
    bytes.put_slice(key);
    bytes.freeze()
}

fn read_bound(bytes: &Bytes) -> Result<Bound<Bytes>, &'static str> {
    match bytes.first() {
        Some(0) if bytes.len() == 1 => Ok(Bound::Unbounded),
        Some(1) => Ok(Bound::Included(bytes.slice(1..))),
        Some(2) => Ok(Bound::Excluded(bytes.slice(1..))),
        _ => Err("a bound is of no known kind"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_comes_back_as_it_was() {
        let key = Bytes::from("k");
        let bounds = [Bound::Unbounded, Bound::Included(Bytes::new()), Bound::Excluded(key.clone())];
        let ranges = bounds.iter().flat_map(|lower| bounds.iter().map(|upper| (lower.clone(), upper.clone())));
        let ranges = ranges.map(|(lower, upper)| KeyRange::new(lower, upper)).collect();
        let conditions = [
            Condition::Absent { key: Bytes::new() },
            Condition::Equals { key, value: Bytes::new() },
            Condition::Unchanged { ranges, strip: 3, digest: Digest::from([7; 32]) },
            Condition::Unchanged { ranges: Vec::new(), strip: 0, digest: Digest::from([0; 32]) },
        ];
        for condition in conditions {
            assert_eq!(Condition::try_from(BatchCondition::from(&condition)), Ok(condition));
        }
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        let digest = Some(Bytes::from(vec![0; 32]));
        let with = |bounds: &[&'static [u8]]| BatchCondition {
            bounds: bounds.iter().map(|bound| Bytes::from_static(bound)).collect(),
            digest: digest.clone(),
            ..BatchCondition::default()
        };
        let short = BatchCondition { digest: Some(Bytes::from_static(b"short")), ..BatchCondition::default() };
        let wrong = [
            BatchCondition::default(),
            short,
            with(&[b"\0"]),
            with(&[b"\0", b""]),
            with(&[b"\0k", b"\0"]),
            with(&[b"\x03k", b"\0"]),
        ];
        for condition in wrong {
            assert!(Condition::try_from(condition.clone()).is_err(), "{condition:?}");
        }
        assert!(Condition::try_from(with(&[b"\0", b"\x01k"])).is_ok());
    }
}
