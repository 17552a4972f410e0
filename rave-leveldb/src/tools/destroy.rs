//! Destroy: removes a database's files, and only those.
//!
//! However far it comes, what it leaves is either the whole database, or an empty one with files that the next opening
//! removes, or what a creation leaves that was interrupted. So it can always be done again, and is never taken for a
//! database that lost its files:
//!
//! 1. An empty log and a manifest without tables are written, and `CURRENT` is made to name that: from here on the
//!    database is empty.
//! 2. All other files are removed; nothing refers to them any more.
//! 3. `CURRENT` is made to name a manifest with the number 1, which alone does not make a database, and the files of
//!    the first step are removed.
//! 4. `CURRENT` is removed, then that manifest.

use super::manifest_of;
use crate::{
    error::io_failed,
    storage::{FileName, Storage},
    version::{FileNumbers, VersionEdit, contents, is_set_aside, list},
};
use rave_core::{Code, Result};
use std::sync::Arc;

/// Removes all files of the database, those that repair has kept included, but for `LOCK`, which the caller holds. Files
/// of other people stay. If there is no database nothing happens.
///
/// # Errors
///
/// If a file cannot be removed: then it is to be done again. If there are other people's files and no `CURRENT`: what
/// looks like a database's file may be theirs too.
pub(crate) fn destroy(storage: &Arc<dyn Storage>) -> Result<()> {
    if let Err(error) = contents(&**storage)
        && error.code() != Code::Corruption
    {
        return Err(error);
    }
    let names = list(&**storage)?;
    let has_data = names.iter().any(|name| {
        let data = matches!(
            FileName::parse(name),
            Some(FileName::Log(_) | FileName::Table(_) | FileName::Manifest(_) | FileName::Current)
        );
        data && name != FIRST_MANIFEST
    });
    if has_data {
        let numbers = FileNumbers::new(2);
        numbers.skip_files(&names);
        let (log, manifest) = (numbers.allocate(), numbers.allocate());
        create_log(&**storage, log)?;
        let empty = |log_number| VersionEdit { log_number: Some(log_number), ..VersionEdit::default() };
        drop(manifest_of(storage, manifest, &numbers, empty(log))?);
        let first_step =
            [FileName::Log(log).to_string(), FileName::Manifest(manifest).to_string(), "CURRENT".to_owned()];
        remove_all(&**storage, |name| !first_step.iter().any(|kept| kept == name))?;
        drop(manifest_of(storage, 1, &numbers, empty(0))?);
        remove_all(&**storage, |name| name != FIRST_MANIFEST && name != "CURRENT")?;
        remove_all(&**storage, |name| name == "CURRENT")?;
    }
    remove_all(&**storage, |_| true)
}

const FIRST_MANIFEST: &str = "MANIFEST-000001";

/// Creates an empty log.
pub(super) fn create_log(storage: &dyn Storage, number: u64) -> Result<()> {
    let name = FileName::Log(number).to_string();
    let created = storage.create(&name).and_then(|mut file| file.sync());
    created.map_err(|error| io_failed("creating", &storage.directory().join(name), error))
}

/// Removes those of the database's own files that are `chosen`, and waits until that is durable.
fn remove_all(storage: &dyn Storage, chosen: impl Fn(&str) -> bool) -> Result<()> {
    for name in list(storage)? {
        let own = is_set_aside(&name) || FileName::parse(&name).is_some_and(|file| file != FileName::Lock);
        if own && chosen(&name) {
            let path = storage.directory().join(&name);
            storage.remove(&name).map_err(|error| io_failed("removing", &path, error))?;
        }
    }
    storage.sync_directory().map_err(|error| io_failed("syncing", storage.directory(), error))
}
