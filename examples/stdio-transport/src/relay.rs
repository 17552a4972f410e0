//! The far end: a process that has the database in reach and passes bytes on.
//!
//! It understands none of them. The session is between the guest and the leader, so whatever dies in between, the guest
//! connects again and the leader knows how far it had got: writes stay exactly once.

use crate::greeting::GREETING;
use rave_level::{
    Code, Error, Result,
    transport::{Connect, Transport},
};
use std::time::Duration;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy},
    time::{Instant, sleep},
};

/// The exit code that says: there was no leader to be found, another time there may be one.
pub const PASSING: u8 = 75;

/// How long a leader may be missing. When one dies, another takes over in much less.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);

/// Connects to the leader at `transport`, greets, and passes bytes on in both directions until one side ends.
///
/// Errors: `LEVEL_LOCKED` if nobody leads there; whatever keeps the transport from connecting; a failure of `output`.
pub async fn relay(
    transport: &dyn Transport,
    mut input: impl AsyncRead + Unpin,
    mut output: impl AsyncWrite + Unpin,
) -> Result<()> {
    let start = Instant::now();
    let mut leader = loop {
        match transport.connect().await? {
            Connect::Connected(connection) => break connection,
            Connect::NobodyHome if start.elapsed() < PATIENCE => sleep(PAUSE).await,
            Connect::NobodyHome => {
                let message = format!("nobody serves the database at {}", transport.address());
                return Err(Error::new(Code::Locked, message));
            }
        }
    };
    let relayed = async {
        output.write_all(GREETING).await?;
        output.flush().await?;
        // Where one side has ended, the other has nobody to talk to.
        tokio::select! {
            copied = copy(&mut input, &mut leader.writer) => copied.map(drop),
            copied = copy(&mut leader.reader, &mut output) => {
                copied?;
                output.flush().await
            }
        }
    };
    relayed.await.map_err(|error| Error::io("passing bytes on", error))
}
