//! The simplest right database: what the cases compare with. It shares no code with `KeyRange`, lest both err alike.

use super::tools::b;
use crate::{ClearOptions, Entry, IteratorOptions, KeyRange};
use bytes::Bytes;
use std::collections::BTreeMap;

/// The bounds as a user gives them.
#[derive(Clone, Debug, Default)]
pub(super) struct Bounds {
    pub(super) gt: Option<Bytes>,
    pub(super) gte: Option<Bytes>,
    pub(super) lt: Option<Bytes>,
    pub(super) lte: Option<Bytes>,
}

/// Sets one bound, or none.
type SetBound = Box<dyn Fn(&mut Bounds)>;

impl Bounds {
    pub(super) fn contains(&self, key: &[u8]) -> bool {
        let above = match (&self.gte, &self.gt) {
            (Some(gte), _) => key >= gte.as_ref(),
            (None, Some(gt)) => key > gt.as_ref(),
            (None, None) => true,
        };
        let below = match (&self.lte, &self.lt) {
            (Some(lte), _) => key <= lte.as_ref(),
            (None, Some(lt)) => key < lt.as_ref(),
            (None, None) => true,
        };
        above && below
    }

    pub(super) fn range(&self) -> KeyRange {
        let mut range = KeyRange::all();
        if let Some(key) = &self.gte {
            range = range.gte(key);
        }
        if let Some(key) = &self.gt {
            range = range.gt(key);
        }
        if let Some(key) = &self.lt {
            range = range.lt(key);
        }
        if let Some(key) = &self.lte {
            range = range.lte(key);
        }
        range
    }

    /// Every pair of one lower and one upper bound over `targets`, each absent, exclusive or inclusive.
    pub(super) fn combinations(targets: &[&[u8]]) -> Vec<Self> {
        let sides = |exclusive: fn(&mut Self, Bytes), inclusive: fn(&mut Self, Bytes)| {
            let mut sides: Vec<SetBound> = vec![Box::new(|_: &mut Self| ())];
            for target in targets {
                let target = b(target);
                let again = target.clone();
                sides.push(Box::new(move |bounds| exclusive(bounds, target.clone())));
                sides.push(Box::new(move |bounds| inclusive(bounds, again.clone())));
            }
            sides
        };
        let lower = sides(|bounds, key| bounds.gt = Some(key), |bounds, key| bounds.gte = Some(key));
        let upper = sides(|bounds, key| bounds.lt = Some(key), |bounds, key| bounds.lte = Some(key));
        let mut all = Vec::new();
        for low in &lower {
            for high in &upper {
                let mut bounds = Self::default();
                low(&mut bounds);
                high(&mut bounds);
                all.push(bounds);
            }
        }
        all
    }
}

/// What to visit or to delete.
#[derive(Clone, Debug, Default)]
pub(super) struct Query {
    pub(super) bounds: Bounds,
    pub(super) reverse: bool,
    pub(super) limit: Option<u64>,
}

impl Query {
    pub(super) fn iterator(&self) -> IteratorOptions {
        IteratorOptions {
            range: self.bounds.range(),
            reverse: self.reverse,
            limit: self.limit,
            ..IteratorOptions::default()
        }
    }

    pub(super) fn clear(&self) -> ClearOptions {
        ClearOptions { range: self.bounds.range(), reverse: self.reverse, limit: self.limit, ..ClearOptions::default() }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Model(pub(super) BTreeMap<Bytes, Bytes>);

impl Model {
    /// What an iterator over `query` delivers, without regard to its limit.
    fn unlimited(&self, query: &Query) -> Vec<Entry> {
        let mut entries: Vec<Entry> = self
            .0
            .iter()
            .filter(|(key, _)| query.bounds.contains(key))
            .map(|(key, value)| Entry { key: key.clone(), value: value.clone() })
            .collect();
        if query.reverse {
            entries.reverse();
        }
        entries
    }

    /// What an iterator over `query` delivers.
    pub(super) fn entries(&self, query: &Query) -> Vec<Entry> {
        let mut entries = self.unlimited(query);
        entries.truncate(query.limit.map_or(usize::MAX, |limit| limit as usize));
        entries
    }

    pub(super) fn clear(&mut self, query: &Query) {
        for entry in self.entries(query) {
            self.0.remove(&entry.key);
        }
    }

    pub(super) fn iterate(&self, query: &Query) -> Cursor {
        Cursor { entries: self.unlimited(query), position: 0, left: query.limit, query: query.clone() }
    }
}

/// An iterator over a [`Model`] as it was when the cursor was made.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    entries: Vec<Entry>,
    position: usize,
    left: Option<u64>,
    query: Query,
}

impl Cursor {
    pub(super) fn next(&mut self) -> Option<Entry> {
        if self.left == Some(0) {
            return None;
        }
        let entry = self.entries.get(self.position)?.clone();
        self.position += 1;
        self.left = self.left.map(|left| left - 1);
        Some(entry)
    }

    pub(super) fn seek(&mut self, target: &[u8]) {
        let behind = |entry: &Entry| {
            if self.query.reverse { entry.key.as_ref() <= target } else { entry.key.as_ref() >= target }
        };
        self.position = match self.query.bounds.contains(target) {
            true => self.entries.iter().position(behind).unwrap_or(self.entries.len()),
            false => self.entries.len(),
        };
    }
}
