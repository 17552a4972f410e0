//! Iterators: from a position in one block up to the entries that a user sees.

mod merging;
mod visible;

#[cfg(test)]
mod tests;

pub(crate) use merging::MergingCursor;
pub(crate) use visible::VisibleEntries;

use crate::{error::ReadResult, key::InternalKey, storage::Access};
use bytes::Bytes;

/// A position among the internal entries of one source, sorted by internal key.
///
/// After an error the position is undefined: seek again, or drop it. `ReadError::WouldBlock` is such an error too.
pub(crate) trait Cursor: Send {
    /// Whether it stands on an entry. A new cursor does not.
    fn valid(&self) -> bool;

    /// The key of the entry. Requires `valid`.
    fn key(&self) -> InternalKey<'_>;

    /// The value of the entry, empty for a deletion; a slice of what holds it. Requires `valid`.
    fn value(&self) -> Bytes;

    /// Goes to the first entry.
    fn seek_to_first(&mut self) -> ReadResult<()>;

    /// Goes to the last entry.
    fn seek_to_last(&mut self) -> ReadResult<()>;

    /// Goes to the first entry whose key is `target` or behind it.
    fn seek(&mut self, target: InternalKey<'_>) -> ReadResult<()>;

    /// Goes to the next entry. Requires `valid`.
    fn next(&mut self) -> ReadResult<()>;

    /// Goes to the entry before. Requires `valid`.
    fn prev(&mut self) -> ReadResult<()>;

    /// Whether reads from here on may wait for the disk.
    fn set_access(&mut self, access: Access);
}
