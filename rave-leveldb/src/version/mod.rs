//! Versions: which tables make up the database, and how that changes.
//!
//! The tables are arranged in [`LEVELS`] levels. Those of level 0 come from memtables and may overlap; in every deeper
//! level they are sorted and disjoint, and an entry of a level is newer than any entry of the same key in a deeper one.
//! A [`Version`] is one such arrangement and never changes. A [`VersionEdit`] leads from one to the next; the manifest
//! is the log of all edits, and `CURRENT` names the manifest.
//!
//! # Changing the version
//!
//! Two locks, taken in this order and never in the other: the one around the [`Manifest`], then the one around the
//! [`VersionSet`]. Whoever applies an edit holds the first from beginning to end, so there is one edit at a time, and
//! the second only for the moments in which it touches memory:
//!
//! 1. with both locks, [`VersionSet::prepare`] builds the next version and its record;
//! 2. with the manifest's lock alone, [`PendingEdit::commit`] writes and syncs;
//! 3. with both locks again, [`VersionSet::install`] makes the version current.
//!
//! A compaction is picked with both locks as well, so none starts from a version that is about to be replaced.
//! [`VersionSet::log_and_apply`] does the three steps at once for who has both anyway, as during opening.
//!
//! # File numbers
//!
//! Logs, tables and manifests share one sequence of numbers, [`FileNumbers`], from which any thread takes without a
//! lock. Tables are only deleted when they were in a version and left it (see [`ObsoleteFiles`]), never because they
//! are unknown, so a table that is just being written needs no protection; what a crash leaves of it is removed when
//! the database is opened next, before any other thread runs.

mod builder;
mod directory;
mod edit;
mod file;
mod layout;
mod level_cursor;
mod manifest;
mod numbers;
mod obsolete;
mod set;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub(crate) use directory::{
    Contents, contents, is_set_aside, list, live_logs, obsolete_files, remove_files, remove_table, set_aside_name,
};
pub(crate) use edit::VersionEdit;
pub(crate) use file::{BoundaryKey, FileMetaData, TableInfo, total_size};
pub(crate) use layout::Version;
pub(crate) use level_cursor::LevelCursor;
pub(crate) use manifest::{Manifest, read_current};
pub(crate) use numbers::FileNumbers;
pub(crate) use obsolete::ObsoleteFiles;
pub(crate) use set::{PendingEdit, Recovered, SetOptions, VersionSet};

/// How many levels there are.
pub(crate) const LEVELS: usize = 7;
