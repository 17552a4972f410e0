//! What the tests of shared databases have in common: waiting for conditions, places in memory, processes that can be
//! killed, and stores and listeners that break on demand.

#![allow(dead_code, reason = "each test file uses a part of it")]

use async_trait::async_trait;
use rave_level::{
    AbstractLevel, AbstractLevelExt, Batch, Builder, Bytes, ClearOptions, Code, Error, EventStream, IteratorOptions,
    LevelIterator, LockAttempt, LockedStore, Manifest, MemoryOpener, Opener, RaveLevel, ReadOptions, Result, Role,
    Snapshot, Status, WriteOptions,
    transport::{Connect, Connection, Faults, Listener, MemoryTransport, Transport},
};
use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{runtime::Runtime, sync::watch};

/// How long anything may take on a busy machine before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The outcome of `future`, which must come.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// Waits for a condition.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until the database has the value.
pub async fn until_value(db: &RaveLevel, key: &str, value: &str) {
    let start = Instant::now();
    while db.get(key).await.unwrap().as_deref() != Some(value.as_bytes()) {
        assert!(start.elapsed() < PATIENCE, "waited in vain for {key} = {value}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub fn leads(db: &RaveLevel) -> bool {
    db.role() == Role::Leader
}

pub fn follows(db: &RaveLevel) -> bool {
    matches!(db.role(), Role::Guest { .. })
}

/// A database in memory and where to meet for it.
#[derive(Clone, Default)]
pub struct Place {
    pub store: MemoryOpener,
    pub meeting_point: MemoryTransport,
}

impl Place {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn builder(&self) -> Builder {
        Builder::new(self.store.clone(), self.meeting_point.clone())
    }

    pub async fn open(&self) -> RaveLevel {
        soon("opening", self.builder().open()).await.unwrap()
    }

    /// Whether nobody listens and nobody has the lock. Takes the lock for a moment, so nobody may be opening.
    pub async fn is_deserted(&self) -> bool {
        !self.meeting_point.faults().is_listening()
            && matches!(self.store.try_lock().await.unwrap(), LockAttempt::Acquired(_))
    }

    pub async fn until_deserted(&self) {
        let start = Instant::now();
        while !self.is_deserted().await {
            assert!(start.elapsed() < PATIENCE, "the lock or the listener was kept");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// A handle with a runtime of its own, which can end as abruptly as a process.
pub struct Process {
    pub level: RaveLevel,
    runtime: Option<Runtime>,
}

impl Process {
    pub async fn start(builder: Builder) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let level = soon("opening", runtime.spawn(builder.open())).await.unwrap().unwrap();
        Self { level, runtime: Some(runtime) }
    }

    /// Something that this process does, as long as it lives.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.as_ref().unwrap().spawn(work);
    }

    /// Ends all its tasks where they are; nothing is said to anybody.
    pub async fn kill(mut self) {
        self.stop().await;
    }

    /// The same, but the handle stays.
    pub async fn stop(&mut self) {
        let runtime = self.runtime.take().unwrap();
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(PATIENCE)).await.unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What a [`Gated`] store does with writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gate {
    /// It applies and acknowledges them.
    #[default]
    Open,
    /// It takes its time for each.
    Slow,
    /// They wait before they are applied.
    BeforeWrites,
    /// They are applied and wait before they are acknowledged.
    AfterWrites,
}

/// A place whose store can let writes wait.
#[derive(Clone, Debug)]
pub struct Gated {
    place: MemoryOpener,
    gate: Arc<watch::Sender<Gate>>,
    waiting: Arc<watch::Sender<usize>>,
    /// Where nobody may listen any more when the lock is released, and how often somebody did.
    watched: Option<Faults>,
    early: Arc<AtomicUsize>,
}

impl Gated {
    pub fn new(place: MemoryOpener) -> Self {
        Self { place, gate: Arc::default(), waiting: Arc::default(), watched: None, early: Arc::default() }
    }

    /// The same place, which counts how often its lock is released while somebody listens.
    pub fn watching(place: &Place) -> Self {
        Self { watched: Some(place.meeting_point.faults()), ..Self::new(place.store.clone()) }
    }

    pub fn early_releases(&self) -> usize {
        self.early.load(Ordering::Relaxed)
    }

    pub fn set(&self, gate: Gate) {
        self.gate.send_replace(gate);
    }

    /// Waits until so many writes wait at the gate.
    pub async fn until_waiting(&self, count: usize) {
        let mut waiting = self.waiting.subscribe();
        soon("writes at the gate", waiting.wait_for(|waiting| *waiting >= count)).await.unwrap();
    }

    async fn pass(&self, shut: Gate) {
        let mut gate = self.gate.subscribe();
        let now = *gate.borrow_and_update();
        if now == Gate::Slow {
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
        if now != shut {
            return;
        }
        struct Waiting<'a>(&'a watch::Sender<usize>);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.send_modify(|waiting| *waiting -= 1);
            }
        }
        self.waiting.send_modify(|waiting| *waiting += 1);
        let _waiting = Waiting(&self.waiting);
        gate.wait_for(|gate| *gate != shut).await.unwrap();
    }
}

/// Looks whether somebody listens, just before the lock is released.
#[derive(Debug)]
struct Release(Gated);

impl Drop for Release {
    fn drop(&mut self) {
        if self.0.watched.as_ref().is_some_and(Faults::is_listening) {
            self.0.early.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[async_trait]
impl Opener for Gated {
    async fn try_lock(&self) -> Result<LockAttempt> {
        Ok(match self.place.try_lock().await? {
            LockAttempt::Acquired(locked) => LockAttempt::Acquired(Box::new(GatedLock(Release(self.clone()), locked))),
            held => held,
        })
    }

    fn location(&self) -> String {
        "gated memory".into()
    }
}

struct GatedLock(Release, Box<dyn LockedStore>);

#[async_trait]
impl LockedStore for GatedLock {
    async fn open(self: Box<Self>) -> Result<Arc<dyn AbstractLevel>> {
        let Self(release, locked) = *self;
        let inner = locked.open().await?;
        let gated = release.0.clone();
        Ok(Arc::new(GatedStore { release: Mutex::new(Some(release)), inner, gated, underway: Arc::default() }))
    }
}

#[derive(Debug)]
struct GatedStore {
    release: Mutex<Option<Release>>,
    inner: Arc<dyn AbstractLevel>,
    gated: Gated,
    /// Writes hold it for reading, so that `close` lets them finish.
    underway: Arc<tokio::sync::RwLock<()>>,
}

#[async_trait]
impl AbstractLevel for GatedStore {
    fn manifest(&self) -> Manifest {
        self.inner.manifest()
    }

    fn status(&self) -> Status {
        self.inner.status()
    }

    fn events(&self) -> EventStream {
        self.inner.events()
    }

    async fn get_opts(&self, key: Bytes, options: ReadOptions) -> Result<Option<Bytes>> {
        self.inner.get_opts(key, options).await
    }

    async fn get_many_opts(&self, keys: Vec<Bytes>, options: ReadOptions) -> Result<Vec<Option<Bytes>>> {
        self.inner.get_many_opts(keys, options).await
    }

    async fn write_opts(&self, batch: Batch, options: WriteOptions) -> Result<()> {
        let _underway = self.underway.read().await;
        self.gated.pass(Gate::BeforeWrites).await;
        self.inner.write_opts(batch, options).await?;
        self.gated.pass(Gate::AfterWrites).await;
        Ok(())
    }

    async fn clear_opts(&self, options: ClearOptions) -> Result<()> {
        let _underway = self.underway.read().await;
        self.gated.pass(Gate::BeforeWrites).await;
        self.inner.clear_opts(options).await?;
        self.gated.pass(Gate::AfterWrites).await;
        Ok(())
    }

    async fn iterator_opts(&self, options: IteratorOptions) -> Result<Box<dyn LevelIterator>> {
        self.inner.iterator_opts(options).await
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        self.inner.snapshot().await
    }

    async fn close(&self) -> Result<()> {
        let _all = self.underway.write().await;
        drop(self.release.lock().unwrap().take());
        self.inner.close().await
    }
}

/// A meeting point whose listener can be made to fail.
#[derive(Clone, Debug, Default)]
pub struct Fragile {
    pub inner: MemoryTransport,
    broken: Arc<watch::Sender<u32>>,
}

impl Fragile {
    /// The present listener fails.
    pub fn break_listener(&self) {
        self.broken.send_modify(|times| *times += 1);
    }
}

#[async_trait]
impl Transport for Fragile {
    async fn connect(&self) -> Result<Connect> {
        self.inner.connect().await
    }

    async fn listen(&self) -> Result<Box<dyn Listener>> {
        let mut broken = self.broken.subscribe();
        broken.mark_unchanged();
        Ok(Box::new(FragileListener { inner: self.inner.listen().await?, broken }))
    }

    fn address(&self) -> String {
        self.inner.address()
    }
}

struct FragileListener {
    inner: Box<dyn Listener>,
    broken: watch::Receiver<u32>,
}

#[async_trait]
impl Listener for FragileListener {
    async fn accept(&mut self) -> Result<Connection> {
        tokio::select! {
            connection = self.inner.accept() => connection,
            _ = self.broken.changed() => Err(Error::new(Code::Io, "the listener was made to fail")),
        }
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.inner.close().await
    }
}
