//! Making checksums right that a fuzzer has made wrong.

use super::{
    block::{Block, BlockCursor},
    filter::FILTER_NAME,
    footer::{BlockHandle, FOOTER_LEN, Footer, MAGIC, TRAILER_LEN},
    reader::unpack,
};
use crate::log::mask;
use bytes::Bytes;

/// Gives a table the magic number, and every block that can be found the checksum that belongs to it.
pub(crate) fn mend_table(table: &mut [u8]) {
    let Some((_, footer)) = table.split_last_chunk_mut::<FOOTER_LEN>() else { return };
    if let Some(magic) = footer.last_chunk_mut() {
        *magic = MAGIC.to_le_bytes();
    }
    let Ok(Footer { metaindex, index }) = Footer::decode(footer) else { return };
    if let Some(block) = mend_block(table, metaindex)
        && let Ok(Some(handle)) = block.find_name(FILTER_NAME)
        && let Some((handle, _)) = BlockHandle::decode(&handle)
    {
        mend_block(table, handle);
    }
    let Some(block) = mend_block(table, index) else { return };
    let mut cursor = BlockCursor::new(block);
    let mut moved = cursor.seek_to_first();
    while moved.is_ok() && cursor.valid() {
        if let Some((handle, _)) = BlockHandle::decode(cursor.value_bytes()) {
            mend_block(table, handle);
        }
        moved = cursor.next();
    }
}

fn mend_block(table: &mut [u8], handle: BlockHandle) -> Option<Block> {
    let end = handle.end(table.len() as u64)?;
    let bytes = table.get_mut(handle.offset as usize..end as usize)?;
    let (checked, crc) = bytes.split_last_chunk_mut::<4>()?;
    *crc = mask(crc32c::crc32c(checked)).to_le_bytes();
    let contents = match unpack(bytes).ok()? {
        Some(contents) => contents.into(),
        None => Bytes::copy_from_slice(bytes.get(..bytes.len() - TRAILER_LEN)?),
    };
    Block::new(contents).ok()
}
