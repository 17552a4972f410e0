//! How to open a shared database.

use crate::{
    RaveLevel,
    driver::{Driver, Held, Obstacle, Phase, Teller},
};
use rave_core::{Code, Error, EventHub, EventStream, Opener, Result, process_name};
use rave_guest::{Guest, GuestOptions, RetryPolicy};
use rave_host::{HostOptions, Rate, WriteHook};
use rave_transport::{Transport, wire::Limits};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::sync::watch;

/// How to open a shared database: which store, which transport, what to do when a leader dies.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use rave_level::{AbstractLevel, AbstractLevelExt, Builder, MemoryOpener, transport::MemoryTransport};
///
/// let (store, meeting_point) = (MemoryOpener::new(), MemoryTransport::new());
/// let leader = Builder::new(store.clone(), meeting_point.clone()).open().await?;
/// let guest = Builder::new(store, meeting_point).open().await?;
/// leader.put("a", "1").await?;
/// assert_eq!(guest.get("a").await?.as_deref(), Some(&b"1"[..]));
/// # guest.close().await?; leader.close().await
/// # }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until `open` is called"]
pub struct Builder {
    /// Without one, this process never leads.
    opener: Option<Arc<dyn Opener>>,
    transport: Arc<dyn Transport>,
    guest: GuestOptions,
    host: HostOptions,
    open_timeout: Duration,
    close_timeout: Duration,
    events: EventHub,
}

impl Builder {
    /// A database of any store and any transport. All processes must use the same of both.
    pub fn new(opener: impl Opener, transport: impl Transport) -> Self {
        Self::with(Some(Arc::new(opener)), Arc::new(transport))
    }

    /// A database that somebody else hosts at `transport`. This process only ever follows, and connects again whenever
    /// the connection is lost; nothing of the database is touched here.
    pub fn guest(transport: impl Transport) -> Self {
        Self::with(None, Arc::new(transport))
    }

    /// The same for the host at `address`.
    ///
    /// Errors: as [`Address::transport`](rave_transport::Address::transport).
    pub fn connecting(address: &rave_transport::Address) -> Result<Self> {
        Ok(Self::with(None, address.transport()?))
    }

    pub(crate) fn with(opener: Option<Arc<dyn Opener>>, transport: Arc<dyn Transport>) -> Self {
        let events = EventHub::new();
        Self {
            opener,
            transport,
            guest: GuestOptions::default(),
            host: HostOptions { events: events.clone(), ..HostOptions::default() },
            open_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            events,
        }
    }

    /// What becomes of operations in flight when the leader dies. Default: [`RetryPolicy::Always`].
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.guest.retry = policy;
        self
    }

    /// How long one operation may take in all, failovers included; default: as long as it needs. One that takes longer
    /// fails with `LEVEL_ABORTED` and says whether it may have been applied.
    pub fn operation_timeout(mut self, timeout: Duration) -> Self {
        self.guest.timeout = Some(timeout);
        self
    }

    /// After so long a silence this process asks the leader whether it is there; after another one without an answer it
    /// logs a warning and tells by [`Event::Unresponsive`](rave_core::Event::Unresponsive). Nothing else happens: nobody can
    /// take over from a process that holds the lock. Default: 5 seconds; `None`: never.
    pub fn ping_interval(mut self, interval: Option<Duration>) -> Self {
        self.guest.ping_interval = interval;
        self
    }

    /// How long `open` waits for a leader to answer or for the lock; default 10 seconds. It has to cover a round trip to
    /// the leader. Recovering the store is not limited by it.
    pub fn open_timeout(mut self, timeout: Duration) -> Self {
        self.open_timeout = timeout;
        self
    }

    /// How long `close` waits for operations that are on their way, if no leader answers them; default 5 seconds. Those
    /// that do not finish fail.
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self.host.grace = timeout.min(self.host.grace);
        self
    }

    /// Refuse writes of this process and, while it leads, of its guests. Other processes that lead do as they were told.
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.guest.read_only = read_only;
        self.host.read_only = read_only;
        self
    }

    /// Whether this process, while it leads, keeps account of its guests' writes so that they are applied exactly once
    /// whatever leaders come and go; default `true`. It costs a small record with each group of writes. All processes should
    /// agree on it: what a leader without did, the next one does not know.
    pub fn sessions(mut self, sessions: bool) -> Self {
        self.host.sessions = sessions;
        self
    }

    /// How long the session of a guest that is gone without a word is remembered after its last write; default 24 hours. A
    /// guest that was out of reach for longer gets an error of effect `Unknown` for writes that were on their way.
    pub fn session_retention(mut self, retention: Duration) -> Self {
        self.host.session_retention = retention;
        self
    }

    /// The time of day by which sessions grow old while this process leads, for tests; default: the system's.
    pub fn session_clock(mut self, clock: fn() -> SystemTime) -> Self {
        self.host.clock = clock;
        self
    }

    /// Judges and observes every write while this process leads: its own and its guests'. Other processes that lead do as
    /// they were told, so all should be told the same.
    pub fn hook(mut self, hook: Arc<dyn WriteHook>) -> Self {
        self.host.hook = Some(hook);
        self
    }

    /// What one connection may cost; the largest frame bounds the largest value that guests can read or write.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.guest.limits = limits;
        self.host.limits = limits;
        self
    }

    /// Bytes of operations of this process that may wait for a leader; more wait outside. Default 64 MiB.
    pub fn max_pending_bytes(mut self, bytes: usize) -> Self {
        self.guest.max_pending_bytes = bytes;
        self
    }

    /// The most guests served at once while this process leads; default 4096. More are turned away, and are told why: they
    /// try again from time to time.
    pub fn max_guests(mut self, guests: usize) -> Self {
        self.host.max_connections = guests;
        self
    }

    /// How much one guest may ask for while this process leads, before it is slowed down; default: as much as it likes.
    pub fn guest_rate(mut self, rate: Rate) -> Self {
        self.host.rate = rate;
        self
    }

    /// The events of the handle to be, from its very beginning. While this process leads, its guests are among them.
    pub fn events(&self) -> EventStream {
        self.events.subscribe()
    }

    /// Opens: finds the leader, or becomes it. Must be called inside a tokio runtime with time enabled; a background task
    /// of this runtime keeps the handle going. Dropping the future opens nothing.
    ///
    /// Errors: `LEVEL_LOCKED` if another process holds the store and does not answer in time; for a
    /// [`guest`](Self::guest), `LEVEL_DATABASE_FAILED_OPEN` if nobody serves there in time; whatever prevents the store from
    /// opening or the transport from listening.
    pub async fn open(self) -> Result<RaveLevel> {
        let guest = Guest::new(self.guest, self.events.clone());
        let (phase, mut opening) = watch::channel(Phase::Opening(Obstacle::Starting));
        let (close, closing) = watch::channel(false);
        let driver = Driver {
            opener: self.opener.clone(),
            transport: self.transport.clone(),
            guest: guest.clone(),
            teller: Teller { phase, events: self.events.clone() },
            host_options: self.host.clone(),
            grace: self.close_timeout,
            closing,
            figures: Default::default(),
            held: Held::default(),
        };
        // From here on the handle closes what was opened, also if this future is dropped.
        let level = RaveLevel::new(guest, self.events.clone(), opening.clone(), close, driver.figures.clone());
        tokio::spawn(driver.run());
        loop {
            let ready = async {
                let phase = opening.wait_for(|phase| !matches!(phase, Phase::Opening(_))).await;
                phase.map_or_else(|_| Phase::Ended(Err(Error::not_open())), |phase| phase.clone())
            };
            match tokio::time::timeout(self.open_timeout, ready).await {
                Ok(Phase::Ended(result)) => return Err(result.err().unwrap_or_else(Error::not_open)),
                Ok(Phase::Open(_) | Phase::Opening(_)) => return Ok(level),
                Err(_) => match &*opening.borrow() {
                    Phase::Opening(Obstacle::Recovering) | Phase::Open(_) | Phase::Ended(_) => {}
                    Phase::Opening(obstacle) => return Err(self.too_late(obstacle)),
                },
            }
        }
    }

    /// The error when `open` has waited long enough.
    fn too_late(&self, obstacle: &Obstacle) -> Error {
        let (address, waited) = (self.transport.address(), self.open_timeout);
        let Some(opener) = &self.opener else {
            return Error::new(
                Code::DatabaseFailedOpen,
                match obstacle {
                    Obstacle::Silent(pid) => {
                        format!("{} listens at {address} and does not answer (waited {waited:?})", process_name(*pid))
                    }
                    Obstacle::TurnedAway(why) => {
                        format!("the host at {address} turned this process away: {why} (waited {waited:?})")
                    }
                    Obstacle::Nobody => format!("nobody serves a database at {address} (waited {waited:?})"),
                    _ => format!("{address} could not be reached within {waited:?}"),
                },
            );
        };
        let place = opener.location();
        Error::new(
            Code::Locked,
            match obstacle {
                Obstacle::Held(pid) => format!(
                    "{place} is locked by {}, which does not serve it at {address} (waited {waited:?}); \
                     close the database there first",
                    process_name(*pid)
                ),
                Obstacle::Silent(pid) => {
                    format!("{} leads {place} and does not answer at {address} (waited {waited:?})", process_name(*pid))
                }
                Obstacle::TurnedAway(why) => {
                    format!("the leader of {place} turned this process away: {why} (waited {waited:?})")
                }
                Obstacle::Starting | Obstacle::Nobody | Obstacle::Recovering => {
                    format!("{place} could not be reached at {address} within {waited:?}")
                }
            },
        )
    }
}
