//! Databases on simulated disks: a workload whose every state is known, and checks of what is left of it.

use rave_core::{
    AbstractLevel, AbstractLevelExt, Batch, ClearOptions, IteratorOptions, KeyRange, Result, WriteOptions,
};
use rave_leveldb::{Compression, LevelDb, Options, Store, testing::SimulatedDisk};
use std::{
    collections::BTreeMap,
    future::poll_fn,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

pub type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

/// The key whose value is the number of the last batch, so that every batch makes another state.
pub const COUNTER: &[u8] = b"steps";

/// A step of a workload.
#[derive(Clone, Debug)]
pub enum Step {
    /// A batch, and whether it is synced.
    Write(Batch, bool),
    /// A clear of a range.
    Clear(Vec<u8>, Vec<u8>),
}

/// Steps, and the contents before the first and after each of them.
pub struct Workload {
    pub steps: Vec<Step>,
    pub states: Vec<Contents>,
    /// Before these steps the whole database is compacted.
    compactions: Vec<usize>,
    /// So many steps are taken at the same time.
    at_once: usize,
    /// Whether values are so long that logs and manifests have several blocks.
    large: bool,
    /// How long syncs of tables take, while more is written.
    delay: Duration,
}

impl Workload {
    /// So many steps on few keys; `seed` chooses what they do.
    pub fn new(seed: u64, count: usize) -> Self {
        Self::with_values(seed, count, 90)
    }

    /// The same with values so long that logs and tables have several blocks.
    pub fn large(seed: u64, count: usize) -> Self {
        Self { large: true, ..Self::with_values(seed, count, 9000) }
    }

    /// The same with up to so many steps taken at the same time.
    pub fn at_once(self, at_once: usize) -> Self {
        Self { at_once, ..self }
    }

    /// The same on a disk that takes so long to sync a table.
    pub fn slow_tables(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    fn with_values(seed: u64, count: usize, longest: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut contents = Contents::new();
        let (mut steps, mut states) = (Vec::new(), vec![contents.clone()]);
        for i in 0..count {
            let step = if i % 19 == 17 {
                let from = random.u8(0..40);
                let to = from + random.u8(0..10);
                contents.retain(|key, _| key == COUNTER || !(name(from)..name(to)).contains(key));
                // It leaves the counter alone; one that finds nothing to delete makes no other state.
                Step::Clear(name(from), name(to))
            } else {
                let mut batch = Batch::new().put(COUNTER, (i + 1).to_string());
                contents.insert(COUNTER.to_vec(), (i + 1).to_string().into_bytes());
                for _ in 0..random.usize(0..4) {
                    let key = name(random.u8(0..40));
                    if random.u8(0..4) == 0 {
                        batch = batch.del(&key);
                        contents.remove(&key);
                    } else {
                        let value: Vec<u8> = (0..random.usize(0..longest)).map(|_| random.u8(1..)).collect();
                        batch = batch.put(&key, &value);
                        contents.insert(key, value);
                    }
                }
                // Larger than a page now and then: its fragments can be lost one by one.
                if random.u8(0..20) == 0 {
                    let value: Vec<u8> = (0..random.usize(1000..3000)).map(|_| random.u8(1..)).collect();
                    batch = batch.put(b"large", &value);
                    contents.insert(b"large".to_vec(), value);
                }
                Step::Write(batch, random.u8(0..6) == 0)
            };
            steps.push(step);
            states.push(contents.clone());
        }
        // Short workloads are to leave a log.
        let compactions = if count > 10 { vec![count / 2, count * 9 / 10] } else { Vec::new() };
        Self { steps, states, compactions, at_once: 1, large: false, delay: Duration::ZERO }
    }

    /// Options that bring so few writes through every rule of the engine.
    pub fn options(&self, disk: &SimulatedDisk) -> Options {
        let scale = if self.large { 20 } else { 1 };
        Options {
            disk: Some(disk.clone()),
            write_buffer_size: 4000 * scale,
            max_file_size: 1500 * scale,
            block_size: 200,
            cache_bytes: 2000,
            max_open_files: 4,
            compression: Compression::None,
            ..Options::default()
        }
    }

    /// Opens what is on the disk.
    pub async fn open(&self, directory: &Path, disk: &SimulatedDisk) -> Result<Arc<Store>> {
        disk.slow_tables(self.delay);
        LevelDb::with_options(directory, self.options(disk)).open_store().await
    }

    /// Takes the steps from `start` on until one fails.
    pub async fn run(&self, db: &Store, start: usize) -> Progress {
        let mut progress = Progress { acknowledged: start, submitted: start, ..Progress::default() };
        let mut next = start;
        while next < self.steps.len() && progress.error.is_none() {
            if self.compactions.contains(&next)
                && let Err(error) = db.compact_range(KeyRange::all()).await
            {
                progress.error = Some(error);
                break;
            }
            let compaction = self.compactions.iter().copied().find(|at| *at > next).unwrap_or(self.steps.len());
            let group = &self.steps[next..compaction.min(next + 1 + next % self.at_once)];
            progress.submitted = next + group.len();
            let results = together(group.iter().map(|step| take(db, step)).collect()).await;
            for (step, result) in group.iter().zip(results) {
                next += 1;
                match result {
                    // All steps before were taken before.
                    Ok(()) => progress.acknowledged = next,
                    Err(error) if progress.error.is_none() => {
                        progress.error = Some(error);
                        progress.first_failed = next - 1;
                    }
                    Err(_) => {}
                }
                if progress.acknowledged == next && matches!(step, Step::Write(_, true)) {
                    progress.synced = next;
                }
            }
        }
        progress
    }

    /// After how many steps the contents are these, of all that are possible. Panics if after none.
    pub fn position(&self, found: &Contents, case: &dyn std::fmt::Display) -> std::ops::RangeInclusive<usize> {
        let is_found = |i: &usize| self.states[*i] == *found;
        match ((0..self.states.len()).find(is_found), (0..self.states.len()).rfind(is_found)) {
            (Some(first), Some(last)) => first..=last,
            _ => {
                let counter = found.get(COUNTER).map_or("0".into(), |value| String::from_utf8_lossy(value));
                let state = counter.parse::<usize>().ok().and_then(|i| self.states.get(i));
                panic!("{case}: no state of the database was ever this; {}", difference(found, state));
            }
        }
    }
}

/// What is wrong, without the values.
fn difference(found: &Contents, expected: Option<&Contents>) -> String {
    let Some(expected) = expected else { return "the counter is wrong".into() };
    let text = |key: &Vec<u8>| String::from_utf8_lossy(key).into_owned();
    let missing: Vec<_> = expected.keys().filter(|key| !found.contains_key(*key)).map(text).collect();
    let extra: Vec<_> = found.keys().filter(|key| !expected.contains_key(*key)).map(text).collect();
    let other: Vec<_> =
        expected.iter().filter(|(key, value)| found.get(*key).is_some_and(|found| found != *value)).collect();
    let other: Vec<_> = other.into_iter().map(|(key, _)| text(key)).collect();
    let counter = String::from_utf8_lossy(&expected[COUNTER]);
    format!("by its counter it is after step {counter}: missing {missing:?}, extra {extra:?}, other values {other:?}")
}

/// Waits for all of the futures, which are begun in order.
async fn together<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut pending: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    poll_fn(|context| {
        for (future, output) in &mut pending {
            if output.is_none()
                && let Poll::Ready(ready) = future.as_mut().poll(context)
            {
                *output = Some(ready);
            }
        }
        if pending.iter().all(|(_, output)| output.is_some()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    pending.into_iter().filter_map(|(_, output)| output).collect()
}

pub async fn take(db: &Store, step: &Step) -> Result<()> {
    match step {
        Step::Write(batch, sync) => db.write_opts(batch.clone(), WriteOptions { sync: *sync }).await,
        Step::Clear(from, to) => db.clear(ClearOptions::from(KeyRange::all().gte(from).lt(to))).await,
    }
}

fn name(number: u8) -> Vec<u8> {
    format!("key {number:02}").into_bytes()
}

/// How far a workload came.
#[derive(Debug, Default)]
pub struct Progress {
    /// So many steps were acknowledged,
    pub acknowledged: usize,
    /// of which so many by a write with sync.
    pub synced: usize,
    /// So many were begun.
    pub submitted: usize,
    /// The first that failed.
    pub first_failed: usize,
    /// Why it ended early.
    pub error: Option<rave_core::Error>,
}

/// All entries; forward, backward and one by one they have to be the same.
pub async fn contents(db: &Store) -> Result<Contents> {
    let forward = db.all(KeyRange::all()).await?;
    let mut reverse = db.all(IteratorOptions::default().reversed()).await?;
    reverse.reverse();
    assert_eq!(forward, reverse, "forward and reverse differ");
    let contents: Contents = forward.into_iter().map(|entry| (entry.key.to_vec(), entry.value.to_vec())).collect();
    for key in (0..40).map(name).chain([COUNTER.to_vec(), b"large".to_vec(), b"none".to_vec()]) {
        let found = db.get(&key).await?;
        assert!(found.as_deref() == contents.get(&key).map(Vec::as_slice), "get and scan differ");
    }
    Ok(contents)
}

/// Whether to run all cases instead of a sample.
pub fn full() -> bool {
    std::env::var("RAVE_TEST_CRASHES").is_ok_and(|value| value == "full")
}

/// Runs cases on all cores, each core with a runtime and a directory of its own.
pub fn in_parallel<T: Sync>(cases: &[T], run: impl AsyncFn(&Path, &T) + Sync) {
    let next = AtomicUsize::new(0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let directory = tempfile::tempdir().unwrap();
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    runtime.block_on(run(directory.path(), case));
                }
            });
        }
    });
}
