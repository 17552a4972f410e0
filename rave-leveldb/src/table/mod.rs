//! Tables: sorted, immutable files.
//!
//! ```text
//! data blocks         entries sorted by internal key
//! filter block        optional: bloom filters over the user keys of the data blocks
//! metaindex block     where the filter block is
//! index block         for each data block: a key not below its last and below the next one's first, and where it is
//! footer              where the metaindex and the index are, and a magic number
//! ```
//!
//! Every block is followed by a trailer of five bytes: how it is compressed, and a masked CRC-32C of both, which is
//! verified whenever the block is read from the file.

mod block;
mod block_builder;
mod builder;
mod cache;
mod cursor;
mod filter;
mod footer;
#[cfg(feature = "testing")]
mod mend;
mod reader;
mod scan;
pub(crate) mod varint;

pub(crate) use builder::{TableBuilder, TableOptions};
pub(crate) use cache::TableCache;
pub(crate) use cursor::TableCursor;
#[cfg(feature = "testing")]
pub(crate) use mend::mend_table;
pub(crate) use scan::{Scanned, scan_table};

#[cfg(test)]
mod tests;
