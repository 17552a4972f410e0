//! What happens to a database, as a stream.

use crate::{Batch, ClearOptions, PeerIdentity, Snapshot};
use futures::{Stream, StreamExt, stream::BoxStream};
use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::broadcast;

/// Something that happened to a handle, or was done through it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The store is being opened (recovered) by this process.
    Opening,
    /// The handle can be used.
    Open,
    /// This process now leads: it holds the lock and hosts the database.
    Leader,
    /// This process now follows a leader.
    Following {
        /// The leader's process, where the transport tells.
        leader_pid: Option<u32>,
    },
    /// The leader does not answer. It cannot be replaced while it holds the lock: see to that process.
    Unresponsive {
        /// The leader's process, where the transport tells.
        leader_pid: Option<u32>,
        /// For how long.
        silent: Duration,
    },
    /// The leader answers again. If it is lost instead, what comes is [`Leader`](Self::Leader) or
    /// [`Following`](Self::Following).
    Responsive {
        /// The leader's process, where the transport tells.
        leader_pid: Option<u32>,
    },
    /// A guest has connected to this process, which leads or hosts.
    GuestConnected {
        /// Who it is.
        peer: PeerIdentity,
    },
    /// The connection of a guest of this process has ended.
    GuestDisconnected {
        /// Who it was.
        peer: PeerIdentity,
        /// Why, if it did not just leave.
        reason: Option<Arc<str>>,
    },
    /// `close` was called.
    Closing,
    /// The handle is closed.
    Closed,
    /// A batch was written through this handle.
    Write(Arc<Batch>),
    /// A range was cleared through this handle. A snapshot in here only tells that it was cleared of what one held: it
    /// cannot be read, so that no listener keeps it open.
    Clear(Arc<ClearOptions>),
    /// The reader was too slow and this many events were dropped.
    Lagged(u64),
}

impl Event {
    /// The same without a hold on anything of the database, however long it waits for its listeners.
    fn holding_nothing(self) -> Self {
        match self {
            Self::Clear(options) if options.snapshot.is_some() => {
                let snapshot = Some(Snapshot::not_open());
                Self::Clear(Arc::new(ClearOptions { snapshot, ..ClearOptions::clone(&options) }))
            }
            event => event,
        }
    }
}

/// Where a store announces its events. Costs next to nothing while nobody listens.
#[derive(Clone)]
pub struct EventHub(broadcast::Sender<Event>);

impl Default for EventHub {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for EventHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventHub({} listeners)", self.0.receiver_count())
    }
}

impl EventHub {
    /// How many events wait for a slow reader before the oldest are dropped.
    pub const CAPACITY: usize = 1024;

    /// A hub without listeners.
    pub fn new() -> Self {
        Self(broadcast::Sender::new(Self::CAPACITY))
    }

    /// Whether anybody listens; ask before copying data into an event.
    pub fn has_listeners(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// Announces what `event` makes, if anybody listens.
    pub fn emit(&self, event: impl FnOnce() -> Event) {
        if self.has_listeners() {
            // An error only says that the last listener has just left.
            let _ = self.0.send(event().holding_nothing());
        }
    }

    /// Every event from now on.
    pub fn subscribe(&self) -> EventStream {
        let receiver = self.0.subscribe();
        let stream = futures::stream::unfold(receiver, |mut receiver| async move {
            match receiver.recv().await {
                Ok(event) => Some((event, receiver)),
                Err(broadcast::error::RecvError::Lagged(count)) => Some((Event::Lagged(count), receiver)),
                Err(broadcast::error::RecvError::Closed) => None,
            }
        });
        EventStream(stream.boxed())
    }
}

/// The events of a handle from the moment of subscription; ends when the handle is gone. Bounded: a reader who falls
/// behind gets [`Event::Lagged`].
pub struct EventStream(BoxStream<'static, Event>);

impl EventStream {
    /// The events that `f` makes of these; it drops those for which it gives none. For views of a database.
    pub fn filter_map(self, f: impl Fn(Event) -> Option<Event> + Send + 'static) -> Self {
        Self(self.0.filter_map(move |event| std::future::ready(f(event))).boxed())
    }
}

impl Stream for EventStream {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.0.poll_next_unpin(cx)
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventStream")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SnapshotHandle;
    use std::{any::Any, sync::Weak};

    #[derive(Debug)]
    struct Held(#[expect(dead_code, reason = "it is there to be dropped")] Arc<()>);

    impl SnapshotHandle for Held {
        fn close(&self) {}

        fn as_any(&self) -> &dyn Any {
            self
        }
    }

    #[tokio::test]
    async fn a_listener_that_reads_nothing_keeps_no_snapshot_open() {
        let hub = EventHub::new();
        let mut events = hub.subscribe();
        let held = Arc::new(());
        let open: Weak<()> = Arc::downgrade(&held);
        let options = ClearOptions { limit: Some(7), snapshot: Some(Snapshot::new(Held(held))), ..Default::default() };
        hub.emit(|| Event::Clear(Arc::new(options)));
        assert!(open.upgrade().is_none());
        let Some(Event::Clear(told)) = events.next().await else { panic!("nothing is told") };
        assert_eq!(told.limit, Some(7));
        assert!(told.snapshot.as_ref().is_some_and(|snapshot| snapshot.downcast_ref::<Held>().is_none()));
    }
}
