//! The deletion of tables against those who read them, and against closing.

use crate::{
    check,
    obsolete::{Lease, ObsoleteFiles},
    sync::{Arc, AtomicBool, AtomicU64, Condvar, Mutex, Ordering},
};
use loom::thread;

/// One table that a version lists and readers share, and the thread that deletes.
struct Table {
    queue: Arc<ObsoleteFiles>,
    lease: Arc<Lease>,
    file: Arc<File>,
}

#[derive(Default)]
struct File {
    deletions: AtomicU64,
    closed: AtomicBool,
    deleted: Mutex<bool>,
    changed: Condvar,
}

impl File {
    fn delete(&self) {
        assert!(!self.closed.load(Ordering::SeqCst), "deleted after closing");
        assert_eq!(self.deletions.fetch_add(1, Ordering::SeqCst), 0, "deleted twice");
        *self.deleted.lock().unwrap() = true;
        self.changed.notify_all();
    }

    fn read(&self) {
        assert_eq!(self.deletions.load(Ordering::SeqCst), 0, "deleted under its reader");
    }

    fn wait_until_deleted(&self) {
        let mut deleted = self.deleted.lock().unwrap();
        while !*deleted {
            deleted = self.changed.wait(deleted).unwrap();
        }
    }
}

impl Table {
    fn new() -> Self {
        let queue = ObsoleteFiles::new();
        let lease = Arc::new(ObsoleteFiles::lease(&queue, 1));
        // A table that stays in the database: to be released is not to be deleted.
        drop(ObsoleteFiles::lease(&queue, 2));
        Self { queue, lease, file: Arc::default() }
    }

    fn worker(&self) -> thread::JoinHandle<()> {
        let (queue, file) = (self.queue.clone(), self.file.clone());
        thread::spawn(move || {
            queue.work(|number| {
                assert_eq!(number, 1, "deleted a table that is in use");
                file.delete();
            });
        })
    }

    /// Reads while it holds the lease.
    fn reader(&self) -> thread::JoinHandle<()> {
        let (lease, file) = (self.lease.clone(), self.file.clone());
        thread::spawn(move || {
            file.read();
            drop(lease);
        })
    }
}

/// The version drops the table while a reader is in it: the file goes when both are done with it, and it does go.
pub fn after_the_last_reader() {
    check(|| {
        let table = Table::new();
        let (worker, reader) = (table.worker(), table.reader());
        let Table { queue, lease, file } = table;
        lease.mark_obsolete();
        drop(lease);
        // If it were forgotten this would wait for ever, which the checker notices.
        file.wait_until_deleted();
        reader.join().unwrap();
        queue.close();
        worker.join().unwrap();
    });
}

/// The database closes while a reader is still in the table.
pub fn not_after_closing() {
    check(|| {
        let table = Table::new();
        let (worker, reader) = (table.worker(), table.reader());
        let Table { queue, lease, file } = table;
        lease.mark_obsolete();
        drop(lease);
        queue.close();
        file.closed.store(true, Ordering::SeqCst);
        reader.join().unwrap();
        worker.join().unwrap();
    });
}

/// When closing has ended no deletion is under way: another process may open the directory.
pub fn closing_waits() {
    check(|| {
        let queue = ObsoleteFiles::new();
        let under_way = Arc::new(AtomicBool::new(false));
        let lease = ObsoleteFiles::lease(&queue, 1);
        lease.mark_obsolete();
        drop(lease);
        let worker = thread::spawn({
            let (queue, under_way) = (queue.clone(), under_way.clone());
            move || {
                queue.work(|_| {
                    under_way.store(true, Ordering::SeqCst);
                    thread::yield_now();
                    under_way.store(false, Ordering::SeqCst);
                });
            }
        });
        queue.close();
        assert!(!under_way.load(Ordering::SeqCst), "closed in the middle of a deletion");
        worker.join().unwrap();
    });
}
