//! The command while it runs: its pipes, what it says to stderr, and its end.
//!
//! Whoever holds neither half of the connection any more is done with the child: it sees the end of its stdin, gets a
//! little time to leave by itself, and is killed if it does not. In any case it is waited for, so that no zombie stays.

use std::{
    convert::Infallible,
    ffi::OsString,
    io,
    pin::Pin,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};

/// How long a child may take to leave once nobody needs it, and its stderr to end once it has left.
const GRACE: Duration = Duration::from_secs(2);
/// So many bytes of stderr are kept for an error, the last ones.
const KEPT: usize = 2000;

/// A command that has been started. Dropping it kills the child.
pub(crate) struct Running {
    child: Child,
    stdin: ChildStdin,
    pub(crate) stdout: ChildStdout,
    said: Arc<Mutex<Vec<u8>>>,
    listening: JoinHandle<()>,
}

impl Running {
    pub(crate) fn start(command: &[OsString]) -> io::Result<Self> {
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn()?;
        let missing = || io::Error::other("a pipe is missing");
        let stdin = child.stdin.take().ok_or_else(missing)?;
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        let said = Arc::default();
        let listening = tokio::spawn(listen(stderr, Arc::clone(&said)));
        Ok(Self { child, stdin, stdout, said, listening })
    }

    /// Waits until the child has ended by itself, or ends it; and tells how it ended and what it said.
    pub(crate) async fn end(mut self) -> (io::Result<ExitStatus>, String) {
        drop(self.stdin);
        let status = match timeout(GRACE, self.child.wait()).await {
            Ok(status) => status,
            Err(_) => match self.child.kill().await {
                Ok(()) => self.child.wait().await,
                Err(error) => Err(error),
            },
        };
        // Somebody whom the child started may have the pipe and keep it.
        let _ = timeout(GRACE, self.listening).await;
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        (status, String::from_utf8_lossy(&said).trim().to_owned())
    }

    /// The two halves of the connection, and nothing more to do: the child ends with them.
    pub(crate) fn into_halves(self) -> (Half<ChildStdout>, Half<ChildStdin>) {
        let (held, released) = mpsc::channel(1);
        tokio::spawn(see_off(self.child, released));
        (Half { pipe: self.stdout, _held: held.clone() }, Half { pipe: self.stdin, _held: held })
    }
}

/// Keeps the last of what the child says, and passes it on. Reads to the end, so that the child never waits for a reader.
async fn listen(mut stderr: ChildStderr, said: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
        let new = buffer.get(..count).unwrap_or_default();
        tracing::info!(said = %String::from_utf8_lossy(new).trim_end(), "the command");
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.extend_from_slice(new);
        let surplus = said.len().saturating_sub(KEPT);
        said.drain(..surplus);
    }
}

/// Waits for the child's end, and brings it about when both halves of the connection are gone.
async fn see_off(mut child: Child, mut released: mpsc::Receiver<Infallible>) {
    tokio::select! {
        _ = child.wait() => return,
        _ = released.recv() => {}
    }
    if timeout(GRACE, child.wait()).await.is_err()
        && let Err(error) = child.kill().await
    {
        tracing::warn!(%error, "a command that nobody needs any more could not be ended");
    }
}

/// A pipe to or from the child, which the child lives as long as.
pub(crate) struct Half<P> {
    pipe: P,
    _held: mpsc::Sender<Infallible>,
}

impl<P: AsyncRead + Unpin> AsyncRead for Half<P> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_read(cx, buffer)
    }
}

impl<P: AsyncWrite + Unpin> AsyncWrite for Half<P> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}
