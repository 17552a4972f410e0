//! Reading: one key, or a walk over many.

use super::{Db, view::View};
use crate::{
    error::ReadResult,
    iterator::VisibleEntries,
    key::{InternalKey, SequenceNumber},
    storage::Access,
};
use bytes::Bytes;
use std::sync::Arc;

impl Db {
    /// The value of `key` in a view, at a sequence number that the view has.
    pub(crate) fn get(
        &self,
        view: &View,
        key: &Bytes,
        sequence: SequenceNumber,
        access: Access,
    ) -> ReadResult<Option<Bytes>> {
        let in_memory = view.active.get(key, sequence);
        let in_memory = in_memory.or_else(|| view.immutable.as_ref().and_then(|table| table.get(key, sequence)));
        if let Some(known) = in_memory {
            return Ok(known);
        }
        let found = view.version.get(&self.tables, InternalKey::seek(key, sequence), access)?;
        if let Some(charge) = found.charge
            && view.version.charge(charge)
        {
            self.seeks_exhausted();
        }
        Ok(found.value.flatten())
    }

    /// A walk over the entries visible at `at`, or now. It has to be told its range first.
    pub(crate) fn entries(&self, at: Option<SequenceNumber>, reverse: bool, fill_cache: bool) -> VisibleEntries {
        let (view, newest) = self.current.hold();
        self.entries_of(&view, at.unwrap_or(newest), reverse, fill_cache)
    }

    /// The same in a view that is held.
    pub(crate) fn entries_of(
        &self,
        view: &Arc<View>,
        sequence: SequenceNumber,
        reverse: bool,
        fill_cache: bool,
    ) -> VisibleEntries {
        VisibleEntries::new(view.cursor(&self.tables, fill_cache), sequence, reverse, view.clone())
    }
}
