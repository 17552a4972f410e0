//! The store: a map in memory, and the log from which it can be made again.
//!
//! Every write changes both under one lock, in one poll of its future. So writes have one order, readers see all of a
//! batch or nothing, and dropping a future leaves nothing half done. Appending only copies bytes to the operating system;
//! what waits for the disk, `sync`, happens on a thread where waiting hurts nobody.

use crate::{
    log::Log,
    view::{AppendIterator, AppendSnapshot, Map, entries},
};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use rave_level::{
    AbstractLevel, Batch, ClearOptions, Code, Effect, Error, Event, EventHub, EventStream, FileLock, IteratorOptions,
    LevelIterator, Manifest, Operation, ReadOptions, Result, Snapshot, Status, WriteOptions, failed_conditions,
};
use std::{fs::File, io, path::PathBuf, sync::Arc};
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

/// The open store, as its users hold it.
#[derive(Debug)]
pub(crate) struct AppendLevel(Arc<Core>);

/// What iterators and snapshots need of their store.
#[derive(Debug)]
pub(crate) struct Core {
    state: Mutex<State>,
    events: EventHub,
    /// Locked for reading by whoever waits for the disk, so that `close` can wait for them.
    syncing: Arc<RwLock<()>>,
}

#[derive(Debug)]
struct State {
    status: Status,
    map: Map,
    /// `None` once closed.
    files: Option<Files>,
}

/// Fields are dropped in this order: the lock is the last to go.
#[derive(Debug)]
struct Files {
    log: Log,
    _lock: FileLock,
}

impl AppendLevel {
    /// Reads the log at `path`. The lock is kept until the store is closed or dropped.
    pub(crate) fn open(path: PathBuf, lock: FileLock) -> Result<Self> {
        let mut map = Map::new_sync();
        let log = Log::open(path, |operation| apply(&mut map, operation))?;
        let state = State { status: Status::Open, map, files: Some(Files { log, _lock: lock }) };
        Ok(Self(Arc::new(Core { state: Mutex::new(state), events: EventHub::new(), syncing: Arc::default() })))
    }

    /// The state to read: the present one, or what the snapshot holds.
    fn view(&self, snapshot: Option<&Snapshot>) -> Result<Map> {
        let present = self.0.state.lock().open_map()?.clone();
        snapshot.map_or(Ok(present), |snapshot| AppendSnapshot::view(snapshot, &self.0))
    }

    /// Waits until the disk has what was written.
    async fn sync(&self, pending: Pending) -> Result<()> {
        let core = self.0.clone();
        let synced = tokio::task::spawn_blocking(move || {
            let Pending { file, guard } = pending;
            let result = file.sync_data().map_err(|error| core.state.lock().sync_failed(error));
            // Also if nobody waits here any more.
            drop(guard);
            result
        });
        let lost = |error| Error::new(Code::Io, "waiting for the disk").with_source(error).with_effect(Effect::Unknown);
        synced.await.unwrap_or_else(|error| Err(lost(error)))
    }
}

/// Something was written and has to be on the disk before it is acknowledged. `close` waits for the guard.
struct Pending {
    file: Arc<File>,
    guard: OwnedRwLockReadGuard<()>,
}

impl Core {
    pub(crate) fn check_open(&self) -> Result<()> {
        self.state.lock().open_map().map(drop)
    }
}

impl State {
    fn open_map(&self) -> Result<&Map> {
        if self.status == Status::Open { Ok(&self.map) } else { Err(Error::not_open()) }
    }

    /// Fails if a condition of the batch does not hold now.
    fn check(&self, batch: &Batch) -> Result<()> {
        let get = |key: &Bytes| Ok::<_, Error>(self.map.get(key).cloned());
        let failed = failed_conditions(batch.conditions(), get, |range, show| {
            entries(&self.map, range).for_each(|(key, value)| show(key, value));
            Ok(())
        })?;
        if failed.is_empty() { Ok(()) } else { Err(Error::condition_failed(failed)) }
    }

    fn sync_failed(&mut self, error: io::Error) -> Error {
        match &mut self.files {
            Some(files) => files.log.sync_failed(error),
            None => Error::not_open().with_effect(Effect::Unknown),
        }
    }

    /// Log first: what is in the map must be there after a crash too.
    fn commit(&mut self, batch: Batch) -> Result<()> {
        self.files.as_mut().ok_or_else(Error::not_open)?.log.append(batch.operations())?;
        batch.into_operations().for_each(|operation| apply(&mut self.map, operation));
        Ok(())
    }
}

/// Copies what it keeps: what it is given is part of something larger, such as all that a guest has sent at once.
fn apply(map: &mut Map, operation: Operation) {
    let own = |bytes: Bytes| Bytes::copy_from_slice(&bytes);
    match operation {
        Operation::Put { key, value } => map.insert_mut(own(key), own(value)),
        Operation::Del { key } => drop(map.remove_mut(&key)),
    }
}

impl AppendLevel {
    /// The part of a write that must not be interrupted; what is left is to wait.
    fn write_now(&self, batch: Batch, sync: bool) -> Result<Option<Pending>> {
        let mut state = self.0.state.lock();
        state.open_map()?;
        batch.validate()?;
        state.check(&batch)?;
        if batch.writes_nothing() {
            return Ok(None);
        }
        let announced = self.0.events.has_listeners().then(|| Arc::new(batch.clone()));
        state.commit(batch)?;
        if let Some(batch) = announced {
            self.0.events.emit(|| Event::Write(batch));
        }
        self.pending(&state, sync)
    }

    /// The same for a clear.
    fn clear_now(&self, options: ClearOptions) -> Result<Option<Pending>> {
        let mut state = self.0.state.lock();
        let map = match &options.snapshot {
            None => state.open_map()?.clone(),
            Some(snapshot) => state.open_map().and_then(|_| AppendSnapshot::view(snapshot, &self.0))?,
        };
        options.validate()?;
        if options.is_nothing() {
            return Ok(None);
        }
        let limit = options.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let mut batch = Batch::new();
        for range in options.ranges() {
            let (found, left) = (entries(&map, &range), limit - batch.len());
            let del = |(key, _): (&Bytes, _)| Operation::Del { key: key.clone() };
            match options.reverse {
                false => batch.extend(found.take(left).map(del)),
                true => batch.extend(found.rev().take(left).map(del)),
            }
        }
        batch.append(options.and_write.clone());
        if !batch.writes_nothing() {
            state.commit(batch)?;
        }
        let sync = options.sync;
        self.0.events.emit(|| Event::Clear(Arc::new(options)));
        self.pending(&state, sync)
    }

    /// What there is to wait for, with the state locked and open.
    fn pending(&self, state: &State, sync: bool) -> Result<Option<Pending>> {
        let Some(files) = state.files.as_ref().filter(|_| sync) else { return Ok(None) };
        // Nobody is closing, so it is free.
        let guard = self.0.syncing.clone().try_read_owned().map_err(|_| Error::not_open())?;
        Ok(Some(Pending { file: files.log.file(), guard }))
    }
}

#[async_trait]
impl AbstractLevel for AppendLevel {
    fn manifest(&self) -> Manifest {
        Manifest {
            store: "append-store".into(),
            implicit_snapshots: true,
            explicit_snapshots: true,
            permanence: true,
            sync_writes: true,
            atomic_clear: true,
            conditions: true,
            // What is not named is not promised.
            ..Manifest::default()
        }
    }

    fn status(&self) -> Status {
        self.0.state.lock().status
    }

    fn events(&self) -> EventStream {
        self.0.events.subscribe()
    }

    async fn get_opts(&self, key: Bytes, options: ReadOptions) -> Result<Option<Bytes>> {
        Ok(self.view(options.snapshot.as_ref())?.get(&key).cloned())
    }

    async fn get_many_opts(&self, keys: Vec<Bytes>, options: ReadOptions) -> Result<Vec<Option<Bytes>>> {
        let map = self.view(options.snapshot.as_ref())?;
        Ok(keys.iter().map(|key| map.get(key).cloned()).collect())
    }

    async fn write_opts(&self, batch: Batch, options: WriteOptions) -> Result<()> {
        match self.write_now(batch, options.sync)? {
            Some(pending) => self.sync(pending).await,
            None => Ok(()),
        }
    }

    async fn clear_opts(&self, options: ClearOptions) -> Result<()> {
        match self.clear_now(options)? {
            Some(pending) => self.sync(pending).await,
            None => Ok(()),
        }
    }

    async fn iterator_opts(&self, options: IteratorOptions) -> Result<Box<dyn LevelIterator>> {
        let map = self.view(options.snapshot.as_ref())?;
        Ok(Box::new(AppendIterator::new(self.0.clone(), map, &options)))
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot::new(AppendSnapshot::new(self.0.clone(), self.view(None)?)))
    }

    async fn close(&self) -> Result<()> {
        {
            let mut state = self.0.state.lock();
            if state.status == Status::Open {
                // From here on nothing new begins.
                state.status = Status::Closing;
                self.0.events.emit(|| Event::Closing);
            }
        }
        let _all = self.0.syncing.write().await;
        let mut state = self.0.state.lock();
        if state.files.take().is_some() {
            state.map = Map::new_sync();
            state.status = Status::Closed;
            self.0.events.emit(|| Event::Closed);
        }
        Ok(())
    }
}

/// An iterator may outlive the store, and must not keep the lock.
impl Drop for AppendLevel {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.status = Status::Closed;
        state.files = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rave_level::FileLockAttempt;
    use std::path::Path;

    fn lock(directory: &Path) -> Option<FileLock> {
        match FileLock::try_acquire(&directory.join("LOCK")).unwrap() {
            FileLockAttempt::Acquired(lock) => Some(lock),
            FileLockAttempt::Held { .. } => None,
        }
    }

    fn open(directory: &Path) -> AppendLevel {
        AppendLevel::open(directory.join("log"), lock(directory).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn closing_waits_for_the_disk_and_then_releases_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let level = open(folder.path());
        let pending = level.write_now(Batch::new().put("a", "1"), true).unwrap().unwrap();
        for _ in 0..2 {
            tokio::select! {
                biased;
                _ = level.close() => panic!("somebody still waits for the disk"),
                _ = std::future::ready(()) => {}
            }
            assert_eq!(level.write_now(Batch::new(), true).map(drop).unwrap_err().code(), Code::DatabaseNotOpen);
            assert!(lock(folder.path()).is_none());
        }
        level.sync(pending).await.unwrap();
        level.close().await.unwrap();
        assert_eq!(open(folder.path()).view(None).unwrap().size(), 1);
    }

    #[tokio::test]
    async fn nothing_is_written_behind_what_may_not_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let level = open(folder.path());
        let write = async || level.write_opts(Batch::new().put("a", "1"), WriteOptions::synced()).await;
        write().await.unwrap();
        level.0.state.lock().sync_failed(io::ErrorKind::Other.into());
        assert_eq!(write().await.unwrap_err().code(), Code::Io);
        // Whoever opens it next sees what is really there.
        drop(level);
        assert_eq!(open(folder.path()).view(None).unwrap().size(), 1);
    }
}
