//! Iterators and clears over random ranges around the hidden keys, compared with a sorted map without them.

use crate::store::{Peopled, RECORDS, is_hidden, keys};
use fastrand::Rng;
use rave_core::{
    AbstractLevel, AbstractLevelExt, Batch, Bytes, ClearOptions, Entry, IteratorOptions, KeyRange, LevelIterator,
};
use rave_host::GuardedLevel;
use std::{collections::BTreeMap, ops::Bound, sync::Arc};

/// Keys of users on both sides of the hidden ones, some as near as can be.
const KEYS: [&[u8]; 14] = [
    b"",
    b"\0",
    b"!",
    b"!rave-leve",
    b"!rave-level",
    b"!rave-level\0",
    b"!rave-level ",
    b"!rave-level \xff\xff",
    b"!rave-level\"",
    b"!rave-level\"\0",
    b"!rave-level#",
    b"!s",
    b"a",
    b"\xff",
];

type Model = BTreeMap<Bytes, Bytes>;

struct Query {
    range: KeyRange,
    reverse: bool,
    limit: Option<u64>,
}

impl Query {
    fn random(rng: &mut Rng) -> Self {
        let mut bound = || {
            let key = Bytes::from_static(any_key(rng));
            match rng.u8(..3) {
                0 => Bound::Included(key),
                1 => Bound::Excluded(key),
                _ => Bound::Unbounded,
            }
        };
        let range = KeyRange::new(bound(), bound());
        Self { range, reverse: rng.bool(), limit: (rng.u8(..3) == 0).then(|| rng.u64(..8)) }
    }

    fn of(&self, model: &Model) -> Vec<Entry> {
        let inside = model.iter().filter(|(key, _)| self.range.contains(key));
        let mut entries: Vec<Entry> =
            inside.map(|(key, value)| Entry { key: key.clone(), value: value.clone() }).collect();
        if self.reverse {
            entries.reverse();
        }
        entries
    }
}

/// A key of a user or a hidden one.
fn any_key(rng: &mut Rng) -> &'static [u8] {
    let index = rng.usize(..KEYS.len() + RECORDS.len());
    KEYS.get(index).copied().unwrap_or_else(|| RECORDS[index - KEYS.len()])
}

async fn filled(rng: &mut Rng) -> (Peopled, GuardedLevel, Model) {
    let store = Peopled::new().await;
    let db = GuardedLevel::new(Arc::new(store.clone()), false, None);
    let mut model = Model::new();
    let mut batch = Batch::new();
    for key in KEYS {
        if rng.u8(..4) > 0 {
            let value = [rng.u8(..)];
            batch = batch.put(key, value);
            model.insert(Bytes::from_static(key), Bytes::copy_from_slice(&value));
        }
    }
    db.write(batch).await.unwrap();
    (store, db, model)
}

/// Walks `iterator` at random, beside the entries that it should give.
async fn walk(
    rng: &mut Rng,
    iterator: &mut dyn LevelIterator,
    query: &Query,
    options: &IteratorOptions,
    all: &[Entry],
) {
    let (mut at, mut left) = (0, query.limit.map_or(usize::MAX, |limit| limit as usize));
    for _ in 0..24 {
        if rng.u8(..5) == 0 {
            let target = any_key(rng);
            iterator.seek(Bytes::from_static(target)).await.unwrap();
            let ahead = |entry: &Entry| if query.reverse { &entry.key[..] <= target } else { &entry.key[..] >= target };
            at = all.len();
            if query.range.contains(target) {
                at = all.iter().position(ahead).unwrap_or(at);
            }
            continue;
        }
        let (single, size) = (rng.bool(), rng.usize(..9));
        let got = if single {
            iterator.next().await.unwrap().into_iter().collect()
        } else {
            iterator.next_many(size).await.unwrap()
        };
        let bound = if single { 1 } else { size.max(1) };
        assert!(got.len() <= bound);
        let expected = &all[at..all.len().min(at + left.min(got.len()))];
        let shown = |entry: &Entry| Entry {
            key: if options.keys { entry.key.clone() } else { Bytes::new() },
            value: if options.values { entry.value.clone() } else { Bytes::new() },
        };
        assert_eq!(got, expected.iter().map(shown).collect::<Vec<_>>(), "at {at}, {options:?}");
        // Only the end gives none.
        assert!(!got.is_empty() || at == all.len() || left == 0, "nothing at {at} of {all:?}, {options:?}");
        at += got.len();
        left -= got.len();
    }
}

#[tokio::test]
async fn iterators_match_a_model_without_hidden_keys() {
    for seed in 0..6_000 {
        let mut rng = Rng::with_seed(seed);
        let (_, db, model) = filled(&mut rng).await;
        assert!(!model.keys().any(|key| is_hidden(key)));
        let query = Query::random(&mut rng);
        let options = IteratorOptions {
            range: query.range.clone(),
            reverse: query.reverse,
            limit: query.limit,
            keys: rng.bool(),
            values: rng.bool(),
            ..IteratorOptions::default()
        };
        let mut iterator = db.iterator_opts(options.clone()).await.unwrap();
        walk(&mut rng, &mut *iterator, &query, &options, &query.of(&model)).await;
    }
}

#[tokio::test]
async fn clears_match_a_model_without_hidden_keys() {
    for seed in 0..3_000 {
        let mut rng = Rng::with_seed(seed);
        let (store, db, mut model) = filled(&mut rng).await;
        for _ in 0..3 {
            let query = Query::random(&mut rng);
            let limit = query.limit.map_or(usize::MAX, |limit| limit as usize);
            for entry in query.of(&model).into_iter().take(limit) {
                model.remove(&entry.key);
            }
            let (range, reverse, limit) = (query.range, query.reverse, query.limit);
            db.clear(ClearOptions { range: range.clone(), reverse, limit, ..ClearOptions::default() }).await.unwrap();
            let left = keys(&db, KeyRange::all()).await;
            assert!(left.iter().eq(model.keys()), "seed {seed}: {range:?} left {left:?} of {model:?}");
            assert_eq!(store.records().await, RECORDS, "seed {seed}");
        }
    }
}
