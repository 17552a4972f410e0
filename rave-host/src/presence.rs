//! That guests come and go, told in pairs.

use crate::host::Shared;
use rave_core::{Event, PeerIdentity};
use std::sync::{Arc, atomic::Ordering};

/// A guest, from its arrival until this is dropped, also with a task that is aborted: then it is counted out, and that its
/// connection has ended is told as surely as that it has come.
pub(crate) struct Presence {
    shared: Arc<Shared>,
    peer: PeerIdentity,
    reason: Option<Arc<str>>,
}

impl Presence {
    pub(crate) fn new(shared: Arc<Shared>, peer: PeerIdentity) -> Self {
        shared.guests.fetch_add(1, Ordering::Relaxed);
        shared.options.events.emit(|| Event::GuestConnected { peer: peer.clone() });
        Self { shared, peer, reason: Some("the host cut it off".into()) }
    }

    /// Its connection has come to its end by itself.
    pub(crate) fn ends(mut self, outcome: Result<(), String>) {
        self.reason = match outcome {
            Ok(()) if *self.shared.leaving.borrow() => Some("the host stopped serving".into()),
            Ok(()) => None,
            Err(reason) => {
                self.shared.complaints.ended(&self.peer, &reason);
                Some(reason.into())
            }
        };
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.shared.guests.fetch_sub(1, Ordering::Relaxed);
        let (peer, reason) = (&self.peer, &self.reason);
        self.shared.options.events.emit(|| Event::GuestDisconnected { peer: peer.clone(), reason: reason.clone() });
    }
}
