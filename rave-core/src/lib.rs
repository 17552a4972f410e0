//! The vocabulary of rave-level: the [`AbstractLevel`] trait, everything its methods speak of, an in-memory store, and
//! the conformance suite that proves a store.
//!
//! | to … | look at |
//! | --- | --- |
//! | use a database | [`AbstractLevel`], [`AbstractLevelExt`], [`Batch`], [`KeyRange`], [`LevelIterator`], [`Snapshot`] |
//! | read and write as one step | [`AbstractLevelExt::transaction`], [`Transaction`], [`Condition`] |
//! | see part of a database | [`Sublevel`], [`TypedLevel`], [`encoding`] |
//! | write a store | [`AbstractLevel`], [`Opener`], [`FileLock`], [`Manifest`], `conformance` (feature `testing`) |
//! | handle a failure | [`Error`], [`Code`], [`Effect`] |
//! | follow what happens | [`Event`], [`EventStream`] |
//! | test without files | [`MemoryLevel`], [`MemoryOpener`] (feature `memory`) |
//!
//! This crate knows nothing of networks and of the other rave crates.

// What a feature brings is not there to be linked to without it.
#![cfg_attr(
    not(all(feature = "json", feature = "memory", feature = "testing")),
    allow(rustdoc::broken_intra_doc_links)
)]

mod batch;
mod chained;
mod condition;
pub mod encoding;
mod error;
mod event;
mod ext;
mod iterator;
mod level;
mod lock;
mod manifest;
#[cfg(feature = "memory")]
mod memory;
mod open;
mod options;
mod peer;
mod range;
mod resume;
mod snapshot;
mod sublevel;
mod transaction;
mod typed;

#[cfg(feature = "testing")]
pub mod conformance;

pub use batch::{Batch, Operation};
pub use chained::ChainedBatch;
pub use condition::{Condition, Digest, Digester, MAX_CONDITIONS, failed_conditions};
pub use error::{Code, Effect, Error, Result};
pub use event::{Event, EventHub, EventStream};
pub use ext::AbstractLevelExt;
pub use iterator::{Entry, LevelIterator, Progress};
pub use level::{AbstractLevel, Status};
pub use lock::{FileLock, FileLockAttempt};
pub use manifest::Manifest;
#[cfg(feature = "memory")]
pub use memory::{HeldOpening, MemoryLevel, MemoryOpener};
pub use open::{LockAttempt, LockedStore, Opener, process_name};
pub use options::{ClearOptions, IteratorOptions, ReadOptions, WriteOptions};
pub use peer::PeerIdentity;
pub use range::KeyRange;
pub use resume::{Position, resume_iterator};
pub use snapshot::{Snapshot, SnapshotHandle};
pub use sublevel::{RESERVED, Sublevel, SublevelOptions};
pub use transaction::{Transaction, TransactionOptions};
pub use typed::{TypedBatch, TypedIterator, TypedLevel, TypedRange};

pub use bytes::Bytes;
