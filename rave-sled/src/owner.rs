//! The thread that owns the engine: all others send it commands, and it executes them in their order.
//!
//! ```text
//!   commands ──▶ apply in memory ──▶ group ──▶ flush, on a thread of its own ──▶ answers
//!                        ▲                       │ meanwhile: reads of other keys are answered,
//!                        └──── parked ◀──────────┘ all else waits here, in its order
//! ```
//!
//! Sled applies a write in memory and gets it to the operating system when it is flushed, which takes as long as the disk
//! does. So all writes that wait are applied as one batch, flushed together and then answered. Nobody is told of a write
//! before it is flushed: neither who wrote it nor who reads its keys, because if the process were killed, it would never
//! have been.

use crate::{
    command::{Command, Page, PageRequest, Read, Reply},
    engine::Engine,
    flusher::Flusher,
    touched::Touched,
};
use bytes::Bytes;
use rave_core::{
    Batch, ClearOptions, Effect, Entry, Error, Event, EventHub, KeyRange, Operation, Result, failed_conditions,
};
use std::{collections::VecDeque, mem, ops::ControlFlow, sync::mpsc::Receiver};

/// Bytes of writes that are flushed together, about.
const GROUP_BYTES: usize = 4 << 20;
/// Answers that wait for one flush, and messages that are looked at before it begins: a stream of reads must not keep
/// writes waiting, and sled keeps all that a batch replaces in memory until it is applied.
const GROUP_MESSAGES: usize = 256;
/// Bytes after which a page is given, though more was asked for.
const PAGE_BYTES: usize = 256 << 10;

/// What the owner is sent.
pub(crate) enum Message {
    /// To be executed, behind all that was sent before.
    Command(Command),
    /// The flush under way has ended.
    Flushed(Result<()>),
    /// To end when everything is done that was sent before.
    Close,
}

/// Gives an answer, once it is known what became of the writes that it depends on.
type Answer = Box<dyn FnOnce(Result<()>)>;

struct Owner {
    engine: Engine,
    flusher: Flusher,
    events: EventHub,
    /// For writes that were taken and for which no flush has begun yet, and for what depends on them.
    group: Vec<Answer>,
    group_bytes: usize,
    /// Of the group's writes, those that are not applied yet.
    pending: Vec<Operation>,
    /// For those that are being flushed.
    flushing: Option<Vec<Answer>>,
    /// What has to wait for the end of the flush, in its order.
    parked: VecDeque<Command>,
    /// By the group and by what is being flushed.
    touched: Touched,
    /// By what is parked.
    touched_later: Touched,
    /// Why no write is taken any more.
    failed: Option<Error>,
}

/// Executes messages until told to close, and then gives the engine back with nothing under way.
pub(crate) fn serve(engine: Engine, flusher: Flusher, events: EventHub, messages: &Receiver<Message>) -> Engine {
    let mut owner = Owner {
        engine,
        flusher,
        events,
        group: Vec::new(),
        group_bytes: 0,
        pending: Vec::new(),
        flushing: None,
        parked: VecDeque::new(),
        touched: Touched::default(),
        touched_later: Touched::default(),
        failed: None,
    };
    let mut closing = false;
    while !closing || owner.flushing.is_some() {
        // An error says that all handles are gone; the last one has sent `Close` before it went.
        let Ok(message) = messages.recv() else { break };
        let (mut next, mut seen) = (Some(message), 0);
        while let Some(message) = next {
            match message {
                Message::Command(command) if !closing => owner.take(command),
                // Sent while the store was closed: to drop it says so.
                Message::Command(_) => {}
                Message::Flushed(result) => owner.flushed(result),
                Message::Close => closing = true,
            }
            seen += 1;
            let full = seen >= GROUP_MESSAGES || owner.is_full();
            next = if full { None } else { messages.try_recv().ok() };
        }
        owner.flush_group();
    }
    owner.flusher.stop();
    owner.engine
}

impl Owner {
    /// Executes a command, or parks it until the flush under way has ended.
    fn take(&mut self, command: Command) {
        if command.is_abandoned() {
            return;
        }
        match command {
            Command::Read(read) => {
                if let Some(read) = self.read(read) {
                    self.parked.push_back(Command::Read(read));
                }
            }
            Command::Write { batch, reply } if self.flushing.is_some() => {
                self.touched_later.add_batch(&batch);
                self.parked.push_back(Command::Write { batch, reply });
            }
            Command::Clear { options, reply } if self.flushing.is_some() => {
                self.touched_later.add_clear(&options);
                self.parked.push_back(Command::Clear { options, reply });
            }
            Command::Write { batch, reply } => self.write(batch, reply),
            Command::Clear { options, reply } => self.clear(options, reply),
        }
    }

    /// Begins to flush the group, unless it has to wait for the flush before.
    fn flush_group(&mut self) {
        if self.flushing.is_some() || self.group.is_empty() {
            return;
        }
        let settled = self.settle();
        let group = mem::take(&mut self.group);
        self.group_bytes = 0;
        match settled {
            Ok(()) => {
                self.flushing = Some(group);
                self.flusher.flush();
            }
            Err(error) => group.into_iter().for_each(|answer| answer(Err(error.clone()))),
        }
    }

    /// Answers what waited for the flush, and goes on with what was parked meanwhile.
    fn flushed(&mut self, result: Result<()>) {
        let answers = self.flushing.take().unwrap_or_default();
        match &result {
            Ok(()) => self.touched.clear(),
            // These keys stay touched: what is read of them might not be there after opening again.
            Err(error) => self.fail(error),
        }
        answers.into_iter().for_each(|answer| answer(result.clone()));
        while self.flushing.is_none()
            && let Some(command) = self.parked.pop_front()
        {
            self.touched_later.remove(&command);
            self.take(command);
            if self.is_full() {
                self.flush_group();
            }
        }
    }

    /// Whether the group is large enough to be flushed without more.
    fn is_full(&self) -> bool {
        self.group.len() >= GROUP_MESSAGES || self.group_bytes >= GROUP_BYTES
    }

    /// Whether what is read of `key` has to wait for a flush.
    fn awaits(&self, key: &Bytes) -> bool {
        // What is parked matters only while it may come before the read.
        self.touched.has_key(key) || (self.flushing.is_some() && self.touched_later.has_key(key))
    }

    /// Whether what is read of `range` has to wait for a flush.
    fn awaits_any(&self, range: &KeyRange) -> bool {
        self.touched.meets(range) || (self.flushing.is_some() && self.touched_later.meets(range))
    }

    /// Applies the writes of the group, so that the engine shows them.
    ///
    /// Errors: if that fails, or anything failed before.
    fn settle(&mut self) -> Result<()> {
        if !self.pending.is_empty()
            && let Err(error) = self.engine.apply(mem::take(&mut self.pending))
        {
            self.fail(&error);
        }
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn fail(&mut self, error: &Error) {
        tracing::error!(directory = %self.engine.directory().display(), %error, "the store takes no further writes");
        self.failed.get_or_insert_with(|| error.clone());
    }

    /// Refuses writes after one that failed.
    fn check_writable(&self) -> Result<()> {
        match &self.failed {
            Some(error) => {
                let what = "the store takes no writes after a failure; close and open it again";
                Err(Error::new(error.code(), what).with_source(error.clone()))
            }
            None => Ok(()),
        }
    }

    fn write(&mut self, batch: Batch, reply: Reply<()>) {
        if let Err(error) = self.check_writable() {
            let _ = reply.send(Err(error));
            return;
        }
        if batch.is_conditional() {
            let checked = self.settle().and_then(|()| self.check(&batch));
            if checked.is_err() || batch.writes_nothing() {
                // What it was checked against must be there for good before anybody is told of it.
                self.answer(!self.touched.is_empty(), reply, checked);
                return;
            }
        }
        let announced = self.events.has_listeners().then(|| batch.clone().into()).map(Event::Write);
        self.touched.add_batch(&batch);
        self.group_bytes += batch.byte_len();
        self.pending.extend(batch.into_operations());
        self.join_group(announced, reply);
    }

    /// Fails if a condition of `batch` does not hold now.
    fn check(&self, batch: &Batch) -> Result<()> {
        let get = |key: &Bytes| self.engine.get(key);
        let failed = failed_conditions(batch.conditions(), get, |range, show| {
            self.engine.visit(range, false, |key, value| {
                show(key, value);
                ControlFlow::Continue(())
            })
        })?;
        if failed.is_empty() { Ok(()) } else { Err(Error::condition_failed(failed)) }
    }

    fn clear(&mut self, options: ClearOptions, reply: Reply<()>) {
        let operations = self.check_writable().and_then(|()| self.settle()).and_then(|()| self.deletions(&options));
        let operations = match operations {
            Ok(operations) => operations,
            Err(error) => {
                let _ = reply.send(Err(error));
                return;
            }
        };
        self.touched.add_clear(&options);
        self.group_bytes += operations.iter().map(Operation::byte_len).sum::<usize>();
        self.pending.extend(operations);
        let announced = self.events.has_listeners().then(|| Event::Clear(options.into()));
        self.join_group(announced, reply);
    }

    /// What a clear does, as one batch.
    fn deletions(&self, options: &ClearOptions) -> Result<Vec<Operation>> {
        let mut operations = Vec::new();
        let mut left = options.limit.unwrap_or(u64::MAX);
        for range in options.ranges() {
            if left == 0 {
                break;
            }
            self.engine.visit(&range, options.reverse, |key, _| {
                operations.push(Operation::Del { key: Bytes::copy_from_slice(key) });
                left -= 1;
                if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
        }
        operations.extend(options.and_write.operations().cloned());
        Ok(operations)
    }

    /// Answers a write with the group.
    fn join_group(&mut self, announced: Option<Event>, reply: Reply<()>) {
        let events = self.events.clone();
        self.group.push(Box::new(move |flushed| {
            if flushed.is_ok()
                && let Some(event) = announced
            {
                events.emit(|| event);
            }
            let _ = reply.send(flushed.map_err(|error| error.with_effect(Effect::Unknown)));
        }));
    }

    /// Executes a read. Gives it back if it has to wait for the flush under way: what is parked may come before it, and
    /// is not applied yet.
    fn read(&mut self, read: Read) -> Option<Read> {
        let flushing = self.flushing.is_some();
        match read {
            Read::Get { key, reply } => {
                let waits = self.awaits(&key);
                if waits && flushing {
                    return Some(Read::Get { key, reply });
                }
                let value = self.settled(waits).and_then(|()| self.engine.get(&key));
                self.answer(waits, reply, value);
            }
            Read::GetMany { keys, reply } => {
                let waits = keys.iter().any(|key| self.awaits(key));
                if waits && flushing {
                    return Some(Read::GetMany { keys, reply });
                }
                let values = self.settled(waits).and_then(|()| keys.iter().map(|key| self.engine.get(key)).collect());
                self.answer(waits, reply, values);
            }
            Read::HasMany { keys, reply } => {
                let waits = keys.iter().any(|key| self.awaits(key));
                if waits && flushing {
                    return Some(Read::HasMany { keys, reply });
                }
                let there = self.settled(waits).and_then(|()| keys.iter().map(|key| self.engine.has(key)).collect());
                self.answer(waits, reply, there);
            }
            Read::Page { request, reply } => {
                let mut page = self.page(&request);
                // Only what the page tells of matters, which is known when it has been read.
                let waits = page.as_ref().is_ok_and(|page| self.awaits_any(&covered(&request, page)));
                if waits && flushing {
                    return Some(Read::Page { request, reply });
                }
                if waits {
                    page = self.settle().and_then(|()| self.page(&request));
                }
                // With the writes applied it may tell of more than before.
                self.answer(waits, reply, page);
            }
        }
        None
    }

    /// Applies the writes of the group if a read waits for them.
    fn settled(&mut self, waits: bool) -> Result<()> {
        if waits { self.settle() } else { Ok(()) }
    }

    fn page(&self, request: &PageRequest) -> Result<Page> {
        let mut entries = Vec::new();
        let (mut bytes, mut done) = (0, true);
        self.engine.visit(&request.range, request.reverse, |key, value| {
            if entries.len() >= request.want || bytes >= PAGE_BYTES {
                done = false;
                return ControlFlow::Break(());
            }
            let value = if request.values { Bytes::copy_from_slice(value) } else { Bytes::new() };
            bytes += key.len() + value.len();
            entries.push(Entry { key: Bytes::copy_from_slice(key), value });
            ControlFlow::Continue(())
        })?;
        Ok(Page { entries, done })
    }

    /// Answers now, or with the group if the answer depends on its writes.
    fn answer<T: Send + 'static>(&mut self, waits: bool, reply: Reply<T>, answer: Result<T>) {
        if waits && self.failed.is_none() {
            self.group.push(Box::new(move |flushed| {
                let _ = reply.send(flushed.and(answer));
            }));
        } else {
            // Where writes have failed, whoever waits for them gets the failure: `settle` gave it.
            let _ = reply.send(answer);
        }
    }
}

/// The part of the range that the page tells of.
fn covered(request: &PageRequest, page: &Page) -> KeyRange {
    match page.entries.last() {
        Some(last) if !page.done && request.reverse => request.range.intersection(&KeyRange::all().gte(&last.key)),
        Some(last) if !page.done => request.range.intersection(&KeyRange::all().lte(&last.key)),
        _ => request.range.clone(),
    }
}
