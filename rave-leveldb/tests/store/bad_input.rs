//! Places that cannot be opened, each with a clear error and left as they were.

use crate::LevelDb;
use rave_core::{AbstractLevelExt, Code, Error, LockAttempt, Opener};
use rave_leveldb::Options;
use std::{fs, path::Path, time::Duration};

async fn refused(path: &Path) -> Error {
    let error = LevelDb::new(path).open().await.unwrap_err();
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    error
}

#[tokio::test]
async fn a_file_is_no_directory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, "data").unwrap();
    assert_eq!(refused(&path).await.code(), Code::DatabaseFailedOpen);
    assert_eq!(fs::read_to_string(&path).unwrap(), "data");
    let below = path.join("db");
    assert_eq!(refused(&below).await.code(), Code::Io);
}

#[tokio::test]
async fn a_directory_of_other_files_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("letter.txt"), "data").unwrap();
    let error = refused(directory.path()).await;
    assert_eq!(error.code(), Code::DatabaseFailedOpen);
    assert!(error.to_string().contains("letter.txt"));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn leftovers_of_our_own_kind_do_no_harm() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["LOCK", "LOG", "LOG.old", "rave-level.sock", "MANIFEST-000001", "000001.dbtmp"] {
        fs::write(directory.path().join(name), "").unwrap();
    }
    let db = LevelDb::new(directory.path()).open().await.unwrap();
    db.put("a", "1").await.unwrap();
    db.close().await.unwrap();
    // Other files beside a database are nobody's business.
    fs::write(directory.path().join("letter.txt"), "data").unwrap();
    let db = LevelDb::new(directory.path()).open().await.unwrap();
    assert!(db.has("a").await.unwrap());
}

#[tokio::test]
async fn nothing_is_created_unasked() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { create_if_missing: false, ..Options::default() };
    for path in [directory.path().join("none"), directory.path().to_owned()] {
        let error = LevelDb::with_options(&path, options.clone()).open().await.unwrap_err();
        assert_eq!(error.code(), Code::DatabaseFailedOpen, "{error}");
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_lost_or_damaged_current_file_is_corruption() {
    let directory = tempfile::tempdir().unwrap();
    let db = LevelDb::new(directory.path()).open().await.unwrap();
    db.put("a", "1").await.unwrap();
    db.close().await.unwrap();
    let current = directory.path().join("CURRENT");
    let text = fs::read(&current).unwrap();
    for damaged in [&b""[..], b"MANIFEST-000001", b"nonsense\n", b"MANIFEST-999999\n", b"\xff\n", b"../x\n"] {
        fs::write(&current, damaged).unwrap();
        assert_eq!(refused(directory.path()).await.code(), Code::Corruption, "{damaged:?}");
    }
    fs::remove_file(&current).unwrap();
    let error = refused(directory.path()).await;
    assert_eq!(error.code(), Code::Corruption);
    assert!(error.to_string().contains("CURRENT"));
    fs::write(&current, text).unwrap();
    assert!(LevelDb::new(directory.path()).open().await.unwrap().has("a").await.unwrap());
}

#[tokio::test]
async fn a_missing_table_is_corruption() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { write_buffer_size: 1, ..Options::default() };
    let db = LevelDb::with_options(directory.path(), options).open().await.unwrap();
    db.put("a", "1").await.unwrap();
    // The buffer is full, so that the first write has to go to a table; perhaps in the background.
    db.put("b", "2").await.unwrap();
    let tables = || {
        let files = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|extension| extension == "ldb")).collect::<Vec<_>>()
    };
    while tables().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    db.close().await.unwrap();
    for table in tables() {
        fs::remove_file(table).unwrap();
    }
    assert_eq!(refused(directory.path()).await.code(), Code::Corruption);
}

#[tokio::test]
async fn a_held_lock_is_reported_with_its_holder() {
    let directory = tempfile::tempdir().unwrap();
    let opener = LevelDb::new(directory.path());
    let db = opener.open().await.unwrap();
    db.put("a", "1").await.unwrap();
    assert!(matches!(opener.try_lock().await.unwrap(), LockAttempt::Held { .. }));
    let error = opener.open().await.unwrap_err();
    assert_eq!(error.code(), Code::Locked);
    #[cfg(target_os = "linux")]
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    db.close().await.unwrap();
    let LockAttempt::Acquired(locked) = opener.try_lock().await.unwrap() else { panic!("the lock is free") };
    assert!(matches!(opener.try_lock().await.unwrap(), LockAttempt::Held { .. }));
    drop(locked);
    let db = opener.open().await.unwrap();
    // Dropping every handle closes, in the background.
    drop(db);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while matches!(opener.try_lock().await.unwrap(), LockAttempt::Held { .. }) {
        assert!(std::time::Instant::now() < deadline, "the lock was not released");
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_failed_opening_releases_the_lock() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("CURRENT"), "nonsense").unwrap();
    for _ in 0..2 {
        assert_eq!(refused(directory.path()).await.code(), Code::Corruption);
    }
}
