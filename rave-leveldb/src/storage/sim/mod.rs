//! A disk in memory that loses power, fills up and fails when a test wants it to.
//!
//! It knows of every file which bytes were synced, and of the directory which changes were: syncing a file does not make
//! its name durable, and syncing the directory does not make anybody's content durable. From that it makes the disk that
//! a machine finds when it comes back after a crash ([`SimulatedDisk::after_crash`]).
//!
//! Operations (everything but reads) are numbered from zero, so that a test can crash before or fail each of them in
//! turn. The operation that a crash interrupts may have taken effect, in part or in full, but nobody was told.

mod crash;
mod handles;

use super::Storage;
use handles::SimulatedStorage;
use parking_lot::{Mutex, RwLock};
use std::{
    collections::BTreeMap,
    fmt, io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// A disk in memory. Clones are the same disk.
#[doc(hidden)]
#[derive(Clone)]
pub struct SimulatedDisk {
    disk: Arc<Disk>,
}

/// What a crash does to what was not synced.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashMode {
    /// The process dies and the system goes on: all is kept, but the last write may be cut at any byte. What was not
    /// synced still is not: power may fail later.
    ProcessKilled,
    /// Of each file a prefix of the unsynced bytes is kept; of the directory a prefix or any choice of the unsynced
    /// changes.
    PowerLossPrefix,
    /// Each 512-byte sector of unsynced bytes is kept, or is zeros, or zeros from the end of some write on: so it was when
    /// it reached the disk for the last time. Directories as in `PowerLossPrefix`.
    PowerLossSectors,
    /// Nothing unsynced is kept.
    PowerLossNothing,
}

impl CrashMode {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::ProcessKilled, Self::PowerLossPrefix, Self::PowerLossSectors, Self::PowerLossNothing];
}

/// How an operation fails.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No space is left. A write has written half of its bytes before.
    NoSpace,
    /// An input or output error, without effect. After such a sync the unsynced bytes will never be synced, although
    /// later syncs report success: so Linux does it.
    Io,
    /// An input or output error, although the operation took effect.
    IoAfterEffect,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::NoSpace, Self::Io, Self::IoAfterEffect];

    fn error(self) -> io::Error {
        match self {
            Self::NoSpace => io::Error::new(io::ErrorKind::StorageFull, "no space left on the simulated disk"),
            Self::Io | Self::IoAfterEffect => io::Error::other("the simulated disk fails"),
        }
    }
}

/// What all handles share.
struct Disk {
    directory: Mutex<Directory>,
    operations: AtomicU64,
    /// Operations from this number on find the process dead.
    crash_at: AtomicU64,
    /// The operations that fail, from the first number to before the second, and how.
    failing: Mutex<(u64, u64, Fault)>,
    /// Whether any are to fail: spares most operations the lock above.
    may_fail: AtomicBool,
    reads_fail: AtomicBool,
    /// How many of a hundred reads from memory find that the disk is needed.
    cold_percent: AtomicU8,
    cold_draws: AtomicU64,
    /// How long syncing a table takes.
    table_delay: Mutex<Duration>,
    read_handles: AtomicUsize,
    bytes_written: AtomicU64,
    /// What each operation was, if a test wants to know.
    trace: Mutex<Option<Vec<String>>>,
    traces: AtomicBool,
}

/// The names of the files.
#[derive(Default)]
struct Directory {
    names: Names,
    /// As they were when the directory was synced.
    durable: Names,
    /// What changed since, in order.
    unsynced: Vec<Change>,
    /// The change that a crash interrupted, which `names` does not have.
    interrupted: Option<Change>,
}

type Names = BTreeMap<String, Arc<Node>>;

#[derive(Clone)]
enum Change {
    Create { name: String, node: Arc<Node> },
    Rename { from: String, to: String, node: Arc<Node> },
    Remove { name: String },
}

impl Change {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Create { name, node } => {
                names.insert(name.clone(), node.clone());
            }
            Self::Rename { from, to, node } => {
                // After a crash `from` may be missing, if its creation was lost, but not that of `to`.
                names.remove(from);
                names.insert(to.clone(), node.clone());
            }
            Self::Remove { name } => {
                names.remove(name);
            }
        }
    }
}

/// A file, whatever its name.
#[derive(Default)]
struct Node {
    content: RwLock<Content>,
}

#[derive(Clone, Default)]
struct Content {
    data: Vec<u8>,
    /// So many bytes survive power loss.
    synced: usize,
    /// Where the writes ended that are not synced.
    ends: Vec<usize>,
    /// What was synced before the file was emptied, as long as the emptying is not.
    before: Option<Vec<u8>>,
    /// A sync failed: what is not synced never will be.
    broken: bool,
    /// Where the write begins that a crash interrupted.
    interrupted: Option<usize>,
    syncs: u64,
}

/// What is to become of an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is done.
    Done,
    /// The process dies with it.
    Interrupted,
    /// The process is dead.
    Dead,
    Fails(Fault),
}

impl Disk {
    fn new(directory: Directory) -> Self {
        Self {
            directory: Mutex::new(directory),
            operations: AtomicU64::new(0),
            crash_at: AtomicU64::new(u64::MAX),
            failing: Mutex::new((0, 0, Fault::Io)),
            may_fail: AtomicBool::new(false),
            reads_fail: AtomicBool::new(false),
            cold_percent: AtomicU8::new(0),
            cold_draws: AtomicU64::new(0),
            table_delay: Mutex::default(),
            read_handles: AtomicUsize::new(0),
            bytes_written: AtomicU64::new(0),
            trace: Mutex::new(None),
            traces: AtomicBool::new(false),
        }
    }

    /// Takes a number for an operation and says what becomes of it.
    fn begin(&self, operation: impl FnOnce() -> String) -> Fate {
        let mut trace = self.traces.load(Ordering::Relaxed).then(|| self.trace.lock());
        if let Some(trace) = trace.as_mut().and_then(|trace| trace.as_mut()) {
            trace.push(operation());
        }
        let number = self.operations.fetch_add(1, Ordering::SeqCst);
        drop(trace);
        let crash_at = self.crash_at.load(Ordering::SeqCst);
        if number >= crash_at {
            return if number == crash_at { Fate::Interrupted } else { Fate::Dead };
        }
        if self.may_fail.load(Ordering::SeqCst) {
            let (from, to, fault) = *self.failing.lock();
            if (from..to).contains(&number) {
                return Fate::Fails(fault);
            }
        }
        Fate::Done
    }

    fn is_dead(&self) -> bool {
        self.operations.load(Ordering::SeqCst) > self.crash_at.load(Ordering::SeqCst)
    }

    /// Whether a read that must not wait finds that it would have to.
    fn is_cold(&self) -> bool {
        match self.cold_percent.load(Ordering::Relaxed) {
            0 => false,
            percent => {
                // Numbers that look random enough, each draw another one.
                let draw = self.cold_draws.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                (draw >> 32) % 100 < u64::from(percent)
            }
        }
    }
}

fn dead() -> io::Error {
    io::Error::other("the process is dead")
}

impl Default for SimulatedDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SimulatedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedDisk").field("files", &self.files()).field("operations", &self.operations()).finish()
    }
}

impl SimulatedDisk {
    /// An empty disk that does not fail.
    pub fn new() -> Self {
        Self::with(Directory::default())
    }

    fn with(directory: Directory) -> Self {
        Self { disk: Arc::new(Disk::new(directory)) }
    }

    /// The disk for the engine, as if its files were in `directory`.
    pub(crate) fn storage(&self, directory: PathBuf) -> Arc<dyn Storage> {
        Arc::new(SimulatedStorage::new(self.disk.clone(), directory))
    }

    /// How many operations there were.
    pub fn operations(&self) -> u64 {
        self.disk.operations.load(Ordering::SeqCst)
    }

    /// Lets the process die in operation `number`: it and all later ones fail, and reads too.
    pub fn crash_after(&self, number: u64) {
        self.disk.crash_at.store(number, Ordering::SeqCst);
    }

    /// Whether the process has died.
    pub fn crashed(&self) -> bool {
        self.disk.is_dead()
    }

    /// Lets operation `number` fail, and no other one.
    pub fn fail_operation(&self, number: u64, fault: Fault) {
        self.fail(number, number + 1, fault);
    }

    /// Lets all operations from `number` on fail.
    pub fn fail_from(&self, number: u64, fault: Fault) {
        self.fail(number, u64::MAX, fault);
    }

    fn fail(&self, from: u64, to: u64, fault: Fault) {
        *self.disk.failing.lock() = (from, to, fault);
        self.disk.may_fail.store(true, Ordering::SeqCst);
    }

    /// Lets all reads fail, or none.
    pub fn fail_reads(&self, fail: bool) {
        self.disk.reads_fail.store(fail, Ordering::SeqCst);
    }

    /// Ends all failures.
    pub fn heal(&self) {
        self.disk.may_fail.store(false, Ordering::SeqCst);
        self.fail_reads(false);
    }

    /// Lets reads that must not wait find that they would have to: all of them, or none.
    pub fn cold(&self, cold: bool) {
        self.cold_sometimes(if cold { 100 } else { 0 });
    }

    /// Lets so many of a hundred reads that must not wait find that they would have to.
    pub fn cold_sometimes(&self, percent: u8) {
        self.disk.cold_percent.store(percent, Ordering::Relaxed);
    }

    /// Lets syncs of tables take so long, so that more is written while they are under way.
    pub fn slow_tables(&self, delay: Duration) {
        *self.disk.table_delay.lock() = delay;
    }

    /// Notes from now on what each operation is, for [`trace`](Self::trace).
    pub fn start_trace(&self) {
        *self.disk.trace.lock() = Some(Vec::new());
        self.disk.traces.store(true, Ordering::SeqCst);
    }

    /// What the operations since [`start_trace`](Self::start_trace) were.
    pub fn trace(&self) -> Vec<String> {
        self.disk.trace.lock().clone().unwrap_or_default()
    }

    /// The names of all files, sorted.
    pub fn files(&self) -> Vec<String> {
        self.disk.directory.lock().names.keys().cloned().collect()
    }

    /// The content of a file, if there is one.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        Some(self.node(name)?.content.read().data.clone())
    }

    /// Inverts the bits of `mask` in a byte of a file. Panics if there is no such byte.
    pub fn flip(&self, name: &str, byte: usize, mask: u8) {
        self.edit(name, |data| data[byte] ^= mask);
    }

    /// Cuts a file off. Panics if there is no such file.
    pub fn truncate(&self, name: &str, len: usize) {
        self.edit(name, |data| data.truncate(len));
    }

    /// Changes the content of a file. Panics if there is no such file.
    pub fn edit(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let node = self.node(name).unwrap_or_else(|| panic!("there is no file {name}"));
        let mut content = node.content.write();
        change(&mut content.data);
        content.synced = content.data.len();
    }

    /// Gives the disk a file, replacing one of that name.
    pub fn put(&self, name: &str, data: Vec<u8>) {
        let node = Arc::new(Node { content: RwLock::new(Content { synced: data.len(), data, ..Content::default() }) });
        let mut directory = self.disk.directory.lock();
        directory.names.insert(name.to_owned(), node.clone());
        directory.durable.insert(name.to_owned(), node);
    }

    /// Takes a file away. Panics if there is no such file.
    pub fn delete(&self, name: &str) {
        let mut directory = self.disk.directory.lock();
        assert!(directory.names.remove(name).is_some(), "there is no file {name}");
        directory.durable.remove(name);
    }

    /// How often a file was synced.
    pub fn syncs(&self, name: &str) -> u64 {
        self.node(name).map_or(0, |node| node.content.read().syncs)
    }

    /// Bytes that were written to all files.
    pub fn bytes_written(&self) -> u64 {
        self.disk.bytes_written.load(Ordering::Relaxed)
    }

    /// Files that are open for reading.
    pub fn read_handles(&self) -> usize {
        self.disk.read_handles.load(Ordering::Relaxed)
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.disk.directory.lock().names.values().map(|node| node.content.read().data.len() as u64).sum()
    }

    fn node(&self, name: &str) -> Option<Arc<Node>> {
        self.disk.directory.lock().names.get(name).cloned()
    }
}
