//! The host's side of one connection as a state machine: requests and outcomes come in, work and frames come out. It
//! performs no I/O and reads no clock.
//!
//! ```text
//!  receive(Request) ──▶ queue ──▶ next_work() ──▶ (the driver asks the store) ──▶ complete(Outcome) ──▶ output
//! ```
//!
//! To ensure correctness:
//! - One piece of work is under way at a time, so operations of a connection take effect in the order in which they came.
//! - Neighbours of one kind in the queue become one piece of work: gets one `get_many`, writes one atomic batch. This
//!   keeps their order and costs one trip to the store. If a merged batch is refused, its writes are tried one by one,
//!   so that none fails for its neighbour's sake.
//! - The writes of a session are worked off in the order of their numbers, each once; each piece of work that applies some
//!   carries the record of how far the session has then got. A batch with conditions is a piece of work by itself.
//! - An iterator has at most [`CREDIT`] data frames unacknowledged, each of about [`PAGE_BYTES`] or one entry, so a guest
//!   that does not read costs that much, what the store gave beyond a frame, and no more.

pub(crate) mod convert;
mod greeting;
mod iterators;
mod session;
mod writes;

pub(crate) use greeting::rejection;
pub use session::SessionId;

use bytes::{Bytes, BytesMut};
use convert::{FRAME_OVERHEAD, NOT_FOUND, Write, callback_error, counted, get_many_error, iterator_error, too_large};
use iterators::Iter;
use rave_core::{Batch, ClearOptions, Code, Effect, Entry, Error, IteratorOptions, Manifest, Position, Result};
use rave_transport::wire::{
    Request, Response,
    message::{Callback, GetManyCallback, Leaving, MaybeValue, SessionState, StatusReply},
};
use session::Progress;
use std::collections::{BTreeMap, VecDeque};

/// Data frames of an iterator that may be unacknowledged.
pub const CREDIT: u32 = 2;
/// Bytes a data frame should have, about.
pub const PAGE_BYTES: usize = 64 << 10;
/// Iterators a connection may have open.
pub const MAX_ITERATORS: usize = 4096;
/// Gets that become one piece of work.
const MERGED_GETS: usize = 64;
/// Bytes of values that merged gets should give, about, judged by those before.
const MERGED_VALUES: usize = 1 << 20;
/// Operations and bytes of writes that become one piece of work.
const MERGED_OPERATIONS: usize = 1024;
const MERGED_BYTES: usize = 1 << 20;
/// Entries of an iterator's first page, when the size of entries is not known yet.
const FIRST_PAGE: usize = 32;
/// Entries of a page at most.
const MAX_PAGE: usize = 4096;

/// Something the driver has to do; it answers with the [`Outcome`] of the same name.
#[derive(Debug)]
pub enum Work {
    /// Read one key, as the guest's snapshot of this id holds it.
    Get(Bytes, Option<u64>),
    /// Read several keys, likewise.
    GetMany(Vec<Bytes>, Option<u64>),
    /// Tell which keys exist, likewise.
    HasMany(Vec<Bytes>, Option<u64>),
    /// Take a snapshot and remember it under this id.
    OpenSnapshot(u64),
    /// Release a snapshot.
    CloseSnapshot(u64),
    /// Apply a batch.
    Write {
        /// The writes of one or several requests.
        batch: Batch,
        /// Acknowledge only what survives power loss.
        sync: bool,
        /// How far the guest's session has got with it, to be written in the same atomic step.
        record: Option<SessionState>,
    },
    /// Delete a range.
    Clear {
        /// What to delete.
        options: ClearOptions,
        /// Of what this snapshot holds.
        snapshot: Option<u64>,
        /// As of `Write`.
        record: Option<SessionState>,
    },
    /// The guest goes on with its session: find out how far it got, and see to it that no older connection does anything
    /// more for it.
    Resume {
        /// The session.
        session: SessionId,
        /// Connections that it has had, by the guest's account.
        attempt: u64,
        /// No write was ever sent with this number or a higher one.
        next: u64,
        /// What is told must survive power loss.
        durable: bool,
    },
    /// The guest will not come back: forget its session.
    Forget,
    /// Open an iterator, remember it under `id` in place of an older one, and fetch a page of at most `page` entries.
    Open {
        /// The guest's id for it.
        id: u32,
        /// What to visit.
        options: Box<IteratorOptions>,
        /// Of what this snapshot holds.
        snapshot: Option<u64>,
        /// Where to go on.
        position: Position,
        /// Entries of the first page; may be 0, for an iterator whose limit is reached.
        page: usize,
    },
    /// Fetch a page of an iterator, after seeking if a target is given.
    Page {
        /// The iterator.
        id: u32,
        /// Where to seek first.
        seek: Option<Bytes>,
        /// Entries at most.
        page: usize,
    },
    /// Close iterators.
    Close(Vec<u32>),
    /// Tell how the leader fares.
    Status,
}

/// What came of a [`Work`].
#[derive(Debug)]
pub enum Outcome {
    /// Of `Get`.
    Get(Result<Option<Bytes>>),
    /// Of `GetMany`.
    GetMany(Result<Vec<Option<Bytes>>>),
    /// Of `HasMany`.
    HasMany(Result<Vec<bool>>),
    /// Of `Write`, `Clear` and `OpenSnapshot`.
    Done(Result<()>),
    /// Of `Resume`. Of errors, `LEVEL_SESSION_LOST` and `LEVEL_CORRUPTION` refuse the session for good.
    Resumed(Result<SessionState>),
    /// Of `Open` and `Page`; no entries mean the end.
    Page(Result<Vec<Entry>>),
    /// Of `Close`, `CloseSnapshot` and `Forget`.
    Closed,
    /// Of `Status`; the id is filled in here.
    Status(StatusReply),
}

/// What a machine needs to know of the host.
#[derive(Clone, Debug)]
pub struct Config {
    /// This process, told to native guests.
    pub pid: u32,
    /// The store's manifest, told to native guests.
    pub manifest: Manifest,
    /// Whether writes of several requests may become one batch. Not where a hook judges each.
    pub merge_writes: bool,
    /// Bytes of the largest frame taken, and sent unless the guest takes less.
    pub max_frame: usize,
    /// Whether the guest may have a session, so that its writes are applied exactly once.
    pub sessions: bool,
}

/// Who waits for the work under way.
#[derive(Debug)]
enum Waiting {
    Gets(Vec<u32>),
    GetMany {
        id: u32,
        wanted: usize,
    },
    HasMany(u32),
    Snapshot(u32),
    /// A write's id, and its number in the session.
    Write {
        id: u32,
        number: Option<u64>,
    },
    /// Writes of several requests, and all of their operations in case they are refused.
    Merged {
        parts: Vec<Part>,
        batch: Batch,
        sync: bool,
    },
    Resume {
        version: u32,
        settled: u64,
    },
    Page {
        id: u32,
        seq: u32,
    },
    Status(u32),
    Nobody,
}

/// One request of several that became one batch.
#[derive(Debug)]
struct Part {
    id: u32,
    number: Option<u64>,
    operations: usize,
}

/// The host's side of one connection.
#[derive(Debug)]
pub struct Machine {
    config: Config,
    queue: VecDeque<Request>,
    /// The guest has greeted.
    greeted: bool,
    /// Of the guest's session, once it is known.
    progress: Option<Progress>,
    /// Why nothing more is done for this guest.
    fault: Option<String>,
    /// The guest said goodbye.
    finished: bool,
    iterators: BTreeMap<u32, Iter>,
    /// The iterator served last, so that all get their turn.
    last_turn: u32,
    /// Whether the last work was a request, so that requests and pages alternate.
    page_next: bool,
    waiting: Option<Waiting>,
    /// Writes of a merged batch that was refused, to be tried one by one before anything else.
    again: VecDeque<Write>,
    /// Gets to merge, so that their values do not become too much at once.
    merged_gets: usize,
    output: BytesMut,
    served: u64,
    /// Bytes of the largest frame that this side takes.
    own_frame: usize,
}

impl Machine {
    /// A connection that has just been made.
    pub fn new(config: Config) -> Self {
        Self {
            own_frame: config.max_frame,
            config,
            queue: VecDeque::new(),
            greeted: false,
            progress: None,
            fault: None,
            finished: false,
            iterators: BTreeMap::new(),
            last_turn: 0,
            page_next: false,
            waiting: None,
            again: VecDeque::new(),
            merged_gets: MERGED_GETS,
            output: BytesMut::new(),
            served: 0,
        }
    }

    /// The guest sent a message.
    pub fn receive(&mut self, request: Request) {
        match request {
            // Acknowledgements only open the way for pages; they must not wait in the queue behind slow work.
            Request::IteratorAck(ack) => {
                if let Some(iter) = self.iterators.get_mut(&ack.id)
                    && iter.seq == ack.seq
                {
                    iter.consumed = ack.consumed;
                    iter.unacknowledged = iter.unacknowledged.saturating_sub(1);
                }
            }
            Request::Unknown(_) => {}
            request => self.queue.push_back(request),
        }
    }

    /// The guest sent a message that cannot be understood, but tells which request it is, or which iterator and seek.
    /// False if there is no answer by which the guest would know.
    pub fn refuse(&mut self, tag: u8, id: u32, seq: Option<u32>, reason: &str) -> bool {
        let error = Error::new(Code::Remote, format!("the request was malformed: {reason}"));
        match (tag, seq) {
            (0..=3 | 5 | 35, _) => self.send(&callback_error(id, &error)),
            (4 | 9, Some(seq)) => self.send(&iterator_error(id, seq, &error)),
            (6, _) => self.send(&get_many_error(id, &error)),
            _ => return false,
        }
        true
    }

    /// The host leaves in good order: what was received is answered, and after that the guest is told.
    pub fn leave(&mut self) {
        self.send(&Response::Leaving(Leaving {}));
    }

    /// Frames to be sent; the driver takes them from the front.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// Bytes of the largest frame that the guest can get.
    pub fn max_frame(&self) -> usize {
        self.config.max_frame
    }

    /// Requests answered so far.
    pub fn served(&self) -> u64 {
        self.served
    }

    /// Whether the guest has a session, so that what it sent on an older connection cannot come after what it sends now.
    pub fn keeps_order(&self) -> bool {
        self.progress.is_some()
    }

    /// Why the connection has to end once what is in `output` is sent, if so.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    fn is_over(&self) -> bool {
        self.fault.is_some() || self.finished
    }

    /// Whether the guest has said goodbye: the connection may end once what is in `output` is sent.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// What to do next, if anything. The driver completes it before it asks again.
    pub fn next_work(&mut self) -> Option<Work> {
        debug_assert!(self.waiting.is_none(), "work is asked for while work is under way");
        if self.is_over() {
            return None;
        }
        if let Some(Write { id, batch, sync, number }) = self.again.pop_front() {
            self.waiting = Some(Waiting::Write { id, number });
            return Some(self.write(batch, sync, number));
        }
        loop {
            if self.page_next || self.queue.is_empty() {
                self.page_next = false;
                if let Some(work) = self.next_page() {
                    return Some(work);
                }
            }
            if self.is_over() {
                return None;
            }
            let request = self.queue.pop_front()?;
            if let Some((waiting, work)) = self.begin(request) {
                self.waiting = Some(waiting);
                self.page_next = true;
                return Some(work);
            }
        }
    }

    fn begin(&mut self, request: Request) -> Option<(Waiting, Work)> {
        Some(match request {
            Request::Get(get) => {
                let snapshot = get.snapshot;
                let mut ids = vec![get.id];
                let mut keys = vec![get.key.unwrap_or_default()];
                while keys.len() < self.merged_gets
                    && let Some(Request::Get(next)) = self.queue.front()
                    && next.snapshot == snapshot
                    && let Some(Request::Get(get)) = self.queue.pop_front()
                {
                    ids.push(get.id);
                    keys.push(get.key.unwrap_or_default());
                }
                let work = match keys.len() {
                    1 => Work::Get(keys.pop().unwrap_or_default(), snapshot),
                    _ => Work::GetMany(keys, snapshot),
                };
                (Waiting::Gets(ids), work)
            }
            Request::Put(_) | Request::Del(_) | Request::Batch(_) => return self.begin_write(request),
            Request::Clear(clear) => return self.begin_clear(clear),
            Request::GetMany(get) => {
                if get.keys.is_empty() && get.snapshot.is_none() {
                    // Also the probe that follows a hello: answered without troubling the store.
                    self.send(&Response::GetManyCallback(GetManyCallback { id: get.id, ..Default::default() }));
                    self.served += 1;
                    return None;
                }
                match get.existence {
                    Some(true) => (Waiting::HasMany(get.id), Work::HasMany(get.keys, get.snapshot)),
                    _ => {
                        let waiting = Waiting::GetMany { id: get.id, wanted: get.keys.len() };
                        (waiting, Work::GetMany(get.keys, get.snapshot))
                    }
                }
            }
            Request::SnapshotOpen(open) => (Waiting::Snapshot(open.id), Work::OpenSnapshot(open.snapshot)),
            Request::SnapshotClose(close) => (Waiting::Nobody, Work::CloseSnapshot(close.snapshot)),
            Request::Iterator(open) => return self.open(open),
            Request::IteratorSeek(seek) => {
                self.seek(seek);
                return None;
            }
            Request::IteratorClose(close) => {
                let mut ids = vec![close.id];
                while let Some(Request::IteratorClose(close)) = self.queue.front() {
                    ids.push(close.id);
                    self.queue.pop_front();
                }
                ids.iter().for_each(|id| drop(self.iterators.remove(id)));
                (Waiting::Nobody, Work::Close(ids))
            }
            Request::Hello(hello) => return self.greet(&hello),
            Request::Goodbye(_) => {
                self.finished = true;
                self.progress.take()?;
                (Waiting::Nobody, Work::Forget)
            }
            Request::Status(status) => (Waiting::Status(status.id), Work::Status),
            Request::IteratorAck(_) | Request::Unknown(_) => return None,
        })
    }

    /// The work under way is done.
    pub fn complete(&mut self, outcome: Outcome) {
        let Some(waiting) = self.waiting.take() else { return };
        match (waiting, outcome) {
            (Waiting::Gets(ids), Outcome::Get(result)) => self.got(&ids, result.map(|value| vec![value])),
            (Waiting::Gets(ids), Outcome::GetMany(result)) => self.got(&ids, result),
            (Waiting::GetMany { id, wanted }, Outcome::GetMany(result)) => self.got_many(id, wanted, result),
            (Waiting::HasMany(id), Outcome::HasMany(result)) => self.has_many(id, result),
            (Waiting::Snapshot(id), Outcome::Done(result)) => self.written(id, None, &result),
            (Waiting::Write { id, number }, Outcome::Done(result)) => self.written(id, number, &result),
            (Waiting::Merged { parts, batch, sync }, Outcome::Done(Err(error))) if error.effect() == Effect::None => {
                let mut operations = batch.into_operations();
                let one = |Part { id, number, operations: count }| {
                    let batch = operations.by_ref().take(count).collect();
                    Write { id, batch, sync, number }
                };
                self.again.extend(parts.into_iter().map(one));
            }
            (Waiting::Merged { parts, .. }, Outcome::Done(result)) => {
                parts.into_iter().for_each(|part| self.written(part.id, part.number, &result));
            }
            (Waiting::Resume { version, settled }, Outcome::Resumed(Ok(state))) => {
                let mut progress = Progress::new(&state);
                progress.settled(settled);
                self.progress = Some(progress);
                self.welcome(version, Some(state));
            }
            (Waiting::Resume { version, .. }, Outcome::Resumed(Err(error))) => match error.code() {
                Code::Session | Code::Corruption => self.turn_away(version, &error),
                // The guest asks again, here or elsewhere.
                _ => self.fault = Some(error.to_string()),
            },
            (Waiting::Page { id, seq }, Outcome::Page(result)) => self.page(id, seq, result),
            (Waiting::Status(id), Outcome::Status(status)) => {
                self.send(&Response::Status(StatusReply { id, ..status }));
            }
            (Waiting::Nobody, Outcome::Closed) => {}
            (waiting, outcome) => debug_assert!(false, "{outcome:?} does not answer {waiting:?}"),
        }
    }

    fn got(&mut self, ids: &[u32], result: Result<Vec<Option<Bytes>>>) {
        self.served += ids.len() as u64;
        match result.and_then(|values| counted(values, ids.len())) {
            Ok(values) => {
                let bytes: usize = values.iter().flatten().map(Bytes::len).sum();
                self.merged_gets = (MERGED_VALUES * ids.len() / bytes.max(1)).clamp(1, MERGED_GETS);
                for (&id, value) in ids.iter().zip(values) {
                    match value {
                        Some(value) if value.len() + FRAME_OVERHEAD > self.config.max_frame => {
                            self.send(&callback_error(id, &too_large(value.len(), self.config.max_frame)));
                        }
                        Some(value) => {
                            self.send(&Response::Callback(Callback { id, value: Some(value), ..Default::default() }));
                        }
                        None => {
                            let error = Some(NOT_FOUND.to_owned());
                            self.send(&Response::Callback(Callback { id, error, ..Default::default() }));
                        }
                    }
                }
            }
            Err(error) => ids.iter().for_each(|&id| self.send(&callback_error(id, &error))),
        }
    }

    fn got_many(&mut self, id: u32, wanted: usize, result: Result<Vec<Option<Bytes>>>) {
        self.served += 1;
        match result.and_then(|values| counted(values, wanted)) {
            Ok(values) => {
                let size: usize = values.iter().map(|value| value.as_ref().map_or(0, Bytes::len) + 16).sum();
                if size + FRAME_OVERHEAD > self.config.max_frame {
                    return self.send(&get_many_error(id, &too_large(size, self.config.max_frame)));
                }
                let values = values.into_iter().map(|value| MaybeValue { value }).collect();
                self.send(&Response::GetManyCallback(GetManyCallback { id, values, ..Default::default() }));
            }
            Err(error) => self.send(&get_many_error(id, &error)),
        }
    }

    fn has_many(&mut self, id: u32, result: Result<Vec<bool>>) {
        self.served += 1;
        match result {
            Ok(existing) => {
                self.send(&Response::GetManyCallback(GetManyCallback { id, existing, ..Default::default() }));
            }
            Err(error) => self.send(&get_many_error(id, &error)),
        }
    }

    fn send(&mut self, response: &Response) {
        response.encode(&mut self.output);
    }
}

#[cfg(test)]
mod tests;
