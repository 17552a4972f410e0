//! The greeting of a native guest, and what it is told of the leader and of its session.

use super::{Machine, Waiting, Work, session};
use bytes::BytesMut;
use rave_core::Error;
use rave_transport::wire::{
    PROTOCOL_VERSION, Response,
    message::{GetManyCallback, Hello, SessionState, Welcome, capability},
};

impl Machine {
    pub(super) fn greet(&mut self, hello: &Hello) -> Option<(Waiting, Work)> {
        if std::mem::replace(&mut self.greeted, true) {
            self.fault = Some("the guest greeted twice".to_owned());
            return None;
        }
        let own = self.config.max_frame;
        let taken = hello.max_frame.map_or(usize::MAX, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        self.config.max_frame = own.min(taken);
        self.own_frame = own;
        let Some(session) = hello.session.as_ref().filter(|_| self.config.sessions) else {
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
        Some((waiting, Work::Resume { session, attempt, next, durable: hello.durable.unwrap_or(false) }))
    }

    pub(super) fn welcome(&mut self, version: u32, session: Option<SessionState>) {
        let manifest = &self.config.manifest;
        let bits = [
            (manifest.implicit_snapshots, capability::IMPLICIT_SNAPSHOTS),
            (manifest.permanence, capability::PERMANENCE),
            (manifest.sync_writes, capability::SYNC_WRITES),
            (manifest.atomic_clear, capability::ATOMIC_CLEAR),
            (manifest.read_only, capability::READ_ONLY),
            (manifest.conditions, capability::CONDITIONS),
            (manifest.explicit_snapshots, capability::EXPLICIT_SNAPSHOTS),
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
    pub(super) fn turn_away(&mut self, version: u32, error: &Error) {
        rejection(self.config.pid, version, error, &mut self.output);
        self.fault = Some(error.full_message());
    }
}

/// What a guest is told that is not served, by the process `pid`.
pub(crate) fn rejection(pid: u32, version: u32, error: &Error, out: &mut BytesMut) {
    let welcome = Welcome {
        version: version.min(PROTOCOL_VERSION),
        pid: Some(pid),
        error: Some(error.code().as_str().to_owned()),
        message: Some(error.full_message()),
        ..Welcome::default()
    };
    Response::Welcome(welcome).encode(out);
    // A guest takes the answer to what it asks behind its greeting for the end of the greeting.
    Response::GetManyCallback(GetManyCallback::default()).encode(out);
}
