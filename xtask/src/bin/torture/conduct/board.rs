//! How things stand while the run goes on: who leads, who was last served, how long failovers took.

use crate::{
    clock::Nanos,
    record::{Outcome, Record},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How a leader ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Killed,
    Left,
}

/// A leader that has ended, and when another process was first served.
#[derive(Clone, Copy, Debug)]
struct Gap {
    end: End,
    process: u64,
    at: Nanos,
    first: Option<Nanos>,
}

#[derive(Debug, Default)]
pub struct Board {
    /// The process that said last that it leads.
    leader: Option<u64>,
    /// Processes that became leaders.
    pub promotions: u64,
    /// When each process was last served.
    served: HashMap<u64, Nanos>,
    /// When each process last ended an operation, one way or another.
    ended: HashMap<u64, Nanos>,
    /// When the latest operation began that was acknowledged.
    newest: Nanos,
    gap: Option<Gap>,
    /// How long nobody was served, in nanoseconds.
    pub failovers: Vec<Nanos>,
    /// The same after a leader left in good order.
    pub handovers: Vec<Nanos>,
}

/// A board in several threads.
#[derive(Clone, Default)]
pub struct SharedBoard(Arc<Mutex<Board>>);

impl SharedBoard {
    pub fn lock(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    pub fn leader(&self) -> Option<u64> {
        self.leader
    }

    /// A process is gone.
    pub fn gone(&mut self, process: u64) {
        self.served.remove(&process);
        self.ended.remove(&process);
        if self.leader == Some(process) {
            self.leader = None;
        }
    }

    /// A process was last served at this time, if it was.
    pub fn served(&self, process: u64) -> Option<Nanos> {
        self.served.get(&process).copied()
    }

    /// Whether a process has ended an operation after this time; so has one that never ended any.
    pub fn has_resolved_since(&self, process: u64, time: Nanos) -> bool {
        self.ended.get(&process).is_none_or(|ended| *ended > time)
    }

    /// Whether an operation was acknowledged that began after this time.
    pub fn goes_on_since(&self, time: Nanos) -> bool {
        self.newest > time
    }

    /// A leader has just ended.
    pub fn leader_ended(&mut self, process: u64, end: End, at: Nanos) {
        self.close_gap();
        self.gap = Some(Gap { end, process, at, first: None });
    }

    /// Something else was done to the processes, which the time without service is not to include.
    pub fn close_gap(&mut self) {
        let Some(gap) = self.gap.take() else { return };
        let Some(first) = gap.first else { return };
        let times = match gap.end {
            End::Killed => &mut self.failovers,
            End::Left => &mut self.handovers,
        };
        times.push(first - gap.at);
    }

    /// A process has told this.
    pub fn told(&mut self, process: u64, record: &Record, open: &mut HashMap<u64, Nanos>) {
        match record {
            Record::Begin { id, at, .. } => {
                open.insert(*id, *at);
            }
            Record::End { id, at, outcome } => {
                let begun = open.remove(id);
                self.ended.insert(process, *at);
                if let (Some(begun), false) = (begun, matches!(outcome, Outcome::Failed { .. })) {
                    self.acknowledged(process, begun, *at);
                }
            }
            Record::Role { leads: true, .. } => {
                self.leader = Some(process);
                self.promotions += 1;
            }
            Record::Role { leads: false, .. } if self.leader == Some(process) => self.leader = None,
            _ => {}
        }
    }

    fn acknowledged(&mut self, process: u64, begun: Nanos, ended: Nanos) {
        self.served.insert(process, ended);
        self.newest = self.newest.max(begun);
        // Only what began afterwards: an answer that the old leader had sent may have been on its way. Processes are
        // heard in any order, so that the first that is heard need not be the first.
        if let Some(gap) = &mut self.gap
            && begun > gap.at
            && process != gap.process
        {
            gap.first = Some(gap.first.map_or(ended, |first| first.min(ended)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failover_ends_with_the_first_operation_that_began_after_the_kill() {
        let mut board = Board::default();
        board.leader_ended(1, End::Killed, 100);
        board.acknowledged(2, 90, 110);
        board.acknowledged(2, 120, 180);
        board.acknowledged(3, 110, 150);
        board.leader_ended(2, End::Left, 200);
        board.acknowledged(2, 201, 202);
        board.acknowledged(3, 201, 205);
        board.leader_ended(3, End::Killed, 300);
        board.close_gap();
        assert_eq!((board.failovers, board.handovers), (vec![50], vec![5]));
    }
}
