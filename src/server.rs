//! Hosting without an election.

use rave_core::{AbstractLevel, Code, Error, EventHub, EventStream, LockAttempt, Opener, Result, process_name};
use rave_host::{GuardedLevel, Host, HostOptions, HostStats};
use rave_transport::{Connect, Transport};
use std::fmt;

/// One store, hosted by this process at one place for as long as the server lives: what `many-level`'s host is in
/// JavaScript. Guests of either language bring their own connections and wait while nobody hosts.
///
/// Dropping it cuts all connections and closes the store in the background; [`shutdown`](Self::shutdown) leaves in good
/// order.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use rave_level::{
///     AbstractLevel, AbstractLevelExt, Builder, MemoryOpener, remote::Server, transport::MemoryTransport,
/// };
///
/// let meeting_point = MemoryTransport::new();
/// let server = Server::start(&MemoryOpener::new(), &meeting_point, Default::default()).await?;
/// let guest = Builder::guest(meeting_point).open().await?;
/// guest.put("a", "1").await?;
/// assert_eq!(server.store().get("a").await?.as_deref(), Some(&b"1"[..]));
/// guest.close().await?;
/// server.shutdown().await
/// # }).unwrap();
/// ```
pub struct Server {
    // Dropped first: the listener goes before the lock, which is the store's.
    host: Host,
    store: GuardedLevel,
    events: EventHub,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Server {
    /// Locks the store, listens, opens the store and serves it. Must be called inside a tokio runtime with time enabled.
    ///
    /// Errors: `LEVEL_LOCKED` if another process has the store, or if somebody listens at that place already; whatever
    /// prevents the store from opening or the transport from listening.
    pub async fn start(opener: &dyn Opener, transport: &dyn Transport, options: HostOptions) -> Result<Self> {
        let locked = match opener.try_lock().await? {
            LockAttempt::Acquired(locked) => locked,
            LockAttempt::Held { holder } => {
                let (place, who) = (opener.location(), process_name(holder));
                let message = format!("{place} is locked by {who}; close the database there first");
                return Err(Error::new(Code::Locked, message));
            }
        };
        // The store's lock says nothing about this place: it may be another store's.
        if let Connect::Connected(connection) = transport.connect().await? {
            let (who, place) = (process_name(connection.peer.pid), transport.address());
            let message = format!("{who} listens at {place} already; choose another place");
            return Err(Error::new(Code::Locked, message));
        }
        // Made before the host, and so dropped after it if this future is dropped: the lock goes after the listener.
        let mut opening = locked.open();
        let events = options.events.clone();
        let host = Host::start(transport.listen().await?, options);
        match opening.as_mut().await {
            Ok(store) => {
                let store = host.serve(store);
                Ok(Self { host, store, events })
            }
            Err(error) => {
                // The store's failure is the one to tell.
                let _ = host.shutdown().await;
                Err(error)
            }
        }
    }

    /// The whole store, for use in this process beside its guests.
    pub fn store(&self) -> &GuardedLevel {
        &self.store
    }

    /// That guests come and go, from now on. From the very beginning they are told by the
    /// [`events`](HostOptions::events) of the options.
    pub fn events(&self) -> EventStream {
        self.events.subscribe()
    }

    /// How it fares.
    pub fn stats(&self) -> HostStats {
        self.host.stats()
    }

    /// Resolves when it can no longer serve, with the reason: the store failed, or the listener is of no use any more.
    pub async fn failure(&self) -> Error {
        tokio::select! {
            error = self.store.failure() => error,
            error = self.host.failure() => error,
        }
    }

    /// Leaves in good order: answers what was received, tells the guests, closes the listener, closes the store and
    /// releases its lock.
    pub async fn shutdown(self) -> Result<()> {
        let listener = self.host.shutdown().await;
        self.store.close().await.and(listener)
    }
}
