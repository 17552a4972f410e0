//! Writing a table.

use super::{
    block_builder::BlockBuilder,
    filter::{FILTER_NAME, FilterBuilder},
    footer::{BlockHandle, FOOTER_LEN, Footer, TRAILER_LEN},
};
use crate::{
    key::{InternalKey, MAX_SEQUENCE, seek_tag},
    log::mask,
    options::Compression,
    storage::WriteFile,
};
use std::io::{self, IoSlice};

/// Bytes that are gathered before they go to the file.
const WRITE_CHUNK: usize = 256 << 10;

/// How a table is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TableOptions {
    pub(crate) compression: Compression,
    /// Bytes of a data block before compression, about.
    pub(crate) block_size: usize,
    /// Every so many keys of a data block one is whole; LevelDB's own number is 16.
    pub(crate) restart_interval: usize,
    /// Bits of the bloom filter per key; 0 for no filter.
    pub(crate) bloom_bits: usize,
}

/// Writes a table, entry by entry.
pub(crate) struct TableBuilder {
    options: TableOptions,
    output: Output,
    data: BlockBuilder,
    index: BlockBuilder,
    filter: Option<FilterBuilder>,
    last_key: Vec<u8>,
    /// A block that was written; its entry in the index waits for the next key.
    unindexed: Option<BlockHandle>,
}

impl TableBuilder {
    /// Begins a table in an empty file.
    pub(crate) fn new(file: Box<dyn WriteFile>, options: TableOptions) -> Self {
        let mut filter = (options.bloom_bits > 0).then(|| FilterBuilder::new(options.bloom_bits));
        if let Some(filter) = &mut filter {
            filter.start_block(0);
        }
        Self {
            options,
            output: Output {
                file,
                buffer: Vec::new(),
                written: 0,
                encoder: snap::raw::Encoder::new(),
                compressed: Vec::new(),
            },
            data: BlockBuilder::new(options.restart_interval),
            index: BlockBuilder::new(1),
            filter,
            last_key: Vec::new(),
            unindexed: None,
        }
    }

    /// Adds an entry. Keys have to come in their order.
    pub(crate) fn add(&mut self, key: InternalKey<'_>, value: &[u8]) -> io::Result<()> {
        if let Some(last) = InternalKey::decode(&self.last_key) {
            if last >= key {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "the entries of a table are not in order"));
            }
            if let Some(handle) = self.unindexed.take() {
                let separator = separator(last, key);
                add_handle(&mut self.index, &separator, handle);
            }
        }
        if let Some(filter) = &mut self.filter {
            filter.add_key(key.user_key);
        }
        self.last_key.clear();
        key.encode_to(&mut self.last_key);
        self.data.add(&self.last_key, value);
        if self.data.estimated_size() >= self.options.block_size { self.finish_block() } else { Ok(()) }
    }

    /// The length of the table, about, if it were finished now.
    pub(crate) fn estimated_size(&self) -> u64 {
        let filter = self.filter.as_ref().map_or(0, FilterBuilder::len);
        self.output.offset() + (self.data.estimated_size() + self.index.estimated_size() + filter) as u64
    }

    /// Writes what is left, waits until the table would survive power loss, and says how long it is.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        if !self.data.is_empty() {
            self.finish_block()?;
        }
        let mut metaindex = BlockBuilder::new(self.options.restart_interval);
        if let Some(filter) = self.filter.take() {
            // Bloom filters do not compress.
            let handle = self.output.write_block(&filter.finish(), Compression::None)?;
            add_handle(&mut metaindex, FILTER_NAME, handle);
        }
        let metaindex = self.output.write_block(metaindex.finish(), self.options.compression)?;
        if let (Some(handle), Some(last)) = (self.unindexed.take(), InternalKey::decode(&self.last_key)) {
            add_handle(&mut self.index, &successor(last), handle);
        }
        let index = self.output.write_block(self.index.finish(), self.options.compression)?;
        self.output.buffer.reserve(FOOTER_LEN);
        Footer { metaindex, index }.encode_to(&mut self.output.buffer);
        self.output.flush()?;
        self.output.file.sync()?;
        Ok(self.output.offset())
    }

    fn finish_block(&mut self) -> io::Result<()> {
        let handle = self.output.write_block(self.data.finish(), self.options.compression)?;
        self.data.reset();
        self.unindexed = Some(handle);
        if let Some(filter) = &mut self.filter {
            filter.start_block(self.output.offset());
        }
        Ok(())
    }
}

fn add_handle(block: &mut BlockBuilder, key: &[u8], handle: BlockHandle) {
    let mut value = Vec::with_capacity(20);
    handle.encode_to(&mut value);
    block.add(key, &value);
}

/// The file, and what is on its way there.
struct Output {
    file: Box<dyn WriteFile>,
    buffer: Vec<u8>,
    written: u64,
    encoder: snap::raw::Encoder,
    compressed: Vec<u8>,
}

impl Output {
    fn offset(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn write_block(&mut self, contents: &[u8], compression: Compression) -> io::Result<BlockHandle> {
        let compressed = match compression {
            Compression::None => None,
            Compression::Snappy => self.compress(contents)?,
        };
        let (contents, kind) = match compressed {
            Some(length) => (self.compressed.get(..length).unwrap_or_default(), 1u8),
            None => (contents, 0),
        };
        let handle = BlockHandle { offset: self.written + self.buffer.len() as u64, length: contents.len() as u64 };
        let crc = mask(crc32c::crc32c_append(crc32c::crc32c(contents), &[kind]));
        self.buffer.reserve(contents.len() + TRAILER_LEN);
        self.buffer.extend_from_slice(contents);
        self.buffer.push(kind);
        self.buffer.extend_from_slice(&crc.to_le_bytes());
        if self.buffer.len() >= WRITE_CHUNK {
            self.flush()?;
        }
        Ok(handle)
    }

    /// Compresses; the length, if that saves an eighth or more.
    fn compress(&mut self, contents: &[u8]) -> io::Result<Option<usize>> {
        let most = snap::raw::max_compress_len(contents.len());
        // It is 0 for contents that Snappy cannot hold.
        if most == 0 {
            return Ok(None);
        }
        if self.compressed.len() < most {
            self.compressed.resize(most, 0);
        }
        let length = self.encoder.compress(contents, &mut self.compressed).map_err(io::Error::other)?;
        Ok((length < contents.len() - contents.len() / 8).then_some(length))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write(&mut [IoSlice::new(&self.buffer)])?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// A key, as short as can be, that is not below `last` and below `next`.
fn separator(last: InternalKey<'_>, next: InternalKey<'_>) -> Vec<u8> {
    let common = last.user_key.iter().zip(next.user_key).take_while(|(a, b)| a == b).count();
    match (last.user_key.get(common), next.user_key.get(common)) {
        // `a + 1 < b` without overflow. The shorter key must be behind `last`, which a key as long need not be.
        (Some(&a), Some(&b)) if b > a && b - a > 1 && common + 1 < last.user_key.len() => shortened(last, common, a),
        _ => last.encode(),
    }
}

/// A key, as short as can be, that is not below `last`.
fn successor(last: InternalKey<'_>) -> Vec<u8> {
    let full = last.user_key.iter().take_while(|&&byte| byte == 0xff).count();
    match last.user_key.get(full) {
        Some(&byte) if full + 1 < last.user_key.len() => shortened(last, full, byte),
        _ => last.encode(),
    }
}

/// The first `length` bytes of a user's key, then `byte + 1`; and the tag that comes first.
fn shortened(key: InternalKey<'_>, length: usize, byte: u8) -> Vec<u8> {
    let mut user_key = Vec::with_capacity(length + 1);
    user_key.extend(key.user_key.iter().take(length));
    user_key.push(byte.saturating_add(1));
    InternalKey { user_key: &user_key, tag: seek_tag(MAX_SEQUENCE) }.encode()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Kind;

    #[test]
    fn separators_lie_between() {
        let keys: &[&[u8]] =
            &[b"", b"\0", b"a", b"a\0", b"ab", b"abc", b"abe", b"b", b"c", b"\xff", b"\xff\xff", b"\xff\xffa"];
        let keys: Vec<_> =
            keys.iter().flat_map(|key| [9, 5].map(|sequence| InternalKey::new(key, sequence, Kind::Value))).collect();
        for (index, &a) in keys.iter().enumerate() {
            for &b in &keys[index + 1..] {
                let separator = separator(a, b);
                let separator = InternalKey::decode(&separator).unwrap();
                assert!(separator >= a && separator < b, "{a:?} {separator:?} {b:?}");
            }
            assert!(InternalKey::decode(&successor(a)).unwrap() >= a);
        }
    }

    #[test]
    fn separators_are_short() {
        let key = |user_key| InternalKey::new(user_key, 7, Kind::Value);
        let short = |user_key| InternalKey { user_key, tag: seek_tag(MAX_SEQUENCE) }.encode();
        assert_eq!(separator(key(b"the quick"), key(b"the who")), short(b"the r"));
        assert_eq!(separator(key(b"abc1"), key(b"abc3")), key(b"abc1").encode());
        assert_eq!(separator(key(b"abc"), key(b"abcd")), key(b"abc").encode());
        assert_eq!(successor(key(b"foobar")), short(b"g"));
        assert_eq!(successor(key(b"\xff\xff")), key(b"\xff\xff").encode());
        assert_eq!(successor(key(b"\xffab")), short(b"\xffb"));
    }
}
