//! The two halves of a TLS connection, as the protocol wants them.
//!
//! What is written to a TLS session may stay in it when the socket takes no more, and goes out with the next write or flush.
//! The protocol's drivers do not flush: they write what there is and then read. So the reading half sends what is left,
//! too. There is at most one record left, since a session with something left takes nothing new.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::TlsStream;

/// Divides a connection. Dropping both halves ends it.
pub(crate) fn split(stream: impl Into<TlsStream<TcpStream>>) -> (TlsReader, TlsWriter) {
    let shared = Arc::new(Mutex::new(Shared { stream: stream.into(), left: false, writer: None }));
    (TlsReader(shared.clone()), TlsWriter(shared))
}

#[derive(Debug)]
struct Shared {
    stream: TlsStream<TcpStream>,
    /// Something written may still be in the session.
    left: bool,
    /// The writing task, while it waits. The socket knows only who waited last.
    writer: Option<Waker>,
}

impl Shared {
    /// Sends what is left.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.left {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.left = false;
            if let Some(writer) = self.writer.take() {
                writer.wake();
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(cx))?;
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.left = true;
        match self.poll_send(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // Taken, and sent as soon as the socket has room.
            _ => Poll::Ready(Ok(written)),
        }
    }

    /// Remembers who waits to write.
    fn waits<T>(&mut self, cx: &Context<'_>, poll: Poll<T>) -> Poll<T> {
        self.writer = poll.is_pending().then(|| cx.waker().clone());
        poll
    }
}

type Half = Arc<Mutex<Shared>>;

fn lock(half: &Half) -> MutexGuard<'_, Shared> {
    half.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the peer sends.
#[derive(Debug)]
pub(crate) struct TlsReader(Half);

impl AsyncRead for TlsReader {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut shared = lock(&self.0);
        // A failure to send is the writer's to tell: what came before it can still be read.
        let _ = shared.poll_send(cx);
        match Pin::new(&mut shared.stream).poll_read(cx, buffer) {
            // The peer was killed and had no time to say goodbye. To the protocol every end of a connection is alike.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            other => other,
        }
    }
}

/// What the peer gets.
#[derive(Debug)]
pub(crate) struct TlsWriter(Half);

impl AsyncWrite for TlsWriter {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut shared = lock(&self.0);
        let poll = shared.poll_write(cx, bytes);
        shared.waits(cx, poll)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = lock(&self.0);
        let poll = shared.poll_send(cx);
        shared.waits(cx, poll)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = lock(&self.0);
        let poll = match shared.poll_send(cx) {
            Poll::Ready(Ok(())) => Pin::new(&mut shared.stream).poll_shutdown(cx),
            other => other,
        };
        shared.waits(cx, poll)
    }
}
