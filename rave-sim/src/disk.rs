//! The disk that all processes share: a log of what was applied, every state that it ever had, and the one store that may
//! be open on it.
//!
//! The log is what the oracles trust: what is in it was applied, in that order, and each of its states was seen or not.

use crate::{kernel::Kernel, trace::Pid};
use bytes::Bytes;
use rave_core::{Batch, ClearOptions, Code, Effect, Error, Operation, Result, failed_conditions};
use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    sync::Arc,
};
use tokio::sync::oneshot;

/// A state of the database. Cheap to keep: writers copy it.
pub(crate) type Entries = Arc<BTreeMap<Bytes, Bytes>>;

/// One atomic step.
#[derive(Debug)]
pub(crate) struct Record {
    /// Puts and deletes, in their order; for a clear what it deleted.
    pub(crate) changes: Vec<(Bytes, Option<Bytes>)>,
    /// The clear that this was.
    pub(crate) clear: Option<ClearOptions>,
    /// The state behind it.
    pub(crate) state: Entries,
}

/// What a caller wants of the store.
#[derive(Debug)]
pub(crate) enum Change {
    Write(Batch),
    Clear(ClearOptions),
}

/// What waits for its turn. A read waits only behind changes of the same handle.
pub(crate) enum Queued {
    Change(Change, oneshot::Sender<Result<()>>),
    Read(oneshot::Sender<Result<Entries>>),
}

/// The store while a process has it open.
struct Open {
    pid: Pid,
    number: u64,
    queue: VecDeque<Queued>,
    failed: Option<Error>,
}

pub(crate) struct Disk {
    /// Version 0 is what was there at the start; each record makes the next.
    first: Entries,
    log: Vec<Record>,
    /// The version that readers see.
    visible: usize,
    open: Option<Open>,
    opened: u64,
    /// What nobody will answer, kept because dropping it would wake who waits for it.
    buried: Vec<Queued>,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").field("records", &self.log.len()).finish_non_exhaustive()
    }
}

impl Disk {
    pub(crate) fn new(ballast: usize) -> Self {
        let ballast = (0..ballast).map(|number| (Bytes::from(format!("b{number:02}")), Bytes::from_static(b"0")));
        Self {
            first: Arc::new(ballast.collect()),
            log: Vec::new(),
            visible: 0,
            open: None,
            opened: 0,
            buried: Vec::new(),
        }
    }

    pub(crate) fn open_by(&self) -> Option<Pid> {
        self.open.as_ref().map(|open| open.pid)
    }

    pub(crate) fn log(&self) -> &[Record] {
        &self.log
    }

    pub(crate) fn visible(&self) -> usize {
        self.visible
    }

    pub(crate) fn newest(&self) -> usize {
        self.log.len()
    }

    pub(crate) fn state(&self, version: usize) -> &Entries {
        match version.checked_sub(1).and_then(|index| self.log.get(index)) {
            Some(record) => &record.state,
            None => &self.first,
        }
    }

    fn of(&mut self, number: u64) -> Option<&mut Open> {
        self.open.as_mut().filter(|open| open.number == number)
    }

    pub(crate) fn is_open(&self, number: u64) -> bool {
        self.open.as_ref().is_some_and(|open| open.number == number)
    }

    /// Takes in what waits for its turn; gives it back if the store takes nothing.
    pub(crate) fn enqueue(&mut self, number: u64, queued: Queued) -> std::result::Result<(), Box<(Error, Queued)>> {
        let Some(open) = self.of(number) else { return Err(Box::new((Error::not_open(), queued))) };
        match (&queued, &open.failed) {
            (Queued::Change(..), Some(error)) => Err(Box::new((error.clone(), queued))),
            _ => {
                open.queue.push_back(queued);
                Ok(())
            }
        }
    }

    /// How many changes wait.
    pub(crate) fn waiting(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.queue.len())
    }
}

impl Kernel {
    /// `pid` has the store open from now on; returns the number of this opening.
    pub(crate) fn open_store(&mut self, pid: Pid) -> u64 {
        if !self.alive(pid) {
            return 0;
        }
        if self.lock != Some(pid) {
            self.violated(format!("P{pid} opens the store and does not hold the lock"));
        }
        if let Some(other) = self.disk.open_by() {
            self.violated(format!("P{pid} opens the store, which P{other} has open"));
        }
        self.disk.opened += 1;
        let number = self.disk.opened;
        self.disk.visible = self.disk.newest();
        self.disk.open = Some(Open { pid, number, queue: VecDeque::new(), failed: None });
        let version = self.disk.newest();
        self.note(pid, "opens the store", version as u64, || format!("at version {version}"));
        number
    }

    /// Must not drop what is returned inside the kernel: writers learn from it.
    pub(crate) fn close_store(&mut self, pid: Pid, number: u64) -> Vec<Queued> {
        if !self.alive(pid) || self.disk.of(number).is_none() {
            return Vec::new();
        }
        self.note(pid, "closes the store", 0, String::new);
        self.disk.open.take().map_or_else(Vec::new, |open| open.queue.into())
    }

    /// The writer takes the first changes that wait, any number of them.
    pub(crate) fn take_group(&mut self, number: u64) -> Vec<Queued> {
        let waiting = self.disk.waiting();
        let size = if waiting > 1 { self.rng.usize(1..=waiting) } else { waiting };
        self.disk.of(number).map_or_else(Vec::new, |open| open.queue.drain(..size).collect())
    }

    /// Appends a change to the log.
    pub(crate) fn append(&mut self, pid: Pid, number: u64, change: &Change) -> Result<()> {
        if !self.alive(pid) || !self.disk.is_open(number) {
            return Err(Error::not_open().with_effect(Effect::Unknown));
        }
        if self.lock != Some(pid) {
            self.violated(format!("P{pid} writes and does not hold the lock"));
        }
        if let Some(error) = self.disk.of(number).and_then(|open| open.failed.clone()) {
            return Err(error);
        }
        let io_errors = self.plan.io_errors;
        let mut result = Ok(());
        if self.fault(io_errors) {
            let error = Error::new(Code::Io, "the simulated disk failed");
            self.note(pid, "fails to write", 0, String::new);
            // As after a failed `write`: the store takes no more changes, and the next opening tells what there is.
            if let Some(open) = self.disk.of(number) {
                open.failed = Some(error.clone());
            }
            if self.rng.bool() {
                return Err(error.with_effect(Effect::Unknown));
            }
            result = Err(error.with_effect(Effect::Unknown));
        }
        let mut state = self.disk.state(self.disk.newest()).clone();
        let changes: Vec<_> = match change {
            Change::Write(batch) => {
                let failed = failed_conditions(
                    batch.conditions(),
                    |key| Ok::<_, Error>(state.get(key).cloned()),
                    |range, show| {
                        in_range(&state, range).for_each(|(key, value)| show(key, value));
                        Ok(())
                    },
                )?;
                if !failed.is_empty() {
                    return Err(Error::condition_failed(failed));
                }
                batch.operations().map(changed).collect()
            }
            Change::Clear(options) => {
                let limit = options.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
                let ranges = options.ranges();
                let keys = ranges.iter().flat_map(|range| {
                    let mut keys: Vec<Bytes> = in_range(&state, range).map(|(key, _)| key.clone()).collect();
                    if options.reverse {
                        keys.reverse();
                    }
                    keys
                });
                let deleted = keys.take(limit).map(|key| (key, None));
                deleted.chain(options.and_write.operations().map(changed)).collect()
            }
        };
        if changes.is_empty() && matches!(change, Change::Write(_)) {
            return result;
        }
        let clear = match change {
            Change::Clear(options) => Some(options.clone()),
            Change::Write(_) => None,
        };
        let entries = Arc::make_mut(&mut state);
        for (key, value) in &changes {
            match value {
                Some(value) => entries.insert(key.clone(), value.clone()),
                None => entries.remove(key),
            };
        }
        let version = self.disk.newest() as u64 + 1;
        self.note(pid, "logs", version, || {
            let kind = if clear.is_some() { "clear " } else { "" };
            let changes: Vec<String> = changes.iter().map(|(key, value)| show(key, value.as_ref())).collect();
            format!("version {version}: {kind}{}", changes.join(", "))
        });
        self.disk.log.push(Record { changes, clear, state });
        result
    }

    /// What is in the log is visible from now on.
    pub(crate) fn publish(&mut self, pid: Pid, number: u64) {
        if self.alive(pid) && self.disk.is_open(number) {
            let version = self.disk.newest();
            self.disk.visible = version;
            self.note(pid, "publishes", version as u64, || format!("version {version}"));
        }
    }

    /// A process is gone, and its store with it. The log stays; what nobody has seen of it may be lost if the plan says so.
    pub(crate) fn disk_after_death(&mut self, pid: Pid) {
        if self.disk.open_by() != Some(pid) {
            return;
        }
        if let Some(open) = self.disk.open.take() {
            // Answers would call the runtime of a process that is just being polled.
            self.disk.buried.extend(open.queue);
        }
        let unseen = self.disk.newest() - self.disk.visible;
        if self.plan.lose_tail && unseen > 0 {
            let kept = self.disk.visible + self.rng.usize(0..=unseen);
            if kept < self.disk.newest() {
                self.note(pid, "loses", kept as u64, || format!("what is behind version {kept}"));
                self.disk.log.truncate(kept);
            }
        }
    }
}

fn changed(operation: &Operation) -> (Bytes, Option<Bytes>) {
    match operation {
        Operation::Put { key, value } => (key.clone(), Some(value.clone())),
        Operation::Del { key } => (key.clone(), None),
    }
}

/// The entries of a range, in ascending order.
pub(crate) fn in_range<'a>(
    state: &'a Entries,
    range: &rave_core::KeyRange,
) -> impl DoubleEndedIterator<Item = (&'a Bytes, &'a Bytes)> {
    let bounds = if range.is_empty() {
        (Bound::Included(Bytes::new()), Bound::Excluded(Bytes::new()))
    } else {
        (range.lower().cloned(), range.upper().cloned())
    };
    state.range(bounds)
}

/// A key and what it is set to, for people.
pub(crate) fn show(key: &[u8], value: Option<&Bytes>) -> String {
    let short = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes.get(..12).unwrap_or(bytes)).trim_end_matches('.').escape_debug().to_string()
    };
    let key = if key.starts_with(b"!rave-level!") { "<session>".to_owned() } else { short(key) };
    match value {
        Some(value) if key == "<session>" => format!("{key}={} bytes", value.len()),
        Some(value) => format!("{key}={}", short(value)),
        None => format!("{key} deleted"),
    }
}
