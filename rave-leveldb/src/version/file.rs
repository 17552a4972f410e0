//! What is known about a table without looking into it.

use super::obsolete::{Lease, ObsoleteFiles};
use crate::key::InternalKey;
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

/// An internal key that is kept.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct BoundaryKey {
    user_key: Box<[u8]>,
    tag: u64,
}

impl BoundaryKey {
    /// A copy of `key`.
    pub(crate) fn new(key: InternalKey<'_>) -> Self {
        Self { user_key: key.user_key.into(), tag: key.tag }
    }

    /// The key.
    pub(crate) fn as_key(&self) -> InternalKey<'_> {
        InternalKey { user_key: &self.user_key, tag: self.tag }
    }
}

impl fmt::Debug for BoundaryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.user_key.escape_ascii(), self.tag >> 8)
    }
}

/// A table as the manifest describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableInfo {
    /// The number in its file's name.
    pub(crate) number: u64,
    /// The length of the file in bytes.
    pub(crate) size: u64,
    /// The first key.
    pub(crate) smallest: BoundaryKey,
    /// The last key.
    pub(crate) largest: BoundaryKey,
}

/// A table in memory, shared by all versions that list it. Its file stays for as long as one of them does.
#[derive(Debug)]
pub(crate) struct FileMetaData {
    info: TableInfo,
    allowed_seeks: AtomicI64,
    lease: Lease,
}

/// Bytes whose compaction costs about as much as one seek: 40 KB according to LevelDB's measurements, taken as less.
const BYTES_PER_SEEK: u64 = 16 << 10;
const MIN_ALLOWED_SEEKS: u64 = 100;

impl FileMetaData {
    /// A table whose file goes to `obsolete` when it is of no more use.
    pub(crate) fn new(info: TableInfo, obsolete: &Arc<ObsoleteFiles>) -> Arc<Self> {
        let seeks = (info.size / BYTES_PER_SEEK).clamp(MIN_ALLOWED_SEEKS, i64::MAX as u64);
        let lease = ObsoleteFiles::lease(obsolete, info.number);
        Arc::new(Self { info, allowed_seeks: AtomicI64::new(seeks as i64), lease })
    }

    /// The number in its file's name.
    pub(crate) fn number(&self) -> u64 {
        self.info.number
    }

    /// The length of the file in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.info.size
    }

    /// The first key.
    pub(crate) fn smallest(&self) -> InternalKey<'_> {
        self.info.smallest.as_key()
    }

    /// The last key.
    pub(crate) fn largest(&self) -> InternalKey<'_> {
        self.info.largest.as_key()
    }

    /// All of it, as the manifest has it.
    pub(crate) fn info(&self) -> &TableInfo {
        &self.info
    }

    /// Whether it may have entries of `user_key`.
    pub(crate) fn covers(&self, user_key: &[u8]) -> bool {
        self.smallest().user_key <= user_key && user_key <= self.largest().user_key
    }

    /// Whether it may have entries between `begin` and `end`, both included; `None` is no bound.
    pub(crate) fn overlaps(&self, begin: Option<&[u8]>, end: Option<&[u8]>) -> bool {
        begin.is_none_or(|begin| self.largest().user_key >= begin)
            && end.is_none_or(|end| self.smallest().user_key <= end)
    }

    /// Counts a look into it that found nothing; says whether compacting it is now worth the seeks it would save.
    pub(crate) fn charge_seek(&self) -> bool {
        self.allowed_seeks.fetch_sub(1, Ordering::Relaxed) <= 1
    }

    /// From now on the file is only kept for versions and iterators that still refer to it.
    pub(crate) fn mark_obsolete(&self) {
        self.lease.mark_obsolete();
    }
}

/// The bytes of some tables together.
pub(crate) fn total_size(files: &[Arc<FileMetaData>]) -> u64 {
    files.iter().fold(0, |sum, file| sum.saturating_add(file.size()))
}
