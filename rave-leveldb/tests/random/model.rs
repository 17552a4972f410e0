//! The simplest right database: a `BTreeMap`, and views of it that later writes do not change.
//!
//! Nothing here uses the ranges and iterators of the crates under test, lest both err alike.

use rave_core::{Bytes, Entry};
use std::{collections::BTreeMap, ops::Bound, rc::Rc};

type Map = BTreeMap<Bytes, Bytes>;

/// What to visit or to delete.
#[derive(Clone, Debug)]
pub struct Query {
    pub lower: Bound<Bytes>,
    pub upper: Bound<Bytes>,
    pub reverse: bool,
    pub limit: Option<u64>,
}

impl Query {
    /// Everything, in one direction.
    pub fn all(reverse: bool) -> Self {
        Self { lower: Bound::Unbounded, upper: Bound::Unbounded, reverse, limit: None }
    }

    pub fn above_lower(&self, key: &[u8]) -> bool {
        match &self.lower {
            Bound::Included(bound) => bound.as_ref() <= key,
            Bound::Excluded(bound) => bound.as_ref() < key,
            Bound::Unbounded => true,
        }
    }

    pub fn below_upper(&self, key: &[u8]) -> bool {
        match &self.upper {
            Bound::Included(bound) => key <= bound.as_ref(),
            Bound::Excluded(bound) => key < bound.as_ref(),
            Bound::Unbounded => true,
        }
    }
}

/// The state of the database after some steps. Clones share it until one of them changes.
#[derive(Clone, Default)]
pub struct Model(Rc<Map>);

impl Model {
    pub fn put(&mut self, key: Bytes, value: Bytes) {
        Rc::make_mut(&mut self.0).insert(key, value);
    }

    pub fn del(&mut self, key: &[u8]) {
        if self.0.contains_key(key) {
            Rc::make_mut(&mut self.0).remove(key);
        }
    }

    pub fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.0.get(key).cloned()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The keys that `query` visits.
    pub fn keys(&self, query: &Query) -> Vec<Bytes> {
        let mut cursor = self.cursor(query.clone());
        std::iter::from_fn(|| cursor.next()).map(|entry| entry.key).collect()
    }

    pub fn cursor(&self, query: Query) -> ModelCursor {
        ModelCursor { state: self.clone(), left: query.limit, query, place: Place::Start }
    }
}

/// An iterator over the state in which it was opened.
#[derive(Clone)]
pub struct ModelCursor {
    state: Model,
    query: Query,
    left: Option<u64>,
    place: Place,
}

#[derive(Clone)]
enum Place {
    /// Before the first entry.
    Start,
    /// Behind the entry of this key, which was delivered.
    Behind(Bytes),
    /// Before the first entry from this key on.
    Target(Bytes),
    /// Behind the last entry.
    End,
}

impl ModelCursor {
    pub fn next(&mut self) -> Option<Entry> {
        if self.left == Some(0) {
            return None;
        }
        let found = self.peek();
        match &found {
            Some(entry) => {
                self.place = Place::Behind(entry.key.clone());
                self.left = self.left.map(|left| left - 1);
            }
            None => self.place = Place::End,
        }
        found
    }

    fn peek(&self) -> Option<Entry> {
        let edge = if self.query.reverse { &self.query.upper } else { &self.query.lower };
        let from = match &self.place {
            Place::Start => edge.clone(),
            Place::Behind(key) => Bound::Excluded(key.clone()),
            Place::Target(key) => Bound::Included(key.clone()),
            Place::End => return None,
        };
        let (key, value) = if self.query.reverse {
            let found = self.state.0.range((Bound::Unbounded, from)).next_back();
            found.filter(|(key, _)| self.query.above_lower(key))?
        } else {
            let found = self.state.0.range((from, Bound::Unbounded)).next();
            found.filter(|(key, _)| self.query.below_upper(key))?
        };
        Some(Entry { key: key.clone(), value: value.clone() })
    }

    pub fn seek(&mut self, target: &Bytes) {
        let inside = self.query.above_lower(target) && self.query.below_upper(target);
        self.place = if inside { Place::Target(target.clone()) } else { Place::End };
    }

    /// Whether the last step delivered an entry: only then is it defined what lies before it.
    pub fn stands_on_an_entry(&self) -> bool {
        matches!(self.place, Place::Behind(_))
    }

    /// Goes on in the other direction, from the entry delivered last.
    pub fn turn(&mut self) {
        self.query.reverse = !self.query.reverse;
    }

    pub fn query(&self) -> &Query {
        &self.query
    }
}
