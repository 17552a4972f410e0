//! What can be asked of a leader, apart from iterators, and what it answers.

use bytes::Bytes;
use rave_core::{Batch, ClearOptions};
use rave_transport::wire::message::StatusReply;

/// An operation of a guest.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Read one key.
    Get(Bytes),
    /// Read several keys.
    GetMany(Vec<Bytes>),
    /// Apply a batch.
    Write {
        /// The batch, not empty.
        batch: Batch,
        /// Acknowledge only what survives power loss.
        sync: bool,
    },
    /// Delete a range.
    Clear(ClearOptions),
    /// Ask how the leader fares.
    Status,
}

impl Operation {
    /// Whether it changes anything.
    pub fn is_write(&self) -> bool {
        matches!(self, Self::Write { .. } | Self::Clear(_))
    }

    /// Whether it asks to survive power loss.
    pub fn is_synced(&self) -> bool {
        match self {
            Self::Write { sync, .. } => *sync,
            Self::Clear(options) => options.sync,
            _ => false,
        }
    }

    /// Bytes it occupies while it is on its way, about.
    pub fn cost(&self) -> usize {
        let payload = match self {
            Self::Get(key) => key.len(),
            Self::GetMany(keys) => keys.iter().map(|key| key.len() + 32).sum(),
            Self::Write { batch, .. } => cost_of(batch),
            Self::Clear(options) => options.range.byte_len() + cost_of(&options.and_write),
            Self::Status => 0,
        };
        payload + 128
    }
}

fn cost_of(batch: &Batch) -> usize {
    batch.byte_len() + (batch.len() + batch.conditions().len()) * 64
}

/// The answer to an [`Operation`].
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// To `Get`.
    Value(Option<Bytes>),
    /// To `GetMany`.
    Values(Vec<Option<Bytes>>),
    /// To `Write` and `Clear`.
    Done,
    /// To `Status`.
    Status(Box<StatusReply>),
}
