//! A cursor over a whole level: its tables one after the other, each opened when it is reached.

use super::{file::FileMetaData, layout::Level};
use crate::{
    error::ReadResult,
    iterator::Cursor,
    key::InternalKey,
    storage::Access,
    table::{TableCache, TableCursor},
};
use bytes::Bytes;
use std::sync::Arc;

/// A position among the entries of tables that are sorted and disjoint. It keeps the files.
pub(crate) struct LevelCursor {
    files: Level,
    tables: Arc<TableCache>,
    fill_cache: bool,
    access: Access,
    /// The table it stands in and which one that is.
    current: Option<(usize, TableCursor)>,
}

impl LevelCursor {
    /// Before the first use it stands nowhere and has opened nothing.
    pub(crate) fn new(files: Level, tables: Arc<TableCache>, fill_cache: bool) -> Self {
        Self { files, tables, fill_cache, access: Access::Blocking, current: None }
    }

    /// The cursor of the table `index`, the one in use if it is that.
    fn enter(&mut self, index: usize) -> Option<&mut TableCursor> {
        if self.current.as_ref().is_none_or(|(current, _)| *current != index) {
            let file: &Arc<FileMetaData> = self.files.get(index)?;
            let mut cursor = self.tables.cursor(file.number(), file.size(), self.fill_cache);
            cursor.set_access(self.access);
            self.current = Some((index, cursor));
        }
        self.current.as_mut().map(|(_, cursor)| cursor)
    }

    /// If it stands at the end of a table, goes on to the first entry of the next one that has any.
    fn skip_forward(&mut self) -> ReadResult<()> {
        while let Some(index) = self.ended_in() {
            match self.enter(index + 1) {
                Some(cursor) => cursor.seek_to_first()?,
                None => self.current = None,
            }
        }
        Ok(())
    }

    /// The same towards the beginning.
    fn skip_backward(&mut self) -> ReadResult<()> {
        while let Some(index) = self.ended_in() {
            match index.checked_sub(1).and_then(|index| self.enter(index)) {
                Some(cursor) => cursor.seek_to_last()?,
                None => self.current = None,
            }
        }
        Ok(())
    }

    /// The table it is in if it stands on no entry of it.
    fn ended_in(&self) -> Option<usize> {
        self.current.as_ref().filter(|(_, cursor)| !cursor.valid()).map(|(index, _)| *index)
    }

    fn standing(&self) -> &TableCursor {
        let (_, cursor) = self.current.as_ref().expect("the cursor stands on an entry");
        cursor
    }
}

impl Cursor for LevelCursor {
    fn valid(&self) -> bool {
        self.current.as_ref().is_some_and(|(_, cursor)| cursor.valid())
    }

    fn key(&self) -> InternalKey<'_> {
        self.standing().key()
    }

    fn value(&self) -> Bytes {
        self.standing().value()
    }

    fn seek_to_first(&mut self) -> ReadResult<()> {
        match self.enter(0) {
            Some(cursor) => cursor.seek_to_first()?,
            None => self.current = None,
        }
        self.skip_forward()
    }

    fn seek_to_last(&mut self) -> ReadResult<()> {
        match self.files.len().checked_sub(1).and_then(|last| self.enter(last)) {
            Some(cursor) => cursor.seek_to_last()?,
            None => self.current = None,
        }
        self.skip_backward()
    }

    fn seek(&mut self, target: InternalKey<'_>) -> ReadResult<()> {
        let index = self.files.partition_point(|file| file.largest() < target);
        match self.enter(index) {
            Some(cursor) => cursor.seek(target)?,
            None => self.current = None,
        }
        self.skip_forward()
    }

    fn next(&mut self) -> ReadResult<()> {
        if let Some((_, cursor)) = &mut self.current {
            cursor.next()?;
        }
        self.skip_forward()
    }

    fn prev(&mut self) -> ReadResult<()> {
        if let Some((_, cursor)) = &mut self.current {
            cursor.prev()?;
        }
        self.skip_backward()
    }

    fn set_access(&mut self, access: Access) {
        self.access = access;
        if let Some((_, cursor)) = &mut self.current {
            cursor.set_access(access);
        }
    }
}
