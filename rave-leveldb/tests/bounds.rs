//! What a store takes of the machine stays within its options, however large the database: memory and open files, both
//! counted.

use peak_alloc::PeakAlloc;
use rave_core::{AbstractLevel, AbstractLevelExt, Batch, IteratorOptions, KeyRange, LevelIterator};
use rave_leveldb::{LevelDb, Options};
use std::sync::{Mutex, PoisonError};

/// Counts what is allocated.
#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// One test at a time: they count what belongs to the whole process.
static ALONE: Mutex<()> = Mutex::new(());

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

fn key(number: usize) -> Vec<u8> {
    format!("key {number:08}").into_bytes()
}

/// Values that do not compress.
fn value(number: usize, length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(number as u64);
    (0..length).map(|_| random.u8(..)).collect()
}

/// Writes so many keys, in an order that makes compactions merge.
async fn fill(db: &dyn AbstractLevel, keys: usize, length: usize) {
    const PRIME: usize = 7919;
    assert_ne!(keys % PRIME, 0, "then not every key would have its turn");
    for first in (0..keys).step_by(20) {
        let numbers = (first..(first + 20).min(keys)).map(|number| number * PRIME % keys);
        let batch = numbers.fold(Batch::new(), |batch, number| batch.put(key(number), value(number, length)));
        db.write(batch).await.unwrap();
    }
}

async fn read_at_random(db: &dyn AbstractLevel, keys: usize, length: usize, reads: usize, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..reads {
        let number = random.usize(0..keys);
        assert_eq!(db.get(key(number)).await.unwrap().unwrap(), value(number, length));
    }
}

async fn read_all(db: &dyn AbstractLevel, keys: usize, reverse: bool) {
    let mut iterator = db.iterator(IteratorOptions { reverse, ..IteratorOptions::default() }).await.unwrap();
    let mut count = 0;
    loop {
        let page = iterator.next_many(100).await.unwrap();
        if page.is_empty() {
            break;
        }
        count += page.len();
    }
    assert_eq!(count, keys);
}

/// Iterators that have been moved to places far from each other.
async fn iterators(db: &dyn AbstractLevel, keys: usize, count: usize) -> Vec<Box<dyn LevelIterator>> {
    let mut open = Vec::new();
    for i in 0..count {
        let options = IteratorOptions { reverse: i % 2 == 1, ..KeyRange::all().into() };
        let mut iterator = db.iterator(options).await.unwrap();
        iterator.seek(key(keys * i / count).into()).await.unwrap();
        assert!(iterator.next().await.unwrap().is_some());
        open.push(iterator);
    }
    open
}

/// Counting descriptors needs Linux.
#[cfg(target_os = "linux")]
mod open_files {
    use super::*;
    use rave_leveldb::Compression;
    use std::{
        fs,
        path::Path,
        sync::{
            Arc,
            atomic::{AtomicBool, AtomicUsize, Ordering},
        },
        thread,
    };

    /// The descriptors of this process for files in `directory`.
    fn count_in(directory: &Path) -> usize {
        let links = fs::read_dir("/proc/self/fd").unwrap();
        let targets = links.filter_map(|link| fs::read_link(link.ok()?.path()).ok());
        targets.filter(|target| target.starts_with(directory)).count()
    }

    fn tables(directory: &Path) -> usize {
        let files = fs::read_dir(directory).unwrap().map(|file| file.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|extension| extension == "ldb")).count()
    }

    /// Counts all the time what is open, and gives the most that was.
    struct Watch {
        stop: Arc<AtomicBool>,
        most: Arc<AtomicUsize>,
        thread: thread::JoinHandle<()>,
    }

    impl Watch {
        fn new(directory: &Path) -> Self {
            let (stop, most) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
            let thread = thread::spawn({
                let (directory, stop, most) = (directory.to_owned(), stop.clone(), most.clone());
                move || {
                    while !stop.load(Ordering::Relaxed) {
                        most.fetch_max(count_in(&directory), Ordering::Relaxed);
                        thread::yield_now();
                    }
                }
            });
            Self { stop, most, thread }
        }

        fn end(self) -> usize {
            self.stop.store(true, Ordering::Relaxed);
            self.thread.join().unwrap();
            self.most.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn stay_within_the_option() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        runtime.block_on(count());
    }

    async fn count() {
        const KEYS: usize = 4000;
        const LENGTH: usize = 300;
        let directory = tempfile::tempdir().unwrap();
        let directory = fs::canonicalize(directory.path()).unwrap();
        let options = Options {
            max_open_files: 24,
            write_buffer_size: 32 * KIB,
            max_file_size: 8 * KIB,
            cache_bytes: 0,
            compression: Compression::None,
            ..Options::default()
        };
        let watch = Watch::new(&directory);
        let db = LevelDb::with_options(&directory, options.clone()).open().await.unwrap();
        fill(&*db, KEYS, LENGTH).await;
        db.close().await.unwrap();
        assert_eq!(count_in(&directory), 0, "a closed store has no file open");
        let db = LevelDb::with_options(&directory, options.clone()).open().await.unwrap();
        let held = iterators(&*db, KEYS, 40).await;
        for reverse in [false, true] {
            read_all(&*db, KEYS, reverse).await;
        }
        let mut readers = tokio::task::JoinSet::new();
        for seed in 0..4 {
            let db = db.clone();
            readers.spawn(async move { read_at_random(&*db, KEYS, LENGTH, 1000, seed).await });
        }
        while let Some(end) = readers.join_next().await {
            end.unwrap();
        }
        assert!(tables(&directory) > 4 * options.max_open_files, "{} tables are too few to tell", tables(&directory));
        let most = watch.end();
        println!("{} tables, at most {most} files open", tables(&directory));
        assert!(most <= options.max_open_files, "{most} files were open");
        assert!(most > options.max_open_files / 3, "{most} open files are too few to be true");
        drop(held);
        db.close().await.unwrap();
    }
}

#[test]
fn memory_stays_within_write_buffers_and_cache_and_what_iterators_pin() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    const KEYS: usize = 40_000;
    const LENGTH: usize = 500;
    const ITERATORS: usize = 50;
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        write_buffer_size: 256 * KIB,
        cache_bytes: 512 * KIB,
        max_file_size: 128 * KIB,
        max_open_files: 50,
        ..Options::default()
    };
    // Two write buffers: one that takes writes and one on its way into a table. The rest is for what flush and
    // compaction have in hand: of each table that they merge a piece read ahead, and a piece of the one they write.
    let allowed = 2 * options.write_buffer_size + options.cache_bytes + 2 * MIB;
    assert!(KEYS * LENGTH > 6 * allowed, "the database is too small to tell");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        // What the process keeps for ever, such as thread-local state, is not the store's.
        let empty = tempfile::tempdir().unwrap();
        let db = LevelDb::with_options(empty.path(), options.clone()).open().await.unwrap();
        db.put("a", "b").await.unwrap();
        db.close().await.unwrap();

        MEMORY.reset_peak_usage();
        let before = MEMORY.current_usage();
        let peak = |during: &str| {
            let peak = MEMORY.peak_usage().saturating_sub(before);
            println!("{during}: {} KiB of {} KiB", peak / KIB, allowed / KIB);
            MEMORY.reset_peak_usage();
            peak
        };
        let db = LevelDb::with_options(directory.path(), options.clone()).open().await.unwrap();
        fill(&*db, KEYS, LENGTH).await;
        assert!(peak("writing") <= allowed);
        read_at_random(&*db, KEYS, LENGTH, 4000, 0).await;
        assert!(peak("reading at random") <= allowed);
        for reverse in [false, true] {
            read_all(&*db, KEYS, reverse).await;
            assert!(peak("scanning") <= allowed);
        }
        let held = iterators(&*db, KEYS, ITERATORS).await;
        // A block or two of each table it stands on, one per level and table of level 0.
        let pinned = ITERATORS * 20 * 2 * options.block_size;
        assert!(peak("holding iterators") <= allowed + pinned);
        db.close().await.unwrap();
        drop((held, db));
        let left = MEMORY.current_usage().saturating_sub(before);
        assert!(left < 64 * KIB, "{left} bytes are left after closing");
    });
}
