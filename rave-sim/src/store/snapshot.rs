//! A snapshot of the simulated store: a state that is kept.

use crate::disk::Entries;
use rave_core::{Code, Error, Result, Snapshot, SnapshotHandle};
use std::{
    any::Any,
    sync::{Mutex, PoisonError},
};

#[derive(Debug)]
pub(super) struct SimSnapshot {
    /// The opening of the store that it was taken in.
    number: u64,
    /// `None` once closed.
    state: Mutex<Option<Entries>>,
}

impl SimSnapshot {
    pub(super) fn new(number: u64, state: Entries) -> Self {
        Self { number, state: Mutex::new(Some(state)) }
    }

    /// What `snapshot` holds, if it was taken in this opening of the store.
    pub(super) fn state(snapshot: &Snapshot, number: u64) -> Result<Entries> {
        let own = snapshot.downcast_ref::<Self>().filter(|own| own.number == number);
        let state = own.and_then(|own| own.state.lock().unwrap_or_else(PoisonError::into_inner).clone());
        state.ok_or_else(|| Error::new(Code::SnapshotNotOpen, "the snapshot is closed, or not of this store"))
    }
}

impl SnapshotHandle for SimSnapshot {
    fn close(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
