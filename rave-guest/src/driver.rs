//! One connection: bytes to the machine, its frames to the wire.

use crate::{
    guest::new_session,
    machine,
    ping::{Due, Watch},
    shared::Shared,
};
use bytes::BytesMut;
use rave_core::{Event, Manifest, process_name};
use rave_transport::{
    Connection,
    wire::{FrameDecoder, Limits, Response},
};
use std::{fmt, io, time::Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Bytes read at once.
const READ_CHUNK: usize = 64 << 10;
/// How long a leader that takes no more bytes may be silent. What it said before it left is there already.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Room in the receive buffer below which there is a new one. Small answers share a buffer.
const MIN_READ: usize = 16 << 10;

/// The leader at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderInfo {
    /// Its process, where the transport or the leader tells.
    pub pid: Option<u32>,
    /// It speaks only the legacy protocol.
    pub legacy: bool,
    /// What its store offers, seen through the connection.
    pub manifest: Manifest,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// The leader had answered the greeting.
    pub greeted: bool,
    /// It had answered something else too, and kept to the protocol.
    pub served: bool,
    /// The leader said that it leaves.
    pub left: bool,
    /// The leader does not serve this guest, for the reason that it gave.
    pub turned_away: Option<String>,
    /// Why, for people.
    pub reason: String,
}

impl fmt::Display for Disconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// Resets the machine also when the future is dropped in the middle.
struct Linked<'a> {
    shared: &'a Shared,
    reason: String,
}

impl Drop for Linked<'_> {
    fn drop(&mut self) {
        self.shared.with(|state| state.machine.disconnected(&self.reason));
        self.shared.unlinked.notify_waiters();
    }
}

/// The leader does not even answer whether it is there.
fn tell(shared: &Shared, leader_pid: Option<u32>, silent: Duration) {
    tracing::warn!(
        ?silent,
        "{} leads and does not answer; nobody can take over while it holds the lock, so see to that process",
        process_name(leader_pid)
    );
    shared.events.emit(|| Event::Unresponsive { leader_pid, silent });
}

pub(crate) async fn drive(
    shared: &Shared,
    connection: Connection,
    limits: Limits,
    greeted: impl FnOnce(LeaderInfo),
) -> Disconnect {
    let Connection { mut reader, mut writer, peer } = connection;
    shared.with(|state| state.machine.connected(std::process::id(), new_session()));
    let mut linked = Linked { shared, reason: "the guest let go of it".to_owned() };
    let mut greeted = Some(greeted);
    let mut decoder = FrameDecoder::new(limits);
    let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
    let (mut served, mut left) = (false, false);
    // Why the leader takes no more bytes. Its answers, and the news that it leaves, may still be on their way here.
    let mut deaf: Option<String> = None;
    let mut watch = Watch::new(shared.options.ping_interval);
    let reason = loop {
        if let Some(end) = shared.take_output(&mut output) {
            break end.to_owned();
        }
        if deaf.is_some() {
            output.clear();
        }
        if input.capacity() - input.len() < MIN_READ {
            input.reserve(READ_CHUNK);
        }
        let writing = !output.is_empty();
        let read = tokio::select! {
            biased;
            written = writer.write_buf(&mut output), if writing => match written {
                Ok(0) => {
                    deaf = Some("the leader takes no more bytes".to_owned());
                    continue;
                }
                Ok(_) => continue,
                Err(error) => {
                    deaf = Some(error.to_string());
                    continue;
                }
            },
            read = reader.read_buf(&mut input) => read,
            () = tokio::time::sleep(LAST_WORDS), if deaf.is_some() => Err(io::ErrorKind::TimedOut.into()),
            // Also while writing: a guest that closes does not wait for a leader that takes nothing.
            () = shared.outgoing.notified() => continue,
            due = watch.due() => {
                match due {
                    Due::Ask if left || deaf.is_some() => {}
                    Due::Ask => machine::ask(&mut output),
                    Due::Tell(silent) => tell(shared, shared.leader_pid().or(peer.pid), silent),
                }
                continue;
            }
        };
        match read {
            Ok(0) => break deaf.unwrap_or_else(|| "the leader closed it".to_owned()),
            Ok(_) => {}
            Err(error) => break deaf.unwrap_or_else(|| error.to_string()),
        }
        if watch.heard() {
            let leader_pid = shared.leader_pid().or(peer.pid);
            shared.events.emit(|| Event::Responsive { leader_pid });
        }
        let news = shared.with(|state| {
            loop {
                match decoder.decode(&mut input) {
                    Ok(Some(frame)) => match Response::decode(frame) {
                        Ok(response) => {
                            left |= matches!(response, Response::Leaving(_));
                            let answers = state.machine.leader().is_some();
                            state.machine.receive(response).map_err(|error| error.to_string())?;
                            served |= answers;
                        }
                        Err(error) => return Err(format!("the leader broke the protocol: {error}")),
                    },
                    Ok(None) => return Ok(state.machine.leader().cloned()),
                    Err(error) => return Err(format!("the leader broke the protocol: {error}")),
                }
            }
        });
        match news {
            Err(reason) => {
                // However much it answered before: it would be asked the same again.
                served = false;
                break reason;
            }
            Ok(Some(leader)) => {
                if let Some(greeted) = greeted.take() {
                    greeted(LeaderInfo {
                        pid: leader.pid.or(peer.pid),
                        legacy: leader.legacy,
                        manifest: leader.manifest,
                    });
                }
            }
            Ok(None) => {}
        }
    };
    linked.reason.clone_from(&reason);
    drop(linked);
    let turned_away = shared.lock().machine.turned_away().map(str::to_owned);
    Disconnect { greeted: greeted.is_none(), served, left, turned_away, reason }
}
