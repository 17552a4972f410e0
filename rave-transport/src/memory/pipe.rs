//! Two bounded byte queues in opposite directions, with faults.
//!
//! Invariants: a queue never holds more than [`CAPACITY`] bytes; who waits is woken by whatever could end its wait; a
//! cut ends both directions at both ends.

use bytes::{Buf as _, Bytes};
use std::{
    collections::VecDeque,
    future::Future as _,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// Bytes on their way in one direction before writers wait.
const CAPACITY: usize = 64 << 10;

/// A connection with its two directions; direction `n` is written by end `n`.
pub(super) struct Link(Mutex<State>);

struct State {
    directions: [Direction; 2],
    /// Ends of which both halves were dropped.
    gone: [bool; 2],
    cut: bool,
    stall: bool,
    delay: Duration,
    /// Bytes that may still be carried.
    budget: Option<u64>,
}

#[derive(Default)]
struct Direction {
    /// What is on its way; `None` is the end of the stream.
    queue: VecDeque<(Option<Instant>, Option<Bytes>)>,
    queued: usize,
    ended: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Lives as long as one half of an end does.
struct End {
    link: Arc<Link>,
    number: usize,
}

pub(super) struct Reader {
    end: Arc<End>,
    timer: Option<Pin<Box<Sleep>>>,
}

pub(super) struct Writer {
    end: Arc<End>,
}

impl Link {
    /// A connection and its two ends.
    pub(super) fn new(
        stall: bool,
        delay: Duration,
        budget: Option<u64>,
    ) -> (Arc<Self>, (Reader, Writer), (Reader, Writer)) {
        let state =
            State { directions: Default::default(), gone: [false; 2], cut: budget == Some(0), stall, delay, budget };
        let link = Arc::new(Self(Mutex::new(state)));
        let end = |number| {
            let end = Arc::new(End { link: Arc::clone(&link), number });
            (Reader { end: Arc::clone(&end), timer: None }, Writer { end })
        };
        let (one, other) = (end(0), end(1));
        (link, one, other)
    }

    /// Ends it at both ends; what is on its way is lost.
    pub(super) fn cut(&self) {
        let mut state = self.lock();
        state.cut = true;
        for direction in &mut state.directions {
            direction.queue.clear();
            direction.queued = 0;
        }
        state.wake_all();
    }

    pub(super) fn set_stall(&self, on: bool) {
        let mut state = self.lock();
        state.stall = on;
        state.wake_all();
    }

    pub(super) fn set_delay(&self, delay: Duration) {
        self.lock().delay = delay;
    }

    pub(super) fn is_open(&self) -> bool {
        let state = self.lock();
        let ended = state.directions.iter().all(|direction| direction.ended);
        !state.cut && !ended && !state.gone.contains(&true)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing can panic halfway through a change of the state.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wake_all(&mut self) {
        for direction in &mut self.directions {
            direction.wake();
        }
    }

    /// Ends the stream that end `number` writes.
    fn finish(&mut self, number: usize) {
        let due = self.due();
        let direction = &mut self.directions[number];
        if !direction.ended {
            direction.ended = true;
            direction.queue.push_back((due, None));
            direction.wake();
        }
    }

    fn due(&self) -> Option<Instant> {
        (!self.delay.is_zero()).then(|| Instant::now() + self.delay)
    }
}

impl Direction {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

impl AsyncRead for Reader {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let end = Arc::clone(&self.end);
            let mut state = end.link.lock();
            let stall = state.stall;
            if state.cut {
                return Poll::Ready(Ok(()));
            }
            let direction = &mut state.directions[1 - end.number];
            let due = match direction.queue.front() {
                Some((due, _)) if !stall => *due,
                _ => {
                    direction.reader = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            };
            if let Some(due) = due.filter(|due| *due > Instant::now()) {
                // A cut must end this wait too.
                direction.reader = Some(cx.waker().clone());
                drop(state);
                let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
                if timer.deadline() != due {
                    timer.as_mut().reset(due);
                }
                ready!(timer.as_mut().poll(cx));
                continue;
            }
            let Some((_, Some(bytes))) = direction.queue.front_mut() else { return Poll::Ready(Ok(())) };
            let count = bytes.len().min(buf.remaining());
            buf.put_slice(&bytes[..count]);
            bytes.advance(count);
            if bytes.is_empty() {
                direction.queue.pop_front();
            }
            direction.queued -= count;
            if let Some(writer) = direction.writer.take() {
                writer.wake();
            }
            return Poll::Ready(Ok(()));
        }
    }
}

impl AsyncWrite for Writer {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let number = self.end.number;
        let mut state = self.end.link.lock();
        if state.cut || state.gone[1 - number] || state.directions[number].ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let (due, budget) = (state.due(), state.budget);
        let direction = &mut state.directions[number];
        let room = CAPACITY - direction.queued;
        if room == 0 {
            direction.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let taken = bytes.len().min(room);
        let arrives = budget.map_or(taken, |budget| taken.min(usize::try_from(budget).unwrap_or(usize::MAX)));
        if arrives > 0 {
            direction.queue.push_back((due, Some(Bytes::copy_from_slice(&bytes[..arrives]))));
            direction.queued += arrives;
        }
        if let Some(reader) = direction.reader.take() {
            reader.wake();
        }
        if let Some(left) = budget {
            let left = left - arrives as u64;
            state.budget = Some(left);
            if left == 0 {
                state.finish(0);
                state.finish(1);
            }
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end.link.lock().finish(self.end.number);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end.link.lock().finish(self.end.number);
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut state = self.link.lock();
        state.gone[self.number] = true;
        // What nobody will read must not keep memory, and who waits to write it must learn of it.
        let incoming = &mut state.directions[1 - self.number];
        incoming.queue.clear();
        incoming.queued = 0;
        incoming.wake();
    }
}
