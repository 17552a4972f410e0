//! The explicit snapshots of a guest: each lives in the leader that took it, and only as long as the connection to it.

use super::{Machine, SnapshotRef};
use rave_transport::wire::{Request, message};
use std::collections::BTreeSet;

/// Ids and what is behind them.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    last: u64,
    /// Those that the leader of the present connection has.
    open: BTreeSet<u64>,
    /// Those of them that are closed, each behind the last operation that may have to be sent before the leader is told.
    closing: BTreeSet<(u64, u64)>,
    /// Those in the store of this process, while it leads. What reads them while the queue is still being applied to that
    /// store waits in the queue too.
    here: BTreeSet<u64>,
}

impl Snapshots {
    pub(super) fn is_open(&self, id: u64) -> bool {
        self.open.contains(&id)
    }

    /// Whether it is with the present leader, or in the store of this process.
    pub(super) fn is_there(&self, id: u64) -> bool {
        self.is_open(id) || self.here.contains(&id)
    }

    pub(super) fn disconnected(&mut self) {
        self.open.clear();
        self.closing.clear();
    }
}

impl<T> Machine<T> {
    /// An id that no snapshot of this handle has had.
    pub fn name_snapshot(&mut self) -> u64 {
        self.snapshots.last += 1;
        self.snapshots.last
    }

    /// The leader has taken a snapshot; if nobody waits for it any more, it is released at once.
    pub(super) fn snapshot_taken(&mut self, id: u64, wanted: bool) {
        self.snapshots.open.insert(id);
        if !wanted {
            self.close_snapshot(id);
        }
    }

    /// The snapshot is one of the store of this process.
    pub fn keep_snapshot(&mut self, id: u64) {
        self.snapshots.here.insert(id);
    }

    /// The store of this process is gone, and its snapshots with it.
    pub fn forget_snapshots(&mut self) {
        self.snapshots.here.clear();
        self.fail_without_snapshot();
    }

    /// Fails what reads a snapshot that is not there any more.
    pub(super) fn fail_without_snapshot(&mut self) {
        for number in self.numbers_of(|pending| pending.operation.snapshot().is_some()) {
            if self.lacks_snapshot(number) {
                self.settle(number, |pending| Err(pending.judge(SnapshotRef::lost())));
            }
        }
        self.iterators.fail_without_snapshot(&self.snapshots);
    }

    /// Releases a snapshot, if the present leader has it. What was submitted before still reads it.
    pub fn close_snapshot(&mut self, id: u64) {
        self.snapshots.here.remove(&id);
        if self.snapshots.is_open(id) {
            let unsent = self.pending.range(self.unsent..);
            let last = unsent.rev().find(|(_, pending)| pending.operation.snapshot() == Some(id));
            let last = last.map(|(number, _)| *number).max(self.iterators.last_before(id));
            self.snapshots.closing.insert((last.unwrap_or(0), id));
            self.release_snapshots();
        }
    }

    /// Tells the leader of the closed snapshots that nothing waits for any more.
    pub(super) fn release_snapshots(&mut self) {
        if self.snapshots.closing.is_empty() {
            return;
        }
        let next = self.pending.range(self.unsent..).next().map_or(u64::MAX, |(number, _)| *number);
        while let Some(&(last, id)) = self.snapshots.closing.first()
            && last < next
        {
            self.snapshots.closing.pop_first();
            if self.snapshots.open.remove(&id) && self.ready() {
                Request::SnapshotClose(message::SnapshotClose { snapshot: id }).encode(&mut self.output);
            }
        }
    }

    /// Whether operation `number` reads a snapshot that is not there, and is not in doubt. What is in doubt may have been
    /// done while it was there.
    pub(super) fn lacks_snapshot(&self, number: u64) -> bool {
        self.pending.get(&number).is_some_and(|pending| {
            let missing = pending.operation.snapshot().is_some_and(|id| !self.snapshots.is_there(id));
            missing && !pending.on_wire && !pending.is_in_doubt()
        })
    }
}
