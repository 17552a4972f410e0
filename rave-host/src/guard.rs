//! What stands between users and the store: the hiding of rave-level's own records, read-only mode, write hooks, and the
//! watch for a failing store.

mod clear;
mod hidden;
mod iterator;

use crate::{machine::SessionId, sessions};
use async_trait::async_trait;
use rave_core::{
    AbstractLevel, Batch, Bytes, ClearOptions, Code, Effect, Error, EventStream, IteratorOptions, LevelIterator,
    Manifest, Operation, ReadOptions, Result, Snapshot, Status, WriteOptions,
};
use rave_transport::wire::message::SessionState;
use std::{fmt, sync::Arc};
use tokio::sync::watch;

/// A write about to be applied, or just applied. Its keys are those of the whole database, whoever writes and whatever part of
/// it they see.
#[derive(Clone, Copy, Debug)]
pub enum HostWrite<'a> {
    /// A batch; a put or a delete is a batch of one.
    Batch(&'a Batch),
    /// A clear.
    Clear(&'a ClearOptions),
}

impl HostWrite<'_> {
    /// Whether it is a batch of conditions alone, as a transaction that only reads commits: whoever may read may ask whether
    /// they hold.
    fn only_checks(&self) -> bool {
        matches!(self, Self::Batch(batch) if batch.writes_nothing())
    }
}

/// Vetoes or observes every write of a store, whoever makes it; not what rave-level writes for itself.
///
/// Both methods run on the way of the write and must not block.
pub trait WriteHook: Send + Sync + fmt::Debug + 'static {
    /// Before the write: an error refuses it, and the writer gets that error.
    fn before(&self, write: HostWrite<'_>) -> Result<()>;

    /// After the write succeeded.
    fn after(&self, write: HostWrite<'_>);
}

/// A store as the users of a shared database see it: behind a read-only switch and a [`WriteHook`], and without the keys
/// that begin with [`RESERVED`](rave_core::RESERVED). Those are not there for reads, iterators, clears, conditions on ranges
/// and events; a batch that names one, in a write or a condition, is refused with `LEVEL_INVALID_KEY`. Only
/// [`IteratorOptions::internal`] shows them.
///
/// It also notices when the store stops being sound: after a
/// write that failed with `LEVEL_IO_ERROR` or `LEVEL_CORRUPTION`, [`failure`](Self::failure) tells. Whatever its effect: a
/// store that refuses further writes after a failed one says so with effect `None`.
#[derive(Clone, Debug)]
pub struct GuardedLevel {
    inner: Arc<dyn AbstractLevel>,
    read_only: bool,
    hook: Option<Arc<dyn WriteHook>>,
    failed: watch::Sender<Option<Error>>,
}

impl GuardedLevel {
    /// Guards `inner`.
    pub fn new(inner: Arc<dyn AbstractLevel>, read_only: bool, hook: Option<Arc<dyn WriteHook>>) -> Self {
        Self { inner, read_only, hook, failed: watch::Sender::new(None) }
    }

    /// The same for somebody who may only read.
    pub(crate) fn for_reading(&self) -> Self {
        Self { read_only: true, ..self.clone() }
    }

    /// Resolves when a write fails so that the store can no longer be trusted, with that failure.
    pub async fn failure(&self) -> Error {
        let mut failed = self.failed.subscribe();
        // The sender lives in `self`, so the wait can only end with a failure.
        let error = failed.wait_for(Option::is_some).await.ok().and_then(|error| error.clone());
        error.unwrap_or_else(Error::not_open)
    }

    /// The store itself, with what is hidden from users.
    pub(crate) fn inner(&self) -> &dyn AbstractLevel {
        &*self.inner
    }

    /// How far the session `id` of a guest got with its writes, by what this store knows. If it is to be `durable`, that
    /// knowledge and all it tells of survive power loss from here on, unless it says that it is volatile, because nothing
    /// can be written here.
    ///
    /// Requires: nobody writes for the session meanwhile.
    pub async fn session_state(&self, id: &SessionId, durable: bool) -> Result<SessionState> {
        let (mut state, record) = sessions::look_up(self.inner(), id).await?;
        if durable && let Some(record) = record {
            let manifest = self.manifest();
            if manifest.read_only || !manifest.sync_writes {
                state.volatile = Some(true);
                return Ok(state);
            }
            // What comes before a synced write in the log survives with it.
            let result = self.inner.write_opts([record].into_iter().collect(), WriteOptions::synced()).await;
            self.watch(&result);
            result?;
        }
        Ok(state)
    }

    /// Forgets the session `id` of a guest: it has all answers, and its further writes do not come through a host.
    pub async fn forget_session(&self, id: &SessionId) -> Result<()> {
        self.write_internal([sessions::forget(id)].into_iter().collect()).await
    }

    /// Writes what users do not see.
    pub(crate) async fn write_internal(&self, batch: Batch) -> Result<()> {
        // A failure is no reason to let go of the store: nobody asked for this, and readers are still served.
        self.inner.write_opts(batch, WriteOptions::default()).await
    }

    /// Applies a user's batch, and with it the record of the session that it belongs to.
    pub(crate) async fn write_recorded(
        &self,
        batch: Batch,
        record: Option<Operation>,
        options: WriteOptions,
    ) -> Result<()> {
        hidden::refuse(&batch)?;
        if batch.is_empty() {
            return self.inner.write_opts(batch, options).await;
        }
        if !self.inner.manifest().conditions {
            batch.refuse_conditions()?;
        }
        self.before(HostWrite::Batch(&batch))?;
        // Only a hook needs the batch afterwards.
        let copy = if self.hook.is_some() { batch.clone() } else { Batch::new() };
        let mut batch = hidden::conditions_around(batch);
        batch.extend(record);
        let result = self.inner.write_opts(batch, options).await;
        self.after(HostWrite::Batch(&copy), &result);
        result
    }

    /// Applies a user's clear, and with it the record of the session that it belongs to.
    pub(crate) async fn clear_recorded(&self, options: ClearOptions, record: Option<Operation>) -> Result<()> {
        hidden::refuse(&options.and_write)?;
        self.before(HostWrite::Clear(&options))?;
        let mut around = hidden::clear_around(options.clone());
        let result = match record {
            Some(record) if !self.inner.manifest().atomic_clear && around.and_write.is_empty() => {
                clear::clear_by_batch(&*self.inner, &around, record).await
            }
            record => {
                around.and_write.extend(record);
                self.inner.clear_opts(around).await
            }
        };
        self.after(HostWrite::Clear(&options), &result);
        result
    }

    fn before(&self, write: HostWrite<'_>) -> Result<()> {
        if self.read_only && !write.only_checks() {
            return Err(Error::new(Code::ReadOnly, "the database is served for reading only"));
        }
        match &self.hook {
            None => Ok(()),
            // Whatever the hook says of the effect: nothing was sent to the store.
            Some(hook) => hook.before(write).map_err(|error| error.with_effect(Effect::None)),
        }
    }

    fn after(&self, write: HostWrite<'_>, result: &Result<()>) {
        self.watch(result);
        if let (Ok(()), Some(hook)) = (result, &self.hook) {
            hook.after(write);
        }
    }

    /// Notices a failure after which the store is not to be trusted.
    fn watch(&self, result: &Result<()>) {
        let Err(error) = result else { return };
        if matches!(error.code(), Code::Io | Code::Corruption) {
            self.failed.send_if_modified(|failed| {
                let first = failed.is_none();
                failed.get_or_insert_with(|| error.clone());
                first
            });
        }
    }
}

#[async_trait]
impl AbstractLevel for GuardedLevel {
    fn manifest(&self) -> Manifest {
        let manifest = self.inner.manifest();
        Manifest { read_only: manifest.read_only || self.read_only, ..manifest }
    }

    fn status(&self) -> Status {
        self.inner.status()
    }

    fn events(&self) -> EventStream {
        self.inner.events().filter_map(hidden::visible)
    }

    async fn get_opts(&self, key: Bytes, options: ReadOptions) -> Result<Option<Bytes>> {
        if hidden::is_hidden(&key) {
            // Whether it may be asked at all, it knows.
            self.inner.get_many_opts(Vec::new(), options).await?;
            return Ok(None);
        }
        self.inner.get_opts(key, options).await
    }

    async fn get_many_opts(&self, keys: Vec<Bytes>, options: ReadOptions) -> Result<Vec<Option<Bytes>>> {
        hidden::of_visible(keys, |keys| self.inner.get_many_opts(keys, options)).await
    }

    async fn has_many_opts(&self, keys: Vec<Bytes>, options: ReadOptions) -> Result<Vec<bool>> {
        hidden::of_visible(keys, |keys| self.inner.has_many_opts(keys, options)).await
    }

    async fn write_opts(&self, batch: Batch, options: WriteOptions) -> Result<()> {
        self.write_recorded(batch, None, options).await
    }

    async fn clear_opts(&self, options: ClearOptions) -> Result<()> {
        self.clear_recorded(options, None).await
    }

    async fn iterator_opts(&self, options: IteratorOptions) -> Result<Box<dyn LevelIterator>> {
        iterator::open(&*self.inner, options).await
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        self.inner.snapshot().await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
