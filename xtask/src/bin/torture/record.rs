//! What a worker tells about itself: lines of JSON in a pipe, where they outlive the worker.
//!
//! An operation is told before it begins and after it ended. A worker that is killed in between leaves an operation
//! that may have happened. A line whose end is missing was being written when the worker died; before that, nobody
//! had relied on it.

use crate::{clock::Nanos, key::Key};
use serde::{Deserialize, Serialize};

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Record {
    /// An operation is about to begin.
    Begin { id: u64, at: Nanos, call: Call },
    /// It ended.
    End { id: u64, at: Nanos, outcome: Outcome },
    /// The worker leads, or does not any more.
    Role { at: Nanos, leads: bool },
    /// Nothing began before this time that was not told.
    Alive { at: Nanos },
    /// No operation is on its way any more, and none will begin.
    Resting,
    /// Something is wrong that needs no history to see it.
    Wrong { at: Nanos, what: String },
    /// Something worth telling that is allowed to happen.
    Note { what: String },
}

/// An operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    /// One batch; the value 0 deletes.
    Write(Vec<(Key, u64)>),
    /// Writes `value` if the key has the value `expected`; 0 stands for an absent key on both sides.
    Swap { key: Key, expected: u64, value: u64 },
    /// A transaction: adds one to the counter, and writes the increment, whose value is the operation's number.
    Add { counter: Key, increment: Key },
    /// Deletes from one key up to another, exclusively.
    Clear { from: Key, to: Key },
    /// Reads these keys at once.
    Read(Vec<Key>),
    /// Iterates from one key up to another, exclusively.
    Scan { from: Key, to: Key, reverse: bool, audit: bool },
}

/// What came of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// A write was acknowledged.
    Done,
    /// The condition of a swap did not hold.
    Refused,
    /// What was read; 0 for absent keys.
    Values(Vec<u64>),
    /// What an iterator gave, in this order.
    Entries(Vec<(Key, u64)>),
    /// The counter was increased, from this.
    Added { from: u64 },
    /// An error; `maybe` if its effect is unknown.
    Failed { code: String, maybe: bool },
}

/// An operation's name in reports.
impl Call {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Write(batch) => match batch.as_slice() {
                [(_, 0)] => "del",
                [_] => "put",
                _ => "batch",
            },
            Self::Swap { .. } => "conditional batch",
            Self::Add { .. } => "transaction",
            Self::Clear { .. } => "clear",
            Self::Read(keys) if keys.len() == 1 => "get",
            Self::Read(_) => "get many",
            Self::Scan { audit: true, .. } => "audit",
            Self::Scan { reverse: true, .. } => "iterator, reverse",
            Self::Scan { .. } => "iterator",
        }
    }

    /// Whether it changes anything.
    pub fn writes(&self) -> bool {
        !matches!(self, Self::Read(_) | Self::Scan { .. })
    }

    /// The generation of its keys; each operation has but one.
    pub fn generation(&self) -> u64 {
        match self {
            Self::Write(batch) => batch.first().map_or(0, |(key, _)| key.generation),
            Self::Read(keys) => keys.first().map_or(0, |key| key.generation),
            Self::Swap { key, .. } => key.generation,
            Self::Add { counter, .. } => counter.generation,
            Self::Clear { from, .. } | Self::Scan { from, .. } => from.generation,
        }
    }
}
