//! What goes out, in which order, and what comes back for it.

use super::{
    Link, MERGED_BYTES, MERGED_OPERATIONS, Machine, Operation, Reply, SnapshotRef,
    requests::{self, Numbering},
};
use rave_core::{Code, Effect, Error, Result};
use rave_transport::wire::MAX_UNSETTLED_WRITES;

impl<T> Machine<T> {
    /// Sends what is next, as far as there is room.
    pub(super) fn pump(&mut self) {
        while self.unsent < self.next && self.ready() {
            let Some((&number, pending)) = self.pending.range(self.unsent..).next() else {
                self.unsent = self.next;
                break;
            };
            let (legacy, write) = (self.is_legacy(), pending.operation.is_write());
            let alone = legacy && (write || !self.written.is_empty());
            if write && self.unanswered_writes >= MAX_UNSETTLED_WRITES {
                break;
            }
            // One request may go out whatever its size.
            if self.in_flight > 0 && (alone || self.in_flight.saturating_add(pending.cost) > self.window) {
                break;
            }
            if legacy && write && self.send_merged(number) {
                continue;
            }
            self.unsent = number + 1;
            self.send(number);
        }
        self.open_iterators();
        self.release_snapshots();
    }

    /// Sends several writes, from number `first` on, as one batch; whether there are several.
    fn send_merged(&mut self, first: u64) -> bool {
        let Link::Up(leader) = &self.link else { return false };
        if first < self.apart {
            return false;
        }
        let (mut numbers, mut operations, mut bytes) = (Vec::new(), Vec::new(), 0);
        let bound = MERGED_BYTES.min(self.window).min(self.max_frame);
        for (&number, pending) in self.pending.range(first..) {
            // An operation's cost is more than what it takes in a frame.
            let Operation::Write { batch, sync: false } = &pending.operation else { break };
            if batch.conditions().len() > 0 {
                break;
            }
            if operations.len() + batch.len() > MERGED_OPERATIONS || bytes + pending.cost > bound {
                break;
            }
            bytes += pending.cost;
            numbers.push(number);
            operations.extend(batch.operations().cloned());
        }
        if numbers.len() < 2 {
            return false;
        }
        let batch = Operation::Write { batch: operations.into_iter().collect(), sync: false };
        let start = self.output.len();
        if requests::encode(&batch, first as u32, Numbering::default(), leader, &mut self.output).is_err() {
            self.output.truncate(start);
            return false;
        }
        for number in &numbers {
            if let Some(pending) = self.pending.get_mut(number) {
                pending.on_wire = true;
                pending.numbered = None;
                self.unsent = number + 1;
            }
        }
        self.in_flight += bytes;
        self.written = numbers;
        true
    }

    /// Asks for the first entries of those iterators before which nothing has to be done first.
    pub(super) fn open_iterators(&mut self) {
        if !self.ready() || !self.iterators.any_due() {
            return;
        }
        // A native leader keeps the order in which it gets things.
        let legacy = self.is_legacy();
        let obstacle = match legacy {
            true => self.pending.iter().find(|(_, pending)| pending.operation.is_write()),
            false => self.pending.range(self.unsent..).next(),
        };
        let before = obstacle.map_or(u64::MAX, |(number, _)| *number);
        self.iterators.open_due(legacy, before, &self.snapshots, &mut self.output);
    }

    fn send(&mut self, number: u64) {
        let Link::Up(leader) = &self.link else { return };
        let legacy = leader.legacy;
        let settled = self.untold.is_some().then(|| self.settled());
        let Some(pending) = self.pending.get_mut(&number) else { return };
        let start = self.output.len();
        let write = pending.operation.is_write();
        let mut numbering = Numbering::default();
        if write && leader.forgotten.is_some() {
            numbering = Numbering { number: Some(number), settled };
        }
        // The low 32 bits are the id on the wire.
        let sent = match pending.operation.snapshot() {
            Some(id) if !self.snapshots.is_open(id) => Err(SnapshotRef::lost()),
            _ => requests::encode(&pending.operation, number as u32, numbering, leader, &mut self.output),
        };
        let sent = sent.and_then(|()| {
            let size = self.output.len() - start;
            let most = leader.max_frame.unwrap_or(usize::MAX).min(self.max_frame);
            if size > most {
                let message = format!("a request of {size} bytes does not fit a frame of {most} bytes");
                return Err(Error::new(Code::InvalidValue, message));
            }
            Ok(())
        });
        match sent {
            Ok(()) => {
                pending.on_wire = true;
                self.in_flight += pending.cost;
                if write {
                    self.sent = self.sent.max(number + 1);
                    pending.numbered = leader.forgotten;
                    self.unanswered_writes += 1;
                    self.untold = self.untold.filter(|refused| settled.is_some_and(|settled| settled <= *refused));
                }
                if legacy && write {
                    self.written = vec![number];
                }
            }
            Err(error) => {
                let effect = pending.effect();
                self.output.truncate(start);
                if let Some(token) = self.pending.remove(&number).and_then(|pending| pending.token) {
                    self.awaited -= 1;
                    self.completed.push((token, Err(error.with_effect(effect))));
                }
            }
        }
    }

    pub(super) fn complete(&mut self, id: u32, reply: impl FnOnce(&Operation) -> Result<Reply>) {
        // Everything pending lies within 2^32 numbers of the oldest.
        let Some((&oldest, _)) = self.pending.first_key_value() else { return };
        let number = oldest + u64::from(id.wrapping_sub(oldest as u32));
        let Some(pending) = self.pending.get(&number).filter(|pending| pending.on_wire) else { return };
        let reply = reply(&pending.operation);
        if self.written.first() == Some(&number) {
            let written = std::mem::take(&mut self.written);
            match &reply {
                Err(error) if written.len() > 1 && error.effect() == Effect::None => self.separate(&written),
                _ => written.iter().for_each(|number| self.finish(*number, reply.clone())),
            }
        } else if !self.written.contains(&number) {
            self.finish(number, reply);
        }
        self.pump();
    }

    fn finish(&mut self, number: u64, reply: Result<Reply>) {
        let Some(pending) = self.pending.remove(&number) else { return };
        self.in_flight -= pending.cost;
        if pending.operation.is_write() {
            self.unanswered_writes = self.unanswered_writes.saturating_sub(1);
            if reply.is_err() {
                self.untold = Some(number);
            }
        }
        if let (Operation::Snapshot(id), Ok(_)) = (&pending.operation, &reply) {
            self.snapshot_taken(*id, pending.token.is_some());
        }
        let reply = reply.map_err(|error| pending.judge(error));
        if let Some(token) = pending.token {
            self.awaited -= 1;
            self.completed.push((token, reply));
        }
    }

    /// A batch of writes was refused as a whole, perhaps for one of them: each has to be tried by itself.
    fn separate(&mut self, written: &[u64]) {
        for number in written {
            let Some(pending) = self.pending.get_mut(number) else { continue };
            self.in_flight -= pending.cost;
            pending.on_wire = false;
            if pending.token.is_none() {
                self.pending.remove(number);
            }
        }
        if let (Some(first), Some(last)) = (written.first(), written.last()) {
            self.unsent = *first;
            self.apart = last + 1;
        }
    }
}
