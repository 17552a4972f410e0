//! What a database must offer to be put to the test.

use crate::{generate::Settings, model::Query};
use rave_core::{Batch, Bytes, Entry, Operation};
use std::ops::Bound;

/// What an operation gives, or how it failed.
pub type Answer<T> = Result<T, String>;

/// How a database goes away before it is opened again.
#[derive(Clone, Copy, Debug)]
pub enum Departure {
    /// It is closed.
    Close,
    /// Its process dies: what was acknowledged has been handed to the operating system, nothing else happens.
    Kill,
}

/// A database under test. Its methods wait until the operation has ended.
pub trait Subject: Sized {
    type Snapshot;
    type Cursor;

    /// Whether a cursor can turn back in mid-way.
    const TURNS: bool;

    /// A new, empty database.
    fn create(settings: &Settings) -> Answer<Self>;
    /// Opens it again. There are no snapshots and cursors at this time.
    fn reopen(&mut self, how: Departure) -> Answer<()>;
    /// Applies one batch atomically.
    fn write(&mut self, batch: Vec<Operation>, sync: bool) -> Answer<()>;
    /// Applies batches that are handed over in this order without waiting for each other.
    fn write_together(&mut self, batches: Vec<Vec<Operation>>) -> Answer<()>;
    /// Applies a batch if its conditions hold, or tells which do not. A database without conditions is to take it that
    /// these are the ones in `failing`.
    fn write_if(&mut self, batch: Batch, sync: bool, failing: &[usize]) -> Answer<Vec<usize>>;
    fn get(&mut self, key: &Bytes, snapshot: Option<&Self::Snapshot>) -> Answer<Option<Bytes>>;
    fn get_many(&mut self, keys: &[Bytes], snapshot: Option<&Self::Snapshot>) -> Answer<Vec<Option<Bytes>>>;
    /// Deletes what `query` visits, in the state of the snapshot if there is one: these are the keys `doomed`.
    fn clear(&mut self, query: &Query, snapshot: Option<&Self::Snapshot>, doomed: Vec<Bytes>) -> Answer<()>;
    fn snapshot(&mut self) -> Answer<Self::Snapshot>;
    fn cursor(&mut self, query: &Query, snapshot: Option<&Self::Snapshot>) -> Answer<Self::Cursor>;
    /// One entry, or none at the end.
    fn next(&mut self, cursor: &mut Self::Cursor) -> Answer<Option<Entry>>;
    /// Some entries, at most `count`; none only at the end.
    fn next_many(&mut self, cursor: &mut Self::Cursor, count: usize) -> Answer<Vec<Entry>>;
    fn seek(&mut self, cursor: &mut Self::Cursor, target: &Bytes) -> Answer<()>;
    fn turn(&mut self, cursor: &mut Self::Cursor);
    fn compact_range(&mut self, lower: Bound<Bytes>, upper: Bound<Bytes>) -> Answer<()>;
    /// How many tables each level has.
    fn tables_by_level(&mut self) -> Vec<usize>;
}
