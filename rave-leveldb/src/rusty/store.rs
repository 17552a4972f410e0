//! The open store: a handle that sends requests to the owner thread.

use crate::rusty::{
    cache::Cache,
    iterator::StoreIterator,
    owner::{Command, Reply, Request, Underway, ViewId},
};
use crate::{capabilities, lengths};
use async_trait::async_trait;
use bytes::Bytes;
use rave_core::{
    AbstractLevel, Batch, ClearOptions, Code, Error, Event, EventHub, EventStream, IteratorOptions, LevelIterator,
    Manifest, ReadOptions, Result, Snapshot, SnapshotHandle, Status, WriteOptions,
};
use std::{
    any::Any,
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
        mpsc::Sender,
    },
};
use tokio::sync::{Semaphore, oneshot, watch};

/// Requests that may wait for the owner; further ones wait for their turn outside.
pub(crate) const QUEUE: u32 = 4096;

/// What the handle, its iterators and its snapshots share.
pub(crate) struct Shared {
    path: PathBuf,
    requests: Sender<Request>,
    /// Bounds the queue. Fair, so that the order of the first polls is kept.
    room: Arc<Semaphore>,
    status: AtomicU8,
    next_view: AtomicU64,
    cache: Arc<Cache>,
    events: EventHub,
    /// True once the lock is released.
    closed: watch::Receiver<bool>,
    read_only: bool,
}

const OPEN: u8 = 0;
const CLOSING: u8 = 1;

impl Shared {
    pub(crate) fn new(
        path: PathBuf,
        requests: Sender<Request>,
        cache: Arc<Cache>,
        events: EventHub,
        closed: watch::Receiver<bool>,
        read_only: bool,
    ) -> Self {
        let room = Arc::new(Semaphore::new(QUEUE as usize));
        let (status, next_view) = (AtomicU8::new(OPEN), AtomicU64::new(1));
        Self { path, requests, room, status, next_view, cache, events, closed, read_only }
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.status.load(Ordering::Acquire) == OPEN { Ok(()) } else { Err(Error::not_open()) }
    }

    async fn submit(&self, command: Command) -> Result<()> {
        self.check_open()?;
        let writes = matches!(command, Command::Write { .. } | Command::Clear { .. });
        let underway = writes.then(|| Underway::new(&self.cache));
        let permit = match self.room.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => self.room.clone().acquire_owned().await.map_err(|_| Error::not_open())?,
        };
        self.requests.send(Request { command, permit: Some(permit), underway }).map_err(|_| Error::not_open())
    }

    pub(crate) async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.submit(command(reply)).await?;
        // A request that is dropped unanswered was not begun: the store closed before.
        answer.await.map_err(|_| Error::not_open())?
    }

    /// Sends what needs no answer and must not wait.
    fn tell(&self, command: Command) {
        let _ = self.requests.send(Request { command, permit: None, underway: None });
    }

    fn begin_closing(&self) {
        if self.status.swap(CLOSING, Ordering::AcqRel) == OPEN {
            self.events.emit(|| Event::Closing);
        }
    }

    async fn hold(self: &Arc<Self>, of: Option<ViewId>) -> Result<Held> {
        let held = Held { id: self.next_view.fetch_add(1, Ordering::Relaxed), shared: self.clone() };
        self.submit(Command::Hold { id: held.id, of }).await?;
        Ok(held)
    }
}

/// A view that the owner keeps; dropping this releases it.
pub(crate) struct Held {
    id: ViewId,
    shared: Arc<Shared>,
}

impl Held {
    pub(crate) fn id(&self) -> ViewId {
        self.id
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.tell(Command::Release { id: self.id });
    }
}

/// An explicit snapshot of a store.
struct StoreSnapshot {
    view: Held,
    closed: AtomicBool,
}

impl fmt::Debug for StoreSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({} of {})", self.view.id, self.view.shared.path.display())
    }
}

impl SnapshotHandle for StoreSnapshot {
    fn close(&self) {
        if !self.closed.swap(true, Ordering::AcqRel) {
            self.view.shared.tell(Command::Release { id: self.view.id });
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// An open database. Dropping the last handle closes it in the background.
pub(crate) struct Store(Arc<Shared>);

impl Store {
    pub(crate) fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    fn view_of(&self, snapshot: Option<&Snapshot>) -> Result<Option<ViewId>> {
        let Some(snapshot) = snapshot else { return Ok(None) };
        let snapshot = snapshot.downcast_ref::<StoreSnapshot>().filter(|own| Arc::ptr_eq(&own.view.shared, &self.0));
        match snapshot {
            Some(own) if !own.closed.load(Ordering::Acquire) => Ok(Some(own.view.id)),
            Some(_) => Err(Error::new(Code::SnapshotNotOpen, "the snapshot is closed")),
            None => Err(Error::new(Code::SnapshotNotOpen, "the snapshot is not one of this database")),
        }
    }

    fn check_writable(&self) -> Result<()> {
        self.0.check_open()?;
        if self.0.read_only {
            let what = format!("{} is open for reading only", self.0.path.display());
            return Err(Error::new(Code::ReadOnly, what));
        }
        Ok(())
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LevelDbStore").field("path", &self.0.path).field("status", &self.status()).finish()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.0.begin_closing();
        self.0.tell(Command::Close);
    }
}

#[async_trait]
impl AbstractLevel for Store {
    fn manifest(&self) -> Manifest {
        capabilities::manifest(self.0.read_only)
    }

    fn status(&self) -> Status {
        match self.0.status.load(Ordering::Acquire) {
            OPEN => Status::Open,
            _ if *self.0.closed.borrow() => Status::Closed,
            _ => Status::Closing,
        }
    }

    fn events(&self) -> EventStream {
        self.0.events.subscribe()
    }

    async fn get_opts(&self, key: Bytes, options: ReadOptions) -> Result<Option<Bytes>> {
        self.0.check_open()?;
        let view = self.view_of(options.snapshot.as_ref())?;
        if let (None, Some(known)) = (view, self.0.cache.get(&key)) {
            return Ok(known);
        }
        self.0.ask(|reply| Command::Get { key, view, reply }).await
    }

    async fn get_many_opts(&self, keys: Vec<Bytes>, options: ReadOptions) -> Result<Vec<Option<Bytes>>> {
        self.0.check_open()?;
        let view = self.view_of(options.snapshot.as_ref())?;
        if let (None, Some(known)) = (view, self.0.cache.get_all(&keys)) {
            return Ok(known);
        }
        self.0.ask(|reply| Command::GetMany { keys, view, reply }).await
    }

    async fn write_opts(&self, batch: Batch, options: WriteOptions) -> Result<()> {
        self.check_writable()?;
        if batch.is_empty() {
            return Ok(());
        }
        batch.validate()?;
        lengths::check(&batch)?;
        self.0.ask(|reply| Command::Write { batch, sync: options.sync, reply }).await
    }

    async fn clear_opts(&self, options: ClearOptions) -> Result<()> {
        self.check_writable()?;
        options.validate()?;
        lengths::check(&options.and_write)?;
        let view = self.view_of(options.snapshot.as_ref())?;
        self.0.ask(|reply| Command::Clear { options, view, reply }).await
    }

    async fn iterator_opts(&self, options: IteratorOptions) -> Result<Box<dyn LevelIterator>> {
        self.0.check_open()?;
        let of = self.view_of(options.snapshot.as_ref())?;
        let view = self.0.hold(of).await?;
        Ok(Box::new(StoreIterator::new(self.0.clone(), view, &options)))
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        self.0.check_open()?;
        let view = self.0.hold(None).await?;
        Ok(Snapshot::new(StoreSnapshot { view, closed: AtomicBool::new(false) }))
    }

    async fn close(&self) -> Result<()> {
        self.0.begin_closing();
        // All that was submitted before has been served once the whole queue is ours.
        let _all = self.0.room.clone().acquire_many_owned(QUEUE).await.map_err(|_| Error::not_open());
        self.0.tell(Command::Close);
        let mut closed = self.0.closed.clone();
        // An error says that the owner is gone, and with it the lock.
        let _ = closed.wait_for(|closed| *closed).await;
        Ok(())
    }
}
