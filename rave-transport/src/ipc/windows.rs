//! Named pipes of Windows.
//!
//! The system refuses a second first instance of a name and clients of other machines, and lets in only the user who
//! made a pipe; nothing remains of a pipe when its last handle closes. A guest does not check whose a pipe is: whoever
//! else on the machine makes one of a database's name first can answer in its leader's place.

use crate::{Connect, Connection, Listener, PeerIdentity};
use async_trait::async_trait;
use interprocess::{
    ConnectWaitMode,
    local_socket::{
        ConnectOptions, GenericFilePath, ListenerOptions, Name, ToFsName as _,
        tokio::{Listener as Pipe, Stream, prelude::*},
    },
    os::windows::{local_socket::ListenerOptionsExt as _, security_descriptor::SecurityDescriptor},
};
use rave_core::{Code, Error, Result};
use sha2::{Digest as _, Sha256};
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::{Instant, sleep};
use widestring::u16cstr;

/// How the names of all pipes of this machine begin.
const PIPES: &str = r"\\.\pipe\";
/// The longest name a pipe can have, in the system's units of 16 bits.
const LONGEST: usize = 256;
/// `ERROR_ACCESS_DENIED`: of a name that somebody has, to one who wants to have it first.
const DENIED: i32 = 5;
/// How long a guest waits for an instance, and a host until the guests of a dead one have let go of its pipe.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long they wait in between.
const PAUSE: Duration = Duration::from_millis(5);

/// Where to meet; paths are absolute.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// At the database in this directory.
    Directory(PathBuf),
    /// At the pipe of this name.
    Pipe(String),
}

impl Place {
    pub(super) fn for_directory(directory: PathBuf) -> Self {
        Self::Directory(directory)
    }

    pub(super) fn at(path: PathBuf) -> Result<Self> {
        let shown = path.display().to_string();
        match path.into_os_string().into_string() {
            Ok(name) if name.starts_with(PIPES) && length(&name) <= LONGEST => Ok(Self::Pipe(name)),
            _ => {
                let what =
                    format!(r"is not the name of a pipe, which is {PIPES}NAME with at most {LONGEST} characters");
                Err(Error::new(Code::Io, format!("\"{shown}\" {what}")))
            }
        }
    }

    pub(super) fn address(&self) -> String {
        match self {
            Self::Directory(directory) => self.name().ok().flatten().unwrap_or_else(|| name_for(directory)),
            Self::Pipe(name) => name.clone(),
        }
    }

    /// The pipe's name; `None` where the directory is missing, so that nobody can listen there.
    fn name(&self) -> Result<Option<String>> {
        let directory = match self {
            Self::Pipe(name) => return Ok(Some(name.clone())),
            Self::Directory(directory) => directory,
        };
        // So that all spellings of one directory lead to one pipe: links, short names, large and small letters. Not
        // remembered: a directory can be made, moved or replaced between two calls.
        match directory.canonicalize() {
            Ok(directory) => Ok(Some(name_for(&directory))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(format!("resolving the path \"{}\"", directory.display()), error)),
        }
    }
}

/// The name for the database in a directory: its path, as people write it, or where that is too long or no text, a hash.
fn name_for(directory: &Path) -> String {
    let readable = directory.to_str().map(|path| match path.strip_prefix(r"\\?\UNC\") {
        Some(share) => format!(r"{PIPES}rave-level\\\{share}"),
        None => format!(r"{PIPES}rave-level\{}", path.strip_prefix(r"\\?\").unwrap_or(path)),
    });
    readable.filter(|name| length(name) <= LONGEST).unwrap_or_else(|| {
        let hash = Sha256::digest(directory.as_os_str().as_encoded_bytes());
        format!(r"{PIPES}rave-level\{}", hex::encode(hash))
    })
}

fn length(name: &str) -> usize {
    name.encode_utf16().count()
}

fn system_name(name: &str) -> Result<Name<'_>> {
    Path::new(name)
        .to_fs_name::<GenericFilePath>()
        .map_err(|error| Error::io(format!("naming the pipe \"{name}\""), error))
}

pub(super) async fn connect(place: &Place) -> Result<Connect> {
    let Some(name) = place.name()? else { return Ok(Connect::NobodyHome) };
    let start = Instant::now();
    loop {
        // Otherwise it waits on a thread, and for ever.
        let at_once = ConnectWaitMode::Timeout(Duration::ZERO);
        match ConnectOptions::new().name(system_name(&name)?).wait_mode(at_once).connect_tokio().await {
            Ok(stream) => return Ok(Connect::Connected(connection(stream))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Connect::NobodyHome),
            // Every instance is taken for the moment.
            Err(error) if error.kind() == io::ErrorKind::TimedOut && start.elapsed() < PATIENCE => sleep(PAUSE).await,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                let text = format!("the leader at \"{name}\" has accepted nobody for {} seconds", PATIENCE.as_secs());
                return Err(Error::new(Code::Io, text).with_source(error));
            }
            Err(error) => return Err(Error::io(format!("connecting to \"{name}\""), error)),
        }
    }
}

fn connection(stream: Stream) -> Connection {
    let pid = stream.peer_creds().ok().and_then(|credentials| credentials.pid());
    let (reader, writer) = tokio::io::split(stream);
    Connection { reader: Box::new(reader), writer: Box::new(writer), peer: PeerIdentity::of_process(pid) }
}

pub(super) async fn listen(place: &Place) -> Result<PipeListener> {
    let Some(name) = place.name()? else {
        let text = format!("listening at the database at \"{}\": there is no such directory", place.address());
        return Err(Error::new(Code::Io, text));
    };
    let start = Instant::now();
    loop {
        // By default everybody may read a pipe.
        let owner_only = SecurityDescriptor::deserialize(u16cstr!("D:P(A;;GA;;;OW)"))
            .map_err(|error| Error::io("making a pipe for this user alone", error))?;
        let options = ListenerOptions::new().name(system_name(&name)?).security_descriptor(owner_only);
        match options.create_tokio() {
            Ok(pipe) => return Ok(PipeListener(pipe)),
            // The pipe of a dead host is there until its guests have noticed.
            Err(error) if error.raw_os_error() == Some(DENIED) && start.elapsed() < PATIENCE => sleep(PAUSE).await,
            Err(error) => return Err(Error::io(format!("listening at \"{name}\""), error)),
        }
    }
}

pub(super) struct PipeListener(Pipe);

#[async_trait]
impl Listener for PipeListener {
    async fn accept(&mut self) -> Result<Connection> {
        self.0.accept().await.map(connection).map_err(|error| Error::io("accepting a guest", error))
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_name_however_it_is_spelled() {
        let directory = tempfile::tempdir().unwrap();
        let of = |path: PathBuf| Place::for_directory(path).name().unwrap();
        let name = of(directory.path().to_owned()).unwrap();
        assert!(name.starts_with(r"\\.\pipe\rave-level\") && !name.contains('?'), "{name}");
        assert_eq!(of(directory.path().join("..").join(directory.path().file_name().unwrap())), Some(name));
        assert_eq!(of(directory.path().join("missing")), None);
    }

    #[test]
    fn long_paths_are_hashed() {
        assert_eq!(name_for(Path::new(r"\\?\C:\db")), r"\\.\pipe\rave-level\C:\db");
        assert_eq!(name_for(Path::new(r"\\?\UNC\server\share")), r"\\.\pipe\rave-level\\\server\share");
        // As many characters, but more bytes.
        let fits = "ü".repeat(200);
        assert!(name_for(Path::new(&fits)).ends_with(&fits));
        let long = |last: &str| name_for(Path::new(&format!("{}{last}", "x".repeat(300))));
        assert!(length(&long("a")) <= LONGEST && long("a") != long("b"));
    }

    #[test]
    fn what_is_no_pipe_is_refused() {
        assert!(Place::at(PathBuf::from(r"\\.\pipe\mine")).is_ok());
        for path in [r"C:\db\socket".to_owned(), format!("{PIPES}{}", "x".repeat(300))] {
            assert!(Place::at(path.into()).unwrap_err().message().contains(r"\\.\pipe\NAME"));
        }
    }

    #[tokio::test]
    async fn the_pipe_of_a_dead_host_is_replaced_when_its_guests_have_let_go() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::for_directory(directory.path().to_owned());
        assert!(matches!(connect(&place).await.unwrap(), Connect::NobodyHome));
        let mut first = listen(&place).await.unwrap();
        let (accepted, guest) = tokio::join!(first.accept(), connect(&place));
        let (accepted, Connect::Connected(guest)) = (accepted.unwrap(), guest.unwrap()) else { panic!("nobody home") };
        assert_eq!((accepted.peer.pid, guest.peer.pid), (Some(std::process::id()), Some(std::process::id())));
        drop((first, accepted));
        let (second, ()) = tokio::join!(listen(&place), async {
            sleep(PAUSE * 20).await;
            drop(guest);
        });
        let mut second = second.unwrap();
        let (accepted, guest) = tokio::join!(second.accept(), connect(&place));
        assert!(accepted.is_ok() && matches!(guest, Ok(Connect::Connected(_))));
    }
}
