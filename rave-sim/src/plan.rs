//! What one seed is to be: its size, its delays, and which kinds of fault it has.
//!
//! Each seed switches on a random subset of the faults ("swarm testing"): a fault that is in every run hides what happens
//! only without it.

use fastrand::Rng;
use rave_level::RetryPolicy;

/// A moment at which a process may be made to die or stop: right in the middle of what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// It has just taken the lock.
    Locked,
    /// It has just begun to listen.
    Listening,
    /// It recovers the store.
    Recovering,
    /// A write is in the log, and neither visible nor acknowledged.
    Logged,
    /// A write is visible, and not acknowledged.
    Visible,
    /// A write was acknowledged to whoever asked the store.
    Acknowledged,
    /// Its store was closed, and its lock is still held.
    Closed,
}

const POINTS: usize = 7;

/// A range to draw from, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span(u64, u64);

impl Span {
    pub(crate) fn draw(self, rng: &mut Rng) -> u64 {
        rng.u64(self.0..=self.1)
    }
}

/// The plan of one seed.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Processes at the start, and alive at most.
    pub(crate) processes: usize,
    pub(crate) most: usize,
    /// Client tasks of a process, and operations of each.
    pub(crate) clients: usize,
    pub(crate) operations: usize,
    /// Keys written to.
    pub(crate) keys: usize,
    /// Keys that are only ever read; they make iterators need several pages.
    pub(crate) ballast: usize,
    /// What handles and single operations choose from.
    pub(crate) policies: Vec<RetryPolicy>,
    /// Leaders keep sessions. Without, there are only legacy guarantees.
    pub(crate) sessions: bool,
    /// How long sessions of guests that are gone are remembered, if not for ever.
    pub(crate) retention: Option<u64>,
    /// Of 10 processes, how many only ever follow.
    pub(crate) followers: u32,
    /// Deadlines of operations; not all handles have one.
    pub(crate) deadline: Option<Span>,
    /// Of 1000 operations, how many are dropped in the middle.
    pub(crate) cancelled: u32,
    pub(crate) think: Span,
    pub(crate) network: Span,
    pub(crate) store: Span,
    pub(crate) recovery: Span,
    /// How long an end of a cut connection may not notice.
    pub(crate) half_open: Span,
    /// How long what a dead process held lingers.
    pub(crate) lingering: Span,
    /// Reads and writes of sockets move any number of bytes.
    pub(crate) partial: bool,
    /// Bytes that a socket holds.
    pub(crate) socket: usize,
    /// Log records that no reader has seen may be gone after a crash.
    pub(crate) lose_tail: bool,
    /// Of 1000 turns of the scheduler, how many bring the fault.
    pub(crate) kill: u32,
    pub(crate) freeze: u32,
    pub(crate) thaw: u32,
    pub(crate) cut: u32,
    pub(crate) close: u32,
    pub(crate) start: u32,
    /// Of 1000 connects, how many are refused though somebody listens.
    pub(crate) refused: u32,
    /// Of 1000 writes of the store, how many fail.
    pub(crate) io_errors: u32,
    /// Of 1000 arrivals at a [`Point`], how many are deadly, and how many freeze.
    deadly: [u32; POINTS],
    freezing: [u32; POINTS],
    /// Faults in all.
    pub(crate) faults: u32,
    /// Of 1000 turns, how many move the time although somebody could run.
    pub(crate) hasty: u32,
}

impl Plan {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        fn sometimes(rng: &mut Rng, rate: u32) -> u32 {
            if rng.bool() { rng.u32(1..=rate) } else { 0 }
        }
        let slow = |rng: &mut Rng, quick: u64, slow: u64| Span(0, if rng.u8(0..4) == 0 { slow } else { quick });
        let points =
            |rng: &mut Rng, rate: u32| std::array::from_fn(|_| if rng.u8(0..3) == 0 { rng.u32(1..=rate) } else { 0 });
        let processes = rng.usize(2..=4);
        let kill = sometimes(rng, 12);
        let sessions = rng.u8(0..16) > 0;
        Self {
            processes,
            most: processes + rng.usize(0..=2),
            clients: rng.usize(1..=3),
            operations: rng.usize(3..=12),
            keys: rng.usize(2..=8),
            ballast: if rng.u8(0..5) == 0 { rng.usize(30..=90) } else { 0 },
            sessions,
            policies: match rng.u8(0..5) {
                0..3 if !sessions => vec![RetryPolicy::Safe, RetryPolicy::Never],
                0 if sessions => vec![RetryPolicy::Always, RetryPolicy::Safe, RetryPolicy::Never],
                _ => vec![RetryPolicy::Always],
            },
            retention: (rng.u8(0..4) == 0).then(|| rng.u64(0..1_000_000)),
            followers: if rng.u8(0..4) == 0 { rng.u32(1..=5) } else { 0 },
            deadline: (rng.u8(0..3) == 0).then(|| Span(200, rng.u64(1000..=60_000))),
            cancelled: sometimes(rng, 150),
            // Now and then a run lasts for seconds, so that guests are away for as long.
            think: if rng.u8(0..8) == 0 { Span(0, 400_000) } else { slow(rng, 300, 5000) },
            network: slow(rng, 100, 4000),
            store: slow(rng, 60, 3000),
            recovery: slow(rng, 1000, 60_000),
            half_open: slow(rng, 100, 100_000),
            lingering: slow(rng, 50, 3000),
            partial: rng.bool(),
            socket: if rng.u8(0..4) == 0 { rng.usize(16..=512) } else { 64 << 10 },
            lose_tail: rng.u8(0..4) == 0,
            kill,
            freeze: sometimes(rng, 8),
            thaw: rng.u32(1..=30),
            cut: sometimes(rng, 10),
            close: sometimes(rng, 6),
            start: rng.u32(1..=30),
            refused: sometimes(rng, 100),
            io_errors: if rng.u8(0..6) == 0 { rng.u32(1..=60) } else { 0 },
            deadly: points(rng, 150),
            freezing: points(rng, 60),
            faults: rng.u32(0..=8),
            hasty: sometimes(rng, 100),
        }
    }

    /// Whether an operation may fail because its leader is lost.
    pub(crate) fn gives_up(&self) -> bool {
        self.policies.iter().any(|policy| *policy != RetryPolicy::Always)
    }

    /// Whether a write may be applied more than once: without sessions, where it is sent again all the same.
    pub(crate) fn repeats(&self) -> bool {
        !self.sessions && self.policies.contains(&RetryPolicy::Always)
    }

    pub(crate) fn deadly(&self, point: Point) -> u32 {
        self.deadly[point as usize]
    }

    pub(crate) fn freezing(&self, point: Point) -> u32 {
        self.freezing[point as usize]
    }
}

/// Whether what happens in `of_1000` of 1000 cases happens now.
pub(crate) fn chance(rng: &mut Rng, of_1000: u32) -> bool {
    of_1000 > 0 && rng.u32(0..1000) < of_1000
}
