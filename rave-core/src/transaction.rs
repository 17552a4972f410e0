//! Reading and writing as one step, though others read and write at the same time.
//!
//! A transaction is optimistic: it locks nothing. [`Reads`] remembers what it was told, [`State`] what it wants to write, and
//! the commit is one conditional batch that says "only if all that is still so". [`TransactionOptions::run`] begins anew
//! when it is not. So transactions are serializable, for the price of an attempt now and then, and nobody who dies or
//! stalls in the middle of one is in anybody's way.

mod iterator;
mod reads;
mod run;
mod state;

pub use run::TransactionOptions;

use crate::{
    AbstractLevel, Batch, ClearOptions, Code, Condition, Digester, Error, Event, EventHub, EventStream,
    IteratorOptions, LevelIterator, Manifest, Operation, ReadOptions, Result, Snapshot, Status, WriteOptions, sublevel,
};
use async_trait::async_trait;
use bytes::Bytes;
use iterator::MergedIterator;
use state::State;
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Entries asked for at once where all of them are wanted.
const PAGE: usize = 1000;

/// What the body of a [transaction](crate::AbstractLevelExt::transaction) reads and writes through: the database, seen
/// through the writes that the transaction has not committed yet. Clones are the same handle.
///
/// - A key is read from the database once; from then on the transaction remembers it.
/// - An iterator sees the database and the transaction's writes at the moment it was opened. What it delivered is part of
///   what must not change, up to the last key.
/// - `clear` reads the range, and so conflicts with what others write into it.
/// - Conditions of a batch are checked against what the transaction sees, at once; those that hold must still hold at the
///   commit.
/// - A write that asks for `sync` makes the commit one.
/// - There are no snapshots.
/// - Reads of different moments may not fit together, as long as the body runs. Nothing comes of it: such a transaction is
///   run again, whether it ends well or fails. But a body that may run for ever on nonsense should not.
///
/// `close` ends the use of this handle; what was written before is committed if the body ends well. When the body has ended,
/// handles that are left over give `LEVEL_DATABASE_NOT_OPEN`, and so do their iterators.
///
/// Reading more than [`MAX_CONDITIONS`](crate::MAX_CONDITIONS) single keys and pieces of ranges, or reading and writing more
/// than [`TransactionOptions::max_bytes`], gives `LEVEL_INVALID_BATCH`. A range that is read from its beginning to its end
/// counts as one piece, whatever its size; backwards, as one for each thousand entries. What is read twice counts once.
#[derive(Clone)]
pub struct Transaction(Arc<Shared>);

struct Shared {
    manifest: Manifest,
    /// What the keys carry in the root database: the prefix of the sublevel that this is a transaction on.
    origin: Bytes,
    events: EventHub,
    /// Held by a write while it still has to read, so that what is asked for later also comes later. Tokio's mutex is fair:
    /// who asks first is served first. Everyone else holds it for a moment, and nobody while waiting for somebody who needs it.
    turn: tokio::sync::Mutex<()>,
    /// `None` once the body has ended.
    state: Mutex<Option<State>>,
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl Transaction {
    fn begin(base: Arc<dyn AbstractLevel>, options: &TransactionOptions) -> Self {
        let manifest = Manifest {
            explicit_snapshots: false,
            // It is a view of what is kept elsewhere; nothing is applied before the commit.
            permanence: false,
            atomic_clear: true,
            conditions: true,
            ..base.manifest()
        };
        Self(Arc::new(Shared {
            manifest,
            origin: sublevel::origin_of(&*base),
            events: EventHub::new(),
            turn: tokio::sync::Mutex::new(()),
            state: Mutex::new(Some(State::new(base, options))),
        }))
    }

    /// Ends the use of all its handles; gives what it has read and written, the first time.
    fn end(&self) -> Option<State> {
        self.announce_end();
        self.0.state().take()
    }

    pub(crate) fn origin(&self) -> Bytes {
        self.0.origin.clone()
    }

    fn announce_end(&self) {
        let was_open = self.0.state().as_mut().is_some_and(|state| !std::mem::replace(&mut state.closed, true));
        if was_open {
            self.0.events.emit(|| Event::Closing);
            self.0.events.emit(|| Event::Closed);
        }
    }

    /// The values of `keys` as the transaction sees them at this call; the future completes what has to be read for that.
    fn look_up(&self, keys: Vec<Bytes>) -> Result<impl Future<Output = Result<Vec<Option<Bytes>>>> + Send + '_> {
        let (base, known) = self.0.open(|state| {
            let known: Vec<Option<Option<Bytes>>> = keys.iter().map(|key| state.known(key).cloned()).collect();
            Ok((state.base.clone(), known))
        })?;
        Ok(async move {
            let unknown = keys.iter().zip(&known).filter(|(_, known)| known.is_none());
            let unknown: Vec<Bytes> = unknown.map(|(key, _)| key.clone()).collect();
            let found = match unknown.as_slice() {
                [] => Vec::new(),
                [key] => vec![base.get_opts(key.clone(), ReadOptions::default()).await?],
                _ => base.get_many_opts(unknown.clone(), ReadOptions::default()).await?,
            };
            self.0.open(|state| {
                // What another task of this transaction has learned meanwhile stays what the transaction knows.
                let learned = unknown.into_iter().zip(found).map(|(key, value)| state.learn(key, value));
                let mut learned = learned.collect::<Result<Vec<_>>>()?.into_iter();
                Ok(known.into_iter().map(|known| known.or_else(|| learned.next()).flatten()).collect())
            })
        })
    }

    /// Fails if a condition does not hold in what the transaction sees. All that had to be looked at is remembered as read,
    /// so that the commit depends on it. The caller has the turn.
    async fn check(&self, batch: &Batch) -> Result<()> {
        let mut keys = Vec::new();
        let mut digests = Vec::new();
        for condition in batch.conditions() {
            match condition {
                Condition::Absent { key } | Condition::Equals { key, .. } => keys.push(key.clone()),
                Condition::Unchanged { ranges, strip, .. } => {
                    let mut digester = Digester::default();
                    for range in ranges {
                        let mut iterator = MergedIterator::open(&self.0, range.clone().into())?.await?;
                        loop {
                            let page = iterator.next_many(PAGE).await?;
                            if page.is_empty() {
                                break;
                            }
                            for entry in page {
                                digester.entry(entry.key.get(*strip..).unwrap_or_default(), &entry.value);
                            }
                        }
                    }
                    digests.push(digester.finish());
                }
            }
        }
        let mut values = self.look_up(keys)?.await?.into_iter();
        let mut digests = digests.into_iter();
        let holds = |condition: &Condition| match condition {
            Condition::Absent { .. } => values.next() == Some(None),
            Condition::Equals { value, .. } => values.next().flatten().as_ref() == Some(value),
            Condition::Unchanged { digest, .. } => digests.next().as_ref() == Some(digest),
        };
        let held: Vec<bool> = batch.conditions().map(holds).collect();
        let failed: Vec<usize> = (0..held.len()).filter(|&index| held.get(index) == Some(&false)).collect();
        if failed.is_empty() { Ok(()) } else { Err(Error::condition_failed(failed)) }
    }

    /// What a write needs beside its keys.
    fn check_writable(&self, sync: bool) -> Result<()> {
        if self.0.manifest.read_only {
            return Err(Error::new(Code::ReadOnly, "the database of this transaction is open for reading only"));
        }
        if sync && !self.0.manifest.sync_writes {
            return Err(Error::not_supported("sync"));
        }
        Ok(())
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `f` with what was read and written, if this can still be used.
    fn open<T>(&self, f: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let closed = || Error::new(Code::DatabaseNotOpen, "the transaction has ended, or was closed");
        f(self.state().as_mut().filter(|state| !state.closed).ok_or_else(closed)?)
    }

    fn check_open(&self) -> Result<()> {
        self.open(|_| Ok(()))
    }
}

fn refuse_snapshot(snapshot: Option<&Snapshot>) -> Result<()> {
    if snapshot.is_none() { Ok(()) } else { Err(Error::not_supported("a snapshot in a transaction")) }
}

#[async_trait]
impl AbstractLevel for Transaction {
    fn manifest(&self) -> Manifest {
        self.0.manifest.clone()
    }

    fn status(&self) -> Status {
        self.0.open(|state| Ok(state.base.status())).unwrap_or(Status::Closed)
    }

    fn events(&self) -> EventStream {
        self.0.events.subscribe()
    }

    async fn get_opts(&self, key: Bytes, options: ReadOptions) -> Result<Option<Bytes>> {
        Ok(self.get_many_opts(vec![key], options).await?.pop().flatten())
    }

    async fn get_many_opts(&self, keys: Vec<Bytes>, options: ReadOptions) -> Result<Vec<Option<Bytes>>> {
        let turn = self.0.turn.lock().await;
        self.0.check_open()?;
        refuse_snapshot(options.snapshot.as_ref())?;
        let values = self.look_up(keys)?;
        drop(turn);
        values.await
    }

    async fn write_opts(&self, batch: Batch, options: WriteOptions) -> Result<()> {
        let _turn = self.0.turn.lock().await;
        self.0.check_open()?;
        batch.validate()?;
        if !batch.writes_nothing() {
            self.check_writable(options.sync)?;
        }
        let announced = self.0.events.has_listeners() && !batch.writes_nothing();
        let announced = announced.then(|| Arc::new(batch.clone()));
        let batch = batch.into_absolute(&self.0.origin, b"")?;
        self.check(&batch).await?;
        if batch.writes_nothing() {
            return Ok(());
        }
        self.0.open(|state| state.write(batch.into_operations(), options.sync))?;
        if let Some(batch) = announced {
            self.0.events.emit(|| Event::Write(batch));
        }
        Ok(())
    }

    async fn clear_opts(&self, options: ClearOptions) -> Result<()> {
        let _turn = self.0.turn.lock().await;
        self.0.check_open()?;
        refuse_snapshot(options.snapshot.as_ref())?;
        options.validate()?;
        self.check_writable(options.sync)?;
        if options.is_nothing() {
            return Ok(());
        }
        let also = options.and_write.clone().into_absolute(&self.0.origin, b"")?;
        let (mut deletions, mut bytes) = (Vec::new(), 0);
        for range in options.ranges() {
            let limit = options.limit.map(|limit| limit.saturating_sub(deletions.len() as u64));
            let visited =
                IteratorOptions { range, reverse: options.reverse, limit, values: false, ..IteratorOptions::default() };
            let mut iterator = MergedIterator::open(&self.0, visited)?.await?;
            loop {
                let page = iterator.next_many(PAGE).await?;
                if page.is_empty() {
                    break;
                }
                bytes += page.iter().map(|entry| entry.key.len()).sum::<usize>();
                // Not only at the end: there is no telling how much there is to delete.
                self.0.open(|state| state.check_room(bytes))?;
                deletions.extend(page.into_iter().map(|entry| Operation::Del { key: entry.key }));
            }
        }
        self.0.open(|state| state.write(deletions.into_iter().chain(also.into_operations()), options.sync))?;
        self.0.events.emit(|| Event::Clear(Arc::new(options)));
        Ok(())
    }

    async fn iterator_opts(&self, options: IteratorOptions) -> Result<Box<dyn LevelIterator>> {
        let turn = self.0.turn.lock().await;
        self.0.check_open()?;
        refuse_snapshot(options.snapshot.as_ref())?;
        if options.internal {
            return Err(Error::not_supported("a look at internal entries in a transaction"));
        }
        let opening = MergedIterator::open(&self.0, options)?;
        drop(turn);
        Ok(Box::new(opening.await?))
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        self.0.check_open()?;
        Err(Error::not_supported("a snapshot in a transaction"))
    }

    async fn close(&self) -> Result<()> {
        let _turn = self.0.turn.lock().await;
        self.announce_end();
        Ok(())
    }
}
