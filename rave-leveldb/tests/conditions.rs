//! Batches with conditions, where the disk has a say: what is not in memory, what cannot be read, what must not be written.

use rave_core::{
    AbstractLevel, AbstractLevelExt, Batch, Code, Condition, Digester, Effect, KeyRange, Result, WriteOptions,
};
use rave_leveldb::{
    LevelDb, Options, Store,
    testing::{Fault, SimulatedDisk},
};
use std::sync::Arc;
use tempfile::TempDir;

/// A store on `disk`, whose tables are not kept in memory, and the directory that has its lock.
async fn open(disk: &SimulatedDisk) -> (Arc<Store>, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        disk: Some(disk.clone()),
        write_buffer_size: 16 << 10,
        max_file_size: 8 << 10,
        cache_bytes: 0,
        max_open_files: 1,
        ..Options::default()
    };
    let store = LevelDb::with_options(directory.path(), options).open_store().await.unwrap();
    (store, directory)
}

fn key(i: u32) -> String {
    format!("key {i:04}")
}

/// Fills tables, so that nothing is left in memory.
async fn fill_tables(db: &Store) {
    for i in 0..500 {
        db.put(key(i), i.to_string()).await.unwrap();
    }
    db.compact_range(KeyRange::all()).await.unwrap();
}

async fn unchanged(db: &Store, range: KeyRange) -> Condition {
    let mut digester = Digester::default();
    for entry in db.all(range.clone()).await.unwrap() {
        digester.entry(&entry.key, &entry.value);
    }
    Condition::unchanged(range, digester.finish())
}

#[track_caller]
fn assert_failed(result: Result<()>, conditions: &[usize]) {
    let error = result.expect_err("a condition does not hold");
    assert_eq!((error.code(), error.effect()), (Code::ConditionFailed, Effect::None), "{error}");
    assert_eq!(error.failed_conditions(), conditions);
}

#[tokio::test]
async fn what_is_not_in_memory_is_checked_all_the_same() {
    let disk = SimulatedDisk::new();
    let (db, _directory) = open(&disk).await;
    fill_tables(&db).await;
    let all = unchanged(&db, KeyRange::prefix("key")).await;
    for percent in [100, 30] {
        // Whoever must not wait for the disk cannot read it.
        disk.cold_sometimes(percent);
        for i in (0..500).step_by(7) {
            let (here, there) = (key(i), key(i + 1));
            let next = (i + 1).to_string();
            // The writes behind keep their places, although the first has to wait.
            let (hold, behind, fails, last) = tokio::join!(
                biased;
                db.write(Batch::new().put("hold", &here).if_equals(&here, i.to_string()).if_equals(&there, next)),
                db.put("behind", &here),
                db.write(Batch::new().put("hold", "wrong").if_absent(&here).if_equals("behind", &here)),
                db.write(Batch::new().put("last", &here).if_equals("hold", &here)),
            );
            hold.unwrap();
            behind.unwrap();
            assert_failed(fails, &[0]);
            last.unwrap();
        }
        db.write(Batch::new().del("hold").require(all.clone()).if_absent(key(1000))).await.unwrap();
    }
    db.put(key(250), "changed").await.unwrap();
    assert_failed(db.write(Batch::new().put("hold", "wrong").require(all)).await, &[0]);
    assert_eq!(db.get("hold").await.unwrap(), None);
    db.close().await.unwrap();
}

#[tokio::test]
async fn a_condition_that_cannot_be_read_refuses_its_batch_and_no_other() {
    let disk = SimulatedDisk::new();
    let (db, _directory) = open(&disk).await;
    fill_tables(&db).await;
    let all = unchanged(&db, KeyRange::all()).await;
    disk.fail_reads(true);
    for batch in [Batch::new().if_equals(key(3), "3"), Batch::new().require(all.clone())] {
        let error = db.write(batch.put("a", "1")).await.expect_err("it cannot be read");
        assert_eq!((error.code(), error.effect()), (Code::Io, Effect::None), "{error}");
    }
    // A read that failed says nothing about writing.
    db.put("b", "1").await.unwrap();
    disk.heal();
    assert_eq!(db.get_many(vec!["a", "b"]).await.unwrap(), [None, Some("1".into())]);
    assert_failed(db.write(Batch::new().put("a", "1").require(all)).await, &[0]);
    db.write(Batch::new().put("a", "1").if_equals(key(3), "3")).await.unwrap();
    db.close().await.unwrap();
}

#[tokio::test]
async fn after_a_failure_conditional_batches_are_refused_like_others() {
    let disk = SimulatedDisk::new();
    let (db, _directory) = open(&disk).await;
    disk.fail_from(0, Fault::NoSpace);
    db.put("a", "1").await.unwrap_err();
    disk.heal();
    for batch in [Batch::new().put("a", "1").if_equals("x", "1"), Batch::new().if_absent("x")] {
        let error = db.write(batch).await.expect_err("writing has ended");
        assert_eq!((error.code(), error.effect()), (Code::Io, Effect::None), "{error}");
    }
    db.close().await.unwrap();
}

#[tokio::test]
async fn what_is_only_checked_leaves_the_disk_alone() {
    let disk = SimulatedDisk::new();
    let (db, _directory) = open(&disk).await;
    db.put("a", "1").await.unwrap();
    let before = (disk.bytes_written(), disk.operations());
    for sync in [false, true] {
        let options = WriteOptions { sync };
        db.write_opts(Batch::new().if_equals("a", "1").if_absent("b"), options).await.unwrap();
        assert_failed(db.write_opts(Batch::new().if_absent("a"), options).await, &[0]);
        assert_failed(db.write_opts(Batch::new().put("a", "2").if_absent("a"), options).await, &[0]);
    }
    assert_eq!((disk.bytes_written(), disk.operations()), before);
    db.close().await.unwrap();
}

/// Threads that count and move by "compare and set", while tables are made and merged all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_threads_count_exactly() {
    const TASKS: u64 = 8;
    const ROUNDS: u64 = 150;
    let disk = SimulatedDisk::new();
    disk.cold_sometimes(10);
    let (db, _directory) = open(&disk).await;
    let number = |value: Option<rave_core::Bytes>| -> u64 {
        value.map_or(0, |value| std::str::from_utf8(&value[..20]).unwrap().parse().unwrap())
    };
    // Long values fill the memtable quickly.
    let text = |number: u64| format!("{number:020}{}", ".".repeat(300));
    let count = |db: Arc<Store>, task: u64| async move {
        for round in 0..ROUNDS {
            let one = format!("count {}", (task + round) % 3);
            loop {
                let old = db.get(&one).await.unwrap();
                let batch = Batch::new().put(&one, text(number(old.clone()) + 1));
                let batch = match &old {
                    Some(old) => batch.if_equals(&one, old),
                    None => batch.if_absent(&one),
                };
                // Now and then the whole range has to be as it was.
                let batch = if round % 5 == 0 {
                    let range = KeyRange::all().gte("count 0").lte("count 2");
                    let condition = unchanged(&db, range).await;
                    batch.require(condition)
                } else {
                    batch
                };
                match db.write(batch).await {
                    Ok(()) => break,
                    Err(error) => assert_eq!(error.code(), Code::ConditionFailed, "{error}"),
                }
            }
        }
    };
    let tasks: Vec<_> = (0..TASKS).map(|task| tokio::spawn(count(db.clone(), task))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    let mut sum = 0;
    for i in 0..3 {
        sum += number(db.get(format!("count {i}")).await.unwrap());
    }
    assert_eq!(sum, TASKS * ROUNDS);
    db.close().await.unwrap();
}
