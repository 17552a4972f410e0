//! What is in a directory: a database, nothing, or something that must not be touched.

use super::VersionSet;
use crate::{
    error::io_failed,
    storage::{FileName, Storage},
};
use rave_core::{Code, Error, Result};
use std::{
    collections::HashSet,
    io::{self, ErrorKind},
};

/// Whether a directory holds a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contents {
    /// Nothing, or what a creation that was interrupted leaves.
    Empty,
    /// A database.
    Database,
}

/// What the name of a file says about the directory it is in.
enum Trace {
    /// Nothing: lock files, what is left of writing `CURRENT` or kept by a repair, and the sockets beside a database.
    Neutral,
    /// There was a database.
    Data,
    /// It belongs to someone else.
    Foreign,
}

/// The name under which repair keeps the damaged file `name`.
pub(crate) fn set_aside_name(name: &str) -> String {
    format!("{name}{SET_ASIDE}")
}

/// Whether the file is one that repair has kept because it was damaged.
pub(crate) fn is_set_aside(name: &str) -> bool {
    name.strip_suffix(SET_ASIDE).is_some_and(|name| FileName::parse(name).is_some())
}

const SET_ASIDE: &str = ".damaged";

fn trace(name: &str) -> Trace {
    if is_set_aside(name) || name == "lost+found" || name.starts_with("rave-level") {
        return Trace::Neutral;
    }
    match FileName::parse(name) {
        // The first manifest is written before `CURRENT`.
        Some(FileName::Manifest(1)) => Trace::Neutral,
        Some(FileName::Log(_) | FileName::Table(_) | FileName::Manifest(_)) => Trace::Data,
        Some(
            FileName::Current | FileName::Lock | FileName::InfoLog | FileName::OldInfoLog | FileName::Temporary(_),
        ) => Trace::Neutral,
        None => Trace::Foreign,
    }
}

/// What the directory holds. Refuses one that has other files and no database, and one whose `CURRENT` is lost.
pub(crate) fn contents(storage: &dyn Storage) -> Result<Contents> {
    let directory = storage.directory();
    let names = list(storage)?;
    if names.iter().any(|name| name == "CURRENT") {
        return Ok(Contents::Database);
    }
    if ["conf", "db"].iter().all(|file| names.iter().any(|name| name == file)) {
        let what = "holds a sled database (it has \"conf\" and \"db\"), which LevelDB must not be put upon";
        return Err(Error::new(Code::DatabaseFailedOpen, format!("{} {what}", directory.display())));
    }
    if let Some(name) = names.iter().find(|name| matches!(trace(name), Trace::Foreign)) {
        let what = format!("{} is not empty (it has {name:?}) and is no LevelDB database", directory.display());
        return Err(Error::new(Code::DatabaseFailedOpen, what));
    }
    if let Some(name) = names.iter().find(|name| matches!(trace(name), Trace::Data)) {
        let what = format!("{} is missing, but there is {name:?}", directory.join("CURRENT").display());
        return Err(Error::new(Code::Corruption, what));
    }
    Ok(Contents::Empty)
}

/// The names in the directory.
pub(crate) fn list(storage: &dyn Storage) -> Result<Vec<String>> {
    storage.list().map_err(|error| io_failed("listing", storage.directory(), error))
}

/// The logs that may have writes which are not in tables, oldest first.
pub(crate) fn live_logs(storage: &dyn Storage, set: &VersionSet) -> Result<Vec<u64>> {
    let names = list(storage)?;
    let logs = names.iter().filter_map(|name| match FileName::parse(name) {
        Some(FileName::Log(number)) if set.needs_log(number) => Some(number),
        _ => None,
    });
    let mut logs: Vec<_> = logs.collect();
    logs.sort_unstable();
    Ok(logs)
}

/// The names of files that an earlier run left and nobody needs: tables that no version lists, logs whose writes are in
/// tables, old manifests, unfinished `CURRENT`s. Only names that LevelDB gives; other files are other people's. For the
/// opening, while no other thread writes files.
pub(crate) fn obsolete_files(storage: &dyn Storage, set: &VersionSet, manifest: u64) -> Result<Vec<String>> {
    let live: HashSet<u64> = set.live_files();
    let mut names = list(storage)?;
    names.retain(|name| match FileName::parse(name) {
        Some(FileName::Table(number)) => !live.contains(&number),
        Some(FileName::Log(number)) => !set.needs_log(number),
        Some(FileName::Manifest(number)) => number != manifest,
        Some(FileName::Temporary(_)) => true,
        Some(FileName::Current | FileName::Lock | FileName::InfoLog | FileName::OldInfoLog) | None => false,
    });
    Ok(names)
}

/// Removes files that are of no use. One that cannot be removed only takes space.
pub(crate) fn remove_files(storage: &dyn Storage, names: &[String]) {
    for name in names {
        if let Err(error) = storage.remove(name) {
            tracing::warn!(path = %storage.directory().join(name).display(), %error, "cannot remove an obsolete file");
        }
    }
}

/// Removes the table `number`, under whichever of its two names it has. One that is gone already is no error.
pub(crate) fn remove_table(storage: &dyn Storage, number: u64) -> io::Result<()> {
    let name = FileName::Table(number).to_string();
    let missing = |error: io::Error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) };
    match storage.remove(&name) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            storage.remove(&name.replace(".ldb", ".sst")).or_else(missing)
        }
        result => result,
    }
}
