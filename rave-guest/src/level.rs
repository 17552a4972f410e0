//! The guest as a database.

use crate::{
    Guest, RetryPolicy,
    iterator::GuestIterator,
    machine::{Operation, Reply},
    operations::unexpected,
    snapshot::GuestSnapshot,
};
use async_trait::async_trait;
use rave_core::{
    AbstractLevel, Batch, Bytes, ClearOptions, Code, Error, Event, EventStream, IteratorOptions, LevelIterator,
    Manifest, ReadOptions, Result, Snapshot, Status, WriteOptions,
};
use std::sync::Arc;

#[async_trait]
impl AbstractLevel for Guest {
    /// What the leader offers.
    fn manifest(&self) -> Manifest {
        let state = self.shared.lock();
        let read_only = state.manifest.read_only || self.shared.options.read_only;
        // Without retries a write is applied at most once.
        let exactly_once = state.manifest.exactly_once && self.retry() != RetryPolicy::Never;
        Manifest { exactly_once, read_only, ..state.manifest.clone() }
    }

    fn status(&self) -> Status {
        self.shared.lock().status
    }

    fn events(&self) -> EventStream {
        self.shared.events.subscribe()
    }

    async fn get_opts(&self, key: Bytes, options: ReadOptions) -> Result<Option<Bytes>> {
        let snapshot = self.read(options.snapshot.as_ref())?;
        match self.run_operation(Operation::Get { key, snapshot }).await? {
            Reply::Value(value) => Ok(value),
            _ => Err(unexpected()),
        }
    }

    async fn get_many_opts(&self, keys: Vec<Bytes>, options: ReadOptions) -> Result<Vec<Option<Bytes>>> {
        let snapshot = self.read(options.snapshot.as_ref())?;
        match self.run_operation(Operation::GetMany { keys, snapshot }).await? {
            Reply::Values(values) => Ok(values),
            _ => Err(unexpected()),
        }
    }

    async fn has_many_opts(&self, keys: Vec<Bytes>, options: ReadOptions) -> Result<Vec<bool>> {
        let snapshot = self.read(options.snapshot.as_ref())?;
        match self.run_operation(Operation::HasMany { keys, snapshot }).await? {
            Reply::Existing(existing) => Ok(existing),
            _ => Err(unexpected()),
        }
    }

    async fn write_opts(&self, batch: Batch, options: WriteOptions) -> Result<()> {
        if batch.is_empty() {
            return self.check_open_now();
        }
        // Whoever may read may ask whether conditions hold.
        if !batch.writes_nothing() {
            self.refuse_write()?;
        }
        batch.validate()?;
        let announces = !batch.writes_nothing() && self.shared.events.has_listeners();
        let announced = announces.then(|| Arc::new(batch.clone()));
        self.run_operation(Operation::Write { batch, sync: options.sync }).await?;
        if let Some(batch) = announced {
            self.shared.events.emit(|| Event::Write(batch));
        }
        Ok(())
    }

    async fn clear_opts(&self, options: ClearOptions) -> Result<()> {
        self.refuse_write()?;
        if !options.except.is_empty() {
            return Err(Error::not_supported("a clear of a shared database that leaves parts of its range"));
        }
        if options.and_write.conditions().len() > 0 {
            return Err(Error::new(Code::InvalidBatch, "a clear takes no conditions"));
        }
        let snapshot = self.read(options.snapshot.as_ref())?;
        // What the machine holds must not hold a snapshot of this handle, whose end is news for the machine.
        let of_all = ClearOptions { snapshot: None, ..options.clone() };
        self.run_operation(Operation::Clear { options: of_all, snapshot }).await?;
        self.shared.events.emit(|| Event::Clear(Arc::new(options)));
        Ok(())
    }

    async fn iterator_opts(&self, options: IteratorOptions) -> Result<Box<dyn LevelIterator>> {
        self.check_open_now()?;
        let snapshot = self.read(options.snapshot.as_ref())?;
        Ok(Box::new(GuestIterator::open(self.clone(), options, snapshot).await?))
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        GuestSnapshot::take(self).await
    }

    /// Refuses operations, lets those under way finish, and ends. Without a connection there is nothing to wait for, and
    /// they fail.
    async fn close(&self) -> Result<()> {
        let first = self.shared.with(|state| {
            let first = state.status == Status::Open;
            if first {
                state.status = Status::Closing;
            }
            first
        });
        if first {
            self.shared.events.emit(|| Event::Closing);
        }
        if self.leader().is_some() {
            self.settled().await;
            self.say_goodbye().await;
        }
        self.finish_close();
        if first {
            self.shared.events.emit(|| Event::Closed);
        }
        Ok(())
    }
}
