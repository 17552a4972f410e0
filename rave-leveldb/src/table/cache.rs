//! The way to all tables: blocks that were read stay in memory, as far as they fit.

use super::{
    block::{Block, BlockCursor},
    cursor::TableCursor,
    footer::BlockHandle,
    reader::Table,
};
use crate::{
    error::{ReadError, ReadResult},
    key::InternalKey,
    storage::{Access, OpenFiles},
};
use bytes::Bytes;
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter, sync::Cache, sync::DefaultLifecycle};
use rave_core::Result;
use std::{cell::RefCell, sync::Arc};

/// Bytes of a block, about, as long as nobody asks for others.
const USUAL_BLOCK: usize = 4 << 10;

/// What an entry of the cache takes beyond what it holds: its slot, its reference counts, the allocator's share.
const ENTRY_OVERHEAD: usize = 128;

/// No part of the cache that has a lock of its own is smaller than this: what is heavier than its part is not kept.
const LEAST_SHARD: usize = 4 << 20;

/// A shared cache of blocks, indexes and filters, over files of which a bounded number are open.
///
/// The indexes and filters are in the cache like any block, so that its size bounds them too; being needed for every
/// read of a table they stay when others go.
pub(crate) struct TableCache {
    files: Arc<OpenFiles>,
    cache: Option<Cache<CacheKey, Cached, ByMemory>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct CacheKey {
    table: u64,
    /// Of the block; `WHOLE_TABLE` for the index and the filter.
    offset: u64,
}

const WHOLE_TABLE: u64 = u64::MAX;

#[derive(Clone)]
enum Cached {
    Table(Arc<Table>),
    Block(Block),
}

#[derive(Clone)]
struct ByMemory;

impl Weighter<CacheKey, Cached> for ByMemory {
    fn weight(&self, _: &CacheKey, cached: &Cached) -> u64 {
        let memory = match cached {
            Cached::Table(table) => table.memory(),
            Cached::Block(block) => block.len(),
        };
        (memory + ENTRY_OVERHEAD) as u64
    }
}

thread_local! {
    /// Where lookups put the keys they read together.
    static KEY_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl TableCache {
    /// Keeps up to `cache_bytes`; with 0 nothing is kept.
    pub(crate) fn new(files: Arc<OpenFiles>, cache_bytes: usize) -> Self {
        let cache = (cache_bytes > 0)
            .then(|| {
                OptionsBuilder::new()
                    .estimated_items_capacity((cache_bytes / USUAL_BLOCK).max(64))
                    .weight_capacity(cache_bytes as u64)
                    .shards((cache_bytes / LEAST_SHARD).clamp(1, 16))
                    .build()
                    .ok()
            })
            .flatten()
            .map(|options| {
                Cache::with_options(options, ByMemory, DefaultHashBuilder::default(), DefaultLifecycle::default())
            });
        Self { files, cache }
    }

    /// The first entry of a table that is `key` or behind it, if it is of the same user's key: its tag and its value.
    pub(crate) fn get(
        &self,
        table: u64,
        size: u64,
        key: InternalKey<'_>,
        access: Access,
    ) -> ReadResult<Option<(u64, Bytes)>> {
        let table = self.table(table, size, access)?;
        KEY_BUFFER.with_borrow_mut(|buffer| {
            let mut index = table.index_cursor(std::mem::take(buffer));
            let sought = index.seek(key);
            let handle = match (sought, index.valid()) {
                (Err(what), _) => Err(self.malformed_index(&table, what)),
                (Ok(()), true) => table.handle(&self.files, &index).map(Some),
                (Ok(()), false) => Ok(None),
            };
            *buffer = index.into_buffer();
            let handle = match handle? {
                Some(handle) if table.may_contain(handle.offset, key.user_key) => handle,
                _ => return Ok(None),
            };
            let block = self.block(&table, handle, access, true)?;
            let mut cursor = BlockCursor::with_buffer(block, std::mem::take(buffer));
            let sought = cursor.seek(key);
            let found =
                (cursor.valid() && cursor.key().user_key == key.user_key).then(|| (cursor.key().tag, cursor.value()));
            *buffer = cursor.into_buffer();
            sought.map(|()| found).map_err(|what| table.damaged(&self.files, handle.offset, what))
        })
    }

    /// A cursor over a table, which is opened when the cursor is first used. With `fill_cache` the blocks that it reads
    /// are kept for others.
    pub(crate) fn cursor(self: &Arc<Self>, table: u64, size: u64, fill_cache: bool) -> TableCursor {
        TableCursor::new(self.clone(), table, size, fill_cache)
    }

    /// The offset in the table's file where the key is or would be, about.
    pub(crate) fn approximate_offset(&self, table: u64, size: u64, key: InternalKey<'_>) -> Result<u64> {
        self.table(table, size, Access::Blocking)
            .and_then(|table| table.approximate_offset(&self.files, key))
            .map_err(ReadError::into_error)
    }

    /// Lets go of all that is kept of a table, which is to be removed.
    pub(crate) fn forget(&self, table: u64) {
        if let Some(cache) = &self.cache
            && let Some((_, Cached::Table(open))) = cache.remove(&CacheKey { table, offset: WHOLE_TABLE })
        {
            let mut index = open.index_cursor(Vec::new());
            let mut found = index.seek_to_first();
            while found.is_ok() && index.valid() {
                if let Ok(handle) = open.handle(&self.files, &index) {
                    cache.remove(&CacheKey { table, offset: handle.offset });
                }
                found = index.next();
            }
        }
        self.files.forget(table);
    }

    /// Lets go of everything, as a database does that closes.
    pub(crate) fn clear(&self) {
        if let Some(cache) = &self.cache {
            cache.clear();
        }
        self.files.forget_all();
    }

    /// Bytes that are kept.
    pub(crate) fn cached_bytes(&self) -> usize {
        self.cache.as_ref().map_or(0, |cache| cache.weight() as usize)
    }

    /// The files of the tables.
    pub(super) fn files(&self) -> &OpenFiles {
        &self.files
    }

    /// A table's index and filter.
    pub(super) fn table(&self, table: u64, size: u64, access: Access) -> ReadResult<Arc<Table>> {
        let key = CacheKey { table, offset: WHOLE_TABLE };
        if let Some(Cached::Table(open)) = self.cache.as_ref().and_then(|cache| cache.get(&key)) {
            return Ok(open);
        }
        let open = Arc::new(Table::open(&self.files, table, size, access)?);
        if let Some(cache) = &self.cache {
            cache.insert(key, Cached::Table(open.clone()));
        }
        Ok(open)
    }

    /// A block that is kept.
    pub(super) fn cached_block(&self, table: &Table, handle: BlockHandle) -> Option<Block> {
        let key = CacheKey { table: table.number, offset: handle.offset };
        match self.cache.as_ref()?.get(&key)? {
            Cached::Block(block) => Some(block),
            Cached::Table(_) => None,
        }
    }

    /// Keeps a block.
    pub(super) fn keep_block(&self, table: &Table, handle: BlockHandle, block: &Block) {
        if let Some(cache) = &self.cache {
            cache.insert(CacheKey { table: table.number, offset: handle.offset }, Cached::Block(block.clone()));
        }
    }

    /// A block, from the cache or from the file.
    pub(super) fn block(
        &self,
        table: &Table,
        handle: BlockHandle,
        access: Access,
        fill_cache: bool,
    ) -> ReadResult<Block> {
        if let Some(block) = self.cached_block(table, handle) {
            return Ok(block);
        }
        let block = table.read_block(&self.files, handle, access)?;
        if fill_cache {
            self.keep_block(table, handle, &block);
        }
        Ok(block)
    }

    /// The error for a malformed index.
    pub(super) fn malformed_index(&self, table: &Table, what: &str) -> ReadError {
        table.damaged(&self.files, table.index_offset(), what)
    }
}
