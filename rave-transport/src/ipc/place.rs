//! Which path the socket of a database has.
//!
//! Invariants: all spellings of one directory lead to one socket, and no two directories share one; a socket outside
//! its database's directory is in a directory that only this user can enter.

use nix::unistd::geteuid;
use rave_core::{Code, Error, Result};
use sha2::{Digest as _, Sha256};
use std::{
    env, fs, io,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
};

/// The longest path that every Unix can bind, macOS being the strictest.
const LONGEST: usize = 103;
const NAME: &str = "rave-level.sock";

/// Where to meet; paths are absolute.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// At the database in this directory.
    Directory(PathBuf),
    /// At this socket.
    Socket(PathBuf),
}

impl Place {
    pub(super) fn for_directory(directory: PathBuf) -> Self {
        Self::Directory(directory)
    }

    pub(super) fn at(path: PathBuf) -> Result<Self> {
        if !fits(&path) {
            return Err(too_long(&path));
        }
        Ok(Self::Socket(path))
    }

    pub(super) fn address(&self) -> String {
        let path = match self {
            Self::Directory(directory) => self.to_connect().ok().flatten().unwrap_or_else(|| directory.join(NAME)),
            Self::Socket(path) => path.clone(),
        };
        path.display().to_string()
    }

    /// The socket's path for a guest; `None` where a directory on the way is missing, so that nobody can listen there.
    pub(super) fn to_connect(&self) -> Result<Option<PathBuf>> {
        self.resolve(false)
    }

    /// The socket's path for a host. Creates a private directory if one is needed, but never the database's.
    pub(super) fn to_listen(&self) -> Result<PathBuf> {
        self.resolve(true)?.ok_or_else(|| {
            let (Self::Directory(path) | Self::Socket(path)) = self;
            Error::new(
                Code::Io,
                format!("listening at the database \"{}\": there is no such directory", path.display()),
            )
        })
    }

    fn resolve(&self, create: bool) -> Result<Option<PathBuf>> {
        let directory = match self {
            Self::Socket(path) => return Ok(Some(path.clone())),
            Self::Directory(directory) => directory,
        };
        // Not remembered: a directory can be made, moved or replaced between two calls.
        let directory = match directory.canonicalize() {
            Ok(directory) => directory,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(format!("resolving the path \"{}\"", directory.display()), error)),
        };
        let path = directory.join(NAME);
        if fits(&path) {
            return Ok(Some(path));
        }
        let hash = hex::encode(Sha256::digest(directory.as_os_str().as_bytes()));
        // 128 bits of it: short enough for deep temporary folders, and no two databases ever meet by chance.
        let name = format!("{}.sock", hash.get(..32).unwrap_or(&hash));
        let Some(private) = candidates().into_iter().find(|private| fits(&private.join(&name))) else {
            return Err(too_long(&path));
        };
        Ok(private_directory(&private, create)?.then(|| private.join(name)))
    }
}

/// Where the private directory may be, in order. The same in every process of this user with the same environment.
fn candidates() -> Vec<PathBuf> {
    let shared = format!("rave-level-{}", geteuid());
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    // A runtime directory of another user is inherited through `su`, for instance; it is not ours to use.
    let runtime = runtime.filter(|path| fs::symlink_metadata(path).is_ok_and(|metadata| is_private(&metadata)));
    let temporary = Some(env::temp_dir()).filter(|path| path.is_absolute());
    runtime
        .map(|path| path.join("rave-level"))
        .into_iter()
        .chain(temporary.map(|path| path.join(&shared)))
        .chain([Path::new("/tmp").join(&shared)])
        .collect()
}

/// Whether the private directory is there; an error if it is there and not private.
fn private_directory(path: &Path, create: bool) -> Result<bool> {
    if create {
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Error::io(format!("creating the directory \"{}\"", path.display()), error));
            }
            _ => {}
        }
    }
    match fs::symlink_metadata(path) {
        Ok(metadata) if is_private(&metadata) => Ok(true),
        Ok(_) => Err(Error::new(
            Code::Io,
            format!(
                "\"{}\" must be a directory of user {} with mode 0700, because sockets are kept in it; remove it, or \
                 set XDG_RUNTIME_DIR",
                path.display(),
                geteuid()
            ),
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io(format!("looking at the directory \"{}\"", path.display()), error)),
    }
}

/// Whether it is a directory, not a link to one, that nobody else can enter.
fn is_private(metadata: &fs::Metadata) -> bool {
    metadata.is_dir() && metadata.uid() == geteuid().as_raw() && metadata.mode() & 0o077 == 0
}

fn fits(path: &Path) -> bool {
    path.as_os_str().len() <= LONGEST
}

fn too_long(path: &Path) -> Error {
    let length = path.as_os_str().len();
    Error::new(
        Code::Io,
        format!("the socket path \"{}\" has {length} bytes; at most {LONGEST} are possible", path.display()),
    )
}
