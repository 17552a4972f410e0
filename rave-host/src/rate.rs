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

#[cfg(test)]
mod tests {
    use super::*;
    use rave_transport::wire::{Request, message::Get};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    fn frames(count: u32) -> BytesMut {
        let mut out = BytesMut::new();
        (0..count).for_each(|id| Request::Get(Get { id, key: Some("key".into()), ..Get::default() }).encode(&mut out));
        out
    }

    fn peer(name: &str) -> PeerIdentity {
        let mut peer = PeerIdentity::of_process(Some(1));
        peer.name = Some(name.into());
        peer
    }

    fn connect(allowances: &Allowances, peer: PeerIdentity, rate: &Rate) -> (DuplexStream, Connection) {
        let (guest, host) = tokio::io::duplex(1 << 20);
        let (reader, writer) = tokio::io::split(host);
        let connection = Connection { reader: Box::new(reader), writer: Box::new(writer), peer };
        (guest, allowances.pace(connection, rate))
    }

    fn requests(rate: u32) -> Rate {
        Rate { requests: NonZeroU32::new(rate), ..Rate::default() }
    }

    /// How long it takes until all of this has come, by the clock that only waiting moves.
    async fn time_of(connection: &mut Connection, expected: &[u8]) -> Duration {
        let start = Instant::now();
        let mut got = vec![0; expected.len()];
        connection.reader.read_exact(&mut got).await.unwrap();
        assert!(got == expected, "what is handed on is what came");
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_beyond_the_burst_comes_at_the_rate_and_a_pause_earns_another_burst() {
        let (mut guest, mut host) = connect(&Allowances::default(), peer("a"), &requests(10));
        let sent = frames(31);
        for _ in 0..2 {
            guest.write_all(&sent).await.unwrap();
            let took = time_of(&mut host, &sent).await;
            assert!((1.8..2.2).contains(&took.as_secs_f64()), "{took:?}");
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn another_connection_gives_a_peer_nothing_more_and_costs_others_nothing() {
        let allowances = Allowances::default();
        let sent = frames(30);
        let (mut guest, mut host) = connect(&allowances, peer("a"), &requests(10));
        guest.write_all(&sent).await.unwrap();
        time_of(&mut host, &sent).await;
        drop((guest, host));
        // It comes back at once.
        let (mut guest, mut host) = connect(&allowances, peer("a"), &requests(10));
        guest.write_all(&sent).await.unwrap();
        let (mut other, mut other_host) = connect(&allowances, peer("b"), &requests(10));
        other.write_all(&frames(10)).await.unwrap();
        assert_eq!(time_of(&mut other_host, &frames(10)).await, Duration::ZERO);
        let took = time_of(&mut host, &sent).await;
        assert!((2.8..3.2).contains(&took.as_secs_f64()), "{took:?}");
        drop((guest, host, other, other_host));
        // Once it has made up for it, nothing is remembered.
        tokio::time::sleep(Duration::from_secs(60)).await;
        let _connection = connect(&allowances, peer("c"), &requests(10));
        assert_eq!(lock(&allowances.0).len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_count_in_both_directions() {
        let rate = Rate { bytes: NonZeroU64::new(1000), ..Rate::default() };
        let (mut guest, mut host) = connect(&Allowances::default(), peer("a"), &rate);
        // An answer of 11 seconds.
        host.writer.write_all(&[0; 11_000]).await.unwrap();
        guest.write_all(&frames(1)).await.unwrap();
        let took = time_of(&mut host, &frames(1)).await;
        assert!((9.9..10.1).contains(&took.as_secs_f64()), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_is_over_its_allowance_is_not_read_from_and_its_end_is_seen_at_once() {
        let (mut guest, mut host) = connect(&Allowances::default(), peer("a"), &requests(1));
        let flood = frames(50_000);
        let flooding = async { while guest.write_all(&flood).await.is_ok() {} };
        let stuck = tokio::time::timeout(Duration::from_secs(20), async {
            tokio::join!(flooding, async { while host.reader.read_u8().await.is_ok() {} })
        });
        assert!(stuck.await.is_err(), "the connection must fill up");
        let (mut guest, mut host) = connect(&Allowances::default(), peer("a"), &requests(1));
        guest.write_all(&frames(1000)).await.unwrap();
        drop(guest);
        assert_eq!(time_of(&mut host, &frames(1000)).await, Duration::ZERO);
        assert_eq!(host.reader.read(&mut [0; 1]).await.unwrap(), 0);
    }

    #[test]
    fn frames_are_counted_however_they_are_cut() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut bytes = frames(200).to_vec();
        bytes.extend_from_slice(&[0, 0, 0, 1, 9]);
        for _ in 0..100 {
            let (mut frame, mut at, mut count) = (Frame::START, 0, 0);
            while at < bytes.len() {
                let end = bytes.len().min(at + rng.usize(1..40));
                let (taken, ended) = frame.advance(&bytes[at..end]);
                assert!(taken > 0);
                at += taken;
                count += u32::from(ended);
            }
            assert_eq!(count, 201);
        }
        // A length that is none is for others to find.
        let mut frame = Frame::START;
        assert_eq!(frame.advance(&[0xff; 100]), (100, false));
    }

    #[test]
    fn who_is_one_peer() {
        let at = |address: &str| {
            let mut peer = PeerIdentity::default();
            peer.address = Some(address.into());
            Account::of(&peer)
        };
        assert_eq!(at("192.0.2.1:1000"), at("192.0.2.1:2000"));
        assert_eq!(at("[2001:db8::1]:1000"), at("[2001:db8::1]:2000"));
        assert_ne!(at("192.0.2.1:1000"), at("192.0.2.2:1000"));
        assert_eq!(Account::of(&peer("a")), Account::Named("a".into()));
        assert_ne!(Account::of(&PeerIdentity::of_process(Some(1))), Account::of(&PeerIdentity::of_process(Some(2))));
    }
}
