//! What is in a directory that is to be opened: a sled database, nothing, or something that must not be touched.

use crate::Options;
use rave_core::{Code, Error, Result};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Whether a directory holds a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contents {
    /// Nothing, or what a creation that was interrupted leaves.
    Empty,
    /// A database.
    Database,
}

/// What the name of a file says about the directory it is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trace {
    /// Nothing: the lock file, the sockets beside a database, and what is made before there is any data.
    Neutral,
    /// There are data of sled's.
    Data,
    /// There is a LevelDB database.
    LevelDb,
    /// It belongs to someone else.
    Foreign,
}

fn trace(name: &str) -> Trace {
    let numbered = |stem: &str| !stem.is_empty() && stem.bytes().all(|byte| byte.is_ascii_digit());
    match name {
        "LOCK" | "lost+found" | "conf" | "blobs" => Trace::Neutral,
        "db" => Trace::Data,
        "CURRENT" => Trace::LevelDb,
        name if name.starts_with("rave-level") => Trace::Neutral,
        name if name.starts_with("snap.") => Trace::Data,
        name if name.strip_prefix("MANIFEST-").is_some_and(numbered) => Trace::LevelDb,
        name => match name.rsplit_once('.') {
            Some((stem, "ldb" | "sst" | "log")) if numbered(stem) => Trace::LevelDb,
            _ => Trace::Foreign,
        },
    }
}

/// The file that has the data.
pub(crate) fn data_file(directory: &Path) -> PathBuf {
    directory.join("db")
}

/// Makes sure that `path` is a directory that may hold a database, and creates it if it is to be created. Looks before
/// the lock file is put among files that have nothing to do with a database.
pub(crate) fn prepare(path: &Path, options: &Options) -> Result<()> {
    let refuse = |what: &str| Err(Error::new(Code::DatabaseFailedOpen, format!("{} {what}", path.display())));
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => match contents(path)? {
            Contents::Empty if !options.create_if_missing => refuse("has no database, and none is to be created"),
            Contents::Empty | Contents::Database => Ok(()),
        },
        Ok(_) => refuse("is no directory"),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !options.create_if_missing => {
            refuse("does not exist and is not to be created")
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir_all(path)
            .map_err(|error| Error::io(format!("creating the directory {}", path.display()), error)),
        Err(error) => Err(Error::io(format!("looking at {}", path.display()), error)),
    }
}

/// Looks once more, now that the directory is locked and nobody can change it.
///
/// Requires: the lock is held.
pub(crate) fn check_locked(directory: &Path, options: &Options) -> Result<()> {
    let refuse = |what: &str| Err(Error::new(Code::DatabaseFailedOpen, format!("{} {what}", directory.display())));
    match contents(directory)? {
        Contents::Database if options.error_if_exists => refuse("has a database already"),
        Contents::Database => remove_unfinished(directory),
        Contents::Empty if !options.create_if_missing => refuse("has no database, and none is to be created"),
        // Whoever was killed while creating may have left half of it, which sled would take for damage.
        Contents::Empty => remove(&directory.join("conf")),
    }
}

/// Removes what whoever was killed while opening has left. Sled looks for files that are not finished under another
/// name than it gives them, and would take them for damage.
fn remove_unfinished(directory: &Path) -> Result<()> {
    for name in names(directory)?.iter().filter(|name| name.starts_with("snap.") && name.ends_with(".generating")) {
        remove(&directory.join(name))?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(format!("removing {}", path.display()), error))
        }
        _ => Ok(()),
    }
}

/// The names in the directory, in their order.
fn names(directory: &Path) -> Result<Vec<String>> {
    let listing = |error| Error::io(format!("listing {}", directory.display()), error);
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(listing)? {
        names.push(entry.map_err(listing)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn contents(directory: &Path) -> Result<Contents> {
    let names = names(directory)?;
    let find = |wanted| names.iter().find(|name| trace(name) == wanted);
    let refuse = |what: String| Err(Error::new(Code::DatabaseFailedOpen, format!("{} {what}", directory.display())));
    if let Some(name) = find(Trace::LevelDb) {
        return refuse(format!("holds a LevelDB database (it has {name:?}), which sled must not be put upon"));
    }
    let has_settings = names.iter().any(|name| name == "conf");
    let data = data_file(directory);
    let data_bytes = match fs::metadata(&data) {
        Ok(metadata) if metadata.is_file() => Some(metadata.len()),
        Ok(_) => return refuse("has a \"db\" that is no file, so it is no sled database".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(Error::io(format!("looking at {}", data.display()), error)),
    };
    match data_bytes {
        Some(1..) if has_settings => return Ok(Contents::Database),
        Some(1..) => {
            return refuse("is not empty (it has \"db\") and is no sled database (it has no \"conf\")".to_owned());
        }
        Some(0) | None => {}
    }
    if let Some(name) = names.iter().find(|name| name.starts_with("snap.")) {
        let what = format!("{} is missing or empty, but there is {name:?}", data.display());
        return Err(Error::new(Code::Corruption, what));
    }
    match find(Trace::Foreign) {
        Some(name) => refuse(format!("is not empty (it has {name:?}) and is no sled database")),
        None => Ok(Contents::Empty),
    }
}
