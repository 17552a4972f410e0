//! What is read from a file that did not end well.

use append_store::AppendStore;
use rave_level::{
    AbstractLevel, AbstractLevelExt, Batch, Code, IteratorOptions, KeyRange, LockAttempt, Opener, Result,
};
use std::{fs, path::Path, sync::Arc};

async fn open(directory: &Path) -> Result<Arc<dyn AbstractLevel>> {
    match AppendStore::new(directory).try_lock().await? {
        LockAttempt::Acquired(locked) => locked.open().await,
        LockAttempt::Held { holder } => panic!("process {holder:?} has the lock"),
    }
}

/// The keys in the directory, which must open.
async fn keys(directory: &Path) -> Vec<String> {
    let db = open(directory).await.unwrap();
    let entries = db.all(KeyRange::all()).await.unwrap();
    db.close().await.unwrap();
    entries.iter().map(|entry| entry.key.escape_ascii().to_string()).collect()
}

/// A log of these batches, one after the other, and where each of them ends.
async fn log_of(batches: &[Batch]) -> (Vec<u8>, Vec<usize>) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("append.log");
    let mut ends = Vec::new();
    let db = open(folder.path()).await.unwrap();
    for batch in batches {
        db.write(batch.clone()).await.unwrap();
        ends.push(fs::metadata(&log).unwrap().len() as usize);
    }
    db.close().await.unwrap();
    (fs::read(&log).unwrap(), ends)
}

fn three() -> [Batch; 3] {
    [Batch::new().put("a", "1"), Batch::new().put("b", "2"), Batch::new().put("c", "3").del("a")]
}

#[tokio::test]
async fn a_torn_tail_is_cut_wherever_it_tears() {
    let (log, ends) = log_of(&three()).await;
    for length in 0..log.len() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("append.log"), &log[..length]).unwrap();
        let whole = ends.iter().filter(|&&end| end <= length).count();
        let left: &[&str] = [&[][..], &["a"], &["a", "b"]][whole];
        assert_eq!(keys(folder.path()).await, left, "cut at {length}");

        // And it goes on from there.
        let db = open(folder.path()).await.unwrap();
        db.put("later", "4").await.unwrap();
        db.close().await.unwrap();
        assert_eq!(keys(folder.path()).await, [left, &["later"]].concat(), "cut at {length}");
    }
}

#[tokio::test]
async fn a_tail_that_was_never_written_is_cut() {
    // After power loss the file can have its new length and not its new contents.
    let (log, ends) = log_of(&three()).await;
    for filling in [0, 0xff] {
        let folder = tempfile::tempdir().unwrap();
        let mut torn = log.clone();
        torn[ends[1]..].fill(filling);
        fs::write(folder.path().join("append.log"), &torn).unwrap();
        assert_eq!(keys(folder.path()).await, ["a", "b"]);
    }
}

#[tokio::test]
async fn damage_in_the_middle_is_an_error_and_changes_nothing() {
    let (log, ends) = log_of(&three()).await;
    for at in 0..ends[1] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("append.log");
        let mut damaged = log.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, &damaged).unwrap();
        for _ in 0..2 {
            let error = open(folder.path()).await.expect_err(&format!("damage at {at} went unnoticed"));
            assert_eq!(error.code(), Code::Corruption, "{error}");
            assert!(error.message().contains("append.log"), "{error}");
        }
        assert_eq!(fs::read(&path).unwrap(), damaged);
    }
}

#[tokio::test]
async fn a_record_inside_of_a_value_is_no_record() {
    // The value is a log; the record that holds it tears right behind.
    let (inner, _) = log_of(&three()).await;
    let (log, ends) = log_of(&[Batch::new().put("a", "1"), Batch::new().put("copy", &inner).put("z", "")]).await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("append.log"), &log[..ends[1] - 2]).unwrap();
    assert_eq!(keys(folder.path()).await, ["a"]);
}

#[tokio::test]
async fn what_belongs_to_others_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("CURRENT"), "MANIFEST-000001\n").unwrap();
    let error = open(folder.path()).await.unwrap_err();
    assert!(error.message().contains("holds CURRENT"), "{error}");
    fs::write(folder.path().join("append.log"), "my diary").unwrap();
    assert_eq!(open(folder.path()).await.unwrap_err().code(), Code::Corruption);
    assert_eq!(fs::read_to_string(folder.path().join("append.log")).unwrap(), "my diary");
}

#[tokio::test]
async fn the_lock_is_held_as_long_as_the_store_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let is_free = async || match AppendStore::new(folder.path()).try_lock().await.unwrap() {
        LockAttempt::Acquired(_) => true,
        LockAttempt::Held { .. } => false,
    };
    let db = open(folder.path()).await.unwrap();
    assert!(!is_free().await);
    db.close().await.unwrap();
    assert!(is_free().await);

    // An iterator that is still there keeps nobody out.
    let db = open(folder.path()).await.unwrap();
    let iterator = db.iterator(IteratorOptions::default()).await.unwrap();
    assert!(!is_free().await);
    drop(db);
    assert!(is_free().await);
    drop(iterator);
}

#[tokio::test]
async fn closing_amid_writes_loses_none_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(folder.path()).await.unwrap();
    let writes: Vec<_> = (0..20)
        .map(|i| {
            let db = db.clone();
            tokio::spawn(async move {
                let options = rave_level::WriteOptions::synced();
                db.write_opts(Batch::new().put(format!("{i:02}"), ""), options).await
            })
        })
        .collect();
    tokio::task::yield_now().await;
    db.close().await.unwrap();
    // Each of them was done or refused, and none may be in the middle.
    let mut acknowledged = Vec::new();
    for (i, write) in writes.into_iter().enumerate() {
        match write.await.unwrap() {
            Ok(()) => acknowledged.push(format!("{i:02}")),
            Err(error) => assert_eq!(error.code(), Code::DatabaseNotOpen, "{error}"),
        }
    }
    assert_eq!(keys(folder.path()).await, acknowledged);
}
