//! Appending to the log and to the memtable: what the leading writer does.
//!
//! # Marks
//!
//! A log must tell a tear from damage. A tear is what power loss leaves of writes that nobody asked to sync: it may be
//! dropped, with all that follows it. Damage to what was synced must not be. So the log is marked with *empty batches*,
//! which LevelDB's format allows and every reader passes over:
//!
//! - The first record of every log is one. Its sequence number says where the log before it ended, so that a tail which
//!   went missing there is noticed.
//! - Any other one is written after an fsync that ended well. All that stands before it was on the disk.
//!
//! Recovery (`open.rs`) draws the conclusions.

use super::{Db, view::View};
use crate::{
    chunks::Chunks,
    compaction::rules::LEVEL0_SLOWDOWN_TRIGGER,
    error::io_failed,
    key::SequenceNumber,
    log::LogWriter,
    memtable::{MemTable, batch},
    storage::{FileName, Storage},
};
use bytes::Bytes;
use rave_core::{Batch, Code, Effect, Error, Operation, Result};
use std::{path::PathBuf, sync::Arc};

/// The end of the database that grows: the newest log and the active memtable. Only the leader touches it.
pub(crate) struct Appender {
    log: LogWriter,
    log_path: PathBuf,
    /// Whether the log's name is known to survive power loss.
    log_listed: bool,
    /// The log before, as long as its end may have to be synced before anything newer.
    previous: Option<(LogWriter, PathBuf)>,
    active: Arc<MemTable>,
    /// The number of the last write.
    sequence: SequenceNumber,
    /// Where the memtable's records are.
    records: Chunks,
    encoded: Vec<u8>,
}

/// Bytes of records that share an allocation.
const CHUNK: usize = 32 << 10;

impl Appender {
    /// Continues with a log and a memtable that hold the same writes, of which `sequence` is the last.
    pub(crate) fn new(log: LogWriter, log_path: PathBuf, active: Arc<MemTable>, sequence: SequenceNumber) -> Self {
        let (records, encoded) = (Chunks::new(CHUNK, CHUNK), Vec::new());
        Self { log, log_path, log_listed: false, previous: None, active, sequence, records, encoded }
    }

    /// Creates the log `number` and marks its beginning.
    pub(crate) fn create_log(
        storage: &dyn Storage,
        number: u64,
        sequence: SequenceNumber,
    ) -> Result<(LogWriter, PathBuf)> {
        let name = FileName::Log(number).to_string();
        let path = storage.directory().join(&name);
        let file = storage.create(&name).map_err(|error| io_failed("creating", &path, error))?;
        let mut log = LogWriter::new(file);
        log.append(&mark(sequence)).map_err(|error| io_failed("writing", &path, error))?;
        Ok((log, path))
    }

    /// Whether the memtable holds as much as it may.
    pub(crate) fn is_full(&self, write_buffer: usize) -> bool {
        self.active.memory() >= write_buffer
    }

    /// Whether there is nothing in the memtable.
    pub(crate) fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// Appends the operations of a group as one record, applies them and shows them. With `sync` the record is on the
    /// disk before anybody sees it.
    ///
    /// Errors end writing: what is in the log is unknown then.
    pub(crate) fn append<'a>(
        &mut self,
        db: &Db,
        operations: impl Iterator<Item = &'a Operation>,
        sync: bool,
    ) -> Result<()> {
        db.failure.check()?;
        let record = self.encode(operations);
        if record.len() == batch::HEADER_LEN {
            // Of a batch that had only conditions. An empty record would be a mark.
            return Ok(());
        }
        self.write(db.storage.as_ref(), &record, sync).map_err(|error| unknown(db, error))?;
        let count = self.active.apply(&record).map_err(|what| {
            let error = Error::new(Code::Corruption, format!("{}: a batch in memory: {what}", self.log_path.display()));
            unknown(db, error)
        })?;
        self.sequence += u64::from(count);
        db.current.publish(self.sequence);
        Ok(())
    }

    /// Encodes a record.
    fn encode<'a>(&mut self, operations: impl Iterator<Item = &'a Operation>) -> Bytes {
        self.encoded.clear();
        batch::encode(self.sequence + 1, operations, &mut self.encoded);
        let record = self.records.copy(&self.encoded);
        // A large batch must not keep its room for good.
        self.encoded.shrink_to(CHUNK);
        record
    }

    fn write(&mut self, storage: &dyn Storage, record: &[u8], sync: bool) -> Result<()> {
        self.log.append(record).map_err(|error| io_failed("writing", &self.log_path, error))?;
        if sync { self.sync(storage, record) } else { Ok(()) }
    }

    fn sync(&mut self, storage: &dyn Storage, record: &[u8]) -> Result<()> {
        if let Some((mut log, path)) = self.previous.take() {
            log.sync().map_err(|error| io_failed("syncing", &path, error))?;
        }
        if !self.log_listed {
            let directory = storage.directory();
            storage.sync_directory().map_err(|error| io_failed("syncing the directory", directory, error))?;
            self.log_listed = true;
        }
        self.log.sync().map_err(|error| io_failed("syncing", &self.log_path, error))?;
        let written = batch::header(record).map_or(0, |(_, count)| u64::from(count));
        let mark = mark(self.sequence + written);
        self.log.append(&mark).map_err(|error| io_failed("writing", &self.log_path, error))
    }

    /// Begins a new log and a new memtable; the old ones go on their way into a table. Requires that none is under way.
    pub(crate) fn switch(&mut self, db: &Db) -> Result<()> {
        let number = db.new_file_number();
        let (log, path) =
            Self::create_log(db.storage.as_ref(), number, self.sequence).inspect_err(|error| db.fail(error))?;
        let full = std::mem::replace(&mut self.active, Arc::new(MemTable::new()));
        let log = std::mem::replace(&mut self.log, log);
        self.previous = Some((log, std::mem::replace(&mut self.log_path, path)));
        self.log_listed = false;
        let mut state = db.state.lock();
        state.log_number = number;
        db.current.change(|view| View {
            active: self.active.clone(),
            immutable: Some(full),
            version: view.version.clone(),
        });
        drop(state);
        db.flush_wanted.notify_one();
        Ok(())
    }

    /// The log before has become a table: it need not be synced any more. Its file is closed.
    pub(crate) fn forget_previous(&mut self) {
        self.previous = None;
    }

    /// Closes the logs. Requires that no write follows.
    pub(crate) fn close(&mut self) {
        self.previous = None;
        self.log.close();
    }

    /// Whether the next write must be led by the writer thread, because it has to wait or to do more than to append.
    pub(crate) fn must_wait(&self, db: &Db) -> bool {
        self.is_full(db.options.write_buffer_size) || db.level0_tables() >= LEVEL0_SLOWDOWN_TRIGGER
    }
}

/// An empty batch that says: the last write before was `sequence`.
fn mark(sequence: SequenceNumber) -> Vec<u8> {
    let mut record = Vec::with_capacity(batch::HEADER_LEN);
    batch::encode(sequence + 1, std::iter::empty(), &mut record);
    record
}

fn unknown(db: &Db, error: Error) -> Error {
    db.fail(&error);
    error.with_effect(Effect::Unknown)
}

/// All operations of a group.
pub(crate) fn operations<'a>(batches: impl Iterator<Item = &'a Batch>) -> impl Iterator<Item = &'a Operation> {
    batches.flat_map(Batch::operations)
}
