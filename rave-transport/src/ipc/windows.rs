//! Named pipes of Windows.
//!
//! The system refuses a second first instance of a name and clients of other machines, and lets only the user who made
//! a pipe write to it; nothing remains of a pipe when its last handle closes.

use crate::{Connect, Connection, Listener, PeerIdentity};
use async_trait::async_trait;
use interprocess::local_socket::{
    GenericFilePath, ListenerOptions, ToFsName as _,
    tokio::{Listener as Pipe, Stream, prelude::*},
};
use rave_core::{Error, Result};
use sha2::{Digest as _, Sha256};
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// The longest name a pipe can have.
const LONGEST: usize = 256;
/// `ERROR_PIPE_BUSY`: every instance is taken for the moment.
const BUSY: i32 = 231;
/// How long a guest waits for an instance.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where to meet.
#[derive(Clone, Debug)]
pub(super) struct Place(String);

impl Place {
    pub(super) fn for_directory(directory: PathBuf) -> Self {
        let directory = directory.display().to_string();
        let name = format!(r"\\.\pipe\rave-level\{directory}");
        if name.len() <= LONGEST {
            return Self(name);
        }
        Self(format!(r"\\.\pipe\rave-level\{}", hex::encode(Sha256::digest(directory.as_bytes()))))
    }

    pub(super) fn at(path: PathBuf) -> Result<Self> {
        Ok(Self(path.display().to_string()))
    }

    pub(super) fn address(&self) -> String {
        self.0.clone()
    }
}

pub(super) async fn connect(place: &Place) -> Result<Connect> {
    let start = Instant::now();
    loop {
        let name = Path::new(&place.0)
            .to_fs_name::<GenericFilePath>()
            .map_err(|error| Error::io(format!("naming the pipe \"{}\"", place.0), error))?;
        match Stream::connect(name).await {
            Ok(stream) => return Ok(Connect::Connected(connection(stream))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Connect::NobodyHome),
            Err(error) if error.raw_os_error() == Some(BUSY) && start.elapsed() < PATIENCE => {
                sleep(Duration::from_millis(5)).await;
            }
            Err(error) => return Err(Error::io(format!("connecting to \"{}\"", place.0), error)),
        }
    }
}

fn connection(stream: Stream) -> Connection {
    let pid = stream.peer_creds().ok().and_then(|credentials| credentials.pid());
    let (reader, writer) = tokio::io::split(stream);
    Connection { reader: Box::new(reader), writer: Box::new(writer), peer: PeerIdentity::of_process(pid) }
}

pub(super) fn listen(place: &Place) -> Result<PipeListener> {
    Path::new(&place.0)
        .to_fs_name::<GenericFilePath>()
        .and_then(|name| ListenerOptions::new().name(name).create_tokio())
        .map(PipeListener)
        .map_err(|error| Error::io(format!("listening at \"{}\"", place.0), error))
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
