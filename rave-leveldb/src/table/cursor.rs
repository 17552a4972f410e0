//! A position among the entries of a table.

use super::{
    block::{Block, BlockCursor},
    cache::TableCache,
    footer::BlockHandle,
    reader::Table,
};
use crate::{
    error::{ReadError, ReadResult},
    iterator::Cursor,
    key::InternalKey,
    storage::Access,
};
use bytes::Bytes;
use std::sync::Arc;

/// Bytes that are read at once when a scan goes on from one block to the next; each further time twice as many, up to
/// the second number.
const FIRST_READ: usize = 16 << 10;
const MOST_READ: usize = 256 << 10;

/// Walks a table in both directions: a position in the index, and one in the data block that it points to.
pub(crate) struct TableCursor {
    cache: Arc<TableCache>,
    number: u64,
    size: u64,
    fill_cache: bool,
    access: Access,
    open: Option<OpenCursor>,
    ahead: ReadAhead,
}

/// The positions, once the table is open.
struct OpenCursor {
    table: Arc<Table>,
    index: BlockCursor,
    /// The data block that the index points to, and where it is.
    data: Option<(BlockHandle, BlockCursor)>,
}

/// What was read of the file beyond the block that was asked for.
#[derive(Default)]
struct ReadAhead {
    start: u64,
    bytes: Vec<u8>,
    /// How much to read next time.
    window: usize,
    /// Where the last block ended that was not in the cache.
    last_end: u64,
}

impl TableCursor {
    pub(super) fn new(cache: Arc<TableCache>, number: u64, size: u64, fill_cache: bool) -> Self {
        Self { cache, number, size, fill_cache, access: Access::Blocking, open: None, ahead: ReadAhead::default() }
    }

    fn data(&self) -> Option<&BlockCursor> {
        self.open.as_ref()?.data.as_ref().map(|(_, data)| data)
    }

    /// Opens the table, and moves within the index and then within the block that it points to.
    fn position(
        &mut self,
        mut in_index: impl FnMut(&mut BlockCursor) -> Result<(), &'static str>,
        mut in_block: impl FnMut(&mut BlockCursor) -> Result<(), &'static str>,
    ) -> ReadResult<()> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => {
                let table = self.cache.table(self.number, self.size, self.access)?;
                OpenCursor { index: table.index_cursor(Vec::new()), table, data: None }
            }
        };
        let moved = self.position_in(&mut open, &mut in_index, &mut in_block);
        if moved.is_err() {
            open.data = None;
        }
        self.open = Some(open);
        moved
    }

    fn position_in(
        &mut self,
        open: &mut OpenCursor,
        in_index: &mut impl FnMut(&mut BlockCursor) -> Result<(), &'static str>,
        in_block: &mut impl FnMut(&mut BlockCursor) -> Result<(), &'static str>,
    ) -> ReadResult<()> {
        in_index(&mut open.index).map_err(|what| self.cache.malformed_index(&open.table, what))?;
        self.load(open)?;
        match &mut open.data {
            None => Ok(()),
            Some((handle, data)) => {
                in_block(data).map_err(|what| open.table.damaged(self.cache.files(), handle.offset, what))
            }
        }
    }

    /// Goes on to the next block with an entry while there is none to stand on.
    fn skip(&mut self, backwards: bool) -> ReadResult<()> {
        while self.data().is_some_and(|data| !data.valid()) {
            if backwards {
                self.position(BlockCursor::prev, BlockCursor::seek_to_last)?;
            } else {
                self.position(BlockCursor::next, BlockCursor::seek_to_first)?;
            }
        }
        Ok(())
    }

    fn step(&mut self, backwards: bool) -> ReadResult<()> {
        let Some(OpenCursor { table, data: open_data, .. }) = &mut self.open else { return Ok(()) };
        let Some((handle, data)) = open_data else { return Ok(()) };
        let stepped = if backwards { data.prev() } else { data.next() };
        if let Err(what) = stepped {
            let error = table.damaged(self.cache.files(), handle.offset, what);
            *open_data = None;
            return Err(error);
        }
        if data.valid() { Ok(()) } else { self.skip(backwards) }
    }

    /// Makes the data block the one that the index points to.
    fn load(&mut self, open: &mut OpenCursor) -> ReadResult<()> {
        if !open.index.valid() {
            open.data = None;
            return Ok(());
        }
        let handle = open.table.handle(self.cache.files(), &open.index)?;
        if open.data.as_ref().is_some_and(|(loaded, _)| *loaded == handle) {
            return Ok(());
        }
        let buffer = open.data.take().map(|(_, data)| data.into_buffer()).unwrap_or_default();
        let block = self.block(&open.table, handle)?;
        open.data = Some((handle, BlockCursor::with_buffer(block, buffer)));
        Ok(())
    }

    fn block(&mut self, table: &Table, handle: BlockHandle) -> ReadResult<Block> {
        if let Some(block) = self.cache.cached_block(table, handle) {
            return Ok(block);
        }
        let Some(end) = table.block_end(handle) else {
            return Err(table.damaged(self.cache.files(), handle.offset, "a block beyond the end of the table"));
        };
        let sequential = handle.offset == self.ahead.last_end;
        self.ahead.last_end = end;
        if !self.ahead.covers(handle.offset, end) {
            if !sequential {
                self.ahead.window = 0;
                return self.cache.block(table, handle, self.access, self.fill_cache);
            }
            self.read_ahead(handle.offset, end)?;
        }
        let block = match self.ahead.get(handle.offset, end) {
            Some(bytes) => table.unpack_block(self.cache.files(), handle, bytes)?,
            None => return self.cache.block(table, handle, self.access, self.fill_cache),
        };
        if self.fill_cache {
            self.cache.keep_block(table, handle, &block);
        }
        Ok(block)
    }

    /// Reads from `start` on, at least up to `end`, unless memory does not have so much and waiting is not allowed.
    fn read_ahead(&mut self, start: u64, end: u64) -> ReadResult<()> {
        let ahead = &mut self.ahead;
        ahead.window = (2 * ahead.window).clamp(FIRST_READ, MOST_READ);
        let length = (end - start).max(ahead.window as u64).min(self.size - start) as usize;
        ahead.start = start;
        ahead.bytes.resize(length, 0);
        match self.cache.files().read_at(self.number, &mut ahead.bytes, start, self.access) {
            Ok(read) => ahead.bytes.truncate(read),
            Err(ReadError::WouldBlock) => ahead.bytes.clear(),
            Err(error) => {
                ahead.bytes.clear();
                return Err(error);
            }
        }
        Ok(())
    }
}

impl ReadAhead {
    fn get(&self, start: u64, end: u64) -> Option<&[u8]> {
        let from = usize::try_from(start.checked_sub(self.start)?).ok()?;
        let to = usize::try_from(end.checked_sub(self.start)?).ok()?;
        self.bytes.get(from..to)
    }

    fn covers(&self, start: u64, end: u64) -> bool {
        self.get(start, end).is_some()
    }
}

impl Cursor for TableCursor {
    fn valid(&self) -> bool {
        self.data().is_some_and(BlockCursor::valid)
    }

    fn key(&self) -> InternalKey<'_> {
        self.data().map_or(InternalKey { user_key: &[], tag: 0 }, BlockCursor::key)
    }

    fn value(&self) -> Bytes {
        self.data().map_or_else(Bytes::new, BlockCursor::value)
    }

    fn seek_to_first(&mut self) -> ReadResult<()> {
        self.position(BlockCursor::seek_to_first, BlockCursor::seek_to_first)?;
        self.skip(false)
    }

    fn seek_to_last(&mut self) -> ReadResult<()> {
        self.position(BlockCursor::seek_to_last, BlockCursor::seek_to_last)?;
        self.skip(true)
    }

    fn seek(&mut self, target: InternalKey<'_>) -> ReadResult<()> {
        self.position(|index| index.seek(target), |data| data.seek(target))?;
        self.skip(false)
    }

    fn next(&mut self) -> ReadResult<()> {
        self.step(false)
    }

    fn prev(&mut self) -> ReadResult<()> {
        self.step(true)
    }

    fn set_access(&mut self, access: Access) {
        self.access = access;
    }
}
