//! Explicit snapshots: sequence numbers that compaction must leave readable.

use super::Db;
use crate::key::SequenceNumber;
use std::{collections::BTreeMap, sync::Arc};

/// The live snapshots: how many there are at each sequence number.
#[derive(Debug, Default)]
pub(crate) struct Snapshots(BTreeMap<SequenceNumber, usize>);

impl Snapshots {
    /// Adds one.
    pub(crate) fn add(&mut self, sequence: SequenceNumber) {
        *self.0.entry(sequence).or_default() += 1;
    }

    /// Takes one away.
    pub(crate) fn remove(&mut self, sequence: SequenceNumber) {
        if let Some(count) = self.0.get_mut(&sequence) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&sequence);
            }
        }
    }

    /// The oldest one.
    pub(crate) fn oldest(&self) -> Option<SequenceNumber> {
        self.0.first_key_value().map(|(&sequence, _)| sequence)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.values().sum()
    }
}

/// A snapshot that compaction leaves readable, for as long as this lives. Who reads it holds it too, so that it may be
/// closed in the middle of a read.
pub(crate) struct HeldSnapshot {
    db: Arc<Db>,
    sequence: SequenceNumber,
}

impl HeldSnapshot {
    /// Holds the present state.
    pub(crate) fn take(db: Arc<Db>) -> Self {
        Self { sequence: db.take_snapshot(), db }
    }

    /// Its number.
    pub(crate) fn sequence(&self) -> SequenceNumber {
        self.sequence
    }
}

impl Drop for HeldSnapshot {
    fn drop(&mut self) {
        self.db.release_snapshot(self.sequence);
    }
}
