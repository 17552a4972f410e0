//! Processes that are killed while they open and write, and what is left then.

use crate::{
    Db,
    child::{self, Running},
    contents, small,
};
use rave_core::{AbstractLevel, AbstractLevelExt, Batch, ClearOptions, KeyRange, LockAttempt, Opener};
use rave_sled::{Options, SledDb};
use std::{
    collections::BTreeMap,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// Tasks of the child that write at once, each its own keys.
const TASKS: usize = 4;
/// Keys that a task writes in one batch, all with the same number.
const KEYS: usize = 5;

fn options(small_segments: bool) -> Options {
    if small_segments { small() } else { Options::default() }
}

/// What a task writes under each of its keys: the number of its batch, and more or less behind it. Now and then so much
/// that it does not fit into a segment.
fn value(number: u64, key: usize) -> String {
    let length = match (number + key as u64) % 40 {
        0 => 9_000,
        7 => 1_500,
        rest => rest as usize * 3,
    };
    format!("{number:08} {}", "x".repeat(length))
}

fn number(value: &[u8]) -> u64 {
    std::str::from_utf8(&value[..8]).unwrap().parse().unwrap()
}

/// Keys come and go, so that what is found has to be whole: batch `number` has those but one, and clears that one.
async fn step(db: &Db, task: usize, number: u64) -> rave_core::Result<()> {
    let absent = number as usize % KEYS;
    let keys = (0..KEYS).filter(|key| *key != absent);
    let batch = keys.fold(Batch::new(), |batch, key| batch.put(format!("{task} {key}"), value(number, key)));
    match number % 3 {
        // In one batch; the counter has to be right, too.
        0 => {
            let counter = format!("{task} n");
            let batch = batch.del(format!("{task} {absent}")).put(&counter, format!("{number:08}"));
            let batch = match number {
                0 => batch.if_absent(&counter),
                _ => batch.if_equals(&counter, format!("{:08}", number - 1)),
            };
            db.write(batch).await
        }
        // By a clear that writes.
        1 => {
            let range = KeyRange::prefix(format!("{task} "));
            let and_write = batch.put(format!("{task} n"), format!("{number:08}"));
            db.clear_opts(ClearOptions { and_write, ..range.into() }).await
        }
        _ => db.write(batch.del(format!("{task} {absent}")).put(format!("{task} n"), format!("{number:08}"))).await,
    }
}

/// Reads without an end what others write, and tells it: whatever anybody was told must be there for good.
async fn tell_what_is_read(db: Db) {
    for round in 0_u64.. {
        for task in 0..TASKS {
            let counter = format!("{task} n");
            let found = match round % 3 {
                0 => db.get(&counter).await.unwrap(),
                1 => db.get_many(vec!["other", &counter]).await.unwrap().remove(1),
                _ => {
                    let range = KeyRange::prefix(format!("{task} "));
                    let entries = db.all(range).await.unwrap();
                    entries.into_iter().find(|entry| entry.key == counter).map(|entry| entry.value)
                }
            };
            if let Some(found) = found {
                child::tell(&format!("{task} {}", number(&found)));
            }
        }
    }
}

/// Not a test by itself: the process that is killed.
#[test]
fn child_writes() {
    let Some((path, small_segments)) = child::role() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let db = SledDb::with_options(path, options(small_segments)).open().await.unwrap();
        child::tell("open");
        let tasks = (0..TASKS).map(|task| {
            let db = db.clone();
            tokio::spawn(async move {
                let start = db.get(format!("{task} n")).await.unwrap().map_or(0, |found| number(&found) + 1);
                for number in start.. {
                    step(&db, task, number).await.unwrap();
                    child::tell(&format!("{task} {number}"));
                }
            })
        });
        futures::future::join(tell_what_is_read(db.clone()), futures::future::join_all(tasks)).await;
    });
}

/// Takes note of what the child was told: that it was written, or what was read.
fn note(line: &str, acknowledged: &mut BTreeMap<usize, u64>) {
    if let Some((task, number)) = line.split_once(' ') {
        let (task, number) = (task.parse().unwrap(), number.parse().unwrap());
        let so_far = acknowledged.entry(task).or_insert(number);
        *so_far = number.max(*so_far);
    }
}

/// Checks that all is there that was acknowledged, and no half of anything. Tells how far each task came.
fn check(found: &BTreeMap<Vec<u8>, Vec<u8>>, acknowledged: &BTreeMap<usize, u64>) -> BTreeMap<usize, u64> {
    let mut reached = BTreeMap::new();
    for task in 0..TASKS {
        let acknowledged = acknowledged.get(&task);
        let Some(counter) = found.get(format!("{task} n").as_bytes()) else {
            assert_eq!(acknowledged, None, "task {task} was acknowledged and is lost");
            continue;
        };
        let last = number(counter);
        // One more may have been on its way.
        assert!(acknowledged.is_none_or(|&acknowledged| last >= acknowledged), "task {task}: {last}, {acknowledged:?}");
        for key in 0..KEYS {
            let found =
                found.get(format!("{task} {key}").as_bytes()).map(|found| String::from_utf8(found.clone()).unwrap());
            let expected = (key != last as usize % KEYS).then(|| value(last, key));
            assert!(found == expected, "task {task} at {last}: half a batch, key {key} is wrong");
        }
        reached.insert(task, last);
    }
    reached
}

/// Opens what a process had open that is just dying: as soon as its lock is free, which may be before its files are closed.
async fn open_soon(directory: &Path, small_segments: bool) -> Db {
    let opener = SledDb::with_options(directory, options(small_segments));
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match opener.try_lock().await.unwrap() {
            LockAttempt::Acquired(locked) => return locked.open().await.unwrap(),
            LockAttempt::Held { .. } => assert!(Instant::now() < deadline, "the lock was not released"),
        }
        thread::sleep(Duration::from_micros(50));
    }
}

async fn kill_and_check(rounds: u64, small_segments: bool, directory: &Path) {
    let mut rng = fastrand::Rng::with_seed(rounds + u64::from(small_segments));
    let mut acknowledged = BTreeMap::new();
    for round in 0..rounds {
        let mut child = Running::start("kills::child_writes", directory, small_segments);
        if round % 3 == 0 {
            // Perhaps while it opens.
            thread::sleep(Duration::from_micros(rng.u64(0..40_000)));
        } else {
            assert_eq!(child.line().as_deref(), Some("open"));
            for _ in 0..rng.u32(1..300) {
                note(&child.line().expect("the child goes on"), &mut acknowledged);
            }
        }
        child.kill();
        // At once, and now and then by the next child.
        let db = if rng.bool() { Some(open_soon(directory, small_segments).await) } else { None };
        while let Some(line) = child.line() {
            note(&line, &mut acknowledged);
        }
        if let Some(db) = db {
            acknowledged = check(&contents(&db).await, &acknowledged);
            db.close().await.unwrap();
        }
    }
    let db = SledDb::with_options(directory, options(small_segments)).open().await.unwrap();
    assert_eq!(check(&contents(&db).await, &acknowledged).len(), TASKS);
}

/// How many rounds: more for a soak.
fn rounds() -> u64 {
    std::env::var("RAVE_SLED_KILLS").map_or(12, |rounds| rounds.parse().unwrap())
}

#[tokio::test]
async fn acknowledged_writes_survive_sigkill_and_batches_are_whole() {
    let directory = tempfile::tempdir().unwrap();
    kill_and_check(rounds(), false, directory.path()).await;
}

#[tokio::test]
async fn so_they_do_in_small_segments_that_are_used_again() {
    let directory = tempfile::tempdir().unwrap();
    kill_and_check(rounds(), true, directory.path()).await;
}

#[tokio::test]
async fn a_large_batch_is_there_or_it_is_not() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..rounds() {
        let mut child = Running::start("kills::child_writes_large_batches", directory.path(), round % 2 == 0);
        assert_eq!(child.line().as_deref(), Some("open"));
        thread::sleep(Duration::from_micros(fastrand::u64(0..200_000)));
        child.kill();
        let db = open_soon(&directory.path().join(format!("{}", round % 2)), round % 2 == 0).await;
        let found = contents(&db).await;
        assert!(found.is_empty() || found.len() == LARGE, "{} of {LARGE} entries", found.len());
        assert!(found.values().all(|value| Some(value) == found.values().next()), "half a batch");
        db.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_creation_that_was_interrupted_can_be_made_up_for() {
    for _ in 0..2 * rounds() {
        let directory = tempfile::tempdir().unwrap();
        let mut child = Running::start("kills::child_writes", directory.path(), false);
        thread::sleep(Duration::from_micros(fastrand::u64(0..30_000)));
        child.kill();
        let db = open_soon(directory.path(), false).await;
        check(&contents(&db).await, &BTreeMap::new());
        db.close().await.unwrap();
    }
}

/// Entries of a batch that needs several segments, of either size.
const LARGE: usize = 4_000;

/// Not a test by itself: the process that is killed.
#[test]
fn child_writes_large_batches() {
    let Some((path, small_segments)) = child::role() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let path = path.join(if small_segments { "0" } else { "1" });
        let db = SledDb::with_options(path, options(small_segments)).open().await.unwrap();
        child::tell("open");
        for number in 0.. {
            let value = format!("{number:0200}");
            let batch = (0..LARGE).fold(Batch::new(), |batch, key| batch.put(format!("{key:08}"), &value));
            db.write(batch).await.unwrap();
        }
    });
}
