//! Reading the whole of a table, whatever is damaged in it: for checking it and for saving what can be saved.

use super::{
    block::{Block, BlockCursor},
    filter::{FILTER_NAME, Filter},
    footer::{BlockHandle, FOOTER_LEN, Footer, TRAILER_LEN},
    reader::{TableFile, unpack},
};
use crate::{
    error::{ReadError, ReadResult},
    key::InternalKey,
    log::mask,
    storage::{Access, OpenFiles},
};
use bytes::Bytes;
use rave_core::Result;
use std::ops::ControlFlow;

/// Bytes in which the end of a block is looked for when no index says where it is: usually few will do.
const SEARCHES: [u64; 3] = [64 << 10, 1 << 20, 16 << 20];

/// What a scan comes upon.
pub(crate) enum Scanned<'a> {
    /// An entry, which comes behind the ones before.
    Entry(InternalKey<'a>, Bytes),
    /// Something is wrong at this byte of the file. The scan goes on.
    Damage(u64, &'a str),
    /// The file has been read up to here.
    Position(u64),
}

/// Who is told what a scan comes upon, and may end it.
pub(crate) type Visitor<'v> = dyn FnMut(Scanned<'_>) -> ControlFlow<()> + 'v;

/// Reads the table `number` from its first entry to its last, without keeping anything. Blocks that cannot be read are
/// left out; if the index is among them the data blocks are found by their checksums.
///
/// # Errors
///
/// If the file cannot be opened. What cannot be read of it is damage.
pub(crate) fn scan_table(files: &OpenFiles, number: u64, visit: &mut Visitor<'_>) -> Result<ControlFlow<()>> {
    let size = files.len(number).map_err(ReadError::into_error)?;
    Ok(scan(TableFile { files, number, size }, visit))
}

fn scan(file: TableFile<'_>, visit: &mut Visitor<'_>) -> ControlFlow<()> {
    let size = file.size;
    let mut scan = Scan { file, filter: None, last: None, visit };
    let footer = match scan.footer() {
        Ok(footer) => footer,
        Err(error) => {
            report(scan.visit, size.saturating_sub(FOOTER_LEN as u64), error)?;
            return scan.without_index(0);
        }
    };
    match scan.file.filter(footer.metaindex) {
        Ok(filter) => scan.filter = filter,
        Err((offset, error)) => report(scan.visit, offset, error)?,
    }
    match scan.file.read_block(footer.index, Access::Blocking).and_then(|bytes| malformed(Block::new(bytes))) {
        Ok(index) => scan.with_index(footer.index.offset, index),
        Err(error) => {
            report(scan.visit, footer.index.offset, error)?;
            scan.without_index(0)
        }
    }
}

fn malformed<T>(result: std::result::Result<T, &'static str>) -> ReadResult<T> {
    result.map_err(|what| ReadError::Failed(rave_core::Error::new(rave_core::Code::Corruption, what)))
}

/// Tells of an error. What the engine's errors say behind the place is what is told.
fn report(visit: &mut Visitor<'_>, offset: u64, error: ReadError) -> ControlFlow<()> {
    let error = error.into_error();
    let text = error.full_message();
    let what = text.split_once(&format!("at byte {offset}: ")).map_or(text.as_str(), |(_, what)| what);
    visit(Scanned::Damage(offset, what))
}

impl TableFile<'_> {
    fn filter(&self, metaindex: BlockHandle) -> std::result::Result<Option<(u64, Filter)>, (u64, ReadError)> {
        let within = |error| (metaindex.offset, error);
        let block = self.read_block(metaindex, Access::Blocking).map_err(within)?;
        let named = malformed(Block::new(block).and_then(|block| block.find_name(FILTER_NAME))).map_err(within)?;
        let Some(handle) = named else { return Ok(None) };
        let handle = malformed(BlockHandle::decode(&handle).ok_or("a malformed handle of the filter"));
        let (handle, _) = handle.map_err(within)?;
        let block = self.read_block(handle, Access::Blocking).map_err(|error| (handle.offset, error))?;
        let filter = malformed(Filter::new(block).ok_or("a malformed filter"));
        filter.map(|filter| Some((handle.offset, filter))).map_err(|error| (handle.offset, error))
    }
}

struct Scan<'a, 'v> {
    file: TableFile<'a>,
    filter: Option<(u64, Filter)>,
    /// The last entry's user key and tag.
    last: Option<(Vec<u8>, u64)>,
    visit: &'a mut Visitor<'v>,
}

/// What a block of the index says of the entries of a data block: behind the first key, up to the second one.
struct Bounds<'a> {
    above: Option<&'a (Vec<u8>, u64)>,
    up_to: InternalKey<'a>,
}

fn as_key((user_key, tag): &(Vec<u8>, u64)) -> InternalKey<'_> {
    InternalKey { user_key, tag: *tag }
}

impl Scan<'_, '_> {
    fn footer(&self) -> ReadResult<Footer> {
        let offset = malformed(self.file.size.checked_sub(FOOTER_LEN as u64).ok_or("too short for a table"))?;
        let mut footer = [0; FOOTER_LEN];
        let read = self.file.files.read_at(self.file.number, &mut footer, offset, Access::Blocking)?;
        malformed(if read < FOOTER_LEN { Err("the file became shorter") } else { Footer::decode(&footer) })
    }

    fn with_index(&mut self, index_offset: u64, index: Block) -> ControlFlow<()> {
        let mut index = BlockCursor::new(index);
        let mut before: Option<(Vec<u8>, u64)> = None;
        let mut end = 0;
        let mut step = index.seek_to_first();
        loop {
            if let Err(what) = step {
                (self.visit)(Scanned::Damage(index_offset, what))?;
                return self.without_index(end);
            }
            if !index.valid() {
                return ControlFlow::Continue(());
            }
            match BlockHandle::decode(index.value_bytes()) {
                None => (self.visit)(Scanned::Damage(index_offset, "a malformed handle"))?,
                Some((handle, _)) => {
                    end = handle.end(self.file.size).unwrap_or(end);
                    match self.file.read_block(handle, Access::Blocking).and_then(|bytes| malformed(Block::new(bytes)))
                    {
                        Ok(block) => {
                            let bounds = Bounds { above: before.as_ref(), up_to: index.key() };
                            self.entries(handle.offset, block, Some(bounds))?;
                        }
                        Err(error) => report(self.visit, handle.offset, error)?,
                    }
                    (self.visit)(Scanned::Position(end))?;
                }
            }
            before = Some((index.key().user_key.to_vec(), index.key().tag));
            step = index.next();
        }
    }

    /// Visits the entries of a block, and says once of each kind what is wrong with them.
    fn entries(&mut self, offset: u64, block: Block, bounds: Option<Bounds<'_>>) -> ControlFlow<()> {
        let mut cursor = BlockCursor::new(block);
        let (mut disorder, mut misplaced, mut denied) = (false, false, false);
        let mut step = cursor.seek_to_first();
        loop {
            if let Err(what) = step {
                return (self.visit)(Scanned::Damage(offset, what));
            }
            if !cursor.valid() {
                return ControlFlow::Continue(());
            }
            let key = cursor.key();
            let in_bounds = bounds
                .as_ref()
                .is_none_or(|bounds| bounds.above.is_none_or(|above| as_key(above) < key) && key <= bounds.up_to);
            if !in_bounds && !std::mem::replace(&mut misplaced, true) {
                (self.visit)(Scanned::Damage(offset, "an entry is not where the index says"))?;
            }
            let allowed = self.filter.as_ref().is_none_or(|(_, filter)| filter.may_contain(offset, key.user_key));
            if let (false, Some((at, _))) = (allowed, &self.filter)
                && !std::mem::replace(&mut denied, true)
            {
                (self.visit)(Scanned::Damage(*at, "the filter denies a key that is there"))?;
            }
            if self.last.as_ref().is_some_and(|last| as_key(last) >= key) {
                if !std::mem::replace(&mut disorder, true) {
                    (self.visit)(Scanned::Damage(offset, "entries are out of order"))?;
                }
            } else {
                let (user_key, tag) = self.last.get_or_insert_default();
                user_key.clear();
                user_key.extend_from_slice(key.user_key);
                *tag = key.tag;
                (self.visit)(Scanned::Entry(key, cursor.value()))?;
            }
            step = cursor.next();
        }
    }

    /// Data blocks follow each other without a gap from the beginning of the file, so where one begins its end can be
    /// found: its trailer has the right checksum. The first block that has no entries of data ends them.
    fn without_index(&mut self, mut offset: u64) -> ControlFlow<()> {
        while offset < self.file.size {
            let found = match self.block_at(offset) {
                Ok(found) => found,
                Err(error) => return report(self.visit, offset, error),
            };
            let Some((length, bytes)) = found else {
                return (self.visit)(Scanned::Damage(
                    offset,
                    "no block begins here, and without the index no later one is found",
                ));
            };
            let block = unpack(&bytes).and_then(|contents| match contents {
                Some(contents) => Block::new(contents.into()),
                None => Block::new(bytes.slice(..bytes.len().saturating_sub(TRAILER_LEN))),
            });
            let Ok(block) = block else { break };
            let mut cursor = BlockCursor::new(block.clone());
            if cursor.seek_to_first().is_err() || !cursor.valid() {
                break;
            }
            self.entries(offset, block, None)?;
            offset = offset.saturating_add(length);
            (self.visit)(Scanned::Position(offset))?;
        }
        ControlFlow::Continue(())
    }

    /// The block that begins at `offset`, with its trailer, and its length with it.
    fn block_at(&self, offset: u64) -> ReadResult<Option<(u64, Bytes)>> {
        let left = self.file.size.saturating_sub(offset);
        for search in SEARCHES {
            let mut bytes = vec![0; search.min(left) as usize];
            let read = self.file.files.read_at(self.file.number, &mut bytes, offset, Access::Blocking)?;
            bytes.truncate(read);
            if let Some(length) = find_end(&bytes) {
                return Ok(Some((length as u64, Bytes::from(bytes).slice(..length))));
            }
            if search >= left {
                break;
            }
        }
        Ok(None)
    }
}

/// The length of the block and the trailer at the beginning of `bytes`.
fn find_end(bytes: &[u8]) -> Option<usize> {
    let mut checksum = 0;
    for (position, trailer) in bytes.windows(TRAILER_LEN).enumerate() {
        let [kind, c0, c1, c2, c3] = *trailer else { break };
        checksum = crc32c::crc32c_append(checksum, &[kind]);
        if kind <= 1 && mask(checksum) == u32::from_le_bytes([c0, c1, c2, c3]) {
            return Some(position + TRAILER_LEN);
        }
    }
    None
}
