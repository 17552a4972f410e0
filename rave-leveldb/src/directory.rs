//! The directory of a database that is to be opened.

use rave_core::{Code, Error, Result};
use std::{fs, io, path::Path};

/// Makes sure that `path` is a directory that may hold a database, and creates it if it is to be created.
/// `has_database` looks into one that exists, before the lock file is put among files that have nothing to do with a
/// database.
pub(crate) fn prepare(path: &Path, create: bool, has_database: impl FnOnce() -> Result<bool>) -> Result<()> {
    let refuse = |what: &str| Err(Error::new(Code::DatabaseFailedOpen, format!("{} {what}", path.display())));
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            if has_database()? || create {
                Ok(())
            } else {
                refuse("has no database, and none is to be created")
            }
        }
        Ok(_) => refuse("is no directory"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if !create {
                return refuse("does not exist and is not to be created");
            }
            fs::create_dir_all(path)
                .map_err(|error| Error::io(format!("creating the directory {}", path.display()), error))?;
            // So that what is written with `sync` can be found after power loss. Not every file system can do it.
            #[cfg(unix)]
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                let _ = fs::File::open(parent).and_then(|parent| parent.sync_all());
            }
            Ok(())
        }
        Err(error) => Err(Error::io(format!("looking at {}", path.display()), error)),
    }
}
