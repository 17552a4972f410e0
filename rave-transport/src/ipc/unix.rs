//! Unix domain sockets.

pub(super) use super::place::Place;

use crate::{Connect, Connection, Listener, PeerIdentity};
use async_trait::async_trait;
use interprocess::{
    local_socket::{GenericFilePath, ListenerOptions, ToFsName as _},
    os::unix::{local_socket::ListenerOptionsExt as _, uds_local_socket::tokio::Listener as Socket},
};
use nix::{errno::Errno, unistd::geteuid};
use rave_core::{Code, Error, Result};
use std::{
    fs, io,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
            net::UnixStream as StdStream,
        },
    },
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    net::UnixStream,
    time::{Instant, Interval, MissedTickBehavior, interval_at, sleep},
};

/// Guests that may wait to be accepted. The system may allow fewer.
const BACKLOG: i32 = 4096;
/// How long a guest waits for room among them.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the host looks whether its socket is still there.
const WATCH: Duration = Duration::from_millis(500);
/// How long the host waits where the system has no descriptors or memory for one more guest.
const PAUSE: Duration = Duration::from_millis(10);

pub(super) async fn connect(place: &Place) -> Result<Connect> {
    let Some(path) = place.to_connect()? else { return Ok(Connect::NobodyHome) };
    if !look(&path)? {
        return Ok(Connect::NobodyHome);
    }
    let start = Instant::now();
    let mut wait = Duration::from_millis(1);
    let stream = loop {
        match dial(&path).await {
            Ok(stream) => break stream,
            Err(error) if says_nobody_home(&error) => return Ok(Connect::NobodyHome),
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                // Too many guests wait to be accepted. The socket is not connected then, whatever poll says.
                Some(Errno::EAGAIN) if start.elapsed() < PATIENCE => {
                    sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_millis(50));
                }
                Some(Errno::EAGAIN) => {
                    let text = format!(
                        "the leader at \"{}\" has accepted nobody for {} seconds",
                        path.display(),
                        PATIENCE.as_secs()
                    );
                    return Err(Error::new(Code::Io, text).with_source(error));
                }
                _ => return Err(Error::io(format!("connecting to \"{}\"", path.display()), error)),
            },
        }
    };
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == geteuid().as_raw() => Ok(Connect::Connected(connection(stream, peer.pid()))),
        Ok(peer) => Err(foreign(&path, peer.uid())),
        Err(error) => Err(Error::io(format!("asking who listens at \"{}\"", path.display()), error)),
    }
}

/// Connects without waiting. `interprocess` and `tokio` do not tell "no room" from "connected".
async fn dial(path: &Path) -> io::Result<UnixStream> {
    let (socket, pending) = begin_to_dial(path)?;
    let stream = UnixStream::from_std(StdStream::from(OwnedFd::from(socket)))?;
    if pending {
        stream.writable().await?;
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
    }
    Ok(stream)
}

/// A socket that is connected, or about to be: then `true`.
fn begin_to_dial(path: &Path) -> io::Result<(socket2::Socket, bool)> {
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&socket2::SockAddr::unix(path)?) {
        Ok(()) => Ok((socket, false)),
        Err(error) if error.raw_os_error() == Some(Errno::EINPROGRESS as i32) => Ok((socket, true)),
        Err(error) => Err(error),
    }
}

/// Whether dialing failed because nobody listens there.
fn says_nobody_home(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::ENOENT | Errno::ECONNREFUSED))
}

fn connection(stream: UnixStream, pid: Option<i32>) -> Connection {
    // A peer in another process namespace has the number 0 here.
    let pid = pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0);
    let (reader, writer) = stream.into_split();
    Connection { reader: Box::new(reader), writer: Box::new(writer), peer: PeerIdentity::of_process(pid) }
}

/// Whether there is a socket of this user at the path; an error if there is something else.
fn look(path: &Path) -> Result<bool> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::io(format!("looking at the socket \"{}\"", path.display()), error)),
    };
    let file_type = metadata.file_type();
    if !file_type.is_socket() {
        let what = match () {
            () if file_type.is_symlink() => "a symbolic link",
            () if file_type.is_dir() => "a directory",
            () if file_type.is_file() => "a file",
            () => "something else",
        };
        let text = format!("there is {what} at \"{}\", where the socket should be; move it away", path.display());
        return Err(Error::new(Code::Io, text));
    }
    if metadata.uid() != geteuid().as_raw() {
        return Err(foreign(path, metadata.uid()));
    }
    Ok(true)
}

fn foreign(path: &Path, owner: u32) -> Error {
    let text = format!(
        "the socket \"{}\" belongs to user {owner}, not to user {}; all processes of a database must run as one user",
        path.display(),
        geteuid()
    );
    Error::new(Code::Io, text)
}

/// Which file it is, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl From<&fs::Metadata> for Identity {
    fn from(metadata: &fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

pub(super) async fn listen(place: &Place) -> Result<UnixListener> {
    let database = database(place);
    let (socket, made) = replace(place)?;
    let mut watch = interval_at(Instant::now() + WATCH, WATCH);
    watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Ok(UnixListener { place: place.clone(), database, socket, made: Some(made), watch, unreachable: false })
}

/// Which directory the database has at the moment, where there is one.
fn database(place: &Place) -> Option<Identity> {
    match place {
        Place::Directory(path) => fs::metadata(path).ok().as_ref().map(Identity::from),
        Place::Socket(_) => None,
    }
}

/// Makes the socket, in place of one that is there already.
fn replace(place: &Place) -> Result<(Socket, Made)> {
    let path = place.to_listen()?;
    if look(&path)? {
        // The caller holds the store's lock, so whoever made it is dead or leaves.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io(format!("removing the old socket \"{}\"", path.display()), error));
            }
            _ => {}
        }
    }
    let socket = bind(&path).map_err(|error| Error::io(format!("listening at \"{}\"", path.display()), error))?;
    let metadata = fs::symlink_metadata(&path)
        .map_err(|error| Error::io(format!("looking at the new socket \"{}\"", path.display()), error))?;
    Ok((socket, Made { path, identity: Identity::from(&metadata) }))
}

fn bind(path: &Path) -> io::Result<Socket> {
    let options = || -> io::Result<_> {
        let name = path.to_fs_name::<GenericFilePath>()?;
        // Reclaiming would remove the path when this is dropped, even if a later leader had bound it meanwhile.
        Ok(ListenerOptions::new().name(name).reclaim_name(false))
    };
    let socket = match options()?.mode(0o600).create_tokio_as::<Socket>() {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            // Not every Unix can set the mode beforehand. In between, the credentials keep others out.
            let socket = options()?.create_tokio_as::<Socket>()?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
            socket
        }
        other => other?,
    };
    socket2::SockRef::from(socket.inner()).listen(BACKLOG)?;
    Ok(socket)
}

#[derive(Debug)]
pub(super) struct UnixListener {
    place: Place,
    /// The directory that it was made for.
    database: Option<Identity>,
    socket: Socket,
    made: Option<Made>,
    watch: Interval,
    /// It could not be reached when it looked last.
    unreachable: bool,
}

impl UnixListener {
    /// Makes the socket again if somebody has taken it away, so that nobody waits for ever for a leader that is there: a
    /// JavaScript process that lost the lock while it became the leader removes the next leader's socket, and so do
    /// people who tidy up.
    ///
    /// It is made again only where the caller's lock still protects it. A database that was moved or deleted is not at its
    /// path any more, and another one may be: that has its own lock and its own leader. And who answers at the socket is
    /// never displaced.
    ///
    /// Errors: another host has this very place now.
    fn stay_reachable(&mut self) -> Result<()> {
        let Some(made) = &self.made else { return Ok(()) };
        let there = made.is_there();
        if matches!(there, Ok(Some(true))) {
            self.unreachable = false;
            return Ok(());
        }
        let again = match &self.place {
            // A socket by itself has no lock.
            Place::Socket(path) if matches!(there, Ok(Some(false))) => {
                let message = format!("another process has taken the place of the socket \"{}\"", path.display());
                return Err(Error::new(Code::Locked, message));
            }
            Place::Directory(path) if self.database.is_none() || database(&self.place) != self.database => {
                Err(format!("the database is not at \"{}\" any more", path.display()))
            }
            Place::Directory(_) if answers(&made.path) => {
                Err(format!("another process listens at \"{}\"", made.path.display()))
            }
            _ => replace(&self.place).map_err(|error| error.to_string()),
        };
        match again {
            Ok((socket, made)) => {
                tracing::warn!(path = %made.path.display(), "the socket had vanished and was made again");
                self.socket = socket;
                self.made = Some(made);
                self.unreachable = false;
            }
            Err(reason) if !self.unreachable => {
                tracing::warn!(reason, "no new guest can reach this process: its socket is gone");
                self.unreachable = true;
            }
            Err(_) => {}
        }
        Ok(())
    }
}

/// Whether somebody listens at this socket, as far as can be told without waiting.
fn answers(path: &Path) -> bool {
    !begin_to_dial(path).is_err_and(|error| says_nobody_home(&error))
}

/// The socket file a listener made.
#[derive(Debug)]
struct Made {
    path: PathBuf,
    identity: Identity,
}

impl Made {
    /// Whether it is at its path; `None` if nothing is.
    fn is_there(&self) -> io::Result<Option<bool>> {
        match fs::symlink_metadata(&self.path) {
            Ok(metadata) => Ok(Some(Identity::from(&metadata) == self.identity)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes it, unless something else is there by now. The number stays taken while the listener's descriptor is
    /// open, so a later leader's socket cannot have it.
    fn remove(&self) -> io::Result<()> {
        if self.is_there()? != Some(true) {
            return Ok(());
        }
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for UnixListener {
    fn drop(&mut self) {
        if let Some(made) = self.made.take()
            && let Err(error) = made.remove()
        {
            tracing::warn!(%error, path = %made.path.display(), "the socket could not be removed");
        }
    }
}

#[async_trait]
impl Listener for UnixListener {
    async fn accept(&mut self) -> Result<Connection> {
        loop {
            // Nothing is awaited between accepting and returning, so cancelling loses no connection.
            let accepted = tokio::select! {
                biased;
                accepted = self.socket.inner().accept() => accepted,
                _ = self.watch.tick() => {
                    self.stay_reachable()?;
                    continue;
                }
            };
            match accepted {
                Ok((stream, _)) => match stream.peer_cred() {
                    Ok(peer) if peer.uid() == geteuid().as_raw() => return Ok(connection(stream, peer.pid())),
                    Ok(peer) => tracing::warn!(uid = peer.uid(), "turned away a process of another user"),
                    Err(error) => tracing::debug!(%error, "a guest left before it was accepted"),
                },
                Err(error) if is_passing(&error) => {
                    tracing::warn!(%error, "cannot accept a guest at the moment");
                    sleep(PAUSE).await;
                }
                Err(error) => return Err(Error::io("accepting a guest", error)),
            }
        }
    }

    async fn close(mut self: Box<Self>) -> Result<()> {
        match self.made.take() {
            Some(made) => made
                .remove()
                .map_err(|error| Error::io(format!("removing the socket \"{}\"", made.path.display()), error)),
            None => Ok(()),
        }
    }
}

/// Whether accepting can succeed later.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(
            Errno::ECONNABORTED
                | Errno::EINTR
                | Errno::EMFILE
                | Errno::ENFILE
                | Errno::ENOBUFS
                | Errno::ENOMEM
                | Errno::EPROTO
        )
    )
}
