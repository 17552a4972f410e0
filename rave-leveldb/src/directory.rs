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
            let parents = parents_of_missing(path);
            fs::create_dir_all(path)
                .map_err(|error| Error::io(format!("creating the directory {}", path.display()), error))?;
            for parent in parents {
                sync(parent);
            }
            Ok(())
        }
        Err(error) => Err(Error::io(format!("looking at {}", path.display()), error)),
    }
}

/// The directories that get an entry when `path` is created with all that is missing above it.
fn parents_of_missing(path: &Path) -> Vec<&Path> {
    let missing = path.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists());
    let parents = missing.filter_map(Path::parent);
    parents.map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent }).collect()
}

/// Makes the entries of a directory durable, so that what is written with `sync` can be found after power loss. Not every
/// file system can do it.
fn sync(directory: &Path) {
    #[cfg(unix)]
    let _ = fs::File::open(directory).and_then(|directory| directory.sync_all());
    #[cfg(not(unix))]
    let _ = directory;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directory_that_gets_an_entry_is_made_durable() {
        let there = tempfile::tempdir().unwrap();
        let (there, one) = (there.path(), there.path().join("one"));
        assert_eq!(parents_of_missing(&one.join("two/three")), [&one.join("two"), &one, there]);
        assert_eq!(parents_of_missing(there), [] as [&Path; 0]);
        let here = Path::new(".");
        assert_eq!(parents_of_missing(Path::new("is not there")), [here]);
        assert_eq!(parents_of_missing(Path::new("is not there/nor is this")), [Path::new("is not there"), here]);
    }
}
