//! What readers look at: a map that does not change while they do.
//!
//! The map is a persistent one: a copy costs nothing, because it shares all that is equal. So a snapshot is a copy, and an
//! iterator has one of its own.

use crate::store::Core;
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use rave_level::{
    Code, Entry, Error, IteratorOptions, KeyRange, LevelIterator, Progress, Result, Snapshot, SnapshotHandle,
};
use rpds::RedBlackTreeMapSync;
use std::{any::Any, fmt, sync::Arc};

/// All keys and values.
pub(crate) type Map = RedBlackTreeMapSync<Bytes, Bytes>;

/// The entries of `map` in `range`, from the lowest to the highest key; backwards by `rev()`.
pub(crate) fn entries<'a>(
    map: &'a Map,
    range: &'a KeyRange,
) -> impl DoubleEndedIterator<Item = (&'a Bytes, &'a Bytes)> + use<'a> {
    // Maps dislike ranges whose ends are in the wrong order.
    let range = Some(range).filter(|range| !range.is_empty());
    range.into_iter().flat_map(|range| map.range::<Bytes, _>((range.lower(), range.upper())))
}

/// The handle behind a [`Snapshot`].
pub(crate) struct AppendSnapshot {
    core: Arc<Core>,
    /// `None` once closed.
    map: Mutex<Option<Map>>,
}

impl AppendSnapshot {
    pub(crate) fn new(core: Arc<Core>, map: Map) -> Self {
        Self { core, map: Mutex::new(Some(map)) }
    }

    /// What `snapshot` holds, if it is one of the store `core`.
    pub(crate) fn view(snapshot: &Snapshot, core: &Arc<Core>) -> Result<Map> {
        let own = snapshot.downcast_ref::<Self>().filter(|own| Arc::ptr_eq(&own.core, core));
        let foreign = || Error::new(Code::SnapshotNotOpen, "the snapshot belongs to another database");
        let closed = || Error::new(Code::SnapshotNotOpen, "the snapshot is closed");
        own.ok_or_else(foreign)?.map.lock().clone().ok_or_else(closed)
    }
}

impl SnapshotHandle for AppendSnapshot {
    fn close(&self) {
        *self.map.lock() = None;
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl fmt::Debug for AppendSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppendSnapshot").field("open", &self.map.lock().is_some()).finish()
    }
}

/// At most so many entries at once: nobody else gets the thread meanwhile.
const PAGE: usize = 1024;

pub(crate) struct AppendIterator {
    core: Arc<Core>,
    /// `None` once closed.
    map: Option<Map>,
    /// What is left of the range and of the limit.
    progress: Progress,
    keys: bool,
    values: bool,
}

impl AppendIterator {
    pub(crate) fn new(core: Arc<Core>, map: Map, options: &IteratorOptions) -> Self {
        let progress = Progress::new(options);
        Self { core, map: Some(map), progress, keys: options.keys, values: options.values }
    }

    fn map(&self) -> Result<&Map> {
        self.core.check_open()?;
        self.map.as_ref().ok_or_else(|| Error::new(Code::IteratorNotOpen, "the iterator is closed"))
    }

    fn page(&mut self, size: usize) -> Result<Vec<Entry>> {
        let map = self.map()?.clone();
        let want = self.progress.want(size).min(PAGE);
        let Some(range) = self.progress.remaining_range().filter(|_| want > 0).cloned() else { return Ok(Vec::new()) };
        let found = entries(&map, &range);
        let found: Vec<_> =
            if self.progress.reverse() { found.rev().take(want).collect() } else { found.take(want).collect() };
        let out = |wanted: bool, bytes: &Bytes| if wanted { bytes.clone() } else { Bytes::new() };
        let page = found.iter().map(|(key, value)| Entry { key: out(self.keys, key), value: out(self.values, value) });
        let page = page.collect();
        match found.last() {
            Some((last, _)) => self.progress.delivered(last, found.len()),
            None => self.progress.ended(),
        }
        Ok(page)
    }
}

#[async_trait]
impl LevelIterator for AppendIterator {
    async fn next(&mut self) -> Result<Option<Entry>> {
        Ok(self.page(1)?.pop())
    }

    async fn next_many(&mut self, size: usize) -> Result<Vec<Entry>> {
        self.page(size)
    }

    async fn seek(&mut self, target: Bytes) -> Result<()> {
        self.map()?;
        self.progress.seek(&target);
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        self.map = None;
        Ok(())
    }
}
