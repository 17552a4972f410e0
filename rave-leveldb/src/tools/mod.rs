//! What is done to a database as a whole while it is closed: repair, verify, destroy.
//!
//! All of it blocks, and works while the caller holds the directory's lock, so that nobody has the database open.

mod destroy;
mod repair;
mod report;
mod salvage;
mod verify;

pub(crate) use destroy::destroy;
pub(crate) use repair::{RepairOptions, repair};
pub use report::{Damage, Progress, RepairReport, RepairedFile, VerifyReport};
pub(crate) use verify::verify;

use crate::{
    key::COMPARATOR_NAME,
    storage::Storage,
    version::{FileNumbers, Manifest, VersionEdit},
};
use std::sync::Arc;

/// Makes the database what `edit` says, from scratch: a new manifest `number`, named by `CURRENT`.
fn manifest_of(
    storage: &Arc<dyn Storage>,
    number: u64,
    numbers: &FileNumbers,
    mut edit: VersionEdit,
) -> rave_core::Result<Manifest> {
    edit.comparator = Some(COMPARATOR_NAME.as_bytes().to_vec());
    edit.prev_log_number = Some(0);
    edit.next_file_number = Some(numbers.next());
    edit.last_sequence.get_or_insert(0);
    let mut record = Vec::new();
    edit.encode_to(&mut record);
    Manifest::create(Arc::clone(storage), number, &record, 0)
}

#[cfg(test)]
mod tests;
