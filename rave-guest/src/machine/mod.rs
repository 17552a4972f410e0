//! The guest's side of the protocol as a state machine: operations, frames and the news of a lost connection come in,
//! frames and completions come out. It performs no I/O and reads no clock.
//!
//! ```text
//!               connected()             probe answered
//!   ┌── Down ───────────────▶ Greeting ───────────────▶ Up ──┐
//!   ▲                            │                           │
//!   └────────────────────────────┴──────── disconnected() ◀──┘
//! ```
//!
//! To ensure correctness:
//! - Operations are numbered as they are submitted and sent in that order; after a reconnect what is left is sent again
//!   in that order, before anything newer.
//! - A leader that keeps sessions tells in its welcome how far it, or the leaders before it, got with the writes of this
//!   one. Those are completed; the rest is sent again and cannot have been applied. See [`session`].
//! - What is in the machine completes exactly once, by an answer, by policy, or by being abandoned; an answer that comes
//!   after that is dropped.
//! - Requests on the wire that are not answered have a bound in bytes, the window. What does not fit waits here, in its
//!   place; an abandoned request fills the window until its answer, for so long do its bytes.
//! - A leader of the legacy protocol works on everything it gets at once and in any order. It gets a write only when all
//!   before it is answered, and nothing more until the write is. The writes that wait meanwhile go out as one batch, so
//!   that order does not cost a round trip for each; if it is refused, they are tried one by one.
//! - An iterator is opened when what was submitted before it can no longer come after it.
//! - An iterator goes on behind the last key that the *user* got. What was received and not delivered is thrown away.

mod iterators;
mod operation;
mod requests;
mod session;

pub use iterators::Taken;
pub use operation::{Operation, Reply};
pub use session::SessionId;

use crate::RetryPolicy;
use bytes::{Bytes, BytesMut};
use iterators::Iterators;
use rave_core::{Code, Effect, Error, Manifest, Result};
use rave_transport::wire::{
    MAX_UNSETTLED_WRITES, PROTOCOL_VERSION, Request, Response,
    message::{self, SessionState, Welcome, capability},
};
use requests::Numbering;
use session::Fate;
use std::collections::BTreeMap;

/// Operations and bytes of writes that become one batch for a legacy leader.
const MERGED_OPERATIONS: usize = 1024;
const MERGED_BYTES: usize = 1 << 20;

/// The request id of the probe that follows a hello. Operations never have it.
const PROBE: u32 = 0;

/// Appends the question whether the leader is there. It answers at once, whatever it speaks, and that completes nothing.
pub(crate) fn ask(out: &mut BytesMut) {
    Request::GetMany(message::GetMany { id: PROBE, keys: Vec::new() }).encode(out);
}

/// What the machine knows of the leader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leader {
    /// It does not know the extensions.
    pub legacy: bool,
    /// Its process, where it says so.
    pub pid: Option<u32>,
    /// What its store offers, seen through the connection.
    pub manifest: Manifest,
    /// Bytes of the largest frame it takes, where it says so.
    pub max_frame: Option<usize>,
    /// How many times sessions were forgotten, if it keeps any.
    pub forgotten: Option<u64>,
}

#[derive(Debug)]
enum Link {
    Down,
    Greeting { welcome: Option<Welcome> },
    Up(Leader),
}

/// An operation on its way; `T` is whatever the driver needs to complete it.
#[derive(Debug)]
struct Pending<T> {
    operation: Operation,
    policy: RetryPolicy,
    /// `None` once abandoned.
    token: Option<T>,
    cost: usize,
    /// A leader that was lost may have applied it.
    uncertain: bool,
    /// It went out on the present connection.
    on_wire: bool,
    /// It last went out to a leader that keeps sessions, when this many had been forgotten.
    numbered: Option<u64>,
}

impl<T> Pending<T> {
    /// What it may have done if it is given up now.
    fn effect(&self) -> Effect {
        if (self.uncertain || self.on_wire) && self.operation.is_write() { Effect::Unknown } else { Effect::None }
    }

    /// The error of whoever did it last. An earlier leader may have applied it all the same.
    fn judge(&self, error: Error) -> Error {
        if self.uncertain && self.operation.is_write() { error.with_effect(Effect::Unknown) } else { error }
    }
}

/// An operation taken out of the machine, to be executed elsewhere.
#[derive(Debug)]
pub struct Drained<T> {
    /// Its place among the operations of the handle.
    pub number: u64,
    /// What to do.
    pub operation: Operation,
    /// What to do if that fails because the store is closing.
    pub policy: RetryPolicy,
    /// Who waits for it.
    pub token: T,
    /// It is a write that a leader that was lost may have applied, so whatever error comes of it has effect `Unknown`.
    pub uncertain: bool,
}

/// The guest's side of one connection after the other.
#[derive(Debug)]
pub struct Machine<T> {
    session: SessionId,
    /// Connections that the session has had.
    attempt: u64,
    /// The session to go on with if a leader refuses this one.
    spare: SessionId,
    /// The highest write that was refused and that leaders need not remember any more, unless they were told so.
    untold: Option<u64>,
    max_frame: usize,
    link: Link,
    /// The leader said that it leaves, or was told that this guest does: nothing more is sent on this connection.
    leaving: bool,
    next: u64,
    pending: BTreeMap<u64, Pending<T>>,
    /// Everything below this number was sent on the present connection.
    unsent: u64,
    /// No write from this number on was ever sent.
    sent: u64,
    /// Bytes that may be on the wire unanswered, and that are.
    window: usize,
    in_flight: usize,
    /// The writes that a legacy leader has not answered, in one request under the number of the first.
    written: Vec<u64>,
    /// A batch of writes below this number was refused, so they go out one by one.
    apart: u64,
    /// Writes of the session that went out on the present connection and are not answered.
    unanswered_writes: usize,
    /// Why the connection is of no use any more.
    stuck: Option<&'static str>,
    /// Operations that somebody waits for.
    awaited: usize,
    iterators: Iterators,
    output: BytesMut,
    completed: Vec<(T, Result<Reply>)>,
}

impl<T> Machine<T> {
    /// A guest without a connection. Frames larger than `max_frame` bytes are never sent, and no more than about `window`
    /// bytes of requests at once, or one request.
    pub fn new(session: SessionId, max_frame: usize, window: usize) -> Self {
        Self {
            session,
            attempt: 0,
            spare: session,
            untold: None,
            max_frame,
            link: Link::Down,
            leaving: false,
            next: u64::from(PROBE) + 1,
            pending: BTreeMap::new(),
            unsent: 0,
            sent: 0,
            window,
            in_flight: 0,
            written: Vec::new(),
            apart: 0,
            unanswered_writes: 0,
            stuck: None,
            awaited: 0,
            iterators: Iterators::default(),
            output: BytesMut::new(),
            completed: Vec::new(),
        }
    }

    /// The leader, while connected to one.
    pub fn leader(&self) -> Option<&Leader> {
        match &self.link {
            Link::Up(leader) => Some(leader),
            _ => None,
        }
    }

    /// The session of this handle.
    pub fn session(&self) -> SessionId {
        self.session
    }

    fn ready(&self) -> bool {
        matches!(self.link, Link::Up(_)) && !self.leaving
    }

    /// Frames to be sent; the driver takes them from the front.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// Operations that completed since the last call.
    pub fn completed(&mut self) -> Vec<(T, Result<Reply>)> {
        std::mem::take(&mut self.completed)
    }

    /// Iterators that have news for whoever waits for them, since the last call.
    pub fn woken(&mut self) -> Vec<u32> {
        self.iterators.woken()
    }

    /// Whether nothing is on its way that somebody waits for.
    pub fn is_idle(&self) -> bool {
        self.awaited == 0
    }

    /// Takes in an operation; it is sent now, or as soon as there are a leader and room. Returns its number.
    pub fn submit(&mut self, operation: Operation, policy: RetryPolicy, token: T) -> u64 {
        let number = self.reserve();
        self.resubmit(number, operation, policy, token)
    }

    /// The number of an operation that is done elsewhere.
    pub fn reserve(&mut self) -> u64 {
        // Numbers go out as 32 bits; the probe's is left out.
        if self.next as u32 == PROBE {
            self.next += 1;
        }
        let number = self.next;
        self.next += 1;
        number
    }

    /// Takes in an operation that could not be done elsewhere, in its old place; at the end if a leader has already got
    /// something newer, for then it would take this for something it has done. Returns its number.
    pub fn resubmit(&mut self, number: u64, operation: Operation, policy: RetryPolicy, token: T) -> u64 {
        let number = if number < self.sent { self.reserve() } else { number };
        let cost = operation.cost();
        let pending =
            Pending { operation, policy, token: Some(token), cost, uncertain: false, on_wire: false, numbered: None };
        self.pending.insert(number, pending);
        self.unsent = self.unsent.min(number);
        self.awaited += 1;
        self.pump();
        number
    }

    /// The user no longer waits for operation `number`: it will not be sent (again). Returns its token and what it may
    /// have done, or `None` if it has completed.
    pub fn abandon(&mut self, number: u64) -> Option<(T, Effect)> {
        let pending = self.pending.get_mut(&number)?;
        let token = pending.token.take()?;
        let effect = pending.effect();
        self.awaited -= 1;
        if !pending.on_wire {
            self.pending.remove(&number);
            self.pump();
        }
        Some((token, effect))
    }

    /// The same because its deadline has passed. If everything else has to wait for it too, the connection must end:
    /// [`is_stuck`](Self::is_stuck) tells.
    pub fn give_up(&mut self, number: u64) -> Option<(T, Effect)> {
        if self.written.contains(&number) {
            self.stuck = Some("the leader did not answer a write in time");
        }
        self.abandon(number)
    }

    /// Why the connection is of no use any more, if so: a legacy leader does not answer a write, or the session was refused.
    pub fn is_stuck(&self) -> Option<&'static str> {
        self.stuck
    }

    /// Takes everything out that is on its way, in order of submission, to be executed elsewhere.
    ///
    /// Requires: no connection.
    pub fn drain(&mut self) -> Vec<Drained<T>> {
        self.take_all()
            .filter_map(|(number, Pending { operation, policy, token, uncertain, .. })| {
                let uncertain = uncertain && operation.is_write();
                Some(Drained { number, operation, policy, token: token?, uncertain })
            })
            .collect()
    }

    /// Fails everything that is on its way.
    pub fn fail_all(&mut self, error: &Error) {
        for (_, pending) in self.take_all() {
            let effect = pending.effect();
            if let Some(token) = pending.token {
                self.completed.push((token, Err(error.clone().with_effect(effect))));
            }
        }
    }

    fn take_all(&mut self) -> impl Iterator<Item = (u64, Pending<T>)> + use<T> {
        self.awaited = 0;
        self.in_flight = 0;
        self.unanswered_writes = 0;
        self.written.clear();
        std::mem::take(&mut self.pending).into_iter()
    }

    /// All operations below this number are answered.
    fn settled(&self) -> u64 {
        self.pending.first_key_value().map_or(self.next, |(number, _)| *number)
    }

    /// There is a connection: greet. `spare` is a new session's id, in case the leader refuses this one.
    pub fn connected(&mut self, pid: u32, spare: SessionId) {
        self.attempt += 1;
        self.spare = spare;
        self.output.clear();
        self.leaving = false;
        self.link = Link::Greeting { welcome: None };
        let hello = message::Hello {
            version: PROTOCOL_VERSION,
            pid: Some(pid),
            max_frame: Some(self.max_frame as u64),
            session: Some(Bytes::copy_from_slice(&self.session)),
            attempt: Some(self.attempt),
            next: Some(self.next),
            settled: Some(self.settled()),
        };
        Request::Hello(hello).encode(&mut self.output);
        ask(&mut self.output);
    }

    /// The connection is gone. What was under way is kept for the next one or fails, as the policy says.
    pub fn disconnected(&mut self, reason: &str) {
        self.output.clear();
        // A leader that left in good order has answered everything that it applied.
        let given_back = self.leaving;
        let greeted = matches!(self.link, Link::Up(_));
        self.link = Link::Down;
        self.leaving = false;
        let lost = Error::new(Code::ConnectionLost, format!("the connection to the leader was lost: {reason}"));
        let fails = |pending: &Pending<T>| match pending.policy {
            RetryPolicy::Always => false,
            // Of what was numbered, the next leader tells whether it was applied.
            RetryPolicy::Safe => pending.effect() == Effect::Unknown && pending.numbered.is_none(),
            // A connection that never got as far as a greeting leads to no leader that could be lost.
            RetryPolicy::Never => greeted,
        };
        self.unsent = 0;
        self.in_flight = 0;
        self.written.clear();
        self.apart = 0;
        self.unanswered_writes = 0;
        self.stuck = None;
        self.pending.retain(|_, pending| pending.token.is_some());
        for pending in self.pending.values_mut() {
            // What one leader may have applied stays uncertain, also if a later one gives it back.
            pending.uncertain |= pending.on_wire && !given_back;
            pending.on_wire = false;
        }
        for number in self.numbers_of(fails) {
            self.settle(number, |pending| Err(lost.clone().with_effect(pending.effect())));
        }
        self.iterators.disconnected(greeted.then_some(&lost));
    }

    /// Completes an operation that is not on the wire.
    fn settle(&mut self, number: u64, result: impl FnOnce(&Pending<T>) -> Result<Reply>) {
        let Some(pending) = self.pending.remove(&number) else { return };
        let result = result(&pending);
        if let Some(token) = pending.token {
            self.awaited -= 1;
            self.completed.push((token, result));
        }
    }

    /// Somebody who has taken over from lost leaders tells how far they got with the writes of this session; `None` if
    /// that cannot be known. What they settled is completed; what they did not is certain not to be applied.
    pub fn resume(&mut self, state: Option<&SessionState>) {
        for number in self.numbers_of(|pending| pending.uncertain && pending.operation.is_write()) {
            let Some(pending) = self.pending.get_mut(&number) else { continue };
            match (pending.numbered, state) {
                (Some(forgotten), Some(state)) => match session::fate(&pending.operation, number, forgotten, state) {
                    Fate::Settled(result) => self.settle(number, |_| result),
                    Fate::Open => pending.uncertain = false,
                },
                _ if pending.policy == RetryPolicy::Always => {
                    // It may be applied once more, and then all that came after it has to be applied once more: what is
                    // recorded of the session says nothing of them any longer.
                    if pending.numbered.take().is_some() {
                        self.change_session();
                    }
                }
                _ => self.settle(number, |_| Err(session::lost())),
            }
        }
    }

    /// What is recorded of the session so far does not concern this handle any more.
    fn change_session(&mut self) {
        self.session = self.spare;
        self.attempt = 0;
        self.untold = None;
    }

    /// The leader refuses the session: what it may have applied stays unknown, the rest goes on under another id.
    fn renew(&mut self) {
        let in_doubt = |pending: &Pending<T>| pending.uncertain && pending.numbered.is_some();
        for number in self.numbers_of(in_doubt) {
            self.settle(number, |_| Err(session::lost()));
        }
        self.change_session();
        self.stuck = Some("the leader refused the session");
    }

    fn numbers_of(&self, which: impl Fn(&Pending<T>) -> bool) -> Vec<u64> {
        self.pending.iter().filter(|(_, pending)| which(pending)).map(|(number, _)| *number).collect()
    }

    /// The leader sent a message.
    ///
    /// Errors: it breaks the protocol; the connection must end.
    pub fn receive(&mut self, response: Response) -> Result<()> {
        match response {
            Response::Welcome(welcome) => {
                if let Link::Greeting { welcome: slot } = &mut self.link {
                    *slot = Some(welcome);
                }
            }
            Response::GetManyCallback(answer) if answer.id == PROBE => self.greeted(),
            Response::Leaving(_) => self.leaving = true,
            Response::Callback(answer) => {
                let id = answer.id;
                let legacy = self.is_legacy();
                self.complete(id, |operation| requests::callback(operation, answer, legacy));
            }
            Response::GetManyCallback(answer) => {
                let id = answer.id;
                self.complete(id, |operation| requests::get_many(operation, answer));
            }
            Response::Status(status) => {
                let id = status.id;
                self.complete(id, |operation| requests::status(operation, status));
            }
            Response::IteratorData(data) => self.iterators.data(data)?,
            Response::IteratorEnd(end) => self.iterators.end(end.id, end.seq),
            Response::IteratorError(error) => {
                let text = error.message.unwrap_or_default();
                self.iterators.error(error.id, error.seq, requests::error_of(error.error.as_deref(), text));
            }
            Response::Unknown(_) => {}
        }
        Ok(())
    }

    fn greeted(&mut self) {
        let Link::Greeting { welcome } = &mut self.link else { return };
        let welcome = welcome.take();
        if welcome.as_ref().is_some_and(|welcome| welcome.error.is_some()) {
            return self.renew();
        }
        let state = welcome.as_ref().and_then(|welcome| welcome.session.clone());
        let leader = match welcome {
            Some(welcome) => {
                let bits = welcome.capabilities.unwrap_or(0);
                Leader {
                    legacy: false,
                    pid: welcome.pid,
                    max_frame: welcome.max_frame.and_then(|bytes| usize::try_from(bytes).ok()),
                    forgotten: state.as_ref().map(|state| state.forgotten.unwrap_or(0)),
                    manifest: Manifest {
                        store: welcome.store.unwrap_or_default().into(),
                        implicit_snapshots: bits & capability::IMPLICIT_SNAPSHOTS != 0,
                        permanence: bits & capability::PERMANENCE != 0,
                        sync_writes: bits & capability::SYNC_WRITES != 0,
                        atomic_clear: bits & capability::ATOMIC_CLEAR != 0,
                        conditions: bits & capability::CONDITIONS != 0,
                        exactly_once: state.is_some(),
                        read_only: bits & capability::READ_ONLY != 0,
                        ..Manifest::default()
                    },
                }
            }
            None => Leader {
                legacy: true,
                pid: None,
                max_frame: None,
                forgotten: None,
                // What every store of the JavaScript family does.
                manifest: Manifest {
                    store: "legacy".into(),
                    implicit_snapshots: true,
                    permanence: true,
                    legacy: true,
                    ..Manifest::default()
                },
            },
        };
        self.link = Link::Up(leader);
        self.untold = None;
        self.resume(state.as_ref());
        self.pump();
    }

    fn is_legacy(&self) -> bool {
        self.leader().is_some_and(|leader| leader.legacy)
    }

    /// Sends what is next, as far as there is room.
    fn pump(&mut self) {
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
    fn open_iterators(&mut self) {
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
        self.iterators.open_due(legacy, before, &mut self.output);
    }

    fn send(&mut self, number: u64) {
        let Link::Up(leader) = &self.link else { return };
        let legacy = leader.legacy;
        let settled = self.settled();
        let Some(pending) = self.pending.get_mut(&number) else { return };
        let start = self.output.len();
        let write = pending.operation.is_write();
        let mut numbering = Numbering::default();
        if write && leader.forgotten.is_some() {
            numbering.number = Some(number);
            numbering.settled = self.untold.is_some().then_some(settled);
        }
        // The low 32 bits are the id on the wire.
        let sent = requests::encode(&pending.operation, number as u32, numbering, leader, &mut self.output);
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
                    self.untold = self.untold.filter(|refused| settled <= *refused);
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

    fn complete(&mut self, id: u32, reply: impl FnOnce(&Operation) -> Result<Reply>) {
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

    /// The handle closes and will not come back: the leader may forget its session, and hangs up. Whether there is anything
    /// to forget.
    pub fn goodbye(&mut self) -> bool {
        let known = self.sent > 0 && self.ready() && self.leader().is_some_and(|leader| leader.forgotten.is_some());
        if known {
            Request::Goodbye(message::Goodbye {}).encode(&mut self.output);
            self.leaving = true;
        }
        known
    }

    /// Whether there is a connection.
    pub fn is_connected(&self) -> bool {
        !matches!(self.link, Link::Down)
    }

    /// Opens an iterator; its first entries are asked for now, or as soon as there is a leader. Under
    /// [`RetryPolicy::Never`] it fails when the leader is lost.
    pub fn open_iterator(&mut self, options: rave_core::IteratorOptions, policy: RetryPolicy) -> u32 {
        let id = self.iterators.open(options, policy, self.next - 1);
        self.open_iterators();
        id
    }

    /// Whether the leader has answered the opening of iterator `id`, or it failed.
    pub fn iterator_opened(&self, id: u32) -> bool {
        self.iterators.opened(id)
    }

    /// Up to `size` entries of iterator `id`, if they are here.
    pub fn take(&mut self, id: u32, size: usize) -> Taken {
        let ready = self.ready();
        self.iterators.take(id, size, ready.then_some(&mut self.output))
    }

    /// Moves iterator `id`.
    pub fn seek(&mut self, id: u32, target: rave_core::Bytes) {
        let (ready, legacy) = (self.ready(), self.is_legacy());
        self.iterators.seek(id, target, ready.then_some((legacy, &mut self.output)));
        self.open_iterators();
    }

    /// Closes iterator `id`.
    pub fn close_iterator(&mut self, id: u32) {
        let ready = self.ready();
        self.iterators.close(id, ready.then_some(&mut self.output));
    }

    /// Where iterator `id` stands, to go on with it elsewhere; `None` if all of the rest has arrived.
    ///
    /// Errors: it has failed or is closed.
    pub fn position_to_resume(&self, id: u32) -> Result<Option<rave_core::Position>> {
        self.iterators.position_to_resume(id)
    }

    /// Iterator `id` goes on elsewhere from now on: no leader is asked for it until it comes back.
    pub fn depart(&mut self, id: u32) {
        let ready = self.ready();
        self.iterators.depart(id, ready.then_some(&mut self.output));
    }

    /// Iterator `id` went on elsewhere and comes back: it stands at `position`, perhaps at its end.
    pub fn reposition(&mut self, id: u32, position: rave_core::Position, ended: bool) {
        self.iterators.reposition(id, position, ended);
        self.open_iterators();
    }

    /// Everybody who waits for an iterator should look again.
    pub fn wake_iterators(&mut self) {
        self.iterators.wake_all();
    }
}

#[cfg(test)]
mod tests;
