//! Meeting over a local socket of the operating system: a Unix domain socket, or a named pipe on Windows.
//!
//! Rules on Unix: the socket has mode 0600 and both ends check that the other belongs to the same user; only a socket
//! of this user is ever replaced, and only a socket that this listener made is ever removed. A listener whose socket
//! vanishes makes it again.

#[cfg(unix)]
mod place;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

use crate::{Connect, Listener, Transport};
use async_trait::async_trait;
use rave_core::{Error, Result};
use std::path::Path;
use system::Place;

/// A meeting point at a local socket. Needs a tokio runtime with I/O and time enabled.
///
/// # Where
///
/// A database directory's socket is `rave-level.sock` in it, where JavaScript's `rave-level` has it too, however the
/// directory is spelled. Where that path is longer than sockets can have (103 bytes), the socket is in a directory that
/// only this user can enter, named after a hash of the directory's path: `$XDG_RUNTIME_DIR/rave-level`, or
/// `rave-level-<uid>` in the folder for temporary files. Processes must then agree on these variables to meet.
///
/// On Windows it is the named pipe `\\.\pipe\rave-level\<absolute path>`.
#[derive(Clone, Debug)]
pub struct IpcTransport {
    place: Place,
}

impl IpcTransport {
    /// The meeting point of the database in `directory`, which need not exist yet.
    ///
    /// Errors: the path is empty, or the current directory is unknown and the path relative to it.
    pub fn for_directory(directory: impl AsRef<Path>) -> Result<Self> {
        Ok(Self { place: Place::for_directory(absolute(directory.as_ref())?) })
    }

    /// A socket of this very path; on Windows the full name of a pipe.
    ///
    /// Errors: as [`for_directory`](Self::for_directory), or the path is too long for a socket.
    pub fn at(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Self { place: Place::at(absolute(path.as_ref())?)? })
    }
}

fn absolute(path: &Path) -> Result<std::path::PathBuf> {
    std::path::absolute(path).map_err(|error| Error::io(format!("making \"{}\" absolute", path.display()), error))
}

#[async_trait]
impl Transport for IpcTransport {
    async fn connect(&self) -> Result<Connect> {
        system::connect(&self.place).await
    }

    async fn listen(&self) -> Result<Box<dyn Listener>> {
        Ok(Box::new(system::listen(&self.place).await?))
    }

    fn address(&self) -> String {
        self.place.address()
    }
}
