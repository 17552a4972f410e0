//! An open table: its index and its filter, and how blocks come from the file.

use super::{
    block::{Block, BlockCursor},
    filter::{FILTER_NAME, Filter},
    footer::{BlockHandle, FOOTER_LEN, Footer, TRAILER_LEN},
};
use crate::{
    error::{ReadError, ReadResult, damaged},
    key::InternalKey,
    log::unmask,
    storage::{Access, OpenFiles},
};
use bytes::Bytes;
use std::cell::RefCell;

/// The most that a byte of Snappy's can stand for, generously: three bytes copy 64.
const MOST_EXPANSION: usize = 32;

/// What is kept of a table while it is in use.
pub(super) struct Table {
    pub(super) number: u64,
    size: u64,
    metaindex: BlockHandle,
    index_handle: BlockHandle,
    index: Block,
    filter: Option<Filter>,
}

impl Table {
    /// Reads the index and the filter of the table `number`, which has `size` bytes.
    pub(super) fn open(files: &OpenFiles, number: u64, size: u64, access: Access) -> ReadResult<Self> {
        let damaged = |offset, what| ReadError::Failed(damaged(&files.path(number), offset, what));
        let footer_offset = size.checked_sub(FOOTER_LEN as u64).ok_or_else(|| damaged(0, "too short for a table"))?;
        let mut footer = [0; FOOTER_LEN];
        if files.read_at(number, &mut footer, footer_offset, access)? < FOOTER_LEN {
            return Err(damaged(footer_offset, "the file is shorter than it was"));
        }
        let Footer { metaindex, index } = Footer::decode(&footer).map_err(|what| damaged(footer_offset, what))?;
        let file = TableFile { files, number, size };
        let index_block = Block::new(file.read_block(index, access)?).map_err(|what| damaged(index.offset, what))?;
        let metaindex_block =
            Block::new(file.read_block(metaindex, access)?).map_err(|what| damaged(metaindex.offset, what))?;
        let named = metaindex_block.find_name(FILTER_NAME).map_err(|what| damaged(metaindex.offset, what))?;
        let filter = match named {
            None => None,
            Some(handle) => {
                let (handle, _) = BlockHandle::decode(&handle)
                    .ok_or_else(|| damaged(metaindex.offset, "a malformed handle of the filter"))?;
                Filter::new(file.read_block(handle, access)?)
            }
        };
        Ok(Self { number, size, metaindex, index_handle: index, index: index_block, filter })
    }

    /// Bytes in memory, about.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>() + self.index.len() + self.filter.as_ref().map_or(0, Filter::len)
    }

    /// Where the index begins.
    pub(super) fn index_offset(&self) -> u64 {
        self.index_handle.offset
    }

    /// A position in the index.
    pub(super) fn index_cursor(&self, buffer: Vec<u8>) -> BlockCursor {
        BlockCursor::with_buffer(self.index.clone(), buffer)
    }

    /// Where the block is at which the cursor stands. Requires that it is valid.
    pub(super) fn handle(&self, files: &OpenFiles, index: &BlockCursor) -> ReadResult<BlockHandle> {
        let handle = BlockHandle::decode(index.value_bytes());
        Ok(handle.ok_or_else(|| self.damaged(files, self.index_offset(), "a malformed handle"))?.0)
    }

    /// Whether the block at `offset` may hold writes of the key.
    pub(super) fn may_contain(&self, offset: u64, user_key: &[u8]) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.may_contain(offset, user_key))
    }

    /// The offset in the file where the key is or would be, about.
    pub(super) fn approximate_offset(&self, files: &OpenFiles, key: InternalKey<'_>) -> ReadResult<u64> {
        let mut index = self.index_cursor(Vec::new());
        index.seek(key).map_err(|what| self.damaged(files, self.index_offset(), what))?;
        if index.valid() { Ok(self.handle(files, &index)?.offset) } else { Ok(self.metaindex.offset) }
    }

    /// Reads a block from the file.
    pub(super) fn read_block(&self, files: &OpenFiles, handle: BlockHandle, access: Access) -> ReadResult<Block> {
        let contents = TableFile { files, number: self.number, size: self.size }.read_block(handle, access)?;
        Block::new(contents).map_err(|what| self.damaged(files, handle.offset, what))
    }

    /// Takes the block from `bytes`, which are the file's from `handle.offset` on, trailer included.
    pub(super) fn unpack_block(&self, files: &OpenFiles, handle: BlockHandle, bytes: &[u8]) -> ReadResult<Block> {
        let contents = unpack(bytes).and_then(|unpacked| match unpacked {
            Some(contents) => Block::new(contents.into()),
            None => Block::new(Bytes::copy_from_slice(bytes.split_at(bytes.len() - TRAILER_LEN).0)),
        });
        contents.map_err(|what| self.damaged(files, handle.offset, what))
    }

    /// Where the block and its trailer end, if that is in the file.
    pub(super) fn block_end(&self, handle: BlockHandle) -> Option<u64> {
        handle.end(self.size)
    }

    /// The error for damage at `offset`.
    pub(super) fn damaged(&self, files: &OpenFiles, offset: u64, what: &str) -> ReadError {
        damaged(&files.path(self.number), offset, what).into()
    }
}

/// The file of a table.
pub(super) struct TableFile<'a> {
    pub(super) files: &'a OpenFiles,
    pub(super) number: u64,
    pub(super) size: u64,
}

impl TableFile<'_> {
    pub(super) fn read_block(&self, handle: BlockHandle, access: Access) -> ReadResult<Bytes> {
        let damaged = |what| ReadError::Failed(damaged(&self.files.path(self.number), handle.offset, what));
        let end = handle.end(self.size).ok_or_else(|| damaged("a block beyond the end of the table"))?;
        let length = (end - handle.offset) as usize;
        with_scratch(length, |buffer| {
            if self.files.read_at(self.number, buffer, handle.offset, access)? < length {
                return Err(damaged("the file is shorter than it was"));
            }
            Ok(match unpack(buffer).map_err(damaged)? {
                Some(contents) => contents.into(),
                None => Bytes::copy_from_slice(buffer.get(..length - TRAILER_LEN).unwrap_or_default()),
            })
        })
    }
}

/// Blocks up to this length are read into a buffer that each thread keeps.
const SCRATCH_LEN: usize = 16 << 10;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Calls `read` with a buffer of `length` bytes of any content.
fn with_scratch<T>(length: usize, read: impl FnOnce(&mut [u8]) -> T) -> T {
    if length > SCRATCH_LEN {
        return read(&mut vec![0; length]);
    }
    SCRATCH.with_borrow_mut(|scratch| {
        if scratch.len() < length {
            scratch.resize(length, 0);
        }
        read(scratch.get_mut(..length).unwrap_or_default())
    })
}

/// Checks a block with its trailer, and decompresses it; `None` if it was not compressed.
pub(super) fn unpack(bytes: &[u8]) -> Result<Option<Vec<u8>>, &'static str> {
    let (checked, crc) = bytes.split_last_chunk::<4>().ok_or("a block without a trailer")?;
    if crc32c::crc32c(checked) != unmask(u32::from_le_bytes(*crc)) {
        return Err("checksum mismatch");
    }
    match checked.split_last() {
        Some((0, _)) => Ok(None),
        Some((1, contents)) => {
            let length = snap::raw::decompress_len(contents).map_err(|_| "malformed compressed data")?;
            if length > MOST_EXPANSION * contents.len() {
                return Err("malformed compressed data");
            }
            snap::raw::Decoder::new().decompress_vec(contents).map(Some).map_err(|_| "malformed compressed data")
        }
        _ => Err("a block that is compressed in an unknown way"),
    }
}
