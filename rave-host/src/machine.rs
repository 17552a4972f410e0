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
mod session;

pub use session::SessionId;

use bytes::{Bytes, BytesMut};
use convert::{
    FRAME_OVERHEAD, NOT_FOUND, Write, callback_error, counted, get_many_error, iterator_error, limit_of, merging_of,
    operations_of, range_of, settled_of, size_of, too_large, write_of,
};
use rave_core::{Batch, ClearOptions, Code, Effect, Entry, Error, IteratorOptions, Manifest, Position, Result};
use rave_transport::wire::{
    PROTOCOL_VERSION, Request, Response,
    message::{
        Callback, GetManyCallback, IteratorData, IteratorEnd, Leaving, MaybeValue, SessionState, StatusReply, Welcome,
        capability,
    },
};
use session::Progress;
use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
};

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
    /// Read one key.
    Get(Bytes),
    /// Read several keys.
    GetMany(Vec<Bytes>),
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
    },
    /// The guest will not come back: forget its session.
    Forget,
    /// Open an iterator, remember it under `id` in place of an older one, and fetch a page of at most `page` entries.
    Open {
        /// The guest's id for it.
        id: u32,
        /// What to visit.
        options: Box<IteratorOptions>,
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
    /// Of `Write` and `Clear`.
    Done(Result<()>),
    /// Of `Resume`. An error refuses the session.
    Resumed(Result<SessionState>),
    /// Of `Open` and `Page`; no entries mean the end.
    Page(Result<Vec<Entry>>),
    /// Of `Close` and `Forget`.
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
}

/// Who waits for the work under way.
#[derive(Debug)]
enum Waiting {
    Gets(Vec<u32>),
    GetMany {
        id: u32,
        wanted: usize,
    },
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

#[derive(Debug)]
struct Iter {
    seq: u32,
    keys: bool,
    values: bool,
    /// Data frames of this seq sent and not acknowledged.
    unacknowledged: u32,
    /// The end or an error was sent for this seq.
    finished: bool,
    /// Entries of the next page.
    page: usize,
    /// The guest's limit on the entries that its user gets.
    limit: Option<u64>,
    /// Entries that its user has got, as far as is known.
    consumed: u64,
    /// What the limit leaves for this seq. Pages are read ahead of the user, so a seek gives back what was not consumed.
    left: Option<u64>,
    /// A seek that the store has not seen yet.
    seek: Option<Bytes>,
    /// Fetched beyond what fits the last frame.
    held: VecDeque<Entry>,
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
            (0..=3 | 5, _) => self.send(&callback_error(id, &error)),
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

    /// Whether the guest has said goodbye: the connection may end once what is in `output` is sent.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// What to do next, if anything. The driver completes it before it asks again.
    pub fn next_work(&mut self) -> Option<Work> {
        debug_assert!(self.waiting.is_none(), "work is asked for while work is under way");
        if self.fault.is_some() || self.finished {
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
            let request = self.queue.pop_front()?;
            if let Some((waiting, work)) = self.begin(request) {
                self.waiting = Some(waiting);
                self.page_next = true;
                return Some(work);
            }
        }
    }

    fn next_page(&mut self) -> Option<Work> {
        loop {
            let ready = |iter: &Iter| !iter.finished && iter.unacknowledged < CREDIT;
            let after = (Bound::Excluded(self.last_turn), Bound::Unbounded);
            let turns = self.iterators.range(after).chain(self.iterators.iter());
            let id = *turns.into_iter().find(|(_, iter)| ready(iter))?.0;
            let iter = self.iterators.get_mut(&id)?;
            self.last_turn = id;
            if !iter.held.is_empty() {
                self.send_page(id);
                continue;
            }
            let page = match iter.left {
                Some(0) => {
                    let seq = iter.seq;
                    iter.finished = true;
                    self.send(&Response::IteratorEnd(IteratorEnd { id, seq }));
                    continue;
                }
                Some(left) => iter.page.min(usize::try_from(left).unwrap_or(usize::MAX)),
                None => iter.page,
            };
            self.waiting = Some(Waiting::Page { id, seq: iter.seq });
            return Some(Work::Page { id, seek: iter.seek.take(), page });
        }
    }

    fn begin(&mut self, request: Request) -> Option<(Waiting, Work)> {
        Some(match request {
            Request::Get(get) => {
                let mut ids = vec![get.id];
                let mut keys = vec![get.key.unwrap_or_default()];
                while keys.len() < self.merged_gets
                    && let Some(Request::Get(_)) = self.queue.front()
                    && let Some(Request::Get(get)) = self.queue.pop_front()
                {
                    ids.push(get.id);
                    keys.push(get.key.unwrap_or_default());
                }
                let work = match keys.len() {
                    1 => Work::Get(keys.pop().unwrap_or_default()),
                    _ => Work::GetMany(keys),
                };
                (Waiting::Gets(ids), work)
            }
            Request::Put(_) | Request::Del(_) | Request::Batch(_) => return self.begin_write(request),
            Request::Clear(clear) => {
                let number = self.number_of(clear.number);
                if self.is_known(number, clear.id) {
                    return None;
                }
                let options = clear.options.unwrap_or_default();
                let options = ClearOptions {
                    range: range_of(&options),
                    reverse: options.reverse.unwrap_or(false),
                    limit: limit_of(&options),
                    sync: clear.sync.unwrap_or(false),
                    and_write: operations_of(clear.ops),
                    ..ClearOptions::default()
                };
                let record = self.record(number);
                (Waiting::Write { id: clear.id, number }, Work::Clear { options, record })
            }
            Request::GetMany(get) => {
                if get.keys.is_empty() {
                    // Also the probe that follows a hello: answered without troubling the store.
                    self.send(&Response::GetManyCallback(GetManyCallback { id: get.id, ..Default::default() }));
                    self.served += 1;
                    return None;
                }
                (Waiting::GetMany { id: get.id, wanted: get.keys.len() }, Work::GetMany(get.keys))
            }
            Request::Iterator(open) => {
                if !self.iterators.contains_key(&open.id) && self.iterators.len() >= MAX_ITERATORS {
                    let error = Error::not_supported(format_args!("opening more than {MAX_ITERATORS} iterators"));
                    self.send(&iterator_error(open.id, open.seq, &error));
                    return None;
                }
                let range = open.options.unwrap_or_default();
                let options = IteratorOptions {
                    range: range_of(&range),
                    reverse: range.reverse.unwrap_or(false),
                    // Counted here: the store would count what was read ahead.
                    limit: None,
                    keys: range.keys.unwrap_or(true),
                    values: range.values.unwrap_or(true),
                    snapshot: None,
                    internal: range.internal.unwrap_or(false),
                };
                let position =
                    Position { delivered: open.consumed.unwrap_or(0), bookmark: open.bookmark, seek: open.seek };
                let limit = limit_of(&range);
                let left = limit.map(|limit| limit.saturating_sub(position.delivered));
                let page = left.map_or(FIRST_PAGE, |left| FIRST_PAGE.min(usize::try_from(left).unwrap_or(usize::MAX)));
                let iter = Iter {
                    seq: open.seq,
                    keys: options.keys,
                    values: options.values,
                    unacknowledged: 0,
                    finished: false,
                    page: FIRST_PAGE,
                    limit,
                    consumed: position.delivered,
                    left,
                    seek: None,
                    held: VecDeque::new(),
                };
                self.iterators.insert(open.id, iter);
                let waiting = Waiting::Page { id: open.id, seq: open.seq };
                (waiting, Work::Open { id: open.id, options: Box::new(options), position, page })
            }
            Request::IteratorSeek(seek) => {
                if let Some(iter) = self.iterators.get_mut(&seek.id) {
                    iter.seq = seek.seq;
                    iter.unacknowledged = 0;
                    iter.finished = false;
                    iter.consumed = seek.consumed.unwrap_or(iter.consumed);
                    iter.left = iter.limit.map(|limit| limit.saturating_sub(iter.consumed));
                    iter.seek = Some(seek.target.unwrap_or_default());
                    iter.held.clear();
                }
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
            Request::Hello(hello) => {
                if std::mem::replace(&mut self.greeted, true) {
                    self.fault = Some("the guest greeted twice".to_owned());
                    return None;
                }
                let own = self.config.max_frame;
                let taken = hello.max_frame.map_or(usize::MAX, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
                self.config.max_frame = own.min(taken);
                self.own_frame = own;
                let Some(session) = &hello.session else {
                    self.welcome(hello.version, None);
                    return None;
                };
                let session = match session::id_of(session) {
                    Ok(session) => session,
                    Err(error) => {
                        self.turn_away(hello.version, &error);
                        return None;
                    }
                };
                let (attempt, next) = (hello.attempt.unwrap_or(0), hello.next.unwrap_or(0));
                let waiting = Waiting::Resume { version: hello.version, settled: hello.settled.unwrap_or(0) };
                (waiting, Work::Resume { session, attempt, next })
            }
            Request::Goodbye(_) => {
                self.finished = true;
                self.progress.take()?;
                (Waiting::Nobody, Work::Forget)
            }
            Request::Status(status) => (Waiting::Status(status.id), Work::Status),
            Request::IteratorAck(_) | Request::Unknown(_) => return None,
        })
    }

    /// A write, and those behind it that can be done with it in one step.
    fn begin_write(&mut self, request: Request) -> Option<(Waiting, Work)> {
        if let (Some(progress), Some(settled)) = (&mut self.progress, settled_of(&request)) {
            progress.settled(settled);
        }
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
            if let (Some(progress), Some(settled)) = (&mut self.progress, settled_of(&request)) {
                progress.settled(settled);
            }
            let Ok(more) = write_of(request) else { break };
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

    fn write(&self, batch: Batch, sync: bool, number: Option<u64>) -> Work {
        // Nothing comes of conditions alone that would have to be remembered: asked again, they are checked again.
        let record = if batch.len() == 0 { None } else { self.record(number) };
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

    fn welcome(&mut self, version: u32, session: Option<SessionState>) {
        let manifest = &self.config.manifest;
        let bits = [
            (manifest.implicit_snapshots, capability::IMPLICIT_SNAPSHOTS),
            (manifest.permanence, capability::PERMANENCE),
            (manifest.sync_writes, capability::SYNC_WRITES),
            (manifest.atomic_clear, capability::ATOMIC_CLEAR),
            (manifest.read_only, capability::READ_ONLY),
            (manifest.conditions, capability::CONDITIONS),
        ];
        let capabilities = bits.iter().filter(|(is, _)| *is).fold(0, |all, (_, bit)| all | bit);
        let welcome = Welcome {
            version: version.min(PROTOCOL_VERSION),
            pid: Some(self.config.pid),
            store: Some(manifest.store.to_string()),
            capabilities: Some(capabilities),
            max_frame: Some(self.own_frame as u64),
            session,
            ..Welcome::default()
        };
        self.send(&Response::Welcome(welcome));
    }

    /// The guest's session is refused.
    fn turn_away(&mut self, version: u32, error: &Error) {
        let message = error.full_message();
        let welcome = Welcome {
            version: version.min(PROTOCOL_VERSION),
            pid: Some(self.config.pid),
            error: Some(error.code().as_str().to_owned()),
            message: Some(message.clone()),
            ..Welcome::default()
        };
        self.send(&Response::Welcome(welcome));
        // A guest takes the answer to what it asks behind its greeting for the end of the greeting.
        self.send(&Response::GetManyCallback(GetManyCallback::default()));
        self.fault = Some(message);
    }

    /// The work under way is done.
    pub fn complete(&mut self, outcome: Outcome) {
        let Some(waiting) = self.waiting.take() else { return };
        match (waiting, outcome) {
            (Waiting::Gets(ids), Outcome::Get(result)) => self.got(&ids, result.map(|value| vec![value])),
            (Waiting::Gets(ids), Outcome::GetMany(result)) => self.got(&ids, result),
            (Waiting::GetMany { id, wanted }, Outcome::GetMany(result)) => self.got_many(id, wanted, result),
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
            (Waiting::Resume { version, .. }, Outcome::Resumed(Err(error))) => self.turn_away(version, &error),
            (Waiting::Page { id, seq }, Outcome::Page(result)) => self.page(id, seq, result),
            (Waiting::Status(id), Outcome::Status(status)) => {
                self.send(&Response::Status(StatusReply { id, ..status }));
            }
            (Waiting::Nobody, Outcome::Closed) => {}
            (waiting, outcome) => debug_assert!(false, "{outcome:?} does not answer {waiting:?}"),
        }
    }

    fn written(&mut self, id: u32, number: Option<u64>, result: &Result<()>) {
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

    fn page(&mut self, id: u32, seq: u32, result: Result<Vec<Entry>>) {
        // The guest may have moved or closed the iterator meanwhile; it drops what belongs to an older seq.
        let Some(iter) = self.iterators.get_mut(&id).filter(|iter| iter.seq == seq) else { return };
        match result {
            Ok(entries) if entries.is_empty() => {
                iter.finished = true;
                self.send(&Response::IteratorEnd(IteratorEnd { id, seq }));
            }
            Ok(entries) => {
                let bytes: usize = entries.iter().map(size_of).sum();
                iter.page = (PAGE_BYTES * entries.len() / bytes.max(1)).clamp(1, MAX_PAGE);
                iter.held = entries.into();
                self.send_page(id);
            }
            Err(error) => {
                iter.finished = true;
                self.send(&iterator_error(id, seq, &error));
            }
        }
    }

    /// Sends a frame of what is held: about a page, and at least one entry. The rest waits for credit, for a store gives
    /// as many entries as it is asked for, however large they have become.
    fn send_page(&mut self, id: u32) {
        let Some(iter) = self.iterators.get_mut(&id) else { return };
        let (mut data, mut bytes, mut count) = (Vec::new(), 0, 0);
        // A page whose entries are a little larger than expected still goes out whole.
        while let Some(size) = iter.held.front().map(size_of)
            && (count == 0 || bytes + size <= 2 * PAGE_BYTES.min(self.config.max_frame / 4))
            && let Some(entry) = iter.held.pop_front()
        {
            if count == 0 && size + FRAME_OVERHEAD > self.config.max_frame {
                let error = too_large(size, self.config.max_frame);
                let seq = iter.seq;
                iter.held.clear();
                iter.finished = true;
                return self.send(&iterator_error(id, seq, &error));
            }
            bytes += size;
            count += 1;
            if iter.keys {
                data.push(entry.key);
            }
            if iter.values {
                data.push(entry.value);
            }
        }
        iter.unacknowledged += 1;
        iter.left = iter.left.map(|left| left.saturating_sub(count));
        let seq = iter.seq;
        self.served += count;
        self.send(&Response::IteratorData(IteratorData { id, seq, data }));
    }

    fn send(&mut self, response: &Response) {
        response.encode(&mut self.output);
    }
}

#[cfg(test)]
mod tests;
