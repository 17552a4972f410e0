//! Merging any tables into ones that do not overlap, when no level says how they relate.

use super::OutputFiles;
use crate::{
    error::ReadError,
    iterator::{Cursor, MergingCursor},
    key::{InternalKey, SequenceNumber},
    table::{TableCache, TableOptions},
    version::{FileMetaData, FileNumbers, LevelCursor, ObsoleteFiles, TableInfo},
};
use rave_core::Result;
use std::sync::Arc;

/// Makes tables that do not overlap, in order, of `tables`, with every entry that these have. One that overlaps no other
/// stays as it is.
pub(crate) fn merge_tables(
    cache: &Arc<TableCache>,
    mut tables: Vec<TableInfo>,
    files: &mut OutputFiles,
    numbers: &FileNumbers,
    options: &TableOptions,
    max_file_size: u64,
) -> Result<Vec<TableInfo>> {
    tables.sort_by(|left, right| left.smallest.as_key().cmp(&right.smallest.as_key()));
    let mut merged = Vec::new();
    for group in overlapping_groups(tables) {
        let Err(group) = <[TableInfo; 1]>::try_from(group).map(|alone| merged.extend(alone)) else { continue };
        merge(cache, group, files, numbers, options, max_file_size, &mut merged)?;
    }
    Ok(merged)
}

/// Groups of tables, sorted by their first keys, that overlap with no table of another group.
fn overlapping_groups(tables: Vec<TableInfo>) -> Vec<Vec<TableInfo>> {
    let mut groups: Vec<Vec<TableInfo>> = Vec::new();
    let mut end: Option<Box<[u8]>> = None;
    for table in tables {
        let (smallest, largest) = (table.smallest.as_key().user_key, table.largest.as_key().user_key);
        let overlaps = end.as_deref().is_some_and(|end| smallest <= end);
        if !overlaps || end.as_deref().is_none_or(|end| end < largest) {
            end = Some(largest.into());
        }
        match groups.last_mut().filter(|_| overlaps) {
            Some(group) => group.push(table),
            None => groups.push(vec![table]),
        }
    }
    groups
}

fn merge(
    cache: &Arc<TableCache>,
    tables: Vec<TableInfo>,
    files: &mut OutputFiles,
    numbers: &FileNumbers,
    options: &TableOptions,
    max_file_size: u64,
    merged: &mut Vec<TableInfo>,
) -> Result<()> {
    let runs = sorted_runs(tables)
        .into_iter()
        .map(|run| -> Box<dyn Cursor> { Box::new(LevelCursor::new(run.into(), Arc::clone(cache), false)) });
    let mut input = MergingCursor::new(runs.collect());
    let mut last: Option<(Vec<u8>, SequenceNumber)> = None;
    let mut current = None;
    input.seek_to_first().map_err(ReadError::into_error)?;
    while let Some(key) = input.key() {
        let same_key = last.as_ref().is_some_and(|(user_key, _)| user_key == key.user_key);
        let repeated = same_key && last.as_ref().is_some_and(|(_, sequence)| *sequence == key.sequence());
        if !same_key && let Some(full) = current.take_if(|output: &mut super::Output| output.size() >= max_file_size) {
            merged.extend(full.finish()?);
        }
        if !repeated {
            let output = match &mut current {
                Some(output) => output,
                None => current.insert(files.create(numbers.allocate(), options)?),
            };
            output.add(key, &input.value())?;
            remember(&mut last, key);
        }
        input.next().map_err(ReadError::into_error)?;
    }
    if let Some(output) = current {
        merged.extend(output.finish()?);
    }
    Ok(())
}

fn remember(last: &mut Option<(Vec<u8>, SequenceNumber)>, key: InternalKey<'_>) {
    let (user_key, sequence) = last.get_or_insert_default();
    user_key.clear();
    user_key.extend_from_slice(key.user_key);
    *sequence = key.sequence();
}

/// As few rows as possible of tables that do not overlap, so that few have to be open at once.
fn sorted_runs(tables: Vec<TableInfo>) -> Vec<Vec<Arc<FileMetaData>>> {
    let obsolete = ObsoleteFiles::new();
    let mut runs: Vec<Vec<Arc<FileMetaData>>> = Vec::new();
    for table in tables {
        let table = FileMetaData::new(table, &obsolete);
        let fits = |run: &&mut Vec<Arc<FileMetaData>>| {
            run.last().is_none_or(|last| last.largest().user_key < table.smallest().user_key)
        };
        match runs.iter_mut().find(fits) {
            Some(run) => run.push(table),
            None => runs.push(vec![table]),
        }
    }
    runs
}
