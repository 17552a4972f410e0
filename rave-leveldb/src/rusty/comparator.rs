//! The order of keys: bytewise.

use rusty_leveldb::Cmp;
use std::cmp::Ordering;

/// LevelDB's bytewise order, with C++ LevelDB's way to shorten the keys of an index.
///
/// The engine's own comparator panics on an empty key that ends a block, and makes separators that are not below the
/// next block's first key.
pub(crate) struct Bytewise;

/// Its name in the manifest.
pub(crate) const COMPARATOR_NAME: &str = "leveldb.BytewiseComparator";

impl Cmp for Bytewise {
    fn cmp(&self, a: &[u8], b: &[u8]) -> Ordering {
        a.cmp(b)
    }

    fn find_shortest_sep(&self, from: &[u8], to: &[u8]) -> Vec<u8> {
        let common = from.iter().zip(to).take_while(|(a, b)| a == b).count();
        match (from.get(common), to.get(common)) {
            // `a + 1 < b` without overflow.
            (Some(&a), Some(&b)) if b > a && b - a > 1 => {
                let mut separator: Vec<u8> = from.iter().take(common).copied().collect();
                separator.push(a + 1);
                separator
            }
            _ => from.to_vec(),
        }
    }

    fn find_short_succ(&self, key: &[u8]) -> Vec<u8> {
        let full = key.iter().take_while(|&&byte| byte == 0xff).count();
        match key.get(full) {
            Some(&byte) => {
                let mut successor: Vec<u8> = key.iter().take(full).copied().collect();
                successor.push(byte + 1);
                successor
            }
            None => key.to_vec(),
        }
    }

    fn id(&self) -> &'static str {
        COMPARATOR_NAME
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_lie_between() {
        let keys: &[&[u8]] =
            &[b"", b"\0", b"a", b"a\0", b"ab", b"abc", b"abe", b"b", b"c", b"\xff", b"\xff\xff", b"\xff\xffa"];
        for (i, a) in keys.iter().enumerate() {
            for b in keys.iter().skip(i + 1) {
                let separator = Bytewise.find_shortest_sep(a, b);
                assert!(separator.as_slice() >= *a && separator.as_slice() < *b, "{a:?} {separator:?} {b:?}");
            }
            assert!(Bytewise.find_short_succ(a).as_slice() >= *a);
        }
    }
}
