//! Which keys an iterator visits or a clear deletes.

use bytes::Bytes;
use std::{cmp::Ordering, ops::Bound};

/// A range of keys, compared bytewise. The default is every key.
///
/// As in abstract-level an inclusive bound beats an exclusive one on the same side, whatever the order in which they
/// are given.
///
/// ```
/// use rave_core::KeyRange;
/// let range = KeyRange::all().gte("a").lt("c");
/// assert!(range.contains(b"b") && !range.contains(b"c"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyRange {
    lower: Bound<Bytes>,
    upper: Bound<Bytes>,
}

impl Default for KeyRange {
    fn default() -> Self {
        Self::all()
    }
}

fn bytes(key: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(key.as_ref())
}

impl KeyRange {
    /// Every key.
    pub const fn all() -> Self {
        Self { lower: Bound::Unbounded, upper: Bound::Unbounded }
    }

    /// The range between two bounds.
    pub fn new(lower: Bound<Bytes>, upper: Bound<Bytes>) -> Self {
        Self { lower, upper }
    }

    /// Every key that starts with `prefix`.
    pub fn prefix(prefix: impl AsRef<[u8]>) -> Self {
        let prefix = prefix.as_ref();
        let upper = prefix_successor(prefix).map_or(Bound::Unbounded, Bound::Excluded);
        Self { lower: Bound::Included(bytes(prefix)), upper }
    }

    /// Only keys greater than `key`; without effect beside [`gte`](Self::gte).
    pub fn gt(mut self, key: impl AsRef<[u8]>) -> Self {
        if !matches!(self.lower, Bound::Included(_)) {
            self.lower = Bound::Excluded(bytes(key));
        }
        self
    }

    /// Only keys greater than or equal to `key`.
    pub fn gte(mut self, key: impl AsRef<[u8]>) -> Self {
        self.lower = Bound::Included(bytes(key));
        self
    }

    /// Only keys less than `key`; without effect beside [`lte`](Self::lte).
    pub fn lt(mut self, key: impl AsRef<[u8]>) -> Self {
        if !matches!(self.upper, Bound::Included(_)) {
            self.upper = Bound::Excluded(bytes(key));
        }
        self
    }

    /// Only keys less than or equal to `key`.
    pub fn lte(mut self, key: impl AsRef<[u8]>) -> Self {
        self.upper = Bound::Included(bytes(key));
        self
    }

    /// Bytes of its bounds.
    pub fn byte_len(&self) -> usize {
        [self.lower(), self.upper()]
            .into_iter()
            .map(|bound| match bound {
                Bound::Included(key) | Bound::Excluded(key) => key.len(),
                Bound::Unbounded => 0,
            })
            .sum()
    }

    /// The bound on the side of the lowest key.
    pub fn lower(&self) -> Bound<&Bytes> {
        self.lower.as_ref()
    }

    /// The bound on the side of the highest key.
    pub fn upper(&self) -> Bound<&Bytes> {
        self.upper.as_ref()
    }

    /// Whether `key` is not below the lower bound.
    pub fn above_lower(&self, key: &[u8]) -> bool {
        match &self.lower {
            Bound::Unbounded => true,
            Bound::Included(bound) => key >= bound.as_ref(),
            Bound::Excluded(bound) => key > bound.as_ref(),
        }
    }

    /// Whether `key` is not above the upper bound.
    pub fn below_upper(&self, key: &[u8]) -> bool {
        match &self.upper {
            Bound::Unbounded => true,
            Bound::Included(bound) => key <= bound.as_ref(),
            Bound::Excluded(bound) => key < bound.as_ref(),
        }
    }

    /// Whether `key` lies inside.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.above_lower(key) && self.below_upper(key)
    }

    /// Whether no key can lie inside.
    pub fn is_empty(&self) -> bool {
        match (&self.lower, &self.upper) {
            (Bound::Unbounded, Bound::Excluded(upper)) => upper.is_empty(),
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
            (Bound::Included(lower), Bound::Included(upper)) => lower > upper,
            (Bound::Excluded(lower), Bound::Excluded(upper)) => {
                // Nothing fits between a key and its immediate successor, the key with a zero byte behind it.
                lower >= upper || (upper.len() == lower.len() + 1 && upper.ends_with(&[0]) && upper.starts_with(lower))
            }
            (Bound::Included(lower), Bound::Excluded(upper)) | (Bound::Excluded(lower), Bound::Included(upper)) => {
                lower >= upper
            }
        }
    }

    /// The keys that lie in both ranges.
    pub fn intersection(&self, other: &Self) -> Self {
        Self {
            lower: tighter(&self.lower, &other.lower, Ordering::Greater).clone(),
            upper: tighter(&self.upper, &other.upper, Ordering::Less).clone(),
        }
    }

    /// What is left of the range without the keys of `hole`: below it and above it. Either part may be empty.
    pub fn without(&self, hole: &Self) -> [Self; 2] {
        if hole.is_empty() {
            return [self.clone(), Self::none()];
        }
        let below = flipped(&hole.lower).map(|upper| self.intersection(&Self { lower: Bound::Unbounded, upper }));
        let above = flipped(&hole.upper).map(|lower| self.intersection(&Self { lower, upper: Bound::Unbounded }));
        [below, above].map(|part| part.unwrap_or_else(Self::none))
    }

    /// No key.
    fn none() -> Self {
        Self { lower: Bound::Unbounded, upper: Bound::Excluded(Bytes::new()) }
    }

    /// What remains of the range behind `bookmark`, the last key that was delivered, in the given direction. The
    /// bookmark itself is excluded, so that resuming neither repeats nor skips a key of any length.
    pub fn behind(&self, bookmark: &[u8], reverse: bool) -> Self {
        let mut rest = self.clone();
        if reverse {
            rest.upper = Bound::Excluded(bytes(bookmark));
        } else {
            rest.lower = Bound::Excluded(bytes(bookmark));
        }
        rest
    }

    /// What remains of the range from `target` on, in the given direction: keys ≥ `target`, or ≤ `target` in reverse.
    /// A target outside the range, on either side, leaves nothing: it is "outside the range → end".
    pub fn from_target(&self, target: &[u8], reverse: bool) -> Option<Self> {
        if !self.contains(target) {
            return None;
        }
        let mut rest = self.clone();
        if reverse {
            rest.upper = Bound::Included(bytes(target));
        } else {
            rest.lower = Bound::Included(bytes(target));
        }
        Some(rest)
    }

    /// The same range of a database whose keys all carry `prefix`: bounds are prefixed and open ends are closed, the
    /// upper one exclusively.
    pub fn within_prefix(&self, prefix: &[u8]) -> Self {
        let add = |key: &Bytes| Bytes::from([prefix, key.as_ref()].concat());
        let whole = Self::prefix(prefix);
        Self {
            lower: match &self.lower {
                Bound::Unbounded => whole.lower,
                Bound::Included(key) => Bound::Included(add(key)),
                Bound::Excluded(key) => Bound::Excluded(add(key)),
            },
            upper: match &self.upper {
                Bound::Unbounded => whole.upper,
                Bound::Included(key) => Bound::Included(add(key)),
                Bound::Excluded(key) => Bound::Excluded(add(key)),
            },
        }
    }
}

/// The bound that leaves less: the one whose key is on the `inner` side of the other's.
fn tighter<'a>(one: &'a Bound<Bytes>, other: &'a Bound<Bytes>, inner: Ordering) -> &'a Bound<Bytes> {
    let (Bound::Included(key) | Bound::Excluded(key)) = one else { return other };
    let (Bound::Included(other_key) | Bound::Excluded(other_key)) = other else { return one };
    match key.cmp(other_key) {
        Ordering::Equal if matches!(other, Bound::Excluded(_)) => other,
        Ordering::Equal => one,
        order if order == inner => one,
        _ => other,
    }
}

/// Where what lies beyond `bound` begins; `None` if nothing does.
fn flipped(bound: &Bound<Bytes>) -> Option<Bound<Bytes>> {
    match bound {
        Bound::Included(key) => Some(Bound::Excluded(key.clone())),
        Bound::Excluded(key) => Some(Bound::Included(key.clone())),
        Bound::Unbounded => None,
    }
}

/// The least key greater than every key that starts with `prefix`; `None` if there is none.
fn prefix_successor(prefix: &[u8]) -> Option<Bytes> {
    let last = prefix.iter().rposition(|&byte| byte != 0xff)?;
    let mut successor = prefix.get(..=last)?.to_vec();
    *successor.last_mut()? += 1;
    Some(successor.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inclusive_bounds_beat_exclusive_ones_in_either_order() {
        assert_eq!(KeyRange::all().gt("b").gte("a"), KeyRange::all().gte("a").gt("b"));
        assert_eq!(KeyRange::all().lt("a").lte("b"), KeyRange::all().lte("b").lt("a"));
        assert!(KeyRange::all().gt("b").gte("a").contains(b"a"));
    }

    #[test]
    fn prefixes_end_where_the_next_prefix_begins() {
        assert!(KeyRange::prefix("a").contains(b"a\xff\xff"));
        assert!(!KeyRange::prefix("a").contains(b"b"));
        assert_eq!(KeyRange::prefix([b'a', 0xff]).upper(), Bound::Excluded(&Bytes::from("b")));
        assert_eq!(KeyRange::prefix([0xff]).upper(), Bound::Unbounded);
        assert!(KeyRange::prefix("").contains(b""));
    }

    #[test]
    fn behind_excludes_only_the_bookmark() {
        let reverse = KeyRange::all().behind(b"b", true);
        assert!(reverse.contains(b"az") && reverse.contains(b"aaz") && !reverse.contains(b"b"));
        let forward = KeyRange::all().behind(b"b", false);
        assert!(forward.contains(b"b\0") && !forward.contains(b"b"));
    }

    #[test]
    fn intersections_and_what_is_left_agree_with_each_key() {
        let keys: [&[u8]; 5] = [b"", b"a", b"a\0", b"b", b"\xff"];
        let bounds = || {
            let each = keys.iter().flat_map(|key| [Bound::Included(bytes(key)), Bound::Excluded(bytes(key))]);
            each.chain([Bound::Unbounded])
        };
        let ranges = || bounds().flat_map(|lower| bounds().map(move |upper| KeyRange::new(lower.clone(), upper)));
        for range in ranges() {
            for other in ranges() {
                let (both, [below, above]) = (range.intersection(&other), range.without(&other));
                for key in keys.into_iter().chain([&b"\0"[..], b"aa", b"c", b"\xff\xff"]) {
                    let (inside, hole) = (range.contains(key), other.contains(key));
                    assert_eq!(both.contains(key), inside && hole, "{range:?} and {other:?} at {key:?}");
                    let parts = usize::from(below.contains(key)) + usize::from(above.contains(key));
                    assert_eq!(parts, usize::from(inside && !hole), "{range:?} without {other:?} at {key:?}");
                }
            }
        }
    }

    #[test]
    fn emptiness() {
        assert!(KeyRange::all().gt("a").lt("a\0").is_empty());
        assert!(KeyRange::all().gte("a").lt("a").is_empty());
        assert!(!KeyRange::all().gte("a").lte("a").is_empty());
        assert!(KeyRange::all().lt("").is_empty());
        assert!(!KeyRange::all().is_empty());
    }
}
