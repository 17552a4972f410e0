//! Random sources against a map.

use super::{Cursor, MergingCursor, VisibleEntries};
use crate::{
    error::{ReadError, ReadResult},
    key::{InternalKey, Kind, SequenceNumber},
    storage::Access,
};
use bytes::Bytes;
use rave_core::KeyRange;
use std::{collections::BTreeMap, ops::Bound, sync::Arc};

type Write = (Vec<u8>, SequenceNumber, Option<Bytes>);

/// A sorted vector as a source.
struct Sorted {
    writes: Vec<Write>,
    position: Option<usize>,
}

impl Sorted {
    fn new(mut writes: Vec<Write>) -> Self {
        writes.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        Self { writes, position: None }
    }

    fn at(&self, index: usize) -> InternalKey<'_> {
        let (key, sequence, value) = &self.writes[index];
        InternalKey::new(key, *sequence, if value.is_some() { Kind::Value } else { Kind::Deletion })
    }

    fn go(&mut self, position: Option<usize>) -> ReadResult<()> {
        self.position = position.filter(|&position| position < self.writes.len());
        Ok(())
    }
}

impl Cursor for Sorted {
    fn valid(&self) -> bool {
        self.position.is_some()
    }

    fn key(&self) -> InternalKey<'_> {
        self.at(self.position.unwrap())
    }

    fn value(&self) -> Bytes {
        self.writes[self.position.unwrap()].2.clone().unwrap_or_default()
    }

    fn seek_to_first(&mut self) -> ReadResult<()> {
        self.go(Some(0))
    }

    fn seek_to_last(&mut self) -> ReadResult<()> {
        self.go(self.writes.len().checked_sub(1))
    }

    fn seek(&mut self, target: InternalKey<'_>) -> ReadResult<()> {
        let found = (0..self.writes.len()).find(|&index| self.at(index) >= target);
        self.go(found)
    }

    fn next(&mut self) -> ReadResult<()> {
        self.go(self.position.map(|position| position + 1))
    }

    fn prev(&mut self) -> ReadResult<()> {
        self.go(self.position.and_then(|position| position.checked_sub(1)))
    }

    fn set_access(&mut self, _: Access) {}
}

fn random_key(random: &mut fastrand::Rng) -> Vec<u8> {
    (0..random.usize(0..4)).map(|_| [0, b'a', b'b', 0xff][random.usize(0..4)]).collect()
}

fn random_bound(random: &mut fastrand::Rng) -> Bound<Bytes> {
    match random.u8(0..3) {
        0 => Bound::Unbounded,
        1 => Bound::Included(random_key(random).into()),
        _ => Bound::Excluded(random_key(random).into()),
    }
}

fn collect(walk: &mut VisibleEntries) -> Vec<(Bytes, Bytes)> {
    std::iter::from_fn(|| walk.next_entry(true).unwrap()).map(|entry| (entry.key, entry.value)).collect()
}

#[test]
fn random_walks_show_what_a_map_shows() {
    for seed in 0..400 {
        let random = &mut fastrand::Rng::with_seed(seed);
        // Up to 60 writes of the same few keys, so that runs of one key are longer than what is passed one by one.
        let writes: Vec<Write> = (1..random.u64(1..400))
            .map(|sequence| {
                let key = if random.u8(0..4) == 0 { b"ab".to_vec() } else { random_key(random) };
                (key, sequence, (random.u8(0..3) > 0).then(|| sequence.to_string().into()))
            })
            .collect();
        let sources = random.usize(1..5);
        for _ in 0..20 {
            let sequence = random.u64(0..=writes.len() as u64 + 1);
            let reverse = random.bool();
            let mut parts = vec![Vec::new(); sources];
            writes.iter().for_each(|write| parts[random.usize(0..sources)].push(write.clone()));
            let cursors = parts.into_iter().map(|part| Box::new(Sorted::new(part)) as Box<dyn Cursor>).collect();
            let mut walk = VisibleEntries::new(MergingCursor::new(cursors), sequence, reverse, Arc::new(()));
            let mut map = BTreeMap::new();
            for (key, written, value) in &writes {
                if *written <= sequence {
                    map.insert(Bytes::from(key.clone()), value.clone());
                }
            }
            // More than one range, so that a walk is restarted in its midst.
            for _ in 0..3 {
                let range = KeyRange::new(random_bound(random), random_bound(random));
                let visible = map.iter().filter(|(key, _)| range.contains(key));
                let mut expected: Vec<_> =
                    visible.filter_map(|(key, value)| Some((key.clone(), value.clone()?))).collect();
                if reverse {
                    expected.reverse();
                }
                walk.restart(range.clone());
                for _ in 0..random.usize(0..3) {
                    walk.next_entry(true).unwrap();
                }
                walk.restart(range.clone());
                assert_eq!(collect(&mut walk), expected, "seed {seed}, {range:?}, reverse {reverse}, at {sequence}");
            }
        }
    }
}

#[test]
fn a_long_stretch_of_deletions_is_left_to_who_may_wait() {
    let writes: Vec<Write> = (0..10_000_u64).map(|i| (i.to_be_bytes().to_vec(), i + 1, None)).collect();
    for reverse in [false, true] {
        let source = MergingCursor::new(vec![Box::new(Sorted::new(writes.clone()))]);
        let mut walk = VisibleEntries::new(source, u64::MAX >> 8, reverse, Arc::new(()));
        walk.set_access(Access::InMemory);
        assert!(matches!(walk.next_entry(true), Err(ReadError::WouldBlock)));
        walk.restart(KeyRange::all());
        walk.set_access(Access::Blocking);
        assert!(walk.next_entry(true).unwrap().is_none());
    }
}
