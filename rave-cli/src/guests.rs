//! Guests that come and go, as a host tells of them.

use crate::cli::Format;
use rave_level::{Event, PeerIdentity};
use serde_json::{Value, json};

/// What is told of an event, if it is one of those that are told.
pub fn line_of(event: &Event, format: Format) -> Option<String> {
    let (text, json) = match event {
        Event::GuestConnected { peer } => {
            (format!("connected: {peer}"), json!({"event": "connect", "peer": peer_json(peer)}))
        }
        Event::GuestDisconnected { peer, reason } => {
            let why = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            let json = json!({"event": "disconnect", "peer": peer_json(peer), "reason": reason.as_deref()});
            (format!("disconnected: {peer}{why}"), json)
        }
        Event::Lagged(count) => (format!("{count} events were missed"), json!({"event": "missed", "count": count})),
        _ => return None,
    };
    Some(if format == Format::Json { json.to_string() } else { text })
}

fn peer_json(peer: &PeerIdentity) -> Value {
    let (address, name) = (peer.address.as_deref(), peer.name.as_deref());
    json!({"pid": peer.pid, "address": address, "name": name, "read_only": peer.read_only})
}
