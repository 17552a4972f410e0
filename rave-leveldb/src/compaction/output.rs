//! A table while it is being written.

use crate::{
    error::io_failed,
    key::InternalKey,
    storage::{FileName, Storage},
    table::{TableBuilder, TableOptions},
    version::{BoundaryKey, TableInfo, remove_table},
};
use rave_core::{Code, Error, Result};
use std::{path::PathBuf, sync::Arc};

/// A table that is being written. Entries come in order.
pub(crate) struct Output {
    number: u64,
    path: PathBuf,
    builder: TableBuilder,
    smallest: Option<BoundaryKey>,
    /// The last key so far: its user key, and its tag.
    last_user_key: Vec<u8>,
    last_tag: u64,
}

impl Output {
    /// Creates the table `number`.
    pub(crate) fn create(storage: &dyn Storage, number: u64, options: &TableOptions) -> Result<Self> {
        let name = FileName::Table(number).to_string();
        let path = storage.directory().join(&name);
        let file = storage.create(&name).map_err(|error| io_failed("creating", &path, error))?;
        let builder = TableBuilder::new(file, *options);
        Ok(Self { number, path, builder, smallest: None, last_user_key: Vec::new(), last_tag: 0 })
    }

    /// Appends an entry. One that does not come behind the one before shows that a source is damaged.
    pub(crate) fn add(&mut self, key: InternalKey<'_>, value: &[u8]) -> Result<()> {
        if self.smallest.is_none() {
            self.smallest = Some(BoundaryKey::new(key));
        } else if (InternalKey { user_key: &self.last_user_key, tag: self.last_tag }) >= key {
            let what =
                format!("entries for {} are out of order: a table that is merged is damaged", self.path.display());
            return Err(Error::new(Code::Corruption, what));
        }
        self.last_user_key.clear();
        self.last_user_key.extend_from_slice(key.user_key);
        self.last_tag = key.tag;
        self.builder.add(key, value).map_err(|error| io_failed("writing", &self.path, error))
    }

    /// Bytes written so far, about.
    pub(crate) fn size(&self) -> u64 {
        self.builder.estimated_size()
    }

    /// Completes the table; it is durable but for its name. `None` if nothing was added; the file is then of no use.
    pub(crate) fn finish(self) -> Result<Option<TableInfo>> {
        let Some(smallest) = self.smallest else { return Ok(None) };
        let size = self.builder.finish().map_err(|error| io_failed("writing", &self.path, error))?;
        let largest = BoundaryKey::new(InternalKey { user_key: &self.last_user_key, tag: self.last_tag });
        Ok(Some(TableInfo { number: self.number, size, smallest, largest }))
    }
}

/// The files of a job. Unless it is [kept](OutputFiles::keep) in the end, they are removed.
pub(crate) struct OutputFiles {
    storage: Arc<dyn Storage>,
    numbers: Vec<u64>,
}

impl OutputFiles {
    /// None yet.
    pub(crate) fn new(storage: &Arc<dyn Storage>) -> Self {
        Self { storage: Arc::clone(storage), numbers: Vec::new() }
    }

    /// Creates the table `number`.
    pub(crate) fn create(&mut self, number: u64, options: &TableOptions) -> Result<Output> {
        self.numbers.push(number);
        Output::create(&*self.storage, number, options)
    }

    /// Takes on the table `number`, which someone else creates.
    pub(crate) fn claim(&mut self, number: u64) {
        self.numbers.push(number);
    }

    /// They are of use.
    pub(crate) fn keep(mut self) {
        self.numbers.clear();
    }
}

impl Drop for OutputFiles {
    fn drop(&mut self) {
        for &number in &self.numbers {
            // What cannot be removed is found by the next opening.
            if let Err(error) = remove_table(&*self.storage, number) {
                tracing::warn!(table = number, %error, "cannot remove an unfinished table");
            }
        }
    }
}
