//! What is done to the processes: kills, freezes, departures, a full disk; at random, and one on top of the other.

use super::{
    board::{End, SharedBoard},
    crew::{Crew, PATIENCE},
    place::Place,
};
use crate::{
    clock::{self, Nanos},
    workload::next_surge,
};
use anyhow::{Result, ensure};
use fastrand::Rng;
use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

/// About how long the operations of a surge take.
const SURGE_LASTS: Nanos = 12_000_000;

/// What may happen, and how often of a thousand times.
const FAULTS: [(Fault, usize); 10] = [
    (Fault::KillLeader, 520),
    (Fault::KillGuest, 230),
    (Fault::KillLeaderAndHeir, 70),
    (Fault::LeaderLeaves, 50),
    (Fault::GuestLeaves, 40),
    (Fault::FreezeLeader, 20),
    (Fault::FreezeLeaderLong, 10),
    (Fault::FreezeGuest, 30),
    (Fault::KillFrozenLeader, 15),
    (Fault::FullDisk, 15),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    KillLeader,
    KillGuest,
    /// And the process that is about to take its place, while it recovers the database or just after.
    KillLeaderAndHeir,
    LeaderLeaves,
    GuestLeaves,
    FreezeLeader,
    /// Until what waits for it has given up.
    FreezeLeaderLong,
    FreezeGuest,
    KillFrozenLeader,
    FullDisk,
}

/// How often what was done.
pub type Tally = BTreeMap<&'static str, u64>;

pub struct Faults<'a> {
    pub crew: Crew,
    board: SharedBoard,
    place: &'a Place,
    random: Rng,
    /// How long an operation may take; a freeze longer than that shows.
    deadline: Duration,
    pub tally: Tally,
    /// Kills of all kinds.
    pub kills: u64,
    /// Each fault comes once in the beginning, so that a short run has all of them.
    first: Vec<Fault>,
}

impl<'a> Faults<'a> {
    pub fn new(crew: Crew, board: SharedBoard, place: &'a Place, mut random: Rng, deadline: Duration) -> Self {
        let mut first: Vec<_> = FAULTS.iter().map(|(fault, _)| *fault).collect();
        random.shuffle(&mut first);
        Self { crew, board, place, random, deadline, tally: Tally::new(), kills: 0, first }
    }

    /// Does something, and puts new processes in the place of those that are gone.
    pub fn strike(&mut self) -> Result<()> {
        match self.choose() {
            Fault::KillLeader => self.kill_leader("leaders killed")?,
            Fault::KillGuest => self.kill_guest("guests killed")?,
            Fault::KillLeaderAndHeir => {
                self.kill_leader("leaders killed")?;
                self.board.lock().close_gap();
                thread::sleep(Duration::from_micros(self.random.u64(0..20_000)));
                // Whoever leads by now, or somebody who might be about to.
                match self.crew.leader() {
                    Some(slot) => self.replace(slot, "leaders killed soon after the one before")?,
                    None => self.kill_guest("processes killed during an election")?,
                }
            }
            Fault::LeaderLeaves => {
                let slot = self.leader()?;
                self.board.lock().close_gap();
                let process = self.crew.members[slot].process;
                // It tells while it leaves, so that it must be known before that it does.
                self.board.lock().leader_ended(process, End::Left, clock::now());
                self.crew.leave(slot)?;
                self.crew.start()?;
                self.count("leaders left");
            }
            Fault::GuestLeaves => {
                let slot = self.guest();
                self.crew.leave(slot)?;
                self.crew.start()?;
                self.count("guests left");
            }
            Fault::FreezeLeader => {
                let slot = self.leader()?;
                self.frozen(slot, "leaders frozen")?;
            }
            Fault::FreezeLeaderLong => self.frozen_long()?,
            Fault::FreezeGuest => {
                let slot = self.guest();
                self.frozen(slot, "guests frozen")?;
            }
            Fault::KillFrozenLeader => {
                let slot = self.leader()?;
                self.board.lock().close_gap();
                self.crew.freeze(slot)?;
                let pause = self.freeze_time();
                thread::sleep(pause);
                self.crew.excuse();
                self.replace(slot, "leaders killed while frozen")?;
                self.board.lock().close_gap();
            }
            Fault::FullDisk => self.full_disk()?,
        }
        Ok(())
    }

    fn choose(&mut self) -> Fault {
        let fault = self.first.pop().unwrap_or_else(|| {
            let mut tickets = FAULTS.iter().flat_map(|(fault, weight)| std::iter::repeat_n(*fault, *weight));
            let total: usize = FAULTS.iter().map(|(_, weight)| weight).sum();
            tickets.nth(self.random.usize(0..total)).unwrap_or(Fault::KillLeader)
        });
        match fault {
            Fault::FullDisk if self.place.no_disk().is_some() => Fault::KillLeader,
            fault => fault,
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    /// Kills a process, and starts another one.
    fn replace(&mut self, slot: usize, name: &'static str) -> Result<()> {
        self.crew.kill(slot)?;
        self.kills += 1;
        self.count(name);
        self.crew.start()
    }

    /// The slot of the leader, once there is one.
    fn leader(&mut self) -> Result<usize> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(slot) = self.crew.leader() {
                return Ok(slot);
            }
            ensure!(Instant::now() < deadline, "nobody has led for {PATIENCE:?}");
            self.crew.tend()?;
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Some process that is not known to lead.
    fn guest(&mut self) -> usize {
        let leader = self.crew.leader();
        loop {
            let slot = self.random.usize(0..self.crew.members.len());
            if Some(slot) != leader {
                return slot;
            }
        }
    }

    /// Mostly in a surge, when much is on its way.
    fn kill_leader(&mut self, name: &'static str) -> Result<()> {
        if self.random.u32(0..5) > 0 {
            let now = clock::now();
            let within = self.random.u64(0..SURGE_LASTS);
            thread::sleep(Duration::from_nanos(next_surge(now) - now + within));
        }
        let slot = self.leader()?;
        self.replace(slot, name)
    }

    fn kill_guest(&mut self, name: &'static str) -> Result<()> {
        let slot = self.guest();
        self.replace(slot, name)
    }

    /// Mostly a moment, sometimes longer than any operation may take.
    fn freeze_time(&mut self) -> Duration {
        match self.random.u32(0..4) {
            0 => self.deadline + self.deadline.mul_f64(self.random.f64()),
            _ => self.deadline.mul_f64(self.random.f64() / 3.0),
        }
    }

    fn frozen(&mut self, slot: usize, name: &'static str) -> Result<()> {
        self.board.lock().close_gap();
        self.count(name);
        self.crew.freeze(slot)?;
        let pause = self.freeze_time();
        if self.random.bool() {
            thread::sleep(pause);
        } else {
            thread::sleep(pause / 2);
            if let Some(other) = self.thawed_guest() {
                self.replace(other, "guests killed")?;
            }
            thread::sleep(pause / 2);
        }
        self.crew.thaw()
    }

    /// Nobody can take a frozen leader's place: it has the lock. But no operation waits longer for it than it may.
    fn frozen_long(&mut self) -> Result<()> {
        let slot = self.leader()?;
        self.board.lock().close_gap();
        self.count("leaders frozen for longer than operations may take");
        let begun = clock::now();
        self.crew.freeze(slot)?;
        // What it had answered before is heard by then.
        let since = begun + self.deadline.as_nanos() as Nanos / 2;
        let end = Instant::now() + PATIENCE;
        loop {
            thread::sleep(Duration::from_millis(5));
            let waiting = {
                let board = self.board.lock();
                let others = self.crew.members.iter().filter(|member| !member.frozen);
                others.map(|member| member.process).find(|process| !board.has_resolved_since(*process, since))
            };
            let Some(process) = waiting else { break };
            ensure!(
                Instant::now() < end,
                "process {process} has had no operation end for {PATIENCE:?} behind a frozen leader, though each may \
                 take only {:?}",
                self.deadline
            );
        }
        self.crew.thaw()
    }

    /// A process that neither leads nor is frozen.
    fn thawed_guest(&mut self) -> Option<usize> {
        let leader = self.crew.leader();
        let others = (0..self.crew.members.len()).filter(|slot| Some(*slot) != leader);
        let others: Vec<_> = others.filter(|slot| !self.crew.members[*slot].frozen).collect();
        self.random.choice(&others).copied()
    }

    fn full_disk(&mut self) -> Result<()> {
        self.board.lock().close_gap();
        self.count("full disks");
        self.place.fill()?;
        let pause = self.deadline.mul_f64(0.2 + self.random.f64());
        thread::sleep(pause / 2);
        if self.random.bool()
            && let Some(slot) = self.crew.leader()
        {
            self.replace(slot, "leaders killed on a full disk")?;
            self.board.lock().close_gap();
        }
        thread::sleep(pause / 2);
        self.place.free();
        self.crew.excuse();
        Ok(())
    }
}
