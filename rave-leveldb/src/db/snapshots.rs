//! Explicit snapshots: sequence numbers that compaction must leave readable.

use crate::key::SequenceNumber;
use std::collections::BTreeMap;

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
