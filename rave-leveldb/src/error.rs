//! How a step of the engine ends early.

use rave_core::{Code, Error};
use std::{io, path::Path};

/// Why a read gave nothing.
#[derive(Clone, Debug)]
pub(crate) enum ReadError {
    /// It needs the disk, and was asked not to wait for it: to be done again on a thread that may wait.
    WouldBlock,
    /// It failed for good.
    Failed(Error),
}

/// What a read gives that may have to wait for the disk.
pub(crate) type ReadResult<T> = std::result::Result<T, ReadError>;

impl From<Error> for ReadError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl ReadError {
    /// What it means to one who allowed waiting.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Failed(error) => error,
            Self::WouldBlock => Error::new(Code::Io, "a read that may wait was refused as one that must not"),
        }
    }
}

/// `attempt` (such as "reading") on the file at `path` failed.
pub(crate) fn io_failed(attempt: &str, path: &Path, error: io::Error) -> Error {
    Error::io(format!("{attempt} {}", path.display()), error)
}

/// The file at `path` is damaged at the byte `offset`.
pub(crate) fn damaged(path: &Path, offset: u64, what: &str) -> Error {
    Error::new(Code::Corruption, format!("{} is damaged at byte {offset}: {what}", path.display()))
}
