//! A sorted map that remembers what its keys were, as long as somebody may still ask.
//!
//! Each write has a sequence number, and whoever reads names the number it reads at. A version that was replaced is
//! filed under the newest held number that sees it; nothing newer ever will. When that number is released, the version
//! is filed under the next older number that sees it, or dropped. So nothing is ever searched for garbage.

use crate::KeyRange;
use bytes::Bytes;
use std::{collections::BTreeMap, mem};

#[derive(Debug, Default)]
pub(super) struct Versions {
    map: BTreeMap<Bytes, History>,
    /// The number of the last write.
    now: u64,
    /// The numbers that are held, and how often.
    held: BTreeMap<u64, usize>,
    /// The versions that are kept only because of a number, by key and their own number.
    kept: BTreeMap<u64, Vec<(Bytes, u64)>>,
}

/// The versions of a key. If the newest is a deletion, there are older ones.
#[derive(Debug)]
struct History {
    newest: Version,
    /// From the oldest on.
    older: Vec<Version>,
}

#[derive(Debug)]
struct Version {
    /// Of the write that made it.
    number: u64,
    /// `None` if it deleted the key.
    value: Option<Bytes>,
}

impl History {
    fn at(&self, number: u64) -> Option<&Bytes> {
        let version = if self.newest.number <= number {
            Some(&self.newest)
        } else {
            let seen = self.older.partition_point(|version| version.number <= number);
            seen.checked_sub(1).and_then(|index| self.older.get(index))
        };
        version?.value.as_ref()
    }
}

/// A copy with an allocation of its own: a slice would keep the whole buffer it was received in.
fn owned(data: &[u8]) -> Bytes {
    Bytes::copy_from_slice(data)
}

impl Versions {
    /// The number to read the present state with.
    pub(super) fn now(&self) -> u64 {
        self.now
    }

    /// Keeps what can be seen at `number`: the present number, or one that is held already.
    pub(super) fn hold(&mut self, number: u64) {
        *self.held.entry(number).or_default() += 1;
    }

    /// Undoes one `hold`.
    pub(super) fn release(&mut self, number: u64) {
        let Some(count) = self.held.get_mut(&number) else { return };
        *count -= 1;
        if *count > 0 {
            return;
        }
        self.held.remove(&number);
        for (key, version) in self.kept.remove(&number).unwrap_or_default() {
            match self.held.range(version..number).next_back() {
                Some((&next, _)) => self.kept.entry(next).or_default().push((key, version)),
                None => self.forget(&key, version),
            }
        }
    }

    /// Undoes every `hold`.
    pub(super) fn release_all(&mut self) {
        self.held.clear();
        for (key, version) in mem::take(&mut self.kept).into_values().flatten() {
            self.forget(&key, version);
        }
    }

    fn forget(&mut self, key: &Bytes, version: u64) {
        let Some(history) = self.map.get_mut(key) else { return };
        if let Ok(index) = history.older.binary_search_by_key(&version, |version| version.number) {
            history.older.remove(index);
        }
        if history.older.is_empty() {
            history.older = Vec::new();
            if history.newest.value.is_none() {
                self.map.remove(key);
            }
        }
    }

    /// Applies puts and deletes (`None`) in their order, as one step.
    pub(super) fn write(&mut self, operations: impl Iterator<Item = (Bytes, Option<Bytes>)>) {
        self.now += 1;
        let newest_held = self.held.last_key_value().map(|(&number, _)| number);
        for (key, value) in operations {
            let new = Version { number: self.now, value: value.as_deref().map(owned) };
            let Some(history) = self.map.get_mut(&key) else {
                if new.value.is_some() {
                    self.map.insert(owned(&key), History { newest: new, older: Vec::new() });
                }
                continue;
            };
            if new.value.is_none() && history.newest.value.is_none() {
                continue;
            }
            let old = mem::replace(&mut history.newest, new);
            if let Some(number) = newest_held.filter(|&number| number >= old.number) {
                self.kept.entry(number).or_default().push((owned(&key), old.number));
                history.older.push(old);
            }
            if history.newest.value.is_none() && history.older.is_empty() {
                self.map.remove(&key);
            }
        }
    }

    /// The value of `key` at `number`.
    pub(super) fn get(&self, key: &[u8], number: u64) -> Option<&Bytes> {
        self.map.get(key)?.at(number)
    }

    /// Shows up to `want` entries of a range as it was at `number`, looking at no more than `look` further keys.
    /// Returns the last key looked at, or `None` if the range has ended.
    pub(super) fn visit(
        &self,
        range: &KeyRange,
        reverse: bool,
        number: u64,
        want: usize,
        look: usize,
        found: impl FnMut(&Bytes, &Bytes),
    ) -> Option<Bytes> {
        // The map panics on ranges that are the wrong way round.
        if range.is_empty() {
            return None;
        }
        let keys = self.map.range::<Bytes, _>((range.lower(), range.upper()));
        if reverse { visit(keys.rev(), number, want, look, found) } else { visit(keys, number, want, look, found) }
    }
}

fn visit<'a>(
    keys: impl Iterator<Item = (&'a Bytes, &'a History)>,
    number: u64,
    want: usize,
    look: usize,
    mut found: impl FnMut(&Bytes, &Bytes),
) -> Option<Bytes> {
    let (mut shown, mut passed) = (0, 0);
    for (key, history) in keys {
        match history.at(number) {
            Some(value) => {
                found(key, value);
                shown += 1;
            }
            None => passed += 1,
        }
        if shown == want || passed == look {
            return Some(key.clone());
        }
    }
    None
}

#[cfg(test)]
impl Versions {
    /// How many versions occupy memory.
    pub(super) fn count(&self) -> usize {
        self.map.values().map(|history| 1 + history.older.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Model = BTreeMap<Bytes, Bytes>;

    fn all(versions: &Versions, number: u64, reverse: bool) -> Vec<(Bytes, Bytes)> {
        let mut entries = Vec::new();
        let end = versions.visit(&KeyRange::all(), reverse, number, usize::MAX, usize::MAX, |key, value| {
            entries.push((key.clone(), value.clone()));
        });
        assert_eq!(end, None);
        entries
    }

    #[test]
    fn overwriting_without_readers_leaves_nothing_behind() {
        let mut versions = Versions::default();
        for round in 0..1000_u32 {
            let value = Bytes::copy_from_slice(&round.to_be_bytes());
            versions.write([(Bytes::from("a"), Some(value.clone())), (Bytes::from("b"), Some(value))].into_iter());
            versions.write([(Bytes::from("b"), None)].into_iter());
        }
        assert_eq!(versions.count(), 1);
        assert!(versions.kept.is_empty());
    }

    #[test]
    fn every_held_state_is_seen_as_it_was_and_garbage_goes() {
        for seed in 0..40 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut versions = Versions::default();
            let mut model = Model::new();
            let mut views: Vec<(u64, Model)> = Vec::new();
            for step in 0..300_u32 {
                match random.u32(..10) {
                    0..6 => {
                        let mut operations = Vec::new();
                        for _ in 0..random.usize(1..5) {
                            let key = Bytes::copy_from_slice(&[random.u8(..12)]);
                            let value = random.bool().then(|| Bytes::copy_from_slice(&step.to_be_bytes()));
                            match &value {
                                Some(value) => model.insert(key.clone(), value.clone()),
                                None => model.remove(&key),
                            };
                            operations.push((key, value));
                        }
                        versions.write(operations.into_iter());
                    }
                    6..8 => {
                        // Also a state that is held already, as an iterator on a snapshot does.
                        let view = match random.choice(&views) {
                            Some(view) if random.bool() => view.clone(),
                            _ => (versions.now(), model.clone()),
                        };
                        versions.hold(view.0);
                        views.push(view);
                    }
                    _ if !views.is_empty() => {
                        let (number, _) = views.swap_remove(random.usize(..views.len()));
                        versions.release(number);
                    }
                    _ => {}
                }
                for (number, model) in views.iter().chain([&(versions.now(), model.clone())]) {
                    let expected: Vec<_> = model.clone().into_iter().collect();
                    assert_eq!(all(&versions, *number, false), expected, "seed {seed}, step {step}");
                    let backwards: Vec<_> = expected.into_iter().rev().collect();
                    assert_eq!(all(&versions, *number, true), backwards, "seed {seed}, step {step}");
                }
            }
            if seed % 2 == 0 {
                versions.release_all();
            } else {
                random.shuffle(&mut views);
                views.iter().for_each(|(number, _)| versions.release(*number));
            }
            assert_eq!(versions.count(), model.len(), "seed {seed}: garbage stayed");
            assert!(versions.kept.is_empty() && versions.held.is_empty());
        }
    }
}
