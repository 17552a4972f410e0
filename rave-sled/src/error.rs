//! The engine's failures in the words of this workspace.

use rave_core::{Code, Error};
use std::{io, path::Path};

/// `attempt` (such as "reading") on the database in `directory` failed.
pub(crate) fn failed(attempt: &str, directory: &Path, error: sled::Error) -> Error {
    let place = directory.display();
    match error {
        sled::Error::Io(error) => Error::io(format!("{attempt} {place}"), error),
        sled::Error::Corruption { at: Some(at), .. } => {
            Error::new(Code::Corruption, format!("{attempt} {place}: its files are damaged at {at:?}"))
        }
        sled::Error::Corruption { at: None, .. } => {
            Error::new(Code::Corruption, format!("{attempt} {place}: its files are damaged"))
        }
        sled::Error::Unsupported(why) => Error::new(Code::DatabaseFailedOpen, format!("{attempt} {place}: {why}")),
        // Found by the engine's own checks: it cannot go on.
        sled::Error::ReportableBug(why) => Error::new(Code::Corruption, format!("{attempt} {place}: {why}")),
        sled::Error::CollectionNotFound(_) => {
            Error::new(Code::Corruption, format!("{attempt} {place}: its tree of entries is gone"))
        }
    }
}

/// The engine panicked in the midst of `attempt`. Why is on the standard error stream; it may quote stored bytes, and is
/// not repeated here.
pub(crate) fn panicked(attempt: &str, directory: &Path) -> Error {
    let place = directory.display();
    let why = "the engine met data it cannot handle; its files are damaged, or this is a defect of sled's";
    Error::new(Code::Corruption, format!("{attempt} {place}: {why}"))
}

/// `attempt` (such as "reading") on the file at `path` failed.
pub(crate) fn io_failed(attempt: &str, path: &Path, error: io::Error) -> Error {
    Error::io(format!("{attempt} {}", path.display()), error)
}
