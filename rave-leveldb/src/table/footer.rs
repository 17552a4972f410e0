//! The last 48 bytes of a table, and the places of blocks.

use super::varint;

/// Bytes of a footer.
pub(super) const FOOTER_LEN: usize = 48;

/// Bytes behind every block: how it is compressed, and its checksum.
pub(super) const TRAILER_LEN: usize = 5;

pub(super) const MAGIC: u64 = 0xdb47_7524_8b80_fb57;
const HANDLES_LEN: usize = FOOTER_LEN - 8;

/// Where a block is: its first byte and its length without the trailer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockHandle {
    pub(super) offset: u64,
    pub(super) length: u64,
}

impl BlockHandle {
    pub(super) fn encode_to(&self, out: &mut Vec<u8>) {
        varint::put_u64(out, self.offset);
        varint::put_u64(out, self.length);
    }

    /// The handle at the beginning of `bytes`, and how many bytes it takes.
    pub(super) fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let (offset, used) = varint::get_u64(bytes)?;
        let (length, more) = varint::get_u64(bytes.get(used..)?)?;
        Some((Self { offset, length }, used + more))
    }

    /// The first byte behind the block and its trailer, if that is in a table of `table_length` bytes.
    pub(super) fn end(&self, table_length: u64) -> Option<u64> {
        let end = self.offset.checked_add(self.length)?.checked_add(TRAILER_LEN as u64)?;
        (end <= table_length.checked_sub(FOOTER_LEN as u64)?).then_some(end)
    }
}

/// Where the index and the metaindex are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) metaindex: BlockHandle,
    pub(super) index: BlockHandle,
}

impl Footer {
    pub(super) fn encode_to(&self, out: &mut Vec<u8>) {
        let start = out.len();
        self.metaindex.encode_to(out);
        self.index.encode_to(out);
        out.resize(start + HANDLES_LEN, 0);
        out.extend_from_slice(&MAGIC.to_le_bytes());
    }

    /// Reads a footer.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(super) fn decode(bytes: &[u8; FOOTER_LEN]) -> Result<Self, &'static str> {
        let (handles, magic) = bytes.split_at(HANDLES_LEN);
        if magic != MAGIC.to_le_bytes() {
            return Err("not a table: its last bytes are not a table's");
        }
        let decode = || {
            let (metaindex, used) = BlockHandle::decode(handles)?;
            let (index, _) = BlockHandle::decode(handles.get(used..)?)?;
            Some(Self { metaindex, index })
        };
        decode().ok_or("a malformed footer")
    }
}
