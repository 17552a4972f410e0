//! A memtable becomes a table.

use super::OutputFiles;
use crate::{error::ReadError, iterator::Cursor, storage::Storage, table::TableOptions, version::TableInfo};
use rave_core::Result;
use std::sync::Arc;

/// Writes all entries of `source` into the table `number`. `None`, and no file, if there are none. After an error there
/// is no file either.
pub(crate) fn build_table(
    storage: &Arc<dyn Storage>,
    options: &TableOptions,
    number: u64,
    source: &mut dyn Cursor,
) -> Result<Option<TableInfo>> {
    source.seek_to_first().map_err(ReadError::into_error)?;
    if !source.valid() {
        return Ok(None);
    }
    let mut files = OutputFiles::new(storage);
    let mut output = files.create(number, options)?;
    while source.valid() {
        output.add(source.key(), &source.value())?;
        source.next().map_err(ReadError::into_error)?;
    }
    let table = output.finish()?;
    files.keep();
    Ok(table)
}
