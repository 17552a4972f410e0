//! File access: all of the engine's goes through these traits, so that tests can lose power and fill disks.

mod file_name;
mod open_files;
mod os;
#[cfg(feature = "testing")]
pub(crate) mod sim;

pub(crate) use file_name::FileName;
pub(crate) use open_files::OpenFiles;
pub(crate) use os::OsStorage;

use std::{fmt, io, io::IoSlice, path::Path};

/// Whether a read may wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Only what memory holds; otherwise `io::ErrorKind::WouldBlock`, at once.
    InMemory,
    /// Whatever it takes.
    Blocking,
}

/// The files of one directory, by name.
pub(crate) trait Storage: Send + Sync + fmt::Debug + 'static {
    /// The directory, for messages.
    fn directory(&self) -> &Path;

    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file for reading.
    fn open(&self, name: &str) -> io::Result<Box<dyn ReadFile>>;

    /// Creates a file for writing; one that exists is emptied.
    fn create(&self, name: &str) -> io::Result<Box<dyn WriteFile>>;

    /// Opens a file that exists for writing at its end.
    fn append(&self, name: &str) -> io::Result<Box<dyn WriteFile>>;

    /// Gives a file another name, replacing what had it, in one step.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Waits until creations, renames and removals so far would survive power loss.
    fn sync_directory(&self) -> io::Result<()>;
}

/// A file to read. Reads of several threads do not disturb each other.
pub(crate) trait ReadFile: Send + Sync {
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Fills `buffer` from `offset` on, or as much of it as the file has, and says how much that was.
    fn read_at(&self, buffer: &mut [u8], offset: u64, access: Access) -> io::Result<usize>;
}

/// In the place of a file that was closed.
pub(crate) struct ClosedFile;

impl WriteFile for ClosedFile {
    fn write(&mut self, _: &mut [IoSlice<'_>]) -> io::Result<()> {
        Err(io::Error::other("the file is closed"))
    }

    fn sync(&mut self) -> io::Result<()> {
        Err(io::Error::other("the file is closed"))
    }
}

/// A file to write at its end. What is written has been handed to the operating system: nothing is buffered here.
pub(crate) trait WriteFile: Send {
    /// Appends all the parts, in as few calls of the system as possible.
    fn write(&mut self, parts: &mut [IoSlice<'_>]) -> io::Result<()>;

    /// Waits until what was written would survive power loss.
    fn sync(&mut self) -> io::Result<()>;
}
