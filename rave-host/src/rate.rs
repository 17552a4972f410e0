//! How much one peer may ask for in a second. What is beyond waits in its connection: nothing is refused, and nobody else
//! waits for it.
//!
//! To ensure correctness:
//! - What comes is counted before the host sees it, frame by frame, and what goes when it is sent. A peer that is over its
//!   allowance is not read from, so the connection fills up and the peer has to wait.
//! - All connections of one peer share one allowance, and what it has spent is remembered for as long as it matters:
//!   connecting again, or many times, gives nothing more.

use bytes::{Buf as _, BytesMut};
use rave_core::PeerIdentity;
use rave_transport::Connection;
use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    num::{NonZeroU32, NonZeroU64},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

/// Bytes of a slowed peer that are held here before nothing more is read: no less than a socket holds of one that has gone, so
/// that its end is seen in time.
const HELD: usize = 256 << 10;
/// Requests handed on at once, so that the answers to some are counted before many more are begun.
const AT_ONCE: usize = 64;

/// How much one peer may ask for: all connections with the same token or certificate, of one process, or else from one
/// network address.
///
/// It may use up what it left unused during the last [`burst`](Self::burst), and is slowed down beyond that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests per second; each frame is one, also the acknowledgement of a page of an iterator.
    pub requests: Option<NonZeroU32>,
    /// Bytes per second, of requests and answers together.
    pub bytes: Option<NonZeroU64>,
    /// How much may come at once after a pause, as the time in which it may come evenly; default 1 second.
    pub burst: Duration,
}

impl Default for Rate {
    fn default() -> Self {
        Self { requests: None, bytes: None, burst: Duration::from_secs(1) }
    }
}

impl Rate {
    fn is_limit(&self) -> bool {
        self.requests.is_some() || self.bytes.is_some()
    }

    /// The time in which so much may come evenly: as long as the slower of both takes.
    fn costs(&self, requests: u64, bytes: u64) -> [Duration; 2] {
        let time = |count: u64, per_second: Option<u64>| match per_second {
            Some(rate) => {
                let nanos = u128::from(count) * 1_000_000_000 / u128::from(rate);
                Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
            }
            None => Duration::ZERO,
        };
        let rates = (self.requests.map(|rate| rate.get().into()), self.bytes.map(NonZeroU64::get));
        [time(requests, rates.0), time(bytes, rates.1)]
    }
}

/// Token buckets for requests and for bytes, each by the moment at which it is full again.
#[derive(Debug)]
struct Buckets([Instant; 2]);

impl Buckets {
    fn full() -> Self {
        Self([Instant::now(); 2])
    }

    fn take(&mut self, costs: [Duration; 2]) {
        let now = Instant::now();
        for (full, cost) in self.0.iter_mut().zip(costs) {
            *full = (*full).max(now).checked_add(cost).unwrap_or(*full);
        }
    }

    /// When neither of them is empty any more.
    fn usable(&self, burst: Duration) -> Instant {
        let full = self.full_again();
        full.checked_sub(burst).unwrap_or(full)
    }

    fn full_again(&self) -> Instant {
        self.0[0].max(self.0[1])
    }
}

/// Whose connections share an allowance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Account {
    Named(Arc<str>),
    Process(u32),
    Machine(IpAddr),
    Place(Arc<str>),
    Unknown,
}

impl Account {
    fn of(peer: &PeerIdentity) -> Self {
        match (&peer.name, peer.pid, &peer.address) {
            (Some(name), _, _) => Self::Named(name.clone()),
            (None, Some(pid), _) => Self::Process(pid),
            (None, None, Some(address)) => match address.parse::<SocketAddr>() {
                Ok(address) => Self::Machine(address.ip()),
                Err(_) => Self::Place(address.clone()),
            },
            (None, None, None) => Self::Unknown,
        }
    }
}

/// What all peers have spent.
#[derive(Debug, Default)]
pub(crate) struct Allowances(Mutex<HashMap<Account, Arc<Mutex<Buckets>>>>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing can panic halfway through a change of what is in these.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Allowances {
    /// The connection at the pace that `rate` leaves its peer.
    pub(crate) fn pace(&self, connection: Connection, rate: &Rate) -> Connection {
        if !rate.is_limit() {
            return connection;
        }
        let mut accounts = lock(&self.0);
        let now = Instant::now();
        // What is full again need not be remembered.
        accounts.retain(|_, buckets| Arc::strong_count(buckets) > 1 || lock(buckets).full_again() > now);
        let buckets = accounts.entry(Account::of(&connection.peer));
        let buckets = buckets.or_insert_with(|| Arc::new(Mutex::new(Buckets::full()))).clone();
        let pace = Pace { rate: *rate, buckets };
        Connection {
            reader: Box::new(PacedReader::new(connection.reader, pace.clone())),
            writer: Box::new(CountingWriter { inner: connection.writer, pace }),
            peer: connection.peer,
        }
    }
}

/// What one peer may still have.
#[derive(Clone, Debug)]
struct Pace {
    rate: Rate,
    buckets: Arc<Mutex<Buckets>>,
}

impl Pace {
    fn take(&self, requests: u64, bytes: usize) {
        lock(&self.buckets).take(self.rate.costs(requests, bytes as u64));
    }

    /// Until when nothing more may come, if so.
    fn held_until(&self) -> Option<Instant> {
        let usable = lock(&self.buckets).usable(self.rate.burst);
        (usable > Instant::now()).then_some(usable)
    }
}

/// Where the frames of a byte stream end. What breaks the protocol is left to those who read it: then all is one frame.
#[derive(Debug)]
enum Frame {
    /// The length is being read: so many bits of it so far.
    Length { bits: u32, length: u64 },
    /// So many bytes of the body are to come.
    Body(u64),
}

impl Frame {
    const START: Self = Self::Length { bits: 0, length: 0 };

    /// Goes over `bytes` to the end of the first frame that ends there. How many bytes that are, and whether one ended.
    fn advance(&mut self, bytes: &[u8]) -> (usize, bool) {
        for (index, byte) in bytes.iter().enumerate() {
            match self {
                Self::Length { bits, length } => {
                    *length |= u64::from(byte & 0x7f).checked_shl(*bits).unwrap_or(0);
                    *bits += 7;
                    if byte & 0x80 == 0 {
                        *self = if *length == 0 { Self::START } else { Self::Body(*length) };
                    } else if *bits > 63 {
                        *self = Self::Body(u64::MAX);
                    }
                }
                Self::Body(left) => {
                    let rest = (bytes.len() - index) as u64;
                    if *left > rest {
                        *left -= rest;
                        return (bytes.len(), false);
                    }
                    let end = index + usize::try_from(*left).unwrap_or(rest as usize);
                    *self = Self::START;
                    return (end, true);
                }
            }
        }
        (bytes.len(), false)
    }
}

/// Hands on what a peer sends, frame by frame, as fast as it may come.
struct PacedReader {
    inner: Box<dyn AsyncRead + Send + Sync + Unpin>,
    pace: Pace,
    /// Read and not handed on.
    held: BytesMut,
    frame: Frame,
    /// Of `held`, the beginning that is paid for.
    paid: usize,
    /// The peer says nothing more.
    ended: bool,
    sleep: Pin<Box<Sleep>>,
}

impl PacedReader {
    fn new(inner: Box<dyn AsyncRead + Send + Sync + Unpin>, pace: Pace) -> Self {
        let sleep = Box::pin(tokio::time::sleep(Duration::ZERO));
        Self { inner, pace, held: BytesMut::new(), frame: Frame::START, paid: 0, ended: false, sleep }
    }

    /// Reads what is there, as far as it may be held.
    fn fill(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut chunk = [0; 16 << 10];
        while !self.ended && self.held.len() < HELD {
            let mut buffer = ReadBuf::new(&mut chunk);
            match Pin::new(&mut self.inner).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => self.ended = true,
                Poll::Ready(Ok(())) => self.held.extend_from_slice(buffer.filled()),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(()),
            }
        }
        Ok(())
    }

    /// Pays for frames, or parts of some, as long as there is something to pay with.
    fn pay(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..AT_ONCE {
            if self.paid == self.held.len() {
                break;
            }
            // Whoever has gone waits for nothing: that it has gone should be seen before anything else is done for it.
            if !self.ended {
                while let Some(until) = self.pace.held_until() {
                    if self.paid > 0 {
                        return Poll::Ready(());
                    }
                    self.sleep.as_mut().reset(until);
                    ready!(self.sleep.as_mut().poll(cx));
                }
            }
            let (bytes, ends) = self.frame.advance(self.held.get(self.paid..).unwrap_or_default());
            self.pace.take(ends.into(), bytes);
            self.paid += bytes;
        }
        Poll::Ready(())
    }
}

impl AsyncRead for PacedReader {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.paid == 0 {
            this.fill(cx)?;
            if this.held.is_empty() {
                return if this.ended { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            ready!(this.pay(cx));
        }
        let count = this.paid.min(out.remaining());
        out.put_slice(this.held.get(..count).unwrap_or_default());
        this.held.advance(count);
        this.paid -= count;
        Poll::Ready(Ok(()))
    }
}

/// Counts what a peer is sent. It is not slowed down here: answers that are made have to go.
struct CountingWriter {
    inner: Box<dyn AsyncWrite + Send + Sync + Unpin>,
    pace: Pace,
}

impl AsyncWrite for CountingWriter {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        self.pace.take(0, written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
