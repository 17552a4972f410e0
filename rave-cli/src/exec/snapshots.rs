//! The snapshots of a session, by number. A number is good from the reply that tells it on.

use super::request::Snap;
use rave_level::{AbstractLevel, Code, Error, Result, Snapshot};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
};

/// The snapshots of a session.
#[derive(Default)]
pub struct Snapshots {
    open: RefCell<HashMap<u64, Snapshot>>,
    taken: Cell<u64>,
}

impl Snapshots {
    /// Takes a snapshot and gives its number.
    pub async fn take(&self, db: &dyn AbstractLevel) -> Result<u64> {
        let snapshot = db.snapshot().await?;
        let number = self.taken.get() + 1;
        self.taken.set(number);
        self.open.borrow_mut().insert(number, snapshot);
        Ok(number)
    }

    /// The snapshot that a request names, if it names one.
    pub fn find(&self, number: Snap) -> Result<Option<Snapshot>> {
        let Some(number) = number else { return Ok(None) };
        self.open.borrow().get(&number).cloned().map(Some).ok_or_else(|| not_open(number))
    }

    /// Releases a snapshot. Releasing it again does nothing.
    pub fn close(&self, number: u64) -> Result<()> {
        match self.open.borrow_mut().remove(&number) {
            Some(snapshot) => snapshot.close(),
            None if (1..=self.taken.get()).contains(&number) => {}
            None => return Err(not_open(number)),
        }
        Ok(())
    }
}

fn not_open(number: u64) -> Error {
    Error::new(Code::SnapshotNotOpen, format!("there is no open snapshot {number}"))
}
