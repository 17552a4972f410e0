//! The log: a file of records, appended to before anything else is done.
//!
//! A log is a row of blocks of 32 KiB; the last one may be shorter. A block holds *fragments*, each with a header of
//! seven bytes:
//!
//! ```text
//! crc: u32        masked CRC-32C of kind and payload, least significant byte first
//! length: u16     of the payload
//! kind: u8        1 full, 2 first, 3 middle, 4 last
//! payload
//! ```
//!
//! A record that fits into the rest of the block is one *full* fragment; a longer one is a *first* fragment, as many
//! *middle* ones as it takes, and a *last* one, each in a block of its own. A header is never split: where fewer than
//! seven bytes are left in a block, they are zeros. So reading can start anew at every block, whatever is before it.

mod format;
#[cfg(feature = "testing")]
mod mend;
mod reader;
mod writer;

pub(crate) use format::{mask, unmask};
#[cfg(feature = "testing")]
pub(crate) use mend::mend_log;
pub(crate) use reader::{LogEntry, LogReader};
pub(crate) use writer::LogWriter;

#[cfg(test)]
mod tests;
