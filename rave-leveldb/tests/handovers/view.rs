//! The view and the sequence number: memtable switch, flush and compaction against reads.
//!
//! One key is written, with its sequence number as its value. What stands for memtables and tables here is as small as
//! can be; what hands them over is the real `Current`.

use crate::{
    check,
    current::Current,
    sync::{Arc, AtomicU64, Mutex, Ordering},
};
use loom::thread;

/// Writes in a model.
const WRITES: usize = 3;

/// A memtable: which of the writes it holds. Only publishing may make them visible, so nothing here does.
#[derive(Default)]
struct MemTable {
    writes: [AtomicU64; WRITES],
}

impl MemTable {
    fn insert(&self, sequence: u64) {
        self.writes[sequence as usize - 1].store(sequence, Ordering::Relaxed);
    }

    fn sequences(&self) -> Vec<u64> {
        self.writes.iter().map(|write| write.load(Ordering::Relaxed)).filter(|write| *write > 0).collect()
    }
}

struct View {
    active: Arc<MemTable>,
    immutable: Option<Arc<MemTable>>,
    /// The sequence numbers in tables.
    table: Vec<u64>,
}

impl View {
    /// The newest write of the key that is visible at `sequence`.
    fn get(&self, sequence: u64) -> Option<u64> {
        let memtables = [Some(&self.active), self.immutable.as_ref()].into_iter().flatten();
        let in_memory = memtables.flat_map(|table| table.sequences());
        in_memory.chain(self.table.iter().copied()).filter(|found| *found <= sequence).max()
    }
}

struct Db {
    current: Current<View>,
    /// Guards changes of the view, as the database's state does.
    state: Mutex<()>,
    /// The last write that was acknowledged.
    acknowledged: AtomicU64,
}

impl Db {
    fn new() -> Arc<Self> {
        let view = View { active: Arc::default(), immutable: None, table: Vec::new() };
        let (state, acknowledged) = (Mutex::new(()), AtomicU64::new(0));
        Arc::new(Self { current: Current::new(view, 0), state, acknowledged })
    }

    fn write(&self, active: &MemTable, sequence: u64) {
        active.insert(sequence);
        self.current.publish(sequence);
        self.acknowledged.store(sequence, Ordering::Release);
    }

    fn switch(&self) -> Arc<MemTable> {
        let active = Arc::new(MemTable::default());
        let _state = self.state.lock().unwrap();
        self.current.change(|view| View {
            active: active.clone(),
            immutable: Some(view.active.clone()),
            table: view.table.clone(),
        });
        active
    }

    /// Moves the immutable memtable into the table.
    fn flush(&self) {
        let immutable = self.current.hold().0.immutable.clone();
        let Some(immutable) = immutable else { return };
        let flushed = immutable.sequences();
        let _state = self.state.lock().unwrap();
        self.current.change(|view| View {
            active: view.active.clone(),
            immutable: None,
            table: view.table.iter().copied().chain(flushed).collect(),
        });
    }

    /// Drops from the table what no read that begins now can see, as compaction does.
    fn compact(&self) {
        let oldest = self.current.sequence();
        let (view, _) = self.current.hold();
        let newest_visible = view.table.iter().copied().filter(|sequence| *sequence <= oldest).max();
        let kept =
            view.table.iter().copied().filter(|sequence| *sequence > oldest || Some(*sequence) == newest_visible);
        let table: Vec<u64> = kept.collect();
        let _state = self.state.lock().unwrap();
        self.current.change(|view| View {
            active: view.active.clone(),
            immutable: view.immutable.clone(),
            table: table.clone(),
        });
    }

    /// One writer, with the switches it needs, each followed by what the background does then.
    fn run_writer(&self) {
        let mut active = self.current.hold().0.active.clone();
        for sequence in 1..=WRITES as u64 {
            self.write(&active, sequence);
            active = self.switch();
            self.flush();
            self.compact();
        }
    }
}

pub fn reads_across_changes() {
    check(|| {
        let db = Db::new();
        let writer = thread::spawn({
            let db = db.clone();
            move || db.run_writer()
        });
        let mut seen = 0;
        for _ in 0..2 {
            let acknowledged = db.acknowledged.load(Ordering::Acquire);
            let (view, sequence) = db.current.read();
            let found = view.get(sequence).unwrap_or(0);
            assert!(found <= sequence);
            assert!(found >= acknowledged, "{found} was read after {acknowledged} was acknowledged");
            assert!(found >= seen, "{found} was read after {seen} was");
            seen = found;
        }
        writer.join().unwrap();
    });
}

pub fn a_held_view_stays_whole() {
    check(|| {
        let db = Db::new();
        let writer = thread::spawn({
            let db = db.clone();
            move || db.run_writer()
        });
        let acknowledged = db.acknowledged.load(Ordering::Acquire);
        let (view, sequence) = db.current.hold();
        let first = view.get(sequence);
        assert!(first.unwrap_or(0) >= acknowledged, "{first:?} was read after {acknowledged} was acknowledged");
        thread::yield_now();
        assert_eq!(view.get(sequence), first, "an iterator's view changed");
        writer.join().unwrap();
        assert_eq!(view.get(sequence), first, "an iterator's view changed");
    });
}
