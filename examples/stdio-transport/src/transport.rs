//! The guest's side: a connection is a command that runs.

use crate::{
    child::Running,
    greeting::{Heard, hear},
    relay::PASSING,
};
use async_trait::async_trait;
use rave_level::{
    Code, Error, Result,
    transport::{Connect, Connection, Listener, PeerIdentity, Transport},
};
use std::{ffi::OsString, fmt::Display, sync::Arc, time::Duration};
use tokio::time::timeout;

/// Reaches a database through a command whose stdin and stdout are the connection. Needs a tokio runtime with I/O and time
/// enabled.
///
/// ```no_run
/// # async fn example() -> rave_level::Result<()> {
/// use rave_level::{AbstractLevelExt, Builder};
/// use stdio_transport::StdioTransport;
///
/// let command = ["ssh", "-o", "BatchMode=yes", "example.org", "rave-stdio", "/srv/db"];
/// let db = Builder::guest(StdioTransport::new(command)).open().await?;
/// db.put("hello", "from far away").await
/// # }
/// ```
///
/// The command is started anew for each connection. It belongs to whoever starts it, so nobody else gets at the database;
/// who may start it over there, and whether the other end is the right one, is for the command to find out, as `ssh` does.
#[derive(Clone, Debug)]
pub struct StdioTransport {
    command: Arc<[OsString]>,
    patience: Duration,
}

impl StdioTransport {
    /// Through this command: a program and its arguments. No shell reads them.
    pub fn new<W: Into<OsString>>(command: impl IntoIterator<Item = W>) -> Self {
        Self { command: command.into_iter().map(Into::into).collect(), patience: Duration::from_secs(30) }
    }

    /// How long the command may take to reach a database; default 30 seconds.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    fn failed(&self, what: impl Display, said: &str) -> Error {
        let said = if said.is_empty() { String::new() } else { format!("; it said: {said}") };
        Error::new(Code::Io, format!("the command `{}` {what}{said}", self.address()))
    }
}

#[async_trait]
impl Transport for StdioTransport {
    async fn connect(&self) -> Result<Connect> {
        let attempt = |error| Error::io(format!("starting the command `{}`", self.address()), error);
        // Dropping this future drops the child, which kills it.
        let mut running = Running::start(&self.command).map_err(attempt)?;
        let heard = timeout(self.patience, hear(&mut running.stdout)).await;
        if let Ok(Ok(Heard::Greeting)) = heard {
            let mut peer = PeerIdentity::default();
            peer.address = Some(self.address().into());
            let (reader, writer) = running.into_halves();
            return Ok(Connect::Connected(Connection { reader: Box::new(reader), writer: Box::new(writer), peer }));
        }
        let (status, said) = running.end().await;
        Err(match heard {
            Err(_) => self.failed(format!("has reached no database within {:?}", self.patience), &said),
            Ok(Ok(Heard::Other(other))) => self.failed(
                format!(
                    "printed \"{other}\" where `rave-stdio` greets; if it goes through a shell, nothing that the shell \
                     runs at its start may print"
                ),
                &said,
            ),
            Ok(_) => match status {
                // There was nobody at this moment, and that is no error.
                Ok(status) if status.code() == Some(PASSING.into()) => return Ok(Connect::NobodyHome),
                Ok(status) => self.failed(format!("ended before it reached a database ({status})"), &said),
                Err(error) => self.failed("could not be waited for", &said).with_source(error),
            },
        })
    }

    async fn listen(&self) -> Result<Box<dyn Listener>> {
        let what =
            format!("listening at a command: `{}` can only be connected to, by `Builder::guest`", self.address());
        Err(Error::not_supported(what))
    }

    fn address(&self) -> String {
        let words: Vec<_> = self.command.iter().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }
}
