//! The skeleton of a transport that listens: TCP on the loopback interface. Whoever can read a file may connect: it tells
//! the port and a secret, which a guest sends first.

use async_trait::async_trait;
use rave_level::{
    Code, Error, Result,
    transport::{Connect, Connection, Listener, PeerIdentity, Transport},
};
use std::{
    fs,
    hash::{BuildHasher, RandomState},
    io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::{AbortHandle, JoinSet},
};

/// How long a guest may take to send the secret.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many guests may be about to send it.
const GREETINGS: usize = 64;

/// A meeting point that is told by a file.
#[derive(Clone, Debug)]
pub struct Loopback {
    file: PathBuf,
}

impl Loopback {
    /// The meeting point that `file` tells. The file belongs beside the store's lock, in a directory of this user.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into() }
    }

    /// The port and the secret of the leader, if there was one.
    fn read(&self) -> Result<Option<(u16, u128)>> {
        let text = match fs::read_to_string(&self.file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.error("reading", error)),
        };
        let (port, secret) = text.trim().split_once(' ').unwrap_or_default();
        match (port.parse(), u128::from_str_radix(secret, 16)) {
            (Ok(port), Ok(secret)) => Ok(Some((port, secret))),
            _ => Err(Error::new(Code::Io, format!("{} does not tell a port and a secret", self.file.display()))),
        }
    }

    /// Tells the port and the secret: first completely, in a file that only this user can read, then visibly.
    fn write(&self, port: u16, secret: u128) -> io::Result<()> {
        let new = self.file.with_extension("new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        io::Write::write_all(&mut options.open(&new)?, format!("{port} {secret:032x}\n").as_bytes())?;
        fs::rename(new, &self.file)
    }

    fn error(&self, doing: &str, error: io::Error) -> Error {
        Error::io(format!("{doing} {}", self.file.display()), error)
    }
}

#[async_trait]
impl Transport for Loopback {
    async fn connect(&self) -> Result<Connect> {
        let Some((port, secret)) = self.read()? else { return Ok(Connect::NobodyHome) };
        let connected = async {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
            stream.set_nodelay(true)?;
            stream.write_all(&secret.to_be_bytes()).await?;
            io::Result::Ok(stream)
        };
        // A dead leader's port refuses, or belongs to a stranger, who does not speak the protocol.
        match connected.await {
            Ok(stream) => Ok(Connect::Connected(connection(stream))),
            Err(_) => Ok(Connect::NobodyHome),
        }
    }

    async fn listen(&self) -> Result<Box<dyn Listener>> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(|e| self.error("listening for", e))?;
        let port = listener.local_addr().map_err(|error| self.error("listening for", error))?.port();
        let secret = secret();
        self.write(port, secret).map_err(|error| self.error("writing", error))?;
        let (sender, guests) = mpsc::channel(16);
        let task = tokio::spawn(take_in(listener, secret, sender)).abort_handle();
        Ok(Box::new(LoopbackListener { guests, task, file: self.file.clone() }))
    }

    fn address(&self) -> String {
        format!("the port in {}", self.file.display())
    }
}

/// Takes in guests on a task, so that one who is slow to greet holds up nobody, and a cancelled `accept` loses nobody.
struct LoopbackListener {
    guests: mpsc::Receiver<TcpStream>,
    task: AbortHandle,
    file: PathBuf,
}

async fn take_in(listener: TcpListener, secret: u128, guests: mpsc::Sender<TcpStream>) {
    let mut greetings = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if greetings.len() < GREETINGS => match accepted {
                Ok((stream, _)) => drop(greetings.spawn(greet(stream, secret, guests.clone()))),
                // Out of descriptors, for example. Others may end.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = greetings.join_next() => {}
        }
    }
}

async fn greet(mut stream: TcpStream, secret: u128, guests: mpsc::Sender<TcpStream>) {
    let greeting = tokio::time::timeout(PATIENCE, stream.read_u128()).await;
    if matches!(greeting, Ok(Ok(greeting)) if greeting == secret) && stream.set_nodelay(true).is_ok() {
        // Fails only if the listener is gone.
        let _ = guests.send(stream).await;
    }
}

#[async_trait]
impl Listener for LoopbackListener {
    async fn accept(&mut self) -> Result<Connection> {
        let stream = self.guests.recv().await.ok_or_else(|| Error::new(Code::Io, "the listener has ended"))?;
        Ok(connection(stream))
    }

    async fn close(self: Box<Self>) -> Result<()> {
        remove(&self.file)
    }
}

impl Drop for LoopbackListener {
    fn drop(&mut self) {
        self.task.abort();
        let _ = remove(&self.file);
    }
}

fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(format!("removing {}", file.display()), error))
        }
        _ => Ok(()),
    }
}

/// The standard library seeds its hashers with the system's randomness.
fn secret() -> u128 {
    let part = |number: u8| u128::from(RandomState::new().hash_one(number));
    (part(0) << 64) | part(1)
}

fn connection(stream: TcpStream) -> Connection {
    let (reader, writer) = stream.into_split();
    Connection { reader: Box::new(reader), writer: Box::new(writer), peer: PeerIdentity::default() }
}
