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
//! - What is in the machine completes exactly once, by an answer, by policy, or by being abandoned; an answer that comes
//!   after that is dropped.
//! - Requests on the wire that are not answered have a bound in bytes, the window. What does not fit waits here, in its
//!   place; an abandoned request fills the window until its answer, for so long do its bytes.
//! - An iterator goes on behind the last key that the *user* got. What was received and not delivered is thrown away.

mod iterators;
mod operation;
mod requests;

pub use iterators::Taken;
pub use operation::{Operation, Reply};

use crate::RetryPolicy;
use bytes::BytesMut;
use iterators::Iterators;
use rave_core::{Code, Effect, Error, Manifest, Result};
use rave_transport::wire::{
    PROTOCOL_VERSION, Request, Response,
    message::{self, Welcome, capability},
};
use std::collections::BTreeMap;

/// The request id of the probe that follows a hello. Operations never have it.
const PROBE: u32 = 0;

/// What the machine knows of the leader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leader {
    /// It does not know the extensions.
    pub legacy: bool,
    /// Its process, where it says so.
    pub pid: Option<u32>,
    /// What its store offers, seen through the connection.
    pub manifest: Manifest,
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
    /// `None` once abandoned.
    token: Option<T>,
    cost: usize,
    /// A leader that was lost may have applied it.
    uncertain: bool,
    /// It went out on the present connection.
    on_wire: bool,
}

impl<T> Pending<T> {
    /// What it may have done if it is given up now.
    fn effect(&self) -> Effect {
        if (self.uncertain || self.on_wire) && self.operation.is_write() { Effect::Unknown } else { Effect::None }
    }
}

/// The guest's side of one connection after the other.
#[derive(Debug)]
pub struct Machine<T> {
    policy: RetryPolicy,
    max_frame: usize,
    link: Link,
    /// The leader said that it leaves: nothing more is sent on this connection.
    leaving: bool,
    next: u64,
    pending: BTreeMap<u64, Pending<T>>,
    /// Everything below this number was sent on the present connection.
    unsent: u64,
    /// Bytes that may be on the wire unanswered, and that are.
    window: usize,
    in_flight: usize,
    /// Operations that somebody waits for.
    awaited: usize,
    iterators: Iterators,
    output: BytesMut,
    completed: Vec<(T, Result<Reply>)>,
}

impl<T> Machine<T> {
    /// A guest without a connection. Frames larger than `max_frame` bytes are never sent, and no more than about `window`
    /// bytes of requests at once, or one request.
    pub fn new(policy: RetryPolicy, max_frame: usize, window: usize) -> Self {
        Self {
            policy,
            max_frame,
            link: Link::Down,
            leaving: false,
            next: u64::from(PROBE) + 1,
            pending: BTreeMap::new(),
            unsent: 0,
            window,
            in_flight: 0,
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
    pub fn submit(&mut self, operation: Operation, token: T) -> u64 {
        // Numbers go out as 32 bits; the probe's is left out.
        if self.next as u32 == PROBE {
            self.next += 1;
        }
        let number = self.next;
        self.next += 1;
        let cost = operation.cost();
        self.pending.insert(number, Pending { operation, token: Some(token), cost, uncertain: false, on_wire: false });
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
        }
        Some((token, effect))
    }

    /// Takes everything out that is on its way, in order of submission, to be executed elsewhere.
    ///
    /// Requires: no connection.
    pub fn drain(&mut self) -> Vec<(Operation, T)> {
        self.awaited = 0;
        self.in_flight = 0;
        std::mem::take(&mut self.pending)
            .into_values()
            .filter_map(|pending| Some((pending.operation, pending.token?)))
            .collect()
    }

    /// Fails everything that is on its way.
    pub fn fail_all(&mut self, error: &Error) {
        self.awaited = 0;
        self.in_flight = 0;
        for pending in std::mem::take(&mut self.pending).into_values() {
            let effect = pending.effect();
            if let Some(token) = pending.token {
                self.completed.push((token, Err(error.clone().with_effect(effect))));
            }
        }
    }

    /// There is a connection: greet.
    pub fn connected(&mut self, pid: u32) {
        self.output.clear();
        self.leaving = false;
        self.link = Link::Greeting { welcome: None };
        Request::Hello(message::Hello { version: PROTOCOL_VERSION, pid: Some(pid) }).encode(&mut self.output);
        Request::GetMany(message::GetMany { id: PROBE, keys: Vec::new() }).encode(&mut self.output);
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
        let policy = self.policy;
        let fails = |pending: &Pending<T>| match policy {
            RetryPolicy::Always => false,
            RetryPolicy::Safe => pending.effect() == Effect::Unknown,
            // A connection that never got as far as a greeting leads to no leader that could be lost.
            RetryPolicy::Never => greeted,
        };
        self.unsent = 0;
        self.in_flight = 0;
        self.pending.retain(|_, pending| pending.token.is_some());
        for pending in self.pending.values_mut() {
            // What one leader may have applied stays uncertain, also if a later one gives it back.
            pending.uncertain |= pending.on_wire && !given_back;
            pending.on_wire = false;
        }
        for (_, pending) in self.pending.extract_if(.., |_, pending| fails(pending)) {
            let effect = pending.effect();
            if let Some(token) = pending.token {
                self.awaited -= 1;
                self.completed.push((token, Err(lost.clone().with_effect(effect))));
            }
        }
        self.iterators.disconnected((policy == RetryPolicy::Never).then_some(&lost));
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
                let legacy = self.leader().is_some_and(|leader| leader.legacy);
                self.complete(id, |operation| requests::callback(operation, answer, legacy));
            }
            Response::GetManyCallback(answer) => {
                let id = answer.id;
                self.complete(id, |operation| requests::get_many(operation, answer));
            }
            Response::Status(status) => {
                let id = status.id;
                self.complete(id, |_| Ok(Reply::Status(Box::new(status))));
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
        let leader = match welcome.take() {
            Some(welcome) => {
                let bits = welcome.capabilities.unwrap_or(0);
                Leader {
                    legacy: false,
                    pid: welcome.pid,
                    manifest: Manifest {
                        store: welcome.store.unwrap_or_default().into(),
                        implicit_snapshots: bits & capability::IMPLICIT_SNAPSHOTS != 0,
                        permanence: bits & capability::PERMANENCE != 0,
                        sync_writes: bits & capability::SYNC_WRITES != 0,
                        atomic_clear: bits & capability::ATOMIC_CLEAR != 0,
                        read_only: bits & capability::READ_ONLY != 0,
                        ..Manifest::default()
                    },
                }
            }
            None => Leader {
                legacy: true,
                pid: None,
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
        let legacy = leader.legacy;
        self.link = Link::Up(leader);
        self.pump();
        // A leader that leaves at once is not asked for anything.
        if self.ready() {
            self.iterators.connected(legacy, &mut self.output);
        }
    }

    /// Sends what is next, as far as there is room.
    fn pump(&mut self) {
        while self.unsent < self.next && self.ready() {
            let Some((&number, pending)) = self.pending.range(self.unsent..).next() else {
                self.unsent = self.next;
                return;
            };
            // One request may go out whatever its size.
            if self.in_flight > 0 && self.in_flight.saturating_add(pending.cost) > self.window {
                return;
            }
            self.unsent = number + 1;
            self.send(number);
        }
    }

    fn send(&mut self, number: u64) {
        let Link::Up(leader) = &self.link else { return };
        let Some(pending) = self.pending.get_mut(&number) else { return };
        let start = self.output.len();
        // The low 32 bits are the id on the wire.
        let sent = requests::encode(&pending.operation, number as u32, leader, &mut self.output).and_then(|()| {
            let size = self.output.len() - start;
            if size > self.max_frame {
                let message = format!("a request of {size} bytes does not fit a frame of {} bytes", self.max_frame);
                return Err(Error::new(Code::InvalidValue, message));
            }
            Ok(())
        });
        match sent {
            Ok(()) => {
                pending.on_wire = true;
                self.in_flight += pending.cost;
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
        if self.pending.get(&number).is_some_and(|pending| pending.on_wire)
            && let Some(pending) = self.pending.remove(&number)
        {
            self.in_flight -= pending.cost;
            if let Some(token) = pending.token {
                self.awaited -= 1;
                let reply = reply(&pending.operation);
                self.completed.push((token, reply));
            }
            self.pump();
        }
    }

    /// Opens an iterator; its first entries are asked for now, or as soon as there is a leader.
    pub fn open_iterator(&mut self, options: rave_core::IteratorOptions) -> u32 {
        let (ready, legacy) = (self.ready(), self.leader().is_some_and(|leader| leader.legacy));
        self.iterators.open(options, ready.then_some((legacy, &mut self.output)))
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
        let (ready, legacy) = (self.ready(), self.leader().is_some_and(|leader| leader.legacy));
        self.iterators.seek(id, target, ready.then_some((legacy, &mut self.output)));
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

    /// Iterator `id` went on elsewhere and comes back: it stands at `position`, perhaps at its end.
    pub fn reposition(&mut self, id: u32, position: rave_core::Position, ended: bool) {
        let (ready, legacy) = (self.ready(), self.leader().is_some_and(|leader| leader.legacy));
        self.iterators.reposition(id, position, ended, ready.then_some((legacy, &mut self.output)));
    }

    /// Everybody who waits for an iterator should look again.
    pub fn wake_iterators(&mut self) {
        self.iterators.wake_all();
    }
}

#[cfg(test)]
mod tests;
