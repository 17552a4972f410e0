//! A part of a database, under a prefix, as a database of its own.

use crate::{
    AbstractLevel, Batch, ClearOptions, Code, Entry, Error, Event, EventHub, EventStream, IteratorOptions,
    LevelIterator, Manifest, ReadOptions, Result, Snapshot, Status, Transaction, WriteOptions,
};
use async_trait::async_trait;
use bytes::Bytes;
use std::{
    any::Any,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// The prefix of the keys that rave-level keeps for itself in a shared database: those of a sublevel named `rave-level`.
/// Users of a shared database neither see nor write them.
pub const RESERVED: &str = "!rave-level!";

/// How a sublevel's prefix is formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SublevelOptions {
    /// The byte around each name.
    pub separator: u8,
}

impl Default for SublevelOptions {
    fn default() -> Self {
        Self { separator: b'!' }
    }
}

/// The part of a database whose keys start with `!name!`, seen without that prefix. It is an [`AbstractLevel`] itself;
/// sublevels of sublevels have the prefix `!a!!b!`. Clones are the same handle.
///
/// Closing a sublevel closes only this view. Events are the ones of this view: writes made through it, keys without the
/// prefix.
#[derive(Clone)]
pub struct Sublevel {
    root: Arc<dyn AbstractLevel>,
    /// What the root's keys carry in the database, if the root is a transaction on a sublevel.
    origin: Bytes,
    prefix: Bytes,
    path: Arc<[String]>,
    shared: Arc<Shared>,
}

struct Shared {
    /// Closed together with the parent view.
    parent: Option<Arc<Shared>>,
    closed: AtomicBool,
    events: EventHub,
}

impl Shared {
    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire) || self.parent.as_ref().is_some_and(|parent| parent.is_closed())
    }
}

impl fmt::Debug for Sublevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sublevel").field("path", &self.path).field("root", &self.root).finish()
    }
}

fn extend_prefix(prefix: &mut Vec<u8>, names: &[&str], separator: u8) -> Result<()> {
    let allowed = separator.saturating_add(1)..127;
    if names.is_empty() {
        return Err(Error::new(Code::InvalidPrefix, "a sublevel needs a name"));
    }
    for name in names {
        if name.is_empty() || !name.bytes().all(|byte| allowed.contains(&byte)) {
            return Err(Error::new(
                Code::InvalidPrefix,
                format!(
                    "the sublevel name {name:?} must not be empty and may only have bytes from {} to {}",
                    allowed.start,
                    allowed.end - 1
                ),
            ));
        }
        prefix.push(separator);
        prefix.extend_from_slice(name.as_bytes());
        prefix.push(separator);
    }
    Ok(())
}

/// The sublevel that `level` is, if it is one, possibly behind one or more `Arc`s.
fn as_sublevel(level: &dyn AbstractLevel) -> Option<&Sublevel> {
    let any: &dyn Any = level;
    match any.downcast_ref::<Arc<dyn AbstractLevel>>() {
        Some(inner) => as_sublevel(&**inner),
        None => any.downcast_ref::<Sublevel>().or_else(|| any.downcast_ref::<Arc<Sublevel>>().map(|inner| &**inner)),
    }
}

/// What the keys of `level` carry in front of them in the database that it is a view of.
pub(crate) fn origin_of(level: &dyn AbstractLevel) -> Bytes {
    if let Some(sublevel) = as_sublevel(level) {
        return sublevel.absolute_key(b"");
    }
    let any: &dyn Any = level;
    match any.downcast_ref::<Arc<dyn AbstractLevel>>() {
        Some(inner) => origin_of(&**inner),
        None => {
            let transaction = any.downcast_ref::<Transaction>();
            let transaction = transaction.or_else(|| any.downcast_ref::<Arc<Transaction>>().map(|inner| &**inner));
            transaction.map(Transaction::origin).unwrap_or_default()
        }
    }
}

impl Sublevel {
    /// The sublevel of `root` under the path `names`.
    ///
    /// Errors: `LEVEL_INVALID_PREFIX` if a name is empty or has bytes at or below the separator's successor or above 126.
    pub fn new(root: Arc<dyn AbstractLevel>, names: &[&str], options: SublevelOptions) -> Result<Self> {
        // A sublevel behind the trait is asked itself, so that batches and `close` know that one is below the other.
        if let Some(parent) = as_sublevel(&*root) {
            return parent.sublevel_with(names, options);
        }
        let prefix = Self::prefix_of(names, options)?;
        Ok(Self {
            origin: origin_of(&*root),
            root,
            prefix,
            path: names.iter().map(ToString::to_string).collect(),
            shared: Arc::new(Shared { parent: None, closed: AtomicBool::new(false), events: EventHub::new() }),
        })
    }

    /// The sublevel `name` of this one. It reaches the root directly, so depth costs nothing.
    pub fn sublevel(&self, name: &str) -> Result<Self> {
        self.sublevel_with(&[name], SublevelOptions::default())
    }

    /// The sublevel of this one under the path `names`.
    pub fn sublevel_with(&self, names: &[&str], options: SublevelOptions) -> Result<Self> {
        let mut prefix = self.prefix.to_vec();
        extend_prefix(&mut prefix, names, options.separator)?;
        Ok(Self {
            root: self.root.clone(),
            origin: self.origin.clone(),
            prefix: prefix.into(),
            path: self.path.iter().cloned().chain(names.iter().map(ToString::to_string)).collect(),
            shared: Arc::new(Shared {
                parent: Some(self.shared.clone()),
                closed: AtomicBool::new(false),
                events: EventHub::new(),
            }),
        })
    }

    /// What precedes every key of this sublevel in the root database, such as `!a!!b!`.
    pub fn prefix(&self) -> &Bytes {
        &self.prefix
    }

    /// What precedes every key of a sublevel with the path `names` in its root.
    ///
    /// Errors: as of [`new`](Self::new).
    pub fn prefix_of(names: &[&str], options: SublevelOptions) -> Result<Bytes> {
        let mut prefix = Vec::new();
        extend_prefix(&mut prefix, names, options.separator)?;
        Ok(prefix.into())
    }

    /// A batch for this sublevel as a batch for its root.
    ///
    /// Errors: `LEVEL_INVALID_PREFIX` if it names a sublevel that is not below this one.
    pub fn batch_for_root(&self, batch: Batch) -> Result<Batch> {
        batch.into_absolute(&self.origin, &self.prefix)
    }

    /// A clear of this sublevel as a clear of its root.
    ///
    /// Errors: as of [`batch_for_root`](Self::batch_for_root).
    pub fn clear_for_root(&self, options: ClearOptions) -> Result<ClearOptions> {
        Ok(ClearOptions {
            range: options.range.within_prefix(&self.prefix),
            except: options.except.iter().map(|range| range.within_prefix(&self.prefix)).collect(),
            and_write: self.batch_for_root(options.and_write)?,
            ..options
        })
    }

    /// The names from the root to here.
    pub fn path(&self) -> &[String] {
        &self.path
    }

    /// The key in the database that this is a view of, as a batch names it.
    pub(crate) fn absolute_key(&self, key: &[u8]) -> Bytes {
        [&self.origin, &self.prefix, key].concat().into()
    }

    fn root_key(&self, key: &[u8]) -> Bytes {
        [&self.prefix, key].concat().into()
    }

    fn check_open(&self) -> Result<()> {
        if self.status() == Status::Open { Ok(()) } else { Err(Error::not_open()) }
    }
}

#[async_trait]
impl AbstractLevel for Sublevel {
    fn manifest(&self) -> Manifest {
        self.root.manifest()
    }

    fn status(&self) -> Status {
        if self.shared.is_closed() { Status::Closed } else { self.root.status() }
    }

    fn events(&self) -> EventStream {
        self.shared.events.subscribe()
    }

    async fn get_opts(&self, key: Bytes, options: ReadOptions) -> Result<Option<Bytes>> {
        self.check_open()?;
        self.root.get_opts(self.root_key(&key), options).await
    }

    async fn get_many_opts(&self, keys: Vec<Bytes>, options: ReadOptions) -> Result<Vec<Option<Bytes>>> {
        self.check_open()?;
        let keys = keys.iter().map(|key| self.root_key(key)).collect();
        self.root.get_many_opts(keys, options).await
    }

    async fn has_many_opts(&self, keys: Vec<Bytes>, options: ReadOptions) -> Result<Vec<bool>> {
        self.check_open()?;
        let keys = keys.iter().map(|key| self.root_key(key)).collect();
        self.root.has_many_opts(keys, options).await
    }

    async fn write_opts(&self, batch: Batch, options: WriteOptions) -> Result<()> {
        self.check_open()?;
        let announced = self.shared.events.has_listeners() && !batch.writes_nothing();
        let announced = announced.then(|| Arc::new(batch.clone()));
        self.root.write_opts(self.batch_for_root(batch)?, options).await?;
        if let Some(batch) = announced {
            self.shared.events.emit(|| Event::Write(batch));
        }
        Ok(())
    }

    async fn clear_opts(&self, options: ClearOptions) -> Result<()> {
        self.check_open()?;
        self.root.clear_opts(self.clear_for_root(options.clone())?).await?;
        self.shared.events.emit(|| Event::Clear(Arc::new(options)));
        Ok(())
    }

    async fn iterator_opts(&self, options: IteratorOptions) -> Result<Box<dyn LevelIterator>> {
        self.check_open()?;
        let within = IteratorOptions { range: options.range.within_prefix(&self.prefix), ..options };
        let keys = within.keys;
        let inner = self.root.iterator_opts(within).await?;
        Ok(Box::new(SublevelIterator { inner, prefix: self.prefix.clone(), keys, view: self.shared.clone() }))
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        self.check_open()?;
        self.root.snapshot().await
    }

    async fn close(&self) -> Result<()> {
        if !self.shared.closed.swap(true, Ordering::AcqRel) {
            self.shared.events.emit(|| Event::Closing);
            self.shared.events.emit(|| Event::Closed);
        }
        Ok(())
    }
}

struct SublevelIterator {
    inner: Box<dyn LevelIterator>,
    prefix: Bytes,
    keys: bool,
    view: Arc<Shared>,
}

impl SublevelIterator {
    fn check_open(&self) -> Result<()> {
        if self.view.is_closed() { Err(Error::not_open()) } else { Ok(()) }
    }

    fn strip(&self, mut entry: Entry) -> Result<Entry> {
        if self.keys {
            if !entry.key.starts_with(&self.prefix) {
                return Err(Error::new(Code::Corruption, "an iterator of a sublevel met a key outside of it"));
            }
            let _ = entry.key.split_to(self.prefix.len());
        }
        Ok(entry)
    }
}

#[async_trait]
impl LevelIterator for SublevelIterator {
    async fn next(&mut self) -> Result<Option<Entry>> {
        self.check_open()?;
        self.inner.next().await?.map(|entry| self.strip(entry)).transpose()
    }

    async fn next_many(&mut self, size: usize) -> Result<Vec<Entry>> {
        self.check_open()?;
        let entries = self.inner.next_many(size).await?;
        entries.into_iter().map(|entry| self.strip(entry)).collect()
    }

    async fn seek(&mut self, target: Bytes) -> Result<()> {
        self.check_open()?;
        self.inner.seek([self.prefix.as_ref(), &target].concat().into()).await
    }

    async fn close(&mut self) -> Result<()> {
        self.inner.close().await
    }
}
