//! The open store as its users have it: asynchronous operations over the database below.
//!
//! An operation first tries to do its work at once, on its caller's thread, with what memory holds. What would have to
//! wait for the disk is done again on the runtime's threads for blocking work.

mod blocking;
mod gate;
mod iterator;
mod snapshot;

use crate::{
    capabilities,
    db::{Db, HeldSnapshot, Stats, Ticket, View, Work, Write},
    error::{ReadError, ReadResult},
    key::SequenceNumber,
    lengths,
    storage::Access,
};
use async_trait::async_trait;
use blocking::blocking;
use bytes::Bytes;
pub(crate) use gate::Gate;
use iterator::StoreIterator;
use rave_core::{
    AbstractLevel, Batch, ClearOptions, Code, Error, Event, EventStream, IteratorOptions, KeyRange, LevelIterator,
    Manifest, ReadOptions, Result, Snapshot, Status, WriteOptions,
};
use snapshot::StoreSnapshot;
use std::{fmt, sync::Arc, thread};
use tokio::sync::{oneshot, watch};

/// An open database in LevelDB's format; what [`LevelDb::open_store`](crate::LevelDb::open_store) gives.
///
/// It is an [`AbstractLevel`]; the methods here are those that only this kind of store has. Dropping the last handle
/// closes it in the background.
pub struct Store {
    db: Arc<Db>,
    /// True once the lock is released.
    closed: watch::Receiver<bool>,
}

impl Store {
    pub(crate) fn new(db: Arc<Db>, closed: watch::Receiver<bool>) -> Self {
        Self { db, closed }
    }

    /// Merges the tables of a range into the deepest level that has any of it, so that reads there look into one table
    /// and nothing overwritten or deleted takes space, except what snapshots that are open can see. Waits for the end;
    /// other operations go on meanwhile.
    ///
    /// As in LevelDB, tables that are in the deepest level already, and that nothing is merged into, stay as they are:
    /// what they kept for a snapshot goes with the next merge.
    ///
    /// Errors: `LEVEL_DATABASE_NOT_OPEN` if the database is closed before it ends; `LEVEL_READONLY`; what prevents
    /// writing.
    pub async fn compact_range(&self, range: KeyRange) -> Result<()> {
        self.check_writable()?;
        // What is in memory takes part.
        self.submit(Work::Switch)?.answer().await?;
        let inside = self.db.gate.enter()?;
        let (done, answer) = oneshot::channel();
        let db = self.db.clone();
        let compacting = thread::Builder::new().name("rave-leveldb-range".to_owned()).spawn(move || {
            let _inside = inside;
            let _ = done.send(db.compact_range(&range));
        });
        compacting.map_err(|error| Error::io("starting a thread", error))?;
        self.answer(answer).await
    }

    /// Bytes that the entries of a range take in tables, about. What is still in memory does not count.
    pub async fn approximate_size(&self, range: KeyRange) -> Result<u64> {
        let inside = self.db.gate.enter()?;
        let db = self.db.clone();
        blocking(move || {
            let _inside = inside;
            db.approximate_size(&range)
        })
        .await?
    }

    /// Figures about the inside of the database, at this moment.
    pub fn stats(&self) -> Stats {
        self.db.stats()
    }

    fn hold(&self, snapshot: Option<&Snapshot>) -> Result<Option<Arc<HeldSnapshot>>> {
        let Some(snapshot) = snapshot else { return Ok(None) };
        let refuse = |why: &str| Err(Error::new(Code::SnapshotNotOpen, why));
        match snapshot.downcast_ref::<StoreSnapshot>() {
            Some(own) if own.is_of(&self.db) => match own.hold() {
                Some(held) => Ok(Some(held)),
                None => refuse("the snapshot is closed"),
            },
            _ => refuse("the snapshot is not one of this database"),
        }
    }

    fn check_writable(&self) -> Result<()> {
        self.db.gate.check()?;
        if self.db.options.read_only {
            let what = format!("{} is open for reading only", self.db.location());
            return Err(Error::new(Code::ReadOnly, what));
        }
        Ok(())
    }

    /// Does a read of the state of its turn: behind the writes it has to see, at once if memory has all it needs, else
    /// where it may wait.
    ///
    /// `queues` says whether it has to queue behind writes that were submitted before it.
    async fn read<T: Send + 'static>(
        &self,
        queues: bool,
        read: impl Fn(&Db, &Arc<View>, SequenceNumber, Access) -> ReadResult<T> + Send + 'static,
    ) -> Result<T> {
        if queues {
            let (reply, value) = oneshot::channel();
            let db = self.db.clone();
            let read = move || {
                let (view, newest) = db.current.read();
                let _ = reply.send(read(&db, &view, newest, Access::Blocking).map_err(ReadError::into_error));
            };
            // Held as long as somebody waits for the value.
            let _ticket = self.submit(Work::Read(Box::new(read)))?;
            return self.answer(value).await;
        }
        let inside = self.db.gate.enter()?;
        let (view, newest) = {
            let (view, newest) = self.db.current.read();
            match read(&self.db, &view, newest, Access::InMemory) {
                Ok(value) => return Ok(value),
                Err(ReadError::Failed(error)) => return Err(error),
                // Kept, because a write that is submitted from now on comes after this read.
                Err(ReadError::WouldBlock) => (Arc::clone(&view), newest),
            }
        };
        let db = self.db.clone();
        blocking(move || {
            let _inside = inside;
            read(&db, &view, newest, Access::Blocking).map_err(ReadError::into_error)
        })
        .await?
    }

    /// Submits a work that the writer thread does.
    fn submit(&self, work: Work) -> Result<Ticket<'_>> {
        match self.db.submit(work, false) {
            Write::Later(ticket) => Ok(ticket),
            Write::Done(result) => result.and_then(|()| Err(Error::not_open())),
        }
    }

    async fn answer<T>(&self, answer: oneshot::Receiver<Result<T>>) -> Result<T> {
        // What is dropped unanswered was not begun: the database closed before.
        answer.await.map_err(|_| Error::not_open())?
    }

    fn begin_closing(&self) {
        if self.db.gate.close() {
            self.db.events.emit(|| Event::Closing);
            // Behind all that was submitted before.
            if let Ok(ticket) = self.submit(Work::Close) {
                ticket.detach();
            }
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.db.location()).field("status", &self.status()).finish()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.begin_closing();
    }
}

#[async_trait]
impl AbstractLevel for Store {
    fn manifest(&self) -> Manifest {
        capabilities::manifest(self.db.options.read_only)
    }

    fn status(&self) -> Status {
        match self.db.gate.check() {
            Ok(()) => Status::Open,
            Err(_) if *self.closed.borrow() => Status::Closed,
            Err(_) => Status::Closing,
        }
    }

    fn events(&self) -> EventStream {
        self.db.events.subscribe()
    }

    async fn get_opts(&self, key: Bytes, options: ReadOptions) -> Result<Option<Bytes>> {
        self.db.gate.check()?;
        let at = self.hold(options.snapshot.as_ref())?;
        let queues = at.is_none() && self.db.queue.precedes(|operation| *operation.key() == key);
        self.read(queues, move |db, view, newest, access| db.get(view, &key, sequence(&at).unwrap_or(newest), access))
            .await
    }

    async fn get_many_opts(&self, keys: Vec<Bytes>, options: ReadOptions) -> Result<Vec<Option<Bytes>>> {
        self.db.gate.check()?;
        let at = self.hold(options.snapshot.as_ref())?;
        let queues = at.is_none() && self.db.queue.precedes(|operation| keys.contains(operation.key()));
        self.read(queues, move |db, view, newest, access| {
            let sequence = sequence(&at).unwrap_or(newest);
            keys.iter().map(|key| db.get(view, key, sequence, access)).collect()
        })
        .await
    }

    async fn write_opts(&self, batch: Batch, options: WriteOptions) -> Result<()> {
        self.check_writable()?;
        if batch.is_empty() {
            return Ok(());
        }
        batch.validate()?;
        lengths::check(&batch)?;
        match self.db.write(batch, options.sync) {
            Write::Done(result) => result,
            Write::Later(ticket) => ticket.answer().await,
        }
    }

    async fn clear_opts(&self, options: ClearOptions) -> Result<()> {
        self.check_writable()?;
        options.validate()?;
        lengths::check(&options.and_write)?;
        let at = self.hold(options.snapshot.as_ref())?;
        self.submit(Work::Clear { options, at })?.answer().await
    }

    async fn iterator_opts(&self, options: IteratorOptions) -> Result<Box<dyn LevelIterator>> {
        self.db.gate.check()?;
        let at = self.hold(options.snapshot.as_ref())?;
        let queues = at.is_none() && self.db.queue.precedes(|operation| options.range.contains(operation.key()));
        let (view, newest) = self.read(queues, |_, view, newest, _| Ok((view.clone(), newest))).await?;
        Ok(Box::new(StoreIterator::new(self.db.clone(), view, sequence(&at).unwrap_or(newest), options)))
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        self.db.gate.check()?;
        let queues = self.db.queue.precedes(|_| true);
        let db = self.db.clone();
        let held = self.read(queues, move |_, _, _, _| Ok(HeldSnapshot::take(db.clone()))).await?;
        Ok(Snapshot::new(StoreSnapshot::new(self.db.clone(), held)))
    }

    async fn close(&self) -> Result<()> {
        self.begin_closing();
        let mut closed = self.closed.clone();
        // An error says that the threads are gone, and with them the lock.
        let _ = closed.wait_for(|closed| *closed).await;
        Ok(())
    }
}

fn sequence(at: &Option<Arc<HeldSnapshot>>) -> Option<SequenceNumber> {
    at.as_deref().map(HeldSnapshot::sequence)
}

#[cfg(all(test, feature = "testing"))]
mod tests;
