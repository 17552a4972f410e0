//! Leading: taking groups from the queue and applying them, on a caller's thread or on the writer thread.

use super::{
    Db, HeldSnapshot,
    append::{Appender, operations},
    queue::{Lead, Pending, Submitted, Taken, Ticket, Work},
};
use crate::{
    compaction::rules::{LEVEL0_SLOWDOWN_TRIGGER, LEVEL0_STOP_TRIGGER},
    error::ReadError,
    key::SequenceNumber,
    storage::Access,
};
use rave_core::{Batch, ClearOptions, Error, Event, Operation, Result};
use std::{sync::Arc, thread, time::Duration};

/// Groups of others that a caller takes along before the writer thread relieves it.
const ROUNDS: usize = 16;
/// Larger batches are written by the writer thread.
const LARGEST_IN_PLACE: usize = 256 << 10;
/// How long a write is held up while level 0 has too many tables.
const SLOWDOWN: Duration = Duration::from_millis(1);

/// What became of a write.
pub(crate) enum Write<'a> {
    /// It was applied, or refused, on the caller's thread.
    Done(Result<()>),
    /// The answer comes later.
    Later(Ticket<'a>),
}

impl Db {
    /// Submits a batch. Its place among the operations of the handle is that of this call.
    pub(crate) fn write(&self, batch: Batch, sync: bool) -> Write<'_> {
        let in_place = !sync && batch.byte_len() <= LARGEST_IN_PLACE;
        self.submit(Work::Write { batch, sync }, in_place)
    }

    /// Submits any work. With `in_place` it is done by the caller if nobody else leads; only for batches.
    pub(crate) fn submit(&self, work: Work, in_place: bool) -> Write<'_> {
        match self.queue.submit(work, in_place) {
            Submitted::Leads(lead, work) => self.lead_in_place(lead, work),
            Submitted::Queued(ticket) => Write::Later(ticket),
            Submitted::Closed => Write::Done(Err(Error::not_open())),
        }
    }

    fn lead_in_place<'a>(&'a self, lead: Lead<'a>, work: Work) -> Write<'a> {
        let mut appender = self.appender.lock();
        let Work::Write { batch, .. } = &work else { return Write::Later(lead.give_up(work)) };
        if appender.must_wait(self) {
            drop(appender);
            return Write::Later(lead.give_up(work));
        }
        let result = match self.check(batch, Access::InMemory) {
            Ok(()) => appender.append(self, batch.operations(), false),
            Err(ReadError::Failed(error)) => Err(error),
            Err(ReadError::WouldBlock) => {
                drop(appender);
                return Write::Later(lead.give_up(work));
            }
        };
        if result.is_ok() && !batch.writes_nothing() {
            self.events.emit(|| Event::Write(Arc::new(batch.clone())));
        }
        for _ in 0..ROUNDS {
            if appender.must_wait(self) {
                break;
            }
            let Some(taken) = lead.take(false) else { break };
            self.apply(&lead, &mut appender, taken);
        }
        // The appender first: whoever leads next takes it at once.
        drop(appender);
        drop(lead);
        Write::Done(result)
    }

    /// Does what the leader took.
    fn apply(&self, lead: &Lead<'_>, appender: &mut Appender, taken: Taken) {
        match taken {
            Taken::Group { writes, sync } => {
                let batches = || writes.iter().map(|(batch, _)| &**batch);
                // A batch with conditions is alone in its group.
                let checked = batches().try_for_each(|batch| self.check(batch, Access::Blocking));
                let result = checked.map_err(ReadError::into_error);
                let result = result.and_then(|()| appender.append(self, operations(batches()), sync));
                lead.done(writes.len());
                for (batch, reply) in writes {
                    if result.is_ok() && !batch.writes_nothing() {
                        self.events.emit(|| Event::Write(batch));
                    }
                    let _ = reply.send(result.clone());
                }
            }
            Taken::Other(Pending { work, reply, .. }) => {
                let result = match work {
                    Work::Read(read) => {
                        read();
                        Ok(())
                    }
                    Work::Clear { options, at } => {
                        self.clear(appender, options, at.as_deref().map(HeldSnapshot::sequence))
                    }
                    Work::Switch => self.switch(appender),
                    Work::Write { .. } | Work::Close => Ok(()),
                };
                lead.done(1);
                let _ = reply.send(result);
            }
        }
    }

    /// The writer thread: leads whatever callers must not wait for, until the database closes.
    pub(crate) fn run_writer(&self) {
        loop {
            let lead = self.queue.wait_for_lead();
            while let Some(taken) = lead.take(true) {
                let mut appender = self.appender.lock();
                match &taken {
                    Taken::Other(Pending { work: Work::Close, .. }) => {
                        drop(appender);
                        lead.done(1);
                        return;
                    }
                    Taken::Group { .. } => {
                        // A failure is noticed again, and reported, when the group is appended.
                        let _ = self.make_room(&mut appender, false);
                    }
                    Taken::Other(_) => {}
                }
                self.apply(&lead, &mut appender, taken);
            }
        }
    }

    /// Waits until the memtable may take a write: LevelDB's rules. `force` makes it empty.
    fn make_room(&self, appender: &mut Appender, force: bool) -> Result<()> {
        let mut slowed = false;
        loop {
            self.failure.check()?;
            let full = force && !appender.is_empty() || appender.is_full(self.options.write_buffer_size);
            if !full && (slowed || self.level0_tables() < LEVEL0_SLOWDOWN_TRIGGER) {
                return Ok(());
            }
            if !slowed && !force && self.level0_tables() >= LEVEL0_SLOWDOWN_TRIGGER {
                // A little of every write, rather than all of one: compaction gets time to catch up.
                thread::sleep(SLOWDOWN);
                slowed = true;
                continue;
            }
            let mut state = self.state.lock();
            // Once more, because after a failure nobody wakes this up, and the immutable memtable stays.
            self.failure.check()?;
            if self.current.read().0.immutable.is_some() || self.level0_tables() >= LEVEL0_STOP_TRIGGER {
                self.changed.wait(&mut state);
                continue;
            }
            drop(state);
            appender.forget_previous();
            return appender.switch(self);
        }
    }

    fn switch(&self, appender: &mut Appender) -> Result<()> {
        if appender.is_empty() { Ok(()) } else { self.make_room(appender, true) }
    }

    /// Deletes a range and writes what comes with it, as one batch.
    fn clear(&self, appender: &mut Appender, options: ClearOptions, at: Option<SequenceNumber>) -> Result<()> {
        self.failure.check()?;
        let reverse = options.reverse && options.limit.is_some();
        let mut entries = self.entries(at, reverse, false);
        entries.set_access(Access::Blocking);
        let limit = options.limit.unwrap_or(u64::MAX);
        let mut deletions = Vec::new();
        for range in options.ranges() {
            entries.restart(range);
            while (deletions.len() as u64) < limit
                && let Some(entry) = entries.next_entry(false).map_err(|error| error.into_error())?
            {
                deletions.push(Operation::Del { key: entry.key });
            }
        }
        // What it pins would only be in the way of the flush that it may have to wait for.
        drop(entries);
        if !deletions.is_empty() || !options.and_write.is_empty() {
            self.make_room(appender, false)?;
            appender.append(self, deletions.iter().chain(options.and_write.operations()), options.sync)?;
        }
        self.events.emit(|| Event::Clear(Arc::new(options)));
        Ok(())
    }
}
