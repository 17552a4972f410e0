//! Connections come and go: what a leader is told and tells at the beginning, and what becomes of operations at the end.

use super::{
    Leader, Link, Machine, Pending, Reply, ask,
    session::{self, Fate, SessionId},
};
use crate::RetryPolicy;
use bytes::Bytes;
use rave_core::{Code, Effect, Error, Manifest, Result};
use rave_transport::wire::{
    PROTOCOL_VERSION, Request,
    message::{self, SessionState, capability},
};

impl<T> Machine<T> {
    /// There is a connection: greet. `spare` is a new session's id, in case the leader refuses this one.
    pub fn connected(&mut self, pid: u32, spare: SessionId) {
        self.attempt += 1;
        self.spare = spare;
        self.output.clear();
        self.leaving = false;
        self.parting = false;
        self.turned_away = None;
        self.link = Link::Greeting { welcome: None };
        let hello = message::Hello {
            version: PROTOCOL_VERSION,
            pid: Some(pid),
            max_frame: Some(self.max_frame as u64),
            session: Some(Bytes::copy_from_slice(&self.session)),
            attempt: Some(self.attempt),
            next: Some(self.next),
            settled: Some(self.settled()),
            durable: self.has_synced_in_doubt().then_some(true),
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
            let maybe_applied = pending.on_wire && !given_back;
            pending.uncertain |= maybe_applied;
            pending.obscure |= maybe_applied && pending.numbered.is_none();
            pending.on_wire = false;
        }
        for number in self.numbers_of(fails) {
            self.settle(number, |pending| Err(lost.clone().with_effect(pending.effect())));
        }
        self.snapshots.disconnected();
        self.fail_without_snapshot();
        self.iterators.disconnected(greeted.then_some(&lost));
    }

    /// Completes an operation that is not on the wire.
    pub(super) fn settle(&mut self, number: u64, result: impl FnOnce(&Pending<T>) -> Result<Reply>) {
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
                (Some(forgotten), Some(state)) => {
                    let fate = session::fate(&pending.operation, number, forgotten, state);
                    pending.uncertain = false;
                    if let Fate::Settled(result) = fate {
                        if result.is_err() {
                            self.untold = Some(number);
                        }
                        self.settle(number, |pending| result.map_err(|error| pending.judge(error)));
                    }
                }
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

    /// Whether a write that asked to survive power loss may have been applied by a lost leader that kept sessions: before
    /// it is taken for done, what is recorded of it has to survive power loss.
    pub fn has_synced_in_doubt(&self) -> bool {
        self.pending.values().any(|pending| pending.is_in_doubt() && pending.operation.is_synced())
    }

    /// What is recorded of the session so far does not concern this handle any more.
    pub(super) fn change_session(&mut self) {
        self.session = self.spare;
        self.attempt = 0;
        self.sent = 0;
        self.untold = None;
    }

    /// The leader refuses the session: what it may have applied stays unknown, the rest goes on under another id.
    fn renew(&mut self) {
        for number in self.numbers_of(Pending::is_in_doubt) {
            self.settle(number, |_| Err(session::lost()));
        }
        self.change_session();
        self.stuck = Some("the leader refused the session");
    }

    pub(super) fn numbers_of(&self, which: impl Fn(&Pending<T>) -> bool) -> Vec<u64> {
        self.pending.iter().filter(|(_, pending)| which(pending)).map(|(number, _)| *number).collect()
    }

    pub(super) fn greeted(&mut self) {
        let Link::Greeting { welcome } = &mut self.link else { return };
        let welcome = welcome.take();
        if let Some(code) = welcome.as_ref().and_then(|welcome| welcome.error.as_deref()) {
            match Code::from_name(code) {
                Some(Code::Session | Code::Corruption) => self.renew(),
                // Something else than the session itself will pass.
                _ => {
                    let message = welcome.as_ref().and_then(|welcome| welcome.message.clone());
                    self.turned_away = Some(message.unwrap_or_else(|| code.to_owned()));
                    self.stuck = Some("the leader turned this guest away");
                }
            }
            return;
        }
        let state = welcome.as_ref().and_then(|welcome| welcome.session.clone());
        let leader = match welcome {
            Some(welcome) => {
                let bits = welcome.capabilities.unwrap_or(0);
                Leader {
                    legacy: false,
                    pid: welcome.pid,
                    max_frame: welcome.max_frame.and_then(|bytes| usize::try_from(bytes).ok()),
                    forgotten: state.as_ref().map(|state| state.begun.or(state.forgotten).unwrap_or(0)),
                    manifest: Manifest {
                        store: welcome.store.unwrap_or_default().into(),
                        implicit_snapshots: bits & capability::IMPLICIT_SNAPSHOTS != 0,
                        permanence: bits & capability::PERMANENCE != 0,
                        sync_writes: bits & capability::SYNC_WRITES != 0,
                        atomic_clear: bits & capability::ATOMIC_CLEAR != 0,
                        conditions: bits & capability::CONDITIONS != 0,
                        explicit_snapshots: bits & capability::EXPLICIT_SNAPSHOTS != 0,
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

    /// The handle closes and will not come back: the leader may forget its session, and hangs up. Whether there is anything
    /// to forget.
    pub fn goodbye(&mut self) -> bool {
        let known = self.sent > 0 && self.ready() && self.leader().is_some_and(|leader| leader.forgotten.is_some());
        if known {
            Request::Goodbye(message::Goodbye {}).encode(&mut self.output);
            self.parting = true;
        }
        known
    }

    /// Whether there is a connection.
    pub fn is_connected(&self) -> bool {
        !matches!(self.link, Link::Down)
    }
}
