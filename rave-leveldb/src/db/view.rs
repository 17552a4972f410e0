//! What a read looks into.

use crate::{
    iterator::{Cursor, MergingCursor},
    memtable::MemTable,
    table::TableCache,
    version::Version,
};
use std::sync::Arc;

/// The sources of one state. Whoever holds a view keeps its memtables and its tables' files.
pub(crate) struct View {
    /// Takes the writes.
    pub(crate) active: Arc<MemTable>,
    /// Full, and on its way into a table.
    pub(crate) immutable: Option<Arc<MemTable>>,
    /// The tables.
    pub(crate) version: Arc<Version>,
}

impl View {
    /// A cursor over everything in the view.
    pub(crate) fn cursor(&self, tables: &Arc<TableCache>, fill_cache: bool) -> MergingCursor {
        let mut sources: Vec<Box<dyn Cursor>> = vec![Box::new(self.active.cursor())];
        sources.extend(self.immutable.as_ref().map(|table| Box::new(table.cursor()) as Box<dyn Cursor>));
        sources.extend(self.version.cursors(tables, fill_cache));
        MergingCursor::new(sources)
    }
}
