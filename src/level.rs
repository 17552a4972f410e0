//! The handle of a shared database.

use crate::{
    Builder, LeaderStatus, Role,
    driver::{Figures, Phase},
};
use async_trait::async_trait;
use rave_core::{
    AbstractLevel, Batch, Bytes, ClearOptions, Error, Event, EventHub, EventStream, IteratorOptions, LevelIterator,
    Manifest, ReadOptions, Result, Snapshot, Status, WriteOptions,
};
use rave_guest::{Guest, RetryPolicy};
use rave_host::HostStats;
use std::{
    fmt,
    sync::{Arc, PoisonError},
    time::Duration,
};
use tokio::sync::watch;

/// A database that any number of processes have open at once. It is an [`AbstractLevel`]; clones are the same handle.
///
/// Dropping the last clone closes the database in the background, as long as the tokio runtime that opened it runs;
/// [`close`](AbstractLevel::close) does so and waits.
///
/// An iterator whose leader changes goes on behind its last key and sees the state of that moment from there on. An explicit
/// [`snapshot`](AbstractLevel::snapshot) is held by the leader that took it and is gone with it: from then on all that
/// reads it, iterators too, fails with `LEVEL_SNAPSHOT_NOT_OPEN`, and nothing newer takes its place.
#[derive(Clone)]
pub struct RaveLevel {
    inner: Arc<Inner>,
    /// With the retry policy and the timeout of this clone.
    guest: Guest,
}

struct Inner {
    events: EventHub,
    phase: watch::Receiver<Phase>,
    close: watch::Sender<bool>,
    figures: Figures,
}

impl fmt::Debug for RaveLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RaveLevel").field("role", &self.role()).field("status", &self.status()).finish()
    }
}

#[cfg(all(feature = "leveldb", feature = "ipc"))]
impl RaveLevel {
    /// Opens the LevelDB database in the directory `path`, creating it if need be, over the local socket
    /// `rave-level.sock` in it.
    ///
    /// Errors: see [`Builder::open`].
    pub async fn open(path: impl AsRef<std::path::Path>) -> Result<Self> {
        Self::builder(path)?.open().await
    }

    /// The same, to be adjusted before it is opened.
    ///
    /// Errors: the socket's place cannot be determined.
    pub fn builder(path: impl AsRef<std::path::Path>) -> Result<Builder> {
        let path = path.as_ref();
        let transport = rave_transport::IpcTransport::for_directory(path)?;
        Ok(Builder::new(rave_leveldb::LevelDb::new(path), transport))
    }
}

impl RaveLevel {
    /// Opens the database at a [`Location`](crate::Location), such as `./db`, `sled:./db`, `memory:` or
    /// `unix:/run/db.sock`: the choice of an application's configuration.
    ///
    /// [`Location::builder`](crate::Location::builder) is the same, to be adjusted before it is opened.
    ///
    /// Errors: the location is not usable, or something that this build lacks; see also [`Builder::open`].
    pub async fn at(location: impl AsRef<std::ffi::OsStr>) -> Result<Self> {
        crate::Location::parse(location)?.builder()?.open().await
    }

    /// Reaches a database that another process hosts at `address`, such as `unix:/run/db.sock`: a JavaScript
    /// `many-level` host, `rave host`, or a leader of any language. This process never leads; it connects again whenever
    /// the connection is lost.
    ///
    /// [`Builder::connecting`] is the same, to be adjusted before it is opened.
    ///
    /// Errors: the address is not usable; see also [`Builder::open`].
    pub async fn connect(address: &str) -> Result<Self> {
        Builder::connecting(&address.parse()?)?.open().await
    }

    pub(crate) fn new(
        guest: Guest,
        events: EventHub,
        phase: watch::Receiver<Phase>,
        close: watch::Sender<bool>,
        figures: Figures,
    ) -> Self {
        Self { inner: Arc::new(Inner { events, phase, close, figures }), guest }
    }

    /// The same handle, whose operations have another retry policy: `db.retrying(RetryPolicy::Never).put(…)`. It takes its
    /// place in the same order of operations.
    pub fn retrying(&self, policy: RetryPolicy) -> Self {
        Self { guest: self.guest.retrying(policy), ..self.clone() }
    }

    /// The same handle, whose operations may take this long in all; `None`: as long as they need. See
    /// [`Builder::operation_timeout`](crate::Builder::operation_timeout).
    pub fn with_timeout(&self, timeout: impl Into<Option<Duration>>) -> Self {
        Self { guest: self.guest.with_timeout(timeout.into()), ..self.clone() }
    }

    /// The part this process plays at the moment.
    pub fn role(&self) -> Role {
        match &*self.inner.phase.borrow() {
            Phase::Open(role) => *role,
            Phase::Opening(_) | Phase::Ended(_) => Role::Electing,
        }
    }

    /// How the leader fares; asks it if this process is a guest.
    ///
    /// Errors: `LEVEL_NOT_SUPPORTED` if the leader speaks only the legacy protocol.
    pub async fn leader_status(&self) -> Result<LeaderStatus> {
        loop {
            if let Some(stats) = self.own_figures() {
                return Ok(LeaderStatus {
                    pid: Some(std::process::id()),
                    guests: stats.guests,
                    operations: stats.operations,
                    leading: stats.leading,
                    store: self.manifest().store.into_owned(),
                });
            }
            match self.guest.leader_status().await {
                Ok(status) => {
                    return Ok(LeaderStatus {
                        pid: status.pid,
                        guests: status.guests.unwrap_or(0),
                        operations: status.operations.unwrap_or(0),
                        leading: Duration::from_millis(status.leading_ms.unwrap_or(0)),
                        store: status.store.unwrap_or_default(),
                    });
                }
                // The question waited here for a leader, and now it is this process.
                Err(_) if self.own_figures().is_some() => tokio::task::yield_now().await,
                Err(error) => return Err(error),
            }
        }
    }

    /// Those of this process, if it leads or is about to.
    fn own_figures(&self) -> Option<HostStats> {
        self.inner.figures.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|figures| figures())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close.send_replace(true);
    }
}

#[async_trait]
impl AbstractLevel for RaveLevel {
    /// What the present leader's store offers.
    fn manifest(&self) -> Manifest {
        self.guest.manifest()
    }

    fn status(&self) -> Status {
        self.guest.status()
    }

    fn events(&self) -> EventStream {
        self.inner.events.subscribe()
    }

    async fn get_opts(&self, key: Bytes, options: ReadOptions) -> Result<Option<Bytes>> {
        self.guest.get_opts(key, options).await
    }

    async fn get_many_opts(&self, keys: Vec<Bytes>, options: ReadOptions) -> Result<Vec<Option<Bytes>>> {
        self.guest.get_many_opts(keys, options).await
    }

    async fn has_many_opts(&self, keys: Vec<Bytes>, options: ReadOptions) -> Result<Vec<bool>> {
        self.guest.has_many_opts(keys, options).await
    }

    async fn write_opts(&self, batch: Batch, options: WriteOptions) -> Result<()> {
        self.guest.write_opts(batch, options).await
    }

    async fn clear_opts(&self, options: ClearOptions) -> Result<()> {
        self.guest.clear_opts(options).await
    }

    async fn iterator_opts(&self, options: IteratorOptions) -> Result<Box<dyn LevelIterator>> {
        self.guest.iterator_opts(options).await
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        self.guest.snapshot().await
    }

    /// Closes this handle. A leader hands over: it answers what is in flight, tells its guests, closes the listener and
    /// the store, and releases the lock last. A handle that was closed cannot be opened again; open a new one.
    async fn close(&self) -> Result<()> {
        self.guest.begin_close();
        self.inner.close.send_if_modified(|closing| {
            let first = !std::mem::replace(closing, true);
            if first {
                // Before the driver can see it and say that it is closed.
                self.inner.events.emit(|| Event::Closing);
            }
            first
        });
        let mut phase = self.inner.phase.clone();
        match phase.wait_for(|phase| matches!(phase, Phase::Ended(_))).await {
            Ok(phase) => match &*phase {
                Phase::Ended(result) => result.clone(),
                Phase::Opening(_) | Phase::Open(_) => Err(Error::not_open()),
            },
            // The driver always says how it ended; it is gone only with its runtime.
            Err(_) => Err(Error::not_open()),
        }
    }
}
