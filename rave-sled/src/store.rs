//! The open store: a handle that sends commands to the owner of the engine.

use crate::{
    command::{Command, Read, Reply},
    iterator::StoreIterator,
    lengths,
    owner::Message,
};
use async_trait::async_trait;
use bytes::Bytes;
use rave_core::{
    AbstractLevel, Batch, ClearOptions, Code, Error, Event, EventHub, EventStream, IteratorOptions, LevelIterator,
    Manifest, ReadOptions, Result, Snapshot, Status, WriteOptions,
};
use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::Sender,
    },
};
use tokio::sync::watch;

/// What the handle and its iterators share.
pub(crate) struct Shared {
    path: PathBuf,
    /// Not bounded, because each command but a dropped one has a future that waits for it and would hold as much itself.
    messages: Sender<Message>,
    closing: AtomicBool,
    events: EventHub,
    /// What came of closing.
    closed: watch::Receiver<Option<Result<()>>>,
    read_only: bool,
}

impl Shared {
    pub(crate) fn new(
        path: PathBuf,
        messages: Sender<Message>,
        events: EventHub,
        closed: watch::Receiver<Option<Result<()>>>,
        read_only: bool,
    ) -> Self {
        Self { path, messages, closing: AtomicBool::new(false), events, closed, read_only }
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closing.load(Ordering::Acquire) { Err(Error::not_open()) } else { Ok(()) }
    }

    /// Sends a command when this is first polled, and waits for its answer.
    pub(crate) async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.messages.send(Message::Command(command(reply))).map_err(|_| Error::not_open())?;
        // A command that is dropped unanswered was not begun: the store closed before.
        answer.await.map_err(|_| Error::not_open())?
    }

    fn begin_closing(&self) {
        if !self.closing.swap(true, Ordering::AcqRel) {
            self.events.emit(|| Event::Closing);
            let _ = self.messages.send(Message::Close);
        }
    }

    fn check_writable(&self) -> Result<()> {
        self.check_open()?;
        if self.read_only {
            let what = format!("{} is open for reading only", self.path.display());
            return Err(Error::new(Code::ReadOnly, what));
        }
        Ok(())
    }
}

/// No snapshot is one of this store's.
fn refuse_snapshot(snapshot: Option<&Snapshot>) -> Result<()> {
    match snapshot {
        Some(_) => Err(Error::new(Code::SnapshotNotOpen, "the snapshot belongs to another database")),
        None => Ok(()),
    }
}

/// Sled gives what it writes to the disk and does not make the disk keep it.
fn refuse_sync(sync: bool) -> Result<()> {
    if sync { Err(Error::not_supported("`sync`, that a write survives power loss,")) } else { Ok(()) }
}

/// An open database. Dropping it closes it in the background.
pub(crate) struct Store(Arc<Shared>);

impl Store {
    pub(crate) fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    async fn read<T>(&self, options: &ReadOptions, read: impl FnOnce(Reply<T>) -> Read) -> Result<T> {
        self.0.check_open()?;
        refuse_snapshot(options.snapshot.as_ref())?;
        self.0.ask(|reply| Command::Read(read(reply))).await
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledStore").field("path", &self.0.path).field("status", &self.status()).finish()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.0.begin_closing();
    }
}

#[async_trait]
impl AbstractLevel for Store {
    fn manifest(&self) -> Manifest {
        Manifest {
            store: "sled".into(),
            implicit_snapshots: false,
            explicit_snapshots: false,
            permanence: true,
            sync_writes: false,
            atomic_clear: true,
            conditions: true,
            // That is for handles of shared databases to promise.
            exactly_once: false,
            read_only: self.0.read_only,
            legacy: false,
        }
    }

    fn status(&self) -> Status {
        if !self.0.closing.load(Ordering::Acquire) {
            Status::Open
        } else if self.0.closed.borrow().is_some() {
            Status::Closed
        } else {
            Status::Closing
        }
    }

    fn events(&self) -> EventStream {
        self.0.events.subscribe()
    }

    async fn get_opts(&self, key: Bytes, options: ReadOptions) -> Result<Option<Bytes>> {
        self.read(&options, |reply| Read::Get { key, reply }).await
    }

    async fn get_many_opts(&self, keys: Vec<Bytes>, options: ReadOptions) -> Result<Vec<Option<Bytes>>> {
        self.read(&options, |reply| Read::GetMany { keys, reply }).await
    }

    async fn has_many_opts(&self, keys: Vec<Bytes>, options: ReadOptions) -> Result<Vec<bool>> {
        self.read(&options, |reply| Read::HasMany { keys, reply }).await
    }

    async fn write_opts(&self, batch: Batch, options: WriteOptions) -> Result<()> {
        self.0.check_writable()?;
        if batch.is_empty() {
            return Ok(());
        }
        refuse_sync(options.sync)?;
        batch.validate()?;
        lengths::check(&batch)?;
        self.0.ask(|reply| Command::Write { batch, reply }).await
    }

    async fn clear_opts(&self, options: ClearOptions) -> Result<()> {
        self.0.check_writable()?;
        options.validate()?;
        refuse_sync(options.sync)?;
        refuse_snapshot(options.snapshot.as_ref())?;
        lengths::check(&options.and_write)?;
        if options.is_nothing() {
            return Ok(());
        }
        self.0.ask(|reply| Command::Clear { options, reply }).await
    }

    async fn iterator_opts(&self, options: IteratorOptions) -> Result<Box<dyn LevelIterator>> {
        self.0.check_open()?;
        refuse_snapshot(options.snapshot.as_ref())?;
        Ok(Box::new(StoreIterator::new(self.0.clone(), &options)))
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        self.0.check_open()?;
        Err(Error::not_supported("an explicit snapshot"))
    }

    async fn close(&self) -> Result<()> {
        self.0.begin_closing();
        let mut closed = self.0.closed.clone();
        let outcome = closed.wait_for(Option::is_some).await;
        // An error says that the owner is gone, and with it the lock.
        outcome.map_or(Ok(()), |outcome| outcome.clone().unwrap_or(Ok(())))
    }
}
