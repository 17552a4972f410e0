//! Something that must not happen, with what is needed to find out why it did.

use super::operation::Operation;
use crate::{clock::Nanos, key::Key};
use serde::Serialize;
use std::fmt;

/// The kinds of violations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// What was acknowledged is not there.
    Lost,
    /// What was overwritten or deleted is there again.
    Doubled,
    /// A read gave what was no longer the state.
    Stale,
    /// A write that failed without effect had one, or what nobody wrote is there.
    Phantom,
    /// Writes of one client took effect in another order.
    Order,
    /// One part of a batch is there without the other.
    Torn,
    /// A counter does not agree with its increments.
    Counter,
    /// An iterator went backwards, repeated a key or left its range.
    Iterator,
    /// Something took too long, or does not go on.
    Stuck,
    /// A process ended by itself, or said itself that something is wrong.
    Process,
    /// No order of the operations on a key explains what was read.
    Linearizability,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", format!("{self:?}").to_uppercase())
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Violation {
    pub class: Class,
    pub what: String,
    /// The operations around it, in the order in which they began.
    pub history: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.class, self.what)?;
        self.history.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

impl Violation {
    /// One that needs no history.
    pub fn new(class: Class, what: impl Into<String>) -> Self {
        Self { class, what: what.into(), history: Vec::new() }
    }

    /// One about a key, with the operations on it around these.
    pub fn about(class: Class, what: impl Into<String>, key: &Key, start: Nanos, operations: &[&Operation]) -> Self {
        let mut operations = operations.to_vec();
        operations.sort_by_key(|operation| (operation.begun, operation.id));
        operations.dedup_by_key(|operation| operation.id);
        let history = operations.iter().map(|operation| operation.line(start, key)).collect();
        Self { class, what: format!("key {key}: {}", what.into()), history }
    }
}
