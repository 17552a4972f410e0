//! Simulated sockets: bytes that take their time, arrive in any portions, and may stop arriving in the middle of a frame.
//!
//! A connection has two directions; what end `e` writes is in direction `e` and read by the other end. Bytes keep their
//! order. A connection that is cut is noticed by each end in its own time: until then what it writes vanishes and nothing
//! more arrives, apart from what was on its way.

use crate::{
    kernel::{Kernel, Sim, Timer},
    trace::Pid,
};
use async_trait::async_trait;
use bytes::{Buf, Bytes};
use rave_core::{Code, Error, Result};
use rave_transport::{Connect, Connection, Listener, PeerIdentity, Transport};
use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[derive(Debug, Default)]
pub(crate) struct Network {
    listener: Option<Listening>,
    listeners: u64,
    connections: Vec<Wire>,
}

#[derive(Debug)]
struct Listening {
    number: u64,
    pid: Pid,
    backlog: VecDeque<usize>,
    accepting: Option<Waker>,
}

#[derive(Debug)]
struct Wire {
    ends: [End; 2],
    directions: [Direction; 2],
}

#[derive(Debug)]
struct End {
    pid: Pid,
    reading: Option<Waker>,
    writing: Option<Waker>,
    /// When this end learns that nothing it writes will be read.
    deaf: Option<u64>,
    gone: bool,
}

/// What is on its way, and when it is there.
#[derive(Debug, Default)]
struct Direction {
    queue: VecDeque<(u64, Item)>,
    bytes: usize,
    last: u64,
    ended: bool,
}

#[derive(Debug)]
enum Item {
    Bytes(Bytes),
    End,
    Reset,
}

impl Network {
    fn end(&mut self, connection: usize, end: usize) -> &mut End {
        &mut self.connections[connection].ends[end]
    }
}

impl Kernel {
    pub(crate) fn listens(&self, pid: Pid) -> bool {
        self.network.listener.as_ref().is_some_and(|listener| listener.pid == pid)
    }

    fn connect(&mut self, pid: Pid) -> Option<(usize, Pid)> {
        if !self.alive(pid) || self.network.listener.is_none() {
            return None;
        }
        let refused = self.plan.refused;
        if self.fault(refused) {
            self.note(pid, "is refused", 0, String::new);
            return None;
        }
        let (connections, listener) = (&mut self.network.connections, self.network.listener.as_mut()?);
        let number = connections.len();
        let end = |pid| End { pid, reading: None, writing: None, deaf: None, gone: false };
        connections.push(Wire { ends: [end(pid), end(listener.pid)], directions: Default::default() });
        listener.backlog.push_back(number);
        let (host, accepting) = (listener.pid, listener.accepting.take());
        if let Some(waker) = accepting {
            self.wake(host, waker);
        }
        self.next_epoch(pid);
        self.note(pid, "connects", number as u64, || format!("to P{host}, connection {number}"));
        Some((number, host))
    }

    /// What a dead process left: its connections end, and its listener goes, each in its time.
    pub(crate) fn network_after_death(&mut self, pid: Pid) {
        for number in 0..self.network.connections.len() {
            for end in 0..2 {
                if self.network.end(number, end).pid == pid {
                    self.hang_up(number, end);
                }
            }
        }
        if let Some(listener) = self.network.listener.as_ref().filter(|listener| listener.pid == pid) {
            let number = listener.number;
            let at = self.now + self.plan.lingering.draw(&mut self.rng);
            self.at(at, Timer::Unlisten(number));
        }
    }

    pub(crate) fn unlisten_dead(&mut self, number: u64) {
        if self.network.listener.as_ref().is_some_and(|listener| listener.number == number) {
            self.unlisten();
        }
    }

    /// Takes the listener down; whoever waits in its backlog is cut off.
    fn unlisten(&mut self) {
        if let Some(listener) = self.network.listener.take() {
            self.note(listener.pid, "listens no more", 0, String::new);
            for number in listener.backlog {
                self.hang_up(number, 1);
            }
        }
    }

    /// End `end` is closed: the other end reads what is on its way and then the end; what it wrote is lost.
    fn hang_up(&mut self, number: usize, end: usize) {
        if std::mem::replace(&mut self.network.end(number, end).gone, true) {
            return;
        }
        let notices = self.now + self.plan.network.draw(&mut self.rng);
        // A process that dies in the middle of a write has sent a part of a frame.
        let owner = self.network.end(number, end).pid;
        if !self.alive(owner) && self.rng.bool() {
            self.tear(number, end);
        }
        self.finish(number, end, notices, Item::End);
        let wire = &mut self.network.connections[number];
        wire.directions[1 - end].queue.clear();
        wire.directions[1 - end].bytes = 0;
        let other = &mut wire.ends[1 - end];
        other.deaf = Some(other.deaf.unwrap_or(u64::MAX).min(notices));
        self.at(notices, Timer::Look(number, 1 - end));
    }

    /// Loses the last bytes on their way from `end`, any number of them.
    fn tear(&mut self, number: usize, end: usize) {
        let direction = &mut self.network.connections[number].directions[end];
        let mut lost = self.rng.usize(0..=direction.bytes.min(512));
        while lost > 0
            && let Some((_, Item::Bytes(bytes))) = direction.queue.back_mut()
        {
            let part = lost.min(bytes.len());
            bytes.truncate(bytes.len() - part);
            direction.bytes -= part;
            lost -= part;
            if bytes.is_empty() {
                direction.queue.pop_back();
            }
        }
    }

    fn finish(&mut self, number: usize, end: usize, at: u64, item: Item) {
        let direction = &mut self.network.connections[number].directions[end];
        if !std::mem::replace(&mut direction.ended, true) {
            direction.last = direction.last.max(at);
            let at = direction.last;
            direction.queue.push_back((at, item));
            self.at(at, Timer::Look(number, 1 - end));
        }
    }

    /// Cuts a connection between two processes that go on. Each end notices in its own time.
    pub(crate) fn cut(&mut self) {
        let open = |wire: &Wire| wire.ends.iter().all(|end| !end.gone && end.deaf.is_none());
        let candidates: Vec<usize> =
            (0..self.network.connections.len()).filter(|number| open(&self.network.connections[*number])).collect();
        let Some(&number) = self.rng.choice(&candidates) else { return };
        let client = self.network.end(number, 0).pid;
        self.note(client, "is cut off", number as u64, || format!("connection {number}"));
        for end in 0..2 {
            let notices = self.now + self.plan.half_open.draw(&mut self.rng);
            if self.rng.bool() {
                self.tear(number, 1 - end);
            }
            let item = if self.rng.bool() { Item::End } else { Item::Reset };
            self.finish(number, 1 - end, notices, item);
            self.network.end(number, end).deaf = Some(notices);
            self.at(notices, Timer::Look(number, end));
        }
    }

    /// Something may be seen at this end now.
    pub(crate) fn look(&mut self, number: usize, end: usize) {
        let end = self.network.end(number, end);
        let (pid, wakers) = (end.pid, [end.reading.take(), end.writing.take()]);
        for waker in wakers.into_iter().flatten() {
            self.wake(pid, waker);
        }
    }

    fn read(&mut self, number: usize, end: usize, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let reader = self.network.end(number, end).pid;
        if !self.alive(reader) {
            return Poll::Pending;
        }
        let (now, partial) = (self.now, self.plan.partial);
        let direction = &mut self.network.connections[number].directions[1 - end];
        let mut room = buf.remaining();
        if partial {
            room = room.min(self.rng.usize(1..=400));
        }
        let before = buf.filled().len();
        let result = loop {
            match direction.queue.front_mut() {
                Some((at, Item::Bytes(bytes))) if *at <= now && room > 0 => {
                    let part = room.min(bytes.len());
                    buf.put_slice(&bytes[..part]);
                    bytes.advance(part);
                    room -= part;
                    direction.bytes -= part;
                    if bytes.is_empty() {
                        direction.queue.pop_front();
                    }
                }
                _ if buf.filled().len() > before => break Poll::Ready(Ok(())),
                Some((at, Item::End)) if *at <= now => break Poll::Ready(Ok(())),
                Some((at, Item::Reset)) if *at <= now => {
                    break Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
                _ => break Poll::Pending,
            }
        };
        if result.is_pending() {
            self.network.end(number, end).reading = Some(cx.waker().clone());
        } else {
            // There is room for the writer.
            let writer = self.network.end(number, 1 - end);
            let (pid, waker) = (writer.pid, writer.writing.take());
            if let Some(waker) = waker {
                self.wake(pid, waker);
            }
        }
        result
    }

    fn write(&mut self, number: usize, end: usize, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let (now, writer) = (self.now, self.network.end(number, end).pid);
        if !self.alive(writer) {
            return Poll::Pending;
        }
        match self.network.end(number, end).deaf {
            Some(at) if at <= now => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            // It does not know yet that nobody will read this.
            Some(_) => return Poll::Ready(Ok(buf.len())),
            None => {}
        }
        let room = self.plan.socket.saturating_sub(self.network.connections[number].directions[end].bytes);
        let mut part = room.min(buf.len());
        if part == 0 {
            self.network.end(number, end).writing = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if self.plan.partial {
            part = part.min(self.rng.usize(1..=400));
        }
        let at = now + self.plan.network.draw(&mut self.rng);
        let direction = &mut self.network.connections[number].directions[end];
        direction.last = direction.last.max(at);
        let at = direction.last;
        direction.queue.push_back((at, Item::Bytes(Bytes::copy_from_slice(&buf[..part]))));
        direction.bytes += part;
        self.at(at, Timer::Look(number, 1 - end));
        Poll::Ready(Ok(part))
    }
}

/// The meeting point as one process sees it.
#[derive(Debug)]
pub(crate) struct SimTransport {
    pub(crate) sim: Sim,
    pub(crate) pid: Pid,
}

struct SimListener {
    sim: Sim,
    pid: Pid,
    number: u64,
}

/// One end of a connection; lives as long as one of its halves.
struct Socket {
    sim: Sim,
    number: usize,
    end: usize,
    pid: Pid,
}

struct Half(Arc<Socket>);

impl Drop for Socket {
    fn drop(&mut self) {
        self.sim.with(|kernel| {
            if kernel.alive(self.pid) {
                kernel.hang_up(self.number, self.end);
            }
        });
    }
}

fn connection(sim: &Sim, number: usize, end: usize, pid: Pid, peer: Pid) -> Connection {
    let socket = Arc::new(Socket { sim: sim.clone(), number, end, pid });
    Connection {
        reader: Box::new(Half(socket.clone())),
        writer: Box::new(Half(socket)),
        peer: PeerIdentity::of_process(u32::try_from(peer).ok()),
    }
}

#[async_trait]
impl Transport for SimTransport {
    async fn connect(&self) -> Result<Connect> {
        self.sim.pause(self.pid, |kernel| kernel.plan.network.draw(&mut kernel.rng) / 4).await;
        Ok(match self.sim.with(|kernel| kernel.connect(self.pid)) {
            Some((number, host)) => Connect::Connected(connection(&self.sim, number, 0, self.pid, host)),
            None => Connect::NobodyHome,
        })
    }

    async fn listen(&self) -> Result<Box<dyn Listener>> {
        self.sim.pause(self.pid, |kernel| kernel.plan.network.draw(&mut kernel.rng)).await;
        let number = self.sim.with(|kernel| {
            if !kernel.alive(self.pid) {
                return 0;
            }
            if kernel.lock != Some(self.pid) {
                kernel.violated(format!("P{} listens and does not hold the lock", self.pid));
            }
            if let Some(other) = kernel.network.listener.as_ref().map(|listener| listener.pid)
                && kernel.alive(other)
            {
                kernel.violated(format!("P{} displaces the listener of P{other}, which is alive", self.pid));
            }
            kernel.unlisten();
            kernel.network.listeners += 1;
            let number = kernel.network.listeners;
            kernel.network.listener =
                Some(Listening { number, pid: self.pid, backlog: VecDeque::new(), accepting: None });
            kernel.note(self.pid, "listens", 0, String::new);
            kernel.reach(self.pid, crate::plan::Point::Listening);
            number
        });
        Ok(Box::new(SimListener { sim: self.sim.clone(), pid: self.pid, number }))
    }

    fn address(&self) -> String {
        "simulated".to_owned()
    }
}

impl SimListener {
    fn take_down(&self) {
        self.sim.with(|kernel| {
            if kernel.alive(self.pid) {
                kernel.unlisten_dead(self.number);
            }
        });
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        self.take_down();
    }
}

#[async_trait]
impl Listener for SimListener {
    async fn accept(&mut self) -> Result<Connection> {
        std::future::poll_fn(|cx| {
            self.sim.with(|kernel| {
                let pid = self.pid;
                if !kernel.alive(pid) {
                    return Poll::Pending;
                }
                let listener = kernel.network.listener.as_mut().filter(|listener| listener.number == self.number);
                let Some(listener) = listener else {
                    return Poll::Ready(Err(Error::new(Code::Io, "the meeting point is gone")));
                };
                match listener.backlog.pop_front() {
                    Some(number) => {
                        kernel.note(pid, "accepts", number as u64, || format!("connection {number}"));
                        let peer = kernel.network.end(number, 0).pid;
                        Poll::Ready(Ok((number, peer)))
                    }
                    None => {
                        listener.accepting = Some(cx.waker().clone());
                        Poll::Pending
                    }
                }
            })
        })
        .await
        .map(|(number, peer)| connection(&self.sim, number, 1, self.pid, peer))
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.sim.pause(self.pid, |kernel| kernel.plan.network.draw(&mut kernel.rng)).await;
        self.take_down();
        Ok(())
    }
}

impl AsyncRead for Half {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Socket { sim, number, end, .. } = &*self.0;
        sim.with(|kernel| kernel.read(*number, *end, cx, buf))
    }
}

impl AsyncWrite for Half {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let Socket { sim, number, end, .. } = &*self.0;
        sim.with(|kernel| kernel.write(*number, *end, cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Socket { sim, number, end, pid } = &*self.0;
        sim.with(|kernel| {
            if !kernel.alive(*pid) {
                return;
            }
            let at = kernel.now + kernel.plan.network.draw(&mut kernel.rng);
            kernel.finish(*number, *end, at, Item::End);
        });
        Poll::Ready(Ok(()))
    }
}
