//! Random operations, compared with a model.

use super::{
    Harness,
    model::{Bounds, Cursor, Model, Query},
    tools::*,
};
use crate::{
    AbstractLevel, AbstractLevelExt, Batch, ClearOptions, IteratorOptions, LevelIterator, ReadOptions, Snapshot,
};
use bytes::Bytes;
use fastrand::Rng;
use std::sync::Arc;

const STEPS: usize = 400;

/// A few hundred operations of every kind, with iterators and snapshots open across them.
pub async fn random_operations_match_a_model(h: &mut Harness) {
    for seed in [1, 2, 3] {
        Run::new(h, seed).await.steps(STEPS, false).await;
    }
}

/// The same with something disruptive in between, and so without what does not outlive it: snapshots, implicit or not.
pub async fn random_operations_match_a_model_when_disturbed(h: &mut Harness) {
    Run::new(h, 11).await.steps(STEPS, true).await;
}

/// The same within a sublevel, among the entries of others.
pub async fn random_operations_match_a_model_in_a_sublevel(h: &mut Harness) {
    let outside = ["", "!", "!sub", "!sub\"", "z"];
    fill(&h.level, &outside).await;
    let level = h.level.clone();
    let mut within = Harness::new(level.sublevel("sub").unwrap());
    Run::new(&mut within, 21).await.steps(STEPS, false).await;
    within.level.clear(crate::KeyRange::all()).await.unwrap();
    assert_eq!(all_keys(&level).await, outside.map(|key| key.as_bytes().escape_ascii().to_string()));
}

struct Run<'a> {
    h: &'a mut Harness,
    db: Arc<dyn AbstractLevel>,
    seed: u64,
    rng: Rng,
    model: Model,
    iterators: Vec<(Box<dyn LevelIterator>, Cursor, Query)>,
    snapshots: Vec<(Snapshot, Model)>,
}

impl<'a> Run<'a> {
    async fn new(h: &'a mut Harness, seed: u64) -> Self {
        let db = h.level.clone();
        db.clear(crate::KeyRange::all()).await.unwrap();
        let (model, rng) = (Model::default(), Rng::with_seed(seed));
        Self { h, db, seed, rng, model, iterators: Vec::new(), snapshots: Vec::new() }
    }

    /// Short keys over a small alphabet, so that they meet and are prefixes of each other.
    fn key(&mut self) -> Bytes {
        let alphabet = [0x00, b'a', b'b', b'!', 0xff];
        let length = self.rng.usize(0..4);
        (0..length).filter_map(|_| self.rng.choice(alphabet)).collect()
    }

    fn value(&mut self) -> Bytes {
        let length = if self.rng.u8(..) < 20 { self.rng.usize(..5_000) } else { self.rng.usize(..12) };
        std::iter::repeat_with(|| self.rng.u8(..)).take(length).collect()
    }

    fn query(&mut self) -> Query {
        let mut bounds = Bounds::default();
        for (chance, bound) in
            [(60, &mut bounds.gt), (60, &mut bounds.gte), (60, &mut bounds.lt), (60, &mut bounds.lte)]
        {
            if self.rng.u8(..) < chance {
                let alphabet = [0x00, b'a', b'b', b'!', 0xff];
                *bound = Some((0..self.rng.usize(0..4)).filter_map(|_| self.rng.choice(alphabet)).collect());
            }
        }
        let limit = (self.rng.u8(..) < 80).then(|| self.rng.u64(0..8));
        Query { bounds, reverse: self.rng.bool(), limit }
    }

    async fn steps(mut self, steps: usize, disturbed: bool) {
        for step in 0..steps {
            let place = format!("seed {}, step {step}", self.seed);
            self.step(&place, disturbed).await;
            if disturbed && step % (steps / 4) == steps / 8 {
                self.h.disturb().await;
            }
        }
        self.check_all("the end").await;
    }

    async fn step(&mut self, place: &str, disturbed: bool) {
        let manifest = self.db.manifest();
        match self.rng.u32(0..100) {
            0..22 => {
                let (key, value) = (self.key(), self.value());
                self.db.put(&key, &value).await.unwrap();
                self.model.0.insert(key, value);
            }
            22..32 => {
                let key = self.key();
                self.db.del(&key).await.unwrap();
                self.model.0.remove(&key);
            }
            32..44 => self.write_batch().await,
            44..49 => {
                let query = self.query();
                self.db.clear(query.clear()).await.unwrap();
                self.model.clear(&query);
            }
            49..60 => {
                let key = self.key();
                assert_eq!(self.db.get(&key).await.unwrap(), self.model.0.get(&key).cloned(), "{place}, get {key:?}");
            }
            60..65 => {
                let keys: Vec<Bytes> = (0..self.rng.usize(0..6)).map(|_| self.key()).collect();
                let expected: Vec<_> = keys.iter().map(|key| self.model.0.get(key).cloned()).collect();
                assert_eq!(self.db.get_many(keys.clone()).await.unwrap(), expected, "{place}, get_many {keys:?}");
            }
            65..75 => {
                let query = self.query();
                let mut iterator = self.db.iterator(query.iterator()).await.unwrap();
                let mut cursor = self.model.iterate(&query);
                for _ in 0..self.rng.usize(0..12) {
                    let moved = self.rng.usize(0..4);
                    self.advance(&mut *iterator, &mut cursor, moved, &format!("{place}, {query:?}")).await;
                }
                if manifest.implicit_snapshots && !disturbed && self.iterators.len() < 6 {
                    self.iterators.push((iterator, cursor, query));
                }
            }
            75..88 if !self.iterators.is_empty() => {
                let index = self.rng.usize(..self.iterators.len());
                let (mut iterator, mut cursor, query) = self.iterators.swap_remove(index);
                for _ in 0..self.rng.usize(1..8) {
                    let moved = self.rng.usize(0..4);
                    self.advance(&mut *iterator, &mut cursor, moved, &format!("{place}, open {query:?}")).await;
                }
                if self.rng.u8(..) < 200 {
                    self.iterators.push((iterator, cursor, query));
                } else if self.rng.bool() {
                    iterator.close().await.unwrap();
                }
            }
            88..96 if manifest.explicit_snapshots && !disturbed => self.use_snapshots(place).await,
            _ => self.check_all(place).await,
        }
    }

    async fn write_batch(&mut self) {
        let mut batch = Batch::new();
        for _ in 0..self.rng.usize(0..10) {
            let key = self.key();
            if self.rng.u8(..) < 80 {
                self.model.0.remove(&key);
                batch = batch.del(key);
            } else {
                let value = self.value();
                self.model.0.insert(key.clone(), value.clone());
                batch = batch.put(key, value);
            }
        }
        self.db.write(batch).await.unwrap();
    }

    /// One step or seek of an iterator and of its model.
    async fn advance(&mut self, iterator: &mut dyn LevelIterator, cursor: &mut Cursor, moved: usize, place: &str) {
        match moved {
            0 => {
                let target = self.key();
                iterator.seek(target.clone()).await.unwrap();
                cursor.seek(&target);
            }
            1 => {
                let size = self.rng.usize(0..5);
                let page = iterator.next_many(size).await.unwrap();
                assert!(page.len() <= size.max(1), "{place}");
                let expected: Vec<_> = page.iter().map_while(|_| cursor.next()).collect();
                assert_eq!(page, expected, "{place}");
                if page.is_empty() {
                    assert_eq!(cursor.clone().next(), None, "{place}: the iterator ended early");
                }
            }
            _ => assert_eq!(iterator.next().await.unwrap(), cursor.next(), "{place}"),
        }
    }

    async fn use_snapshots(&mut self, place: &str) {
        if self.snapshots.len() < 4 {
            self.snapshots.push((self.db.snapshot().await.unwrap(), self.model.clone()));
        }
        let index = self.rng.usize(..self.snapshots.len());
        let (key, query) = (self.key(), self.query());
        let Some((snapshot, model)) = self.snapshots.get(index) else { return };
        let options = ReadOptions { snapshot: Some(snapshot.clone()) };
        let value = self.db.get_opts(key.clone(), options).await.unwrap();
        assert_eq!(value, model.0.get(&key).cloned(), "{place}, snapshot get {key:?}");
        let options = IteratorOptions { snapshot: Some(snapshot.clone()), ..query.iterator() };
        assert_eq!(self.db.all(options).await.unwrap(), model.entries(&query), "{place}, snapshot {query:?}");
        match self.rng.u32(0..6) {
            0 => {
                let options = ClearOptions { snapshot: Some(snapshot.clone()), ..query.clear() };
                self.db.clear(options).await.unwrap();
                for entry in model.entries(&query) {
                    self.model.0.remove(&entry.key);
                }
            }
            1 => snapshot.close(),
            2 => {}
            _ => return,
        }
        self.snapshots.swap_remove(index);
    }

    async fn check_all(&self, place: &str) {
        for reverse in [false, true] {
            let query = Query { reverse, ..Query::default() };
            let entries = self.db.all(query.iterator()).await.unwrap();
            assert_eq!(texts(&entries), texts(&self.model.entries(&query)), "seed {}, {place}", self.seed);
        }
    }
}
