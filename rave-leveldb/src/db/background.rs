//! The background threads: flushing, compacting, deleting.

use super::{Db, State, view::View};
use crate::{
    Options,
    compaction::{Compaction, CompactionJob, CompactionStatistics, build_table, pick},
    memtable::MemTable,
    storage::{FileName, Storage},
    version::{FileNumbers, Manifest, PendingEdit, TableInfo, Version, VersionEdit, remove_table},
};
use parking_lot::MutexGuard;
use rave_core::{Error, Result};
use std::{
    sync::{Arc, atomic::Ordering},
    thread::{self, JoinHandle},
    time::Instant,
};

/// Writes a memtable as a table with a new number. `None` if it is empty.
pub(super) fn build(
    storage: &Arc<dyn Storage>,
    numbers: &FileNumbers,
    options: &Options,
    memtable: &Arc<MemTable>,
) -> Result<Option<(TableInfo, CompactionStatistics)>> {
    let start = Instant::now();
    let table = build_table(storage, &Db::table_options(options), numbers.allocate(), &mut memtable.cursor())?;
    Ok(table.map(|table| {
        let bytes_written = table.size;
        (table, CompactionStatistics { count: 1, time: start.elapsed(), bytes_read: 0, bytes_written })
    }))
}

impl Db {
    /// Starts the threads beside the writer's, which is to call [`run`](Self::run) with them.
    pub(crate) fn start(self: &Arc<Self>) -> Result<Workers> {
        // Dropped on an error, which ends those that were started.
        let mut workers = Workers { db: self.clone(), threads: Vec::new() };
        workers.add("rave-leveldb-flush", Self::run_flush)?;
        workers.add("rave-leveldb-compact", Self::run_compaction)?;
        workers.add("rave-leveldb-delete", Self::run_deletion)?;
        // There may be something to do already.
        self.compaction_wanted.notify_one();
        Ok(workers)
    }

    /// Leads the write queue until the database is closed; then ends everything. Nothing touches the files after that.
    pub(crate) fn run(&self, workers: Workers) {
        self.run_writer();
        self.stop();
        self.gate.wait_until_empty();
        drop(workers);
        self.release();
    }

    /// Closes the files and lets go of what was read from them: handles and iterators may outlive the database for long.
    fn release(&self) {
        self.appender.lock().close();
        self.manifest.lock().close();
        self.tables.clear();
    }

    /// Tells everything in the background to end soon.
    fn stop(&self) {
        let state = self.state.lock();
        // With the lock, so that nobody misses it between a look and a wait.
        self.closing.store(true, Ordering::Release);
        let obsolete = state.versions.obsolete().clone();
        drop(state);
        self.flush_wanted.notify_all();
        self.compaction_wanted.notify_all();
        self.changed.notify_all();
        obsolete.close();
    }

    /// Whether everything in the background is to end. Whoever waits looks with the state's lock.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Ends writing, and wakes whoever waits for something that will not come.
    pub(super) fn fail(&self, error: &Error) {
        self.failure.set(error);
        let _state = self.state.lock();
        self.changed.notify_all();
    }

    fn run_deletion(&self) {
        let obsolete = self.state.lock().versions.obsolete().clone();
        obsolete.work(|number| {
            self.tables.forget(number);
            if let Err(error) = remove_table(self.storage.as_ref(), number) {
                tracing::warn!(table = number, %error, "cannot remove an obsolete table");
            }
        });
    }

    fn run_flush(&self) {
        while let Some((memtable, log_number)) = self.wait_for_flush() {
            if let Err(error) = self.flush(&memtable, log_number) {
                self.fail(&error);
            }
        }
    }

    pub(super) fn wait_for_flush(&self) -> Option<(Arc<MemTable>, u64)> {
        let mut state = self.state.lock();
        loop {
            if self.is_closing() {
                return None;
            }
            let immutable = self.current.read().0.immutable.clone();
            if let Some(memtable) = immutable.filter(|_| self.failure.get().is_none()) {
                return Some((memtable, state.log_number));
            }
            self.flush_wanted.wait(&mut state);
        }
    }

    /// Makes the immutable memtable a table. `log_number` is the log of the writes that came after it.
    pub(super) fn flush(&self, memtable: &Arc<MemTable>, log_number: u64) -> Result<()> {
        let built = build(&self.storage, &self.numbers, &self.options, memtable)?;
        let mut edit = VersionEdit { log_number: Some(log_number), prev_log_number: Some(0), ..VersionEdit::default() };
        let mut manifest = self.manifest.lock();
        let mut state = self.state.lock();
        if let Some((table, statistics)) = built {
            let (smallest, largest) = (table.smallest.as_key().user_key, table.largest.as_key().user_key);
            let level = state.versions.level_for_flush(&manifest, smallest, largest);
            state.versions.count(level, &statistics);
            edit.new_files.push((level, table));
        }
        let old_log = state.versions.log_number();
        state.versions.set_last_sequence(self.current.sequence());
        let pending = state.versions.prepare(&manifest, edit)?;
        let state = self.commit(&mut manifest, state, pending, |view, version| View {
            active: view.active.clone(),
            immutable: None,
            version,
        })?;
        drop(state);
        drop(manifest);
        // There is no other: opening leaves one log, and a switch waits for the flush before. What stays is found by the
        // next opening.
        let _ = self.storage.remove(&FileName::Log(old_log).to_string());
        Ok(())
    }

    /// Writes an edit without the state's lock, and makes its version the current one.
    fn commit<'a>(
        &'a self,
        manifest: &mut Manifest,
        state: MutexGuard<'a, State>,
        pending: PendingEdit,
        view: impl FnOnce(&View, Arc<Version>) -> View,
    ) -> Result<MutexGuard<'a, State>> {
        drop(state);
        let committed = pending.commit(manifest)?;
        let mut state = self.state.lock();
        let version = state.versions.install(committed);
        self.level0.store(version.files(0).len(), Ordering::Relaxed);
        let wanted = version.needs_compaction();
        self.current.change(|current| view(current, version));
        self.changed.notify_all();
        if wanted {
            self.compaction_wanted.notify_one();
        }
        Ok(state)
    }

    fn run_compaction(&self) {
        loop {
            let mut state = self.state.lock();
            while !self.is_closing() && (self.failure.get().is_some() || !state.wants_compaction()) {
                self.compaction_wanted.wait(&mut state);
            }
            if self.is_closing() {
                return;
            }
            drop(state);
            if let Err(error) = self.compact_once() {
                self.fail(&error);
            }
        }
    }

    pub(super) fn compact_once(&self) -> Result<()> {
        let manifest = self.manifest.lock();
        let mut state = self.state.lock();
        let mut compaction = None;
        if state.range_gives_way() {
            compaction = pick(&mut state.versions, &manifest);
        }
        let compaction =
            compaction.or_else(|| state.next_of_range(&manifest)).or_else(|| pick(&mut state.versions, &manifest));
        // The range may have come to its end.
        self.changed.notify_all();
        let Some(compaction) = compaction else { return Ok(()) };
        let smallest_snapshot = state.snapshots.oldest().unwrap_or_else(|| self.current.sequence());
        drop((state, manifest));
        let result = self.compact(&compaction, smallest_snapshot);
        // With the lock, so that nobody misses it between a look and a wait.
        drop(compaction);
        let _state = self.state.lock();
        self.changed.notify_all();
        result
    }

    fn compact(&self, compaction: &Compaction, smallest_snapshot: u64) -> Result<()> {
        let (edit, statistics) = match compaction.trivial_move() {
            Some(edit) => (edit, CompactionStatistics::default()),
            None => {
                let job = CompactionJob {
                    compaction,
                    storage: &self.storage,
                    tables: &self.tables,
                    options: &Self::table_options(&self.options),
                    numbers: &self.numbers,
                    smallest_snapshot,
                };
                let stop = || self.is_closing();
                let Some(outcome) = job.run(&stop)? else { return Ok(()) };
                (outcome.edit, outcome.statistics)
            }
        };
        let mut manifest = self.manifest.lock();
        let mut state = self.state.lock();
        state.versions.set_last_sequence(self.current.sequence());
        let pending = state.versions.prepare(&manifest, edit)?;
        let mut state = self.commit(&mut manifest, state, pending, |view, version| View {
            active: view.active.clone(),
            immutable: view.immutable.clone(),
            version,
        })?;
        state.versions.count(compaction.output_level(), &statistics);
        Ok(())
    }

    /// A table was looked into in vain too often.
    pub(crate) fn seeks_exhausted(&self) {
        let _state = self.state.lock();
        self.compaction_wanted.notify_one();
    }
}

/// The threads beside the writer's. Dropping this ends them and waits for it.
pub(crate) struct Workers {
    db: Arc<Db>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    fn add(&mut self, name: &str, role: fn(&Db)) -> Result<()> {
        let db = self.db.clone();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || role(&db));
        self.threads.push(thread.map_err(|error| Error::io("starting a thread of the database", error))?);
        Ok(())
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.db.stop();
        for thread in self.threads.drain(..) {
            // One that panicked has told so itself.
            let _ = thread.join();
        }
    }
}
