//! An exclusive lock on a file, which decides which process may open a store.
//!
//! There are two families of file locks, and on Linux they do not see each other: `flock`, which most Rust stores use,
//! and `fcntl` record locks, which LevelDB in C++ uses. A [`FileLock`] is both at once, so that it excludes the users of
//! either. Its `fcntl` half belongs to the open file and not to the process ("OFD lock"), so that it also excludes a
//! second attempt in the same process and is not lost when the process closes another descriptor of the file. macOS and
//! the BSDs keep both families in one list, and `flock` alone does.
//!
//! The kernel releases the lock when the process dies, however it dies.

use crate::{Code, Error, Result};
use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

/// A held lock on a file; dropping it releases the lock. The file stays: to delete it would let a second process lock
/// its successor.
///
/// ```
/// # let directory = tempfile::tempdir().unwrap();
/// use rave_core::{FileLock, FileLockAttempt};
/// let path = directory.path().join("LOCK");
/// let FileLockAttempt::Acquired(lock) = FileLock::try_acquire(&path)? else { panic!("nobody else has it") };
/// assert!(matches!(FileLock::try_acquire(&path)?, FileLockAttempt::Held { .. }));
/// drop(lock);
/// assert!(matches!(FileLock::try_acquire(&path)?, FileLockAttempt::Acquired(_)));
/// # Ok::<(), rave_core::Error>(())
/// ```
#[derive(Debug)]
pub struct FileLock {
    file: File,
    path: PathBuf,
    /// The process that took the lock.
    pid: u32,
}

/// What came of an attempt to take a [`FileLock`].
#[derive(Debug)]
pub enum FileLockAttempt {
    /// Ours.
    Acquired(FileLock),
    /// Somebody else's, or another one of this process.
    Held {
        /// The process that holds it, where the system tells.
        holder: Option<u32>,
    },
}

/// How often the lock file may be replaced during one attempt.
const REPLACEMENTS: usize = 16;

impl FileLock {
    /// Takes the lock on the file at `path` if nobody holds it; never waits. Creates the file, readable and writable for
    /// its owner only, but not its directory, and never changes what is in it.
    ///
    /// Errors: `LEVEL_IO_ERROR` if the file cannot be opened or created, is not a regular file (symbolic links included),
    /// or cannot be locked because its file system has no working locks.
    pub fn try_acquire(path: &Path) -> Result<FileLockAttempt> {
        for _ in 0..REPLACEMENTS {
            let file = match open(path) {
                Ok(file) => file,
                Err(error) if held_open(&error) => return Ok(FileLockAttempt::Held { holder: None }),
                Err(error) => return Err(Error::io(format!("cannot open the lock file {}", path.display()), error)),
            };
            let metadata = file.metadata().map_err(|error| lock_error(path, error))?;
            if !metadata.is_file() {
                return Err(Error::new(Code::Io, format!("the lock file {} is not a regular file", path.display())));
            }
            if !try_lock(&file).map_err(|error| lock_error(path, error))? {
                return Ok(FileLockAttempt::Held { holder: holder(&file) });
            }
            // Whoever deletes a database deletes the lock file too. A lock on a deleted file excludes nobody.
            if is_at(&file, path) {
                let lock = Self { file, path: path.to_owned(), pid: std::process::id() };
                return Ok(FileLockAttempt::Acquired(lock));
            }
        }
        Err(Error::new(Code::Io, format!("the lock file {} is being replaced again and again", path.display())))
    }

    /// The locked file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether this is still the process that took the lock. A forked child shares the lock with its parent, so it must
    /// not use what the lock protects.
    ///
    /// Errors: `LEVEL_DATABASE_NOT_OPEN` in any other process.
    pub fn check_owner(&self) -> Result<()> {
        if std::process::id() == self.pid {
            return Ok(());
        }
        let message = format!(
            "the lock {} was taken by process {} before this one was forked from it; open the database anew here",
            self.path.display(),
            self.pid
        );
        Err(Error::new(Code::DatabaseNotOpen, message))
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Closing the file would do, but for a forked child that still has it open. In such a child, on the other hand,
        // unlocking would release the lock of the parent.
        if self.check_owner().is_ok() {
            unlock(&self.file);
        }
    }
}

fn lock_error(path: &Path, error: io::Error) -> Error {
    Error::io(
        format!(
            "cannot lock {}: its file system seems to have no working locks, and without them nothing keeps two \
             processes from damaging the database; put it on a local file system",
            path.display()
        ),
        error,
    )
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use nix::fcntl::OFlag;
        use std::os::unix::fs::OpenOptionsExt;
        // Not to be led elsewhere by a link, nor to hang on a pipe or become a terminal's owner. The standard library
        // adds close-on-exec.
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        options.mode(0o600).custom_flags(flags.bits());
    }
    #[cfg(windows)]
    {
        use std::os::windows::fs::OpenOptionsExt;
        // Not to be led elsewhere by a link: FILE_FLAG_OPEN_REPARSE_POINT. Others may read and write the file, so that
        // they get to try the lock, but not delete it while it is open: then what is locked is what the path names.
        options.share_mode(FILE_SHARE_READ | FILE_SHARE_WRITE).custom_flags(0x0020_0000);
    }
    options.open(path)
}

#[cfg(windows)]
const FILE_SHARE_READ: u32 = 1;
#[cfg(windows)]
const FILE_SHARE_WRITE: u32 = 2;

/// Whether a failure to open the file means that somebody has locked it.
fn held_open(error: &io::Error) -> bool {
    // ERROR_SHARING_VIOLATION: others open a lock file on Windows without sharing it.
    cfg!(windows) && error.raw_os_error() == Some(32)
}

/// Takes both locks, or neither.
fn try_lock(file: &File) -> io::Result<bool> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if !linux::try_record_lock(file)? {
        return Ok(false);
    }
    let locked = match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    };
    // Closing the file is not enough: another thread may just be starting a process, which has the file for a moment.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if !matches!(locked, Ok(true)) {
        linux::unlock_record(file);
    }
    locked
}

fn unlock(file: &File) {
    // Nobody is there to be told of an error, and closing the file releases what this did not.
    let _ = file.unlock();
    #[cfg(any(target_os = "linux", target_os = "android"))]
    linux::unlock_record(file);
}

/// Whether `file` is what `path` names.
fn is_at(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let Ok((file, named)) = file.metadata().and_then(|file| Ok((file, path.symlink_metadata()?))) else {
            return false;
        };
        (file.dev(), file.ino()) == (named.dev(), named.ino())
    }
    #[cfg(not(unix))]
    {
        // It was opened so that it cannot be deleted.
        let _ = (file, path);
        true
    }
}

fn holder(file: &File) -> Option<u32> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return linux::holder(file);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _ = file;
        None
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    //! Record locks of an open file, and who holds what.

    use nix::{
        errno::Errno,
        fcntl::{FcntlArg, fcntl},
        libc,
        sys::stat::{major, minor},
    };
    use std::{fs::File, io, os::unix::fs::MetadataExt};

    /// The whole file, however long it gets.
    fn whole_file(kind: i32) -> libc::flock {
        libc::flock { l_type: kind as i16, l_whence: libc::SEEK_SET as i16, l_start: 0, l_len: 0, l_pid: 0 }
    }

    pub(super) fn try_record_lock(file: &File) -> io::Result<bool> {
        loop {
            return match fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_WRLCK))) {
                Ok(_) => Ok(true),
                Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
                Err(Errno::EINTR) => continue,
                Err(error) => Err(error.into()),
            };
        }
    }

    pub(super) fn unlock_record(file: &File) {
        let _ = fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_UNLCK)));
    }

    /// The process that keeps us from locking `file`, if it can be told.
    pub(super) fn holder(file: &File) -> Option<u32> {
        // A classic record lock knows its process, a lock of an open file has -1 there.
        let mut lock = whole_file(libc::F_WRLCK);
        if fcntl(file, FcntlArg::F_GETLK(&mut lock)).is_ok()
            && lock.l_type != libc::F_UNLCK as i16
            && let Some(pid) = u32::try_from(lock.l_pid).ok().filter(|&pid| pid > 0)
        {
            return Some(pid);
        }
        let metadata = file.metadata().ok()?;
        let device = metadata.dev();
        let place = format!("{:02x}:{:02x}:{}", major(device), minor(device), metadata.ino());
        // The kernel gives the list in pieces, and a line can be missed while locks come and go between two of them.
        (0..3).find_map(|_| holder_in(&std::fs::read_to_string("/proc/locks").ok()?, &place))
    }

    /// Lines are such as `3: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF`; one with `->` in it waits.
    pub(super) fn holder_in(locks: &str, place: &str) -> Option<u32> {
        locks.lines().find_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let _family = fields.next().filter(|&family| family != "->")?;
            let pid = fields.nth(2)?.parse().ok().filter(|&pid| pid > 0)?;
            (fields.next()? == place).then_some(pid)
        })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_holder_is_the_one_who_does_not_wait() {
            let locks = "1: OFDLCK ADVISORY  WRITE -1 08:01:77 0 EOF\n\
                         2: -> FLOCK  ADVISORY  WRITE 5 08:01:77 0 EOF\n\
                         3: FLOCK  ADVISORY  WRITE 6 08:01:777 0 EOF\n\
                         damaged\n\
                         4: FLOCK  ADVISORY  WRITE 7 08:01:77 0 EOF\n";
            assert_eq!(holder_in(locks, "08:01:77"), Some(7));
            assert_eq!(holder_in(locks, "08:01:7"), None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acquire(path: &Path) -> FileLock {
        match FileLock::try_acquire(path).unwrap() {
            FileLockAttempt::Acquired(lock) => lock,
            held => panic!("{held:?}"),
        }
    }

    #[test]
    fn a_forked_child_neither_keeps_nor_releases_the_lock() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("LOCK");
        // A child has the same open file, and its own idea of who it is.
        let parent = acquire(&path);
        let child = FileLock { file: parent.file.try_clone().unwrap(), path: path.clone(), pid: parent.pid };
        let mut stranger = FileLock { file: parent.file.try_clone().unwrap(), path: path.clone(), pid: parent.pid };
        stranger.pid = parent.pid.wrapping_add(1);
        let error = stranger.check_owner().unwrap_err();
        assert_eq!(error.code(), Code::DatabaseNotOpen);
        assert!(error.message().contains(path.to_str().unwrap()), "{error}");
        drop(stranger);
        assert!(matches!(FileLock::try_acquire(&path).unwrap(), FileLockAttempt::Held { .. }));
        drop(parent);
        acquire(&path);
        drop(child);
    }
}
