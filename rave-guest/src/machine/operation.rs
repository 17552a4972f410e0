//! What can be asked of a leader, apart from iterators, and what it answers.

use bytes::Bytes;
use rave_core::{Batch, ClearOptions, Code, Error, ReadOptions, Result, Snapshot};
use rave_transport::wire::message::StatusReply;

/// A snapshot that an operation reads.
#[derive(Clone, Debug)]
pub struct SnapshotRef {
    /// The id by which a leader may know it.
    pub id: u64,
    /// What it is in a store of this process, if it was taken there.
    pub local: Option<Snapshot>,
}

impl SnapshotRef {
    /// The snapshot in a store of this process.
    ///
    /// Errors: it was taken by another leader.
    pub fn local_of(of: Option<&Self>) -> Result<Option<Snapshot>> {
        let Some(of) = of else { return Ok(None) };
        of.local.clone().map(Some).ok_or_else(Self::lost)
    }

    /// How to read it in a store of this process.
    pub(crate) fn read(of: Option<&Self>) -> Result<ReadOptions> {
        Ok(ReadOptions { snapshot: Self::local_of(of)? })
    }

    /// The error for a snapshot whose leader is gone.
    pub fn lost() -> Error {
        Error::new(Code::SnapshotNotOpen, "the snapshot is gone with the leader that held it; take another one")
    }
}

/// An operation of a guest.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Read one key.
    Get {
        /// The key.
        key: Bytes,
        /// As this holds it.
        snapshot: Option<SnapshotRef>,
    },
    /// Read several keys.
    GetMany {
        /// The keys.
        keys: Vec<Bytes>,
        /// As this holds them.
        snapshot: Option<SnapshotRef>,
    },
    /// Find out which keys exist.
    HasMany {
        /// The keys.
        keys: Vec<Bytes>,
        /// In this.
        snapshot: Option<SnapshotRef>,
    },
    /// Take a snapshot, which gets this id.
    Snapshot(u64),
    /// Apply a batch.
    Write {
        /// The batch, not empty.
        batch: Batch,
        /// Acknowledge only what survives power loss.
        sync: bool,
    },
    /// Delete a range.
    Clear {
        /// What to delete; without a snapshot.
        options: ClearOptions,
        /// Of what this holds.
        snapshot: Option<SnapshotRef>,
    },
    /// Ask how the leader fares.
    Status,
}

impl Operation {
    /// Whether it changes anything.
    pub fn is_write(&self) -> bool {
        matches!(self, Self::Write { .. } | Self::Clear { .. })
    }

    /// The snapshot that it reads.
    pub fn snapshot(&self) -> Option<u64> {
        let snapshot = match self {
            Self::Get { snapshot, .. }
            | Self::GetMany { snapshot, .. }
            | Self::HasMany { snapshot, .. }
            | Self::Clear { snapshot, .. } => snapshot.as_ref()?,
            _ => return None,
        };
        Some(snapshot.id)
    }

    /// Whether it asks to survive power loss.
    pub fn is_synced(&self) -> bool {
        match self {
            Self::Write { sync, .. } => *sync,
            Self::Clear { options, .. } => options.sync,
            _ => false,
        }
    }

    /// Bytes it occupies while it is on its way, about.
    pub fn cost(&self) -> usize {
        let payload = match self {
            Self::Get { key, .. } => key.len(),
            Self::GetMany { keys, .. } | Self::HasMany { keys, .. } => keys.iter().map(|key| key.len() + 32).sum(),
            Self::Write { batch, .. } => cost_of(batch),
            Self::Clear { options, .. } => options.range.byte_len() + cost_of(&options.and_write),
            Self::Snapshot(_) | Self::Status => 0,
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
    /// To `HasMany`.
    Existing(Vec<bool>),
    /// To `Write` and `Clear`, and to `Snapshot` if a leader took it.
    Done,
    /// To `Snapshot`, if it was taken in a store of this process.
    Snapshot(Snapshot),
    /// To `Status`.
    Status(Box<StatusReply>),
}
