//! Reading files that hold secrets, which nobody else may be able to read.

#[cfg(unix)]
use rave_core::Code;
use rave_core::{Error, Result};
use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

/// More than any such file has.
const MAX: u64 = 4 << 20;

/// The text of a file that only this user, or root, can read.
pub(super) fn read_private(path: &Path) -> Result<String> {
    let file = open(path)?;
    #[cfg(unix)]
    refuse_readers(path, &file, 0o077)?;
    read(path, file)
}

/// The text of a file with a key, which a group may share, as is usual for them.
#[cfg(feature = "tls")]
pub(super) fn read_key(path: &Path) -> Result<String> {
    let file = open(path)?;
    #[cfg(unix)]
    refuse_readers(path, &file, 0o007)?;
    read(path, file)
}

/// The text of a file that is no secret.
#[cfg(feature = "tls")]
pub(super) fn read_public(path: &Path) -> Result<String> {
    read(path, open(path)?)
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| failed(path, error))
}

fn read(path: &Path, file: File) -> Result<String> {
    let mut text = String::new();
    let length = file.take(MAX + 1).read_to_string(&mut text).map_err(|error| failed(path, error))?;
    match u64::try_from(length) {
        Ok(length) if length <= MAX => Ok(text),
        _ => Err(failed(path, io::Error::new(io::ErrorKind::FileTooLarge, "it is far too large"))),
    }
}

fn failed(path: &Path, error: io::Error) -> Error {
    Error::io(format!("reading \"{}\"", path.display()), error)
}

/// Refuses a file that others than its owner could have read or written.
#[cfg(unix)]
fn refuse_readers(path: &Path, file: &File, others: u32) -> Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = file.metadata().map_err(|error| failed(path, error))?;
    let path = path.display();
    if metadata.is_file() && metadata.mode() & others != 0 {
        let mode = metadata.mode() & 0o777;
        let message =
            format!("\"{path}\" holds a secret and others can reach it (mode {mode:o}); chmod 600 \"{path}\"");
        return Err(Error::new(Code::Io, message));
    }
    let this = nix::unistd::geteuid().as_raw();
    if ![0, this].contains(&metadata.uid()) {
        let message = format!("\"{path}\" holds a secret and belongs to user {}, not to user {this}", metadata.uid());
        return Err(Error::new(Code::Io, message));
    }
    Ok(())
}
