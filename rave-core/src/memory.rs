//! A database in the memory of this process: for tests, for caches, and as the model other stores are compared with.
//!
//! Every operation runs in place, under a lock held for a few map look-ups and never over an `await`. Old versions of a
//! key are kept only while an iterator or a snapshot can see them.

mod opener;
mod versions;

pub use opener::{HeldOpening, MemoryOpener};

use crate::{
    AbstractLevel, Batch, ClearOptions, Code, Entry, Error, Event, EventHub, EventStream, IteratorOptions,
    LevelIterator, Manifest, Operation, Progress, ReadOptions, Result, Snapshot, SnapshotHandle, Status, WriteOptions,
    failed_conditions,
};
use async_trait::async_trait;
use bytes::Bytes;
use opener::PlaceLock;
use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    },
};
use versions::Versions;

/// At most so many entries are read under one lock.
const PAGE: usize = 1024;

/// A complete [`AbstractLevel`] in memory. Clones are the same handle; another [`new`](Self::new) is another database.
///
/// Dropping the last clone closes it, which ends its iterators and snapshots too.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use rave_core::{AbstractLevel, AbstractLevelExt, MemoryLevel, ReadOptions};
/// let db = MemoryLevel::new();
/// db.put("a", "1").await?;
/// let snapshot = db.snapshot().await?;
/// db.put("a", "2").await?;
/// let then = db.get_opts("a".into(), ReadOptions { snapshot: Some(snapshot) }).await?;
/// assert_eq!(then.as_deref(), Some(&b"1"[..]));
/// # Ok::<(), rave_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct MemoryLevel(Arc<Handle>);

/// What the clones of a [`MemoryLevel`] share. Iterators and snapshots do not hold it, so they cannot keep it open.
struct Handle {
    core: Arc<Core>,
    events: EventHub,
    /// The lock of the place this store was opened at. Also held for the whole of `close`, so that a second call waits.
    lock: Mutex<Option<PlaceLock>>,
    /// Held from a write to the end of its announcement, so that events come in the order of the writes. Announcing
    /// must not happen under the lock of the data: it can drop an older event with the last clone of a snapshot.
    writing: Mutex<()>,
    permanence: bool,
}

/// What iterators and snapshots need of their database.
struct Core {
    data: Arc<RwLock<Data>>,
    /// Changed only under the write lock of `data`: what holds either lock may rely on it.
    closed: AtomicBool,
}

/// What outlives a handle that was opened at a place.
#[derive(Debug, Default)]
struct Data {
    versions: Versions,
    /// What every write fails with, for tests.
    fault: Option<Error>,
}

impl Data {
    /// Fails if a condition of `batch` does not hold now.
    fn check(&self, batch: &Batch) -> Result<()> {
        let now = self.versions.now();
        let get = |key: &Bytes| Ok(self.versions.get(key, now).cloned());
        let failed = failed_conditions(batch.conditions(), get, |range, show| {
            self.versions.visit(range, false, now, usize::MAX, usize::MAX, |key, value| show(key, value));
            Ok(())
        })?;
        if failed.is_empty() { Ok(()) } else { Err(Error::condition_failed(failed)) }
    }
}

/// What an operation makes of its key.
fn change(operation: Operation) -> (Bytes, Option<Bytes>) {
    match operation {
        Operation::Put { key, value } => (key, Some(value)),
        Operation::Del { key } => (key, None),
    }
}

impl Default for MemoryLevel {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryLevel {
    /// A new, empty database.
    pub fn new() -> Self {
        Self::with(Arc::default(), None)
    }

    fn with(data: Arc<RwLock<Data>>, lock: Option<PlaceLock>) -> Self {
        Self(Arc::new(Handle {
            core: Arc::new(Core { data, closed: AtomicBool::new(false) }),
            events: EventHub::new(),
            permanence: lock.is_some(),
            lock: Mutex::new(lock),
            writing: Mutex::new(()),
        }))
    }

    /// Calls `read` with the state that the options name, and the sequence number to look at it with.
    fn read<T>(&self, snapshot: Option<&Snapshot>, read: impl FnOnce(&Versions, u64) -> T) -> Result<T> {
        let core = &self.0.core;
        core.check_open()?;
        // The snapshot stays borrowed while its sequence number is in use, or its versions could go meanwhile.
        let view = snapshot.map(|snapshot| core.own(snapshot)).transpose()?.map(MemorySnapshot::view);
        let data = core.read()?;
        let at = match &view {
            Some(view) => view.as_ref().ok_or_else(snapshot_not_open)?.at,
            None => data.versions.now(),
        };
        Ok(read(&data.versions, at))
    }
}

impl Handle {
    fn close(&self) {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.core.closed.load(Ordering::Acquire) {
            self.events.emit(|| Event::Closing);
            {
                let mut data = self.core.data.write().unwrap_or_else(PoisonError::into_inner);
                self.core.closed.store(true, Ordering::Release);
                // No other handle is open on this data, so every view is one of ours.
                data.versions.release_all();
            }
            self.events.emit(|| Event::Closed);
        }
        drop(lock.take());
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

impl Core {
    fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(Error::not_open()) } else { Ok(()) }
    }

    fn read(&self) -> Result<RwLockReadGuard<'_, Data>> {
        let data = self.data.read().unwrap_or_else(PoisonError::into_inner);
        self.check_open()?;
        Ok(data)
    }

    fn write(&self) -> Result<RwLockWriteGuard<'_, Data>> {
        let data = self.data.write().unwrap_or_else(PoisonError::into_inner);
        self.check_open()?;
        Ok(data)
    }

    /// The snapshot as one of this database.
    fn own<'a>(&self, snapshot: &'a Snapshot) -> Result<&'a MemorySnapshot> {
        snapshot
            .downcast_ref::<MemorySnapshot>()
            .filter(|snapshot| std::ptr::eq(Arc::as_ptr(&snapshot.core), self))
            .ok_or_else(|| Error::new(Code::SnapshotNotOpen, "the snapshot belongs to another database"))
    }

    /// Holds the present state, or the one of `snapshot`.
    fn hold(self: &Arc<Self>, snapshot: Option<&Snapshot>) -> Result<View> {
        self.check_open()?;
        let of = snapshot.map(|snapshot| self.own(snapshot)).transpose()?.map(MemorySnapshot::view);
        let mut data = self.write()?;
        let at = match &of {
            Some(view) => view.as_ref().ok_or_else(snapshot_not_open)?.at,
            None => data.versions.now(),
        };
        data.versions.hold(at);
        Ok(View { core: self.clone(), at })
    }
}

fn snapshot_not_open() -> Error {
    Error::new(Code::SnapshotNotOpen, "the snapshot is closed")
}

/// A state of the database that is kept until this is dropped.
struct View {
    core: Arc<Core>,
    at: u64,
}

impl Drop for View {
    fn drop(&mut self) {
        // A closed database has released all its views, and another handle may have views of the same number by now.
        if let Ok(mut data) = self.core.write() {
            data.versions.release(self.at);
        }
    }
}

impl fmt::Debug for MemoryLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLevel").field("status", &self.status()).finish_non_exhaustive()
    }
}

#[async_trait]
impl AbstractLevel for MemoryLevel {
    fn manifest(&self) -> Manifest {
        Manifest {
            store: "memory".into(),
            implicit_snapshots: true,
            explicit_snapshots: true,
            // Only what was opened at a place can be opened again.
            permanence: self.0.permanence,
            sync_writes: true,
            atomic_clear: true,
            conditions: true,
            exactly_once: false,
            read_only: false,
            legacy: false,
        }
    }

    fn status(&self) -> Status {
        if self.0.core.closed.load(Ordering::Acquire) { Status::Closed } else { Status::Open }
    }

    fn events(&self) -> EventStream {
        self.0.events.subscribe()
    }

    async fn get_opts(&self, key: Bytes, options: ReadOptions) -> Result<Option<Bytes>> {
        self.read(options.snapshot.as_ref(), |versions, at| versions.get(&key, at).cloned())
    }

    async fn get_many_opts(&self, keys: Vec<Bytes>, options: ReadOptions) -> Result<Vec<Option<Bytes>>> {
        self.read(options.snapshot.as_ref(), |versions, at| {
            keys.iter().map(|key| versions.get(key, at).cloned()).collect()
        })
    }

    async fn write_opts(&self, batch: Batch, _options: WriteOptions) -> Result<()> {
        let _writing = self.0.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut data = self.0.core.write()?;
        if batch.is_empty() {
            return Ok(());
        }
        batch.validate()?;
        if let Some(fault) = &data.fault {
            return Err(fault.clone());
        }
        data.check(&batch)?;
        if batch.writes_nothing() {
            return Ok(());
        }
        let announced = self.0.events.has_listeners().then(|| Arc::new(batch.clone()));
        data.versions.write(batch.into_operations().map(change));
        drop(data);
        if let Some(batch) = announced {
            self.0.events.emit(|| Event::Write(batch));
        }
        Ok(())
    }

    async fn clear_opts(&self, options: ClearOptions) -> Result<()> {
        let core = &self.0.core;
        core.check_open()?;
        options.validate()?;
        let _writing = self.0.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let view = options.snapshot.as_ref().map(|snapshot| core.own(snapshot)).transpose()?.map(MemorySnapshot::view);
        let mut data = core.write()?;
        let at = match &view {
            Some(view) => view.as_ref().ok_or_else(snapshot_not_open)?.at,
            None => data.versions.now(),
        };
        if options.is_nothing() {
            return Ok(());
        }
        if let Some(fault) = &data.fault {
            return Err(fault.clone());
        }
        let limit = options.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let mut keys = Vec::new();
        for range in options.ranges() {
            let want = limit - keys.len();
            if want > 0 {
                data.versions.visit(&range, options.reverse, at, want, usize::MAX, |key, _| keys.push(key.clone()));
            }
        }
        let also = options.and_write.operations().cloned().map(change);
        data.versions.write(keys.into_iter().map(|key| (key, None)).chain(also));
        drop(data);
        drop(view);
        self.0.events.emit(|| Event::Clear(Arc::new(options)));
        Ok(())
    }

    async fn iterator_opts(&self, options: IteratorOptions) -> Result<Box<dyn LevelIterator>> {
        let view = self.0.core.hold(options.snapshot.as_ref())?;
        Ok(Box::new(MemoryIterator {
            view: Some(view),
            progress: Progress::new(&options),
            keys: options.keys,
            values: options.values,
        }))
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        let view = self.0.core.hold(None)?;
        Ok(Snapshot::new(MemorySnapshot { core: self.0.core.clone(), view: RwLock::new(Some(view)) }))
    }

    async fn close(&self) -> Result<()> {
        self.0.close();
        Ok(())
    }
}

/// An iterator that is open keeps its view, also when the snapshot it was opened with is closed.
struct MemorySnapshot {
    core: Arc<Core>,
    /// `None` once closed. Locked before the data, never after.
    view: RwLock<Option<View>>,
}

impl MemorySnapshot {
    fn view(&self) -> RwLockReadGuard<'_, Option<View>> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemorySnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.view().as_ref().map(|view| view.at);
        f.debug_struct("MemorySnapshot").field("at", &at).finish()
    }
}

impl SnapshotHandle for MemorySnapshot {
    fn close(&self) {
        drop(self.view.write().unwrap_or_else(PoisonError::into_inner).take());
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

struct MemoryIterator {
    /// `None` once closed.
    view: Option<View>,
    progress: Progress,
    keys: bool,
    values: bool,
}

impl MemoryIterator {
    fn view(&self) -> Result<&View> {
        let closed = || Error::new(Code::IteratorNotOpen, "the iterator is closed");
        let view = self.view.as_ref().ok_or_else(closed)?;
        view.core.check_open()?;
        Ok(view)
    }

    fn page(&mut self, size: usize) -> Result<Vec<Entry>> {
        let view = self.view()?;
        let want = self.progress.want(size).min(PAGE);
        let mut entries = Vec::new();
        let mut last = Bytes::new();
        let mut ended = false;
        let mut rest = self.progress.remaining_range().cloned();
        while let Some(range) = rest.take_if(|_| want > 0) {
            // Keys that this view does not have are passed over, but not an unlimited number under one lock.
            let data = view.core.read()?;
            let stopped = data.versions.visit(&range, self.progress.reverse(), view.at, want, PAGE, |key, value| {
                let key_out = if self.keys { key.clone() } else { Bytes::new() };
                let value_out = if self.values { value.clone() } else { Bytes::new() };
                entries.push(Entry { key: key_out, value: value_out });
                last = key.clone();
            });
            match stopped {
                None => ended = true,
                Some(key) if entries.is_empty() => rest = Some(range.behind(&key, self.progress.reverse())),
                Some(_) => {}
            }
        }
        if !entries.is_empty() {
            self.progress.delivered(&last, entries.len());
        }
        if ended {
            self.progress.ended();
        }
        Ok(entries)
    }
}

#[async_trait]
impl LevelIterator for MemoryIterator {
    async fn next(&mut self) -> Result<Option<Entry>> {
        Ok(self.page(1)?.pop())
    }

    async fn next_many(&mut self, size: usize) -> Result<Vec<Entry>> {
        self.page(size)
    }

    async fn seek(&mut self, target: Bytes) -> Result<()> {
        self.view()?;
        self.progress.seek(&target);
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        self.view = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AbstractLevelExt, KeyRange};

    fn versions(db: &MemoryLevel) -> usize {
        db.0.core.data.read().unwrap().versions.count()
    }

    #[tokio::test]
    async fn old_versions_stay_only_while_somebody_can_see_them() {
        let db = MemoryLevel::new();
        db.put("a", "0").await.unwrap();
        let snapshot = db.snapshot().await.unwrap();
        let on_snapshot = IteratorOptions { snapshot: Some(snapshot.clone()), ..IteratorOptions::default() };
        let mut closed = db.iterator_opts(on_snapshot).await.unwrap();
        let dropped = db.iterator(KeyRange::all()).await.unwrap();
        for value in 1..100_u8 {
            db.put("a", [value]).await.unwrap();
        }
        assert_eq!(versions(&db), 2);
        db.del("a").await.unwrap();
        assert_eq!(versions(&db), 2);
        drop(dropped);
        snapshot.close();
        assert_eq!(versions(&db), 2, "an iterator keeps its view when its snapshot is closed");
        assert_eq!(closed.next().await.unwrap().unwrap().value, "0");
        closed.close().await.unwrap();
        assert_eq!(versions(&db), 0);
    }

    #[tokio::test]
    async fn closing_ends_what_old_iterators_hold_and_they_cannot_hurt_the_next_handle() {
        let data = Arc::<RwLock<Data>>::default();
        let first = MemoryLevel::with(data.clone(), None);
        first.put("a", "0").await.unwrap();
        let old = first.iterator(KeyRange::all()).await.unwrap();
        first.put("a", "1").await.unwrap();
        assert_eq!(versions(&first), 2);
        first.close().await.unwrap();
        assert_eq!(versions(&first), 1);

        // The view of the new handle has the same number as one that the old handle had.
        let second = MemoryLevel::with(data, None);
        let stale = first.0.core.data.read().unwrap().versions.now();
        let mut iterator = second.iterator(KeyRange::all()).await.unwrap();
        let old_view = View { core: first.0.core.clone(), at: stale };
        second.put("a", "2").await.unwrap();
        drop(old_view);
        drop(old);
        assert_eq!(iterator.next().await.unwrap().unwrap().value, "1");
    }
}
