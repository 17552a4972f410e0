//! A plain guest: one that only ever follows, and reconnects by itself.

use crate::{Guest, GuestOptions, guest::LastUser};
use rave_core::{Code, Error, EventHub, Result};
use rave_transport::{Connect, Connection, Transport};
use std::{sync::Arc, time::Duration};
use tokio::sync::{Notify, oneshot};

/// First pause between two attempts to connect.
const MIN_PAUSE: Duration = Duration::from_millis(1);
/// Longest pause between two attempts to connect.
const MAX_PAUSE: Duration = Duration::from_millis(100);

/// Connects to whoever listens at `transport`, and again whenever the connection is lost, for as long as the guest
/// lives. Must be called inside a tokio runtime.
///
/// Errors: the first attempt failed, or nobody is home; `LEVEL_ABORTED` if the leader does not answer within the
/// operations' timeout.
pub async fn connect(transport: Arc<dyn Transport>, options: GuestOptions) -> Result<Guest> {
    let guest = Guest::new(options, EventHub::new());
    let connection = match transport.connect().await? {
        Connect::Connected(connection) => connection,
        Connect::NobodyHome => {
            let message = format!("nobody serves a database at {}", transport.address());
            return Err(Error::new(Code::DatabaseFailedOpen, message));
        }
    };
    let (greeted, ready) = oneshot::channel();
    let unused = Arc::new(Notify::new());
    let (background, dialed) = (guest.clone(), transport.clone());
    let gone = unused.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = keep_connected(&background, &*dialed, connection, greeted) => {}
            () = gone.notified() => {}
        }
        background.finish_close();
    });
    let guest = Guest { _user: Some(Arc::new(LastUser(unused))), ..guest };
    let answered = match options.timeout {
        None => ready.await,
        Some(timeout) => match tokio::time::timeout(timeout, ready).await {
            Ok(answered) => answered,
            Err(_) => {
                let message = format!("the leader at {} did not answer the greeting in time", transport.address());
                return Err(Error::new(Code::Aborted, message));
            }
        },
    };
    answered.map_err(|_| Error::new(Code::ConnectionLost, "the leader did not answer the greeting"))?;
    Ok(guest)
}

/// Ends when the guest is closed, or when the very first connection leads to nothing.
async fn keep_connected(guest: &Guest, transport: &dyn Transport, first: Connection, greeted: oneshot::Sender<()>) {
    let mut connection = Some(first);
    let mut greeted = Some(greeted);
    let mut pause = MIN_PAUSE;
    while !guest.is_closed() {
        if let Some(connection) = connection.take() {
            let lost = guest
                .run(connection, |_| {
                    if let Some(greeted) = greeted.take() {
                        let _ = greeted.send(());
                    }
                })
                .await;
            if greeted.is_some() {
                return;
            }
            if lost.greeted {
                pause = MIN_PAUSE;
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
        match transport.connect().await {
            Ok(Connect::Connected(next)) => connection = Some(next),
            Ok(Connect::NobodyHome) => {}
            Err(error) => tracing::warn!(%error, "connecting failed; trying again"),
        }
    }
}
