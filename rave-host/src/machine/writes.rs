//! Writes: what becomes one step, and how far a session gets with it.

use super::{
    MERGED_BYTES, MERGED_OPERATIONS, Machine, Part, Waiting, Work,
    convert::{Write, callback_error, limit_of, merging_of, operations_of, range_of, settled_of, write_of},
};
use rave_core::{Batch, ClearOptions, Result};
use rave_transport::wire::{
    Request, Response,
    message::{self, Callback, SessionState},
};

impl Machine {
    /// A write, and those behind it that can be done with it in one step.
    pub(super) fn begin_write(&mut self, request: Request) -> Option<(Waiting, Work)> {
        self.settled(settled_of(&request));
        let merging = merging_of(&request);
        let Write { id, mut batch, sync, number } = match write_of(request) {
            Ok(write) => write,
            Err((id, error)) => {
                self.send(&callback_error(id, &error));
                return None;
            }
        };
        let mut number = self.number_of(number);
        if self.is_known(number, id) {
            return None;
        }
        let mut parts = vec![Part { id, number, operations: batch.len() }];
        let mut bytes = batch.byte_len();
        while merging.is_some()
            && self.config.merge_writes
            && batch.len() < MERGED_OPERATIONS
            && bytes < MERGED_BYTES
            && let Some((sync_too, next)) = self.queue.front().and_then(merging_of)
            && sync_too == sync
            // In a session only what goes on in it.
            && self.number_of(next).is_some() == number.is_some()
            && (number.is_none() || next > number)
            && let Some(request) = self.queue.pop_front()
        {
            self.settled(settled_of(&request));
            let more = match write_of(request) {
                Ok(more) => more,
                Err((id, error)) => {
                    self.send(&callback_error(id, &error));
                    break;
                }
            };
            number = self.number_of(more.number);
            parts.push(Part { id: more.id, number, operations: more.batch.len() });
            bytes += more.batch.byte_len();
            batch.append(more.batch);
        }
        let waiting = match parts.as_slice() {
            [_] => Waiting::Write { id, number },
            _ => Waiting::Merged { parts, batch: batch.clone(), sync },
        };
        Some((waiting, self.write(batch, sync, number)))
    }

    pub(super) fn write(&self, batch: Batch, sync: bool, number: Option<u64>) -> Work {
        // Nothing comes of conditions alone that would have to be remembered: asked again, they are checked again.
        let record = if batch.writes_nothing() { None } else { self.record(number) };
        Work::Write { batch, sync, record }
    }

    /// The number of a write, if the guest has a session.
    fn number_of(&self, number: Option<u64>) -> Option<u64> {
        number.filter(|_| self.progress.is_some())
    }

    fn record(&self, number: Option<u64>) -> Option<SessionState> {
        Some(self.progress.as_ref()?.with(number?))
    }

    /// Answers a write that was worked off before.
    fn is_known(&mut self, number: Option<u64>, id: u32) -> bool {
        match (&self.progress, number) {
            (Some(progress), Some(number)) if !progress.is_new(number) => {
                let answer = progress.answer(number, id);
                self.send(&answer);
                self.served += 1;
                true
            }
            _ => false,
        }
    }

    pub(super) fn begin_clear(&mut self, clear: message::Clear) -> Option<(Waiting, Work)> {
        self.settled(clear.settled);
        let number = self.number_of(clear.number);
        if self.is_known(number, clear.id) {
            return None;
        }
        let options = clear.options.unwrap_or_default();
        let snapshot = options.snapshot;
        let options = ClearOptions {
            range: range_of(&options),
            reverse: options.reverse.unwrap_or(false),
            limit: limit_of(&options),
            sync: clear.sync.unwrap_or(false),
            and_write: operations_of(clear.ops),
            ..ClearOptions::default()
        };
        let record = self.record(number);
        Some((Waiting::Write { id: clear.id, number }, Work::Clear { options, snapshot, record }))
    }

    /// A write came to its end: the guest is told, and the session has got so far.
    pub(super) fn written(&mut self, id: u32, number: Option<u64>, result: &Result<()>) {
        self.served += 1;
        if let (Some(progress), Some(number)) = (&mut self.progress, number) {
            match result {
                Ok(()) => progress.applied(number),
                Err(error) => progress.refused(number, error),
            }
            if progress.overflows() {
                self.fault = Some("the guest sends more writes than it takes answers".to_owned());
            }
        }
        match result {
            Ok(()) => self.send(&Response::Callback(Callback { id, ..Default::default() })),
            Err(error) => self.send(&callback_error(id, error)),
        }
    }

    /// The guest has all answers to writes of its session below this number.
    fn settled(&mut self, number: Option<u64>) {
        if let (Some(progress), Some(number)) = (&mut self.progress, number) {
            progress.settled(number);
        }
    }
}
