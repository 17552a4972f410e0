//! The host's side: taking in guests, each on a task of its own until it is known who it is.
//!
//! To ensure that good guests are served whoever else knocks:
//! - who is slow to say who it is has a deadline, and holds up nobody;
//! - there is a bound on those who have not said it yet, and at the bound the oldest of them has to go: an honest guest
//!   needs milliseconds, so it is never the oldest for long;
//! - a machine that goes on knocking has to wait between its knocks, so that they leave the processor to others;
//! - guests that were let in are counted apart.

use super::{TcpTransport, admission::Admission, socket};
use crate::{Connection, Listener};
use async_trait::async_trait;
use rave_core::{Code, Error, Result};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener as Socket, TcpStream},
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};

/// How long a guest may take until it is known who it is.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many may be on their way there at once.
const STRANGERS: usize = 256;
/// How many guests may wait to be accepted.
const ROOM: usize = 16;
/// How long the host waits where the system has no descriptors or memory for one more guest.
const PAUSE: Duration = Duration::from_millis(10);

pub(super) struct TcpListener {
    guests: mpsc::Receiver<Connection>,
    task: AbortHandle,
}

impl TcpListener {
    /// Takes in whoever connects to `socket` and is admitted.
    pub(super) fn start(socket: Socket, transport: &TcpTransport) -> Self {
        let (sender, guests) = mpsc::channel(ROOM);
        let admission = Arc::new(Admission::new(transport));
        Self { guests, task: tokio::spawn(take_in(socket, admission, sender)).abort_handle() }
    }
}

#[async_trait]
impl Listener for TcpListener {
    async fn accept(&mut self) -> Result<Connection> {
        // The task ends only with the listener, or by a panic.
        self.guests.recv().await.ok_or_else(|| Error::new(Code::Io, "the TCP listener has ended"))
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take_in(socket: Socket, admission: Arc<Admission>, guests: mpsc::Sender<Connection>) {
    let mut strangers = Strangers::default();
    loop {
        tokio::select! {
            accepted = socket.accept() => match accepted {
                Ok((stream, _)) => {
                    if strangers.make_room().await {
                        admission.turned_away("it was slow to say who it is, and others wait");
                    }
                    strangers.add(admit(stream, admission.clone(), guests.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a guest at the moment");
                    sleep(PAUSE).await;
                }
            },
            () = strangers.next_done() => {}
        }
    }
}

/// Those of whom it is not known yet who they are. Dropping it cuts them.
#[derive(Default)]
struct Strangers {
    tasks: JoinSet<()>,
    /// Of those, the oldest first; some may have finished.
    queue: VecDeque<AbortHandle>,
}

impl Strangers {
    fn add(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.queue.push_back(self.tasks.spawn(task));
        if self.queue.len() > 2 * STRANGERS {
            self.queue.retain(|stranger| !stranger.is_finished());
        }
    }

    /// Sends the oldest away if there are as many as there may be. Whether that was necessary.
    async fn make_room(&mut self) -> bool {
        let mut sent_away = false;
        while self.tasks.len() >= STRANGERS {
            let waiting = |stranger: &AbortHandle| !stranger.is_finished();
            if let Some(oldest) = std::iter::from_fn(|| self.queue.pop_front()).find(waiting) {
                oldest.abort();
                sent_away = true;
            }
            // One has finished in any case.
            self.tasks.join_next().await;
        }
        sent_away
    }

    async fn next_done(&mut self) {
        if self.tasks.join_next().await.is_none() {
            std::future::pending().await
        }
    }
}

async fn admit(stream: TcpStream, admission: Arc<Admission>, guests: mpsc::Sender<Connection>) {
    let admitted = async {
        socket::prepare(&stream).map_err(|error| error.to_string())?;
        admission.admit(stream).await
    };
    match timeout(PATIENCE, admitted).await {
        // Fails only if the listener is gone.
        Ok(Ok(connection)) => drop(guests.send(connection).await),
        Ok(Err(reason)) => admission.turned_away(&reason),
        Err(_) => admission.turned_away("it took too long to say who it is"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};
    use tokio::task::yield_now;

    #[tokio::test(start_paused = true)]
    async fn there_is_always_room_for_one_more_at_once() {
        let mut strangers = Strangers::default();
        // Some have finished and were counted out, some only finished, and the others will stay as long as they may.
        for round in 0..10 * STRANGERS {
            let sent_away = timeout(PATIENCE, strangers.make_room()).await.expect("at once");
            assert!(!sent_away || strangers.tasks.len() < STRANGERS);
            match round % 3 {
                0 => strangers.add(pending()),
                1 => strangers.add(ready(())),
                _ => {
                    strangers.add(ready(()));
                    timeout(PATIENCE, strangers.next_done()).await.expect("one has finished");
                }
            }
            assert!(strangers.tasks.len() <= STRANGERS && strangers.queue.len() <= 2 * STRANGERS);
            yield_now().await;
        }
        assert!(strangers.tasks.len() > STRANGERS / 2, "those who wait were not sent away without need");
    }
}
