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
//!   one. Those are completed; the rest is sent again and cannot have been applied. See `session.rs`.
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
mod link;
mod operation;
mod requests;
mod sending;
mod session;
mod snapshots;

pub use iterators::Taken;
pub use operation::{Operation, Reply, SnapshotRef};
pub use session::SessionId;

use crate::RetryPolicy;
use bytes::BytesMut;
use iterators::Iterators;
use rave_core::{Effect, Error, Manifest, Result};
use rave_transport::wire::{
    Request, Response,
    message::{self, Welcome},
};
use snapshots::Snapshots;
use std::collections::BTreeMap;

/// Operations and bytes of writes that become one batch for a legacy leader.
const MERGED_OPERATIONS: usize = 1024;
const MERGED_BYTES: usize = 1 << 20;

/// The request id of the probe that follows a hello. Operations never have it.
const PROBE: u32 = 0;

/// Appends the question whether the leader is there. It answers at once, whatever it speaks, and that completes nothing.
pub(crate) fn ask(out: &mut BytesMut) {
    Request::GetMany(message::GetMany { id: PROBE, ..Default::default() }).encode(out);
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
    /// And that leader kept no session, so nobody will ever know.
    obscure: bool,
    /// It went out on the present connection.
    on_wire: bool,
    /// It last went out to a leader that keeps sessions, when this many had been forgotten.
    numbered: Option<u64>,
}

impl<T> Pending<T> {
    /// What it may have done if it is given up now.
    fn effect(&self) -> Effect {
        let uncertain = self.uncertain || self.obscure || self.on_wire;
        if uncertain && self.operation.is_write() { Effect::Unknown } else { Effect::None }
    }

    /// The error of whoever did it last. An earlier leader may have applied it all the same.
    fn judge(&self, error: Error) -> Error {
        let uncertain = self.uncertain || self.obscure;
        if uncertain && self.operation.is_write() { error.with_effect(Effect::Unknown) } else { error }
    }

    /// Whether a lost leader may have applied it, and what is recorded of the session tells.
    fn is_in_doubt(&self) -> bool {
        self.uncertain && self.numbered.is_some()
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
    /// The leader said that it leaves: nothing more is sent on this connection.
    leaving: bool,
    /// It was told that this guest leaves: likewise.
    parting: bool,
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
    /// Why the leader does not serve this guest, by what it said last.
    turned_away: Option<String>,
    /// Operations that somebody waits for.
    awaited: usize,
    iterators: Iterators,
    snapshots: Snapshots,
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
            parting: false,
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
            turned_away: None,
            awaited: 0,
            iterators: Iterators::default(),
            snapshots: Snapshots::default(),
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
        matches!(self.link, Link::Up(_)) && !self.leaving && !self.parting
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
        self.take_in(number, operation, policy, false, token);
        number
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

    /// Takes in an operation that could not be done elsewhere, in its old place. Returns its number.
    ///
    /// A leader that has got something newer of this session would take it for something that was done. If there is one,
    /// the handle goes on under another session; while that is not possible, the operation comes last.
    pub fn resubmit(&mut self, operation: Drained<T>) -> u64 {
        let Drained { mut number, operation, policy, token, uncertain } = operation;
        if number < self.sent {
            let in_doubt = self.pending.values().any(Pending::is_in_doubt);
            match self.link {
                Link::Down if !in_doubt => self.change_session(),
                _ => number = self.reserve(),
            }
        }
        self.take_in(number, operation, policy, uncertain, token);
        number
    }

    fn take_in(&mut self, number: u64, operation: Operation, policy: RetryPolicy, obscure: bool, token: T) {
        let pending = Pending {
            cost: operation.cost(),
            operation,
            policy,
            token: Some(token),
            uncertain: false,
            obscure,
            on_wire: false,
            numbered: None,
        };
        self.pending.insert(number, pending);
        self.unsent = self.unsent.min(number);
        self.awaited += 1;
        if self.lacks_snapshot(number) {
            self.settle(number, |pending| Err(pending.judge(SnapshotRef::lost())));
        }
        self.pump();
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

    /// Why the leader did not serve this guest, if it answered the last greeting with that.
    pub fn turned_away(&self) -> Option<&str> {
        self.turned_away.as_deref()
    }

    /// Takes everything out that is on its way, in order of submission, to be executed elsewhere.
    ///
    /// Requires: no connection.
    pub fn drain(&mut self) -> Vec<Drained<T>> {
        self.take_all()
            .filter_map(|(number, Pending { operation, policy, token, uncertain, obscure, .. })| {
                let uncertain = (uncertain || obscure) && operation.is_write();
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

    fn is_legacy(&self) -> bool {
        self.leader().is_some_and(|leader| leader.legacy)
    }

    /// Opens an iterator, of what the snapshot holds if there is one; its first entries are asked for now, or as soon as there
    /// is a leader. Under [`RetryPolicy::Never`], and with a snapshot, it fails when the leader is lost.
    pub fn open_iterator(
        &mut self,
        options: rave_core::IteratorOptions,
        snapshot: Option<u64>,
        policy: RetryPolicy,
    ) -> u32 {
        let id = self.iterators.open(options, snapshot, policy, self.next - 1);
        if snapshot.is_some() {
            self.iterators.fail_without_snapshot(&self.snapshots);
        }
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
