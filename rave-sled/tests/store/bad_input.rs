//! Places that cannot be opened, each with a clear error and left as they were.

use crate::contents;
use rave_core::{AbstractLevel, AbstractLevelExt, Batch, ClearOptions, Code, Effect, Error, LockAttempt, Opener};
use rave_sled::{Options, SledDb};
use std::{fs, path::Path};

async fn refused(path: &Path) -> Error {
    let error = SledDb::new(path).open().await.unwrap_err();
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    error
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_file_is_no_directory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, "data").unwrap();
    assert_eq!(refused(&path).await.code(), Code::DatabaseFailedOpen);
    assert_eq!(fs::read_to_string(&path).unwrap(), "data");
    assert_eq!(refused(&path.join("db")).await.code(), Code::Io);
}

#[tokio::test]
async fn a_leveldb_database_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let db = rave_leveldb::LevelDb::new(directory.path()).open().await.unwrap();
    db.put("a", "1").await.unwrap();
    db.close().await.unwrap();
    let before = names(directory.path());
    let error = refused(directory.path()).await;
    assert_eq!(error.code(), Code::DatabaseFailedOpen);
    assert!(error.to_string().contains("LevelDB") && error.to_string().contains(".log\""), "{error}");
    assert_eq!(names(directory.path()), before);
    for name in ["CURRENT", "MANIFEST-000004", "000012.ldb"] {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(name), "").unwrap();
        let error = refused(directory.path()).await;
        assert!(error.to_string().contains("LevelDB") && error.to_string().contains(name), "{error}");
        assert_eq!(names(directory.path()), [name]);
    }
}

#[tokio::test]
async fn a_sled_database_is_not_touched_by_leveldb() {
    let directory = tempfile::tempdir().unwrap();
    let db = SledDb::new(directory.path()).open().await.unwrap();
    db.put("a", "1").await.unwrap();
    db.close().await.unwrap();
    let before = names(directory.path());
    let (native, rusty) = (
        rave_leveldb::LevelDb::new(directory.path()).open().await.unwrap_err(),
        rave_leveldb::rusty::RustyLevelDb::new(directory.path()).open().await.unwrap_err(),
    );
    for error in [native, rusty] {
        assert_eq!(error.code(), Code::DatabaseFailedOpen);
        let text = error.to_string();
        assert!(text.contains("sled") && text.contains("\"conf\"") && text.contains("\"db\""), "{text}");
    }
    assert_eq!(names(directory.path()), before);
    assert!(SledDb::new(directory.path()).open().await.unwrap().has("a").await.unwrap());
}

#[tokio::test]
async fn a_directory_of_other_files_is_not_touched() {
    for name in ["letter.txt", "db"] {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(name), "data").unwrap();
        let error = refused(directory.path()).await;
        assert_eq!(error.code(), Code::DatabaseFailedOpen);
        assert!(error.to_string().contains(name), "{error}");
        assert_eq!(names(directory.path()), [name]);
    }
}

#[tokio::test]
async fn leftovers_of_our_own_kind_do_no_harm() {
    let directory = tempfile::tempdir().unwrap();
    // As after being killed while creating: the settings are written in two pieces.
    fs::create_dir(directory.path().join("blobs")).unwrap();
    for (name, text) in [("LOCK", ""), ("rave-level.sock", ""), ("conf", "segment_size: 524288\nuse_co"), ("db", "")] {
        fs::write(directory.path().join(name), text).unwrap();
    }
    let db = SledDb::new(directory.path()).open().await.unwrap();
    db.put("a", "1").await.unwrap();
    db.close().await.unwrap();
    // Other files beside a database are nobody's business. As after being killed while opening: half a snapshot.
    for name in ["letter.txt", "snap.7FFFFFFFFFFFFFFF.generating"] {
        fs::write(directory.path().join(name), "data").unwrap();
    }
    let db = SledDb::new(directory.path()).open().await.unwrap();
    assert!(db.has("a").await.unwrap());
    assert!(!directory.path().join("snap.7FFFFFFFFFFFFFFF.generating").exists());
    assert!(directory.path().join("letter.txt").exists());
}

#[tokio::test]
async fn a_lost_data_file_is_corruption() {
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let db = SledDb::new(directory.path()).open().await.unwrap();
        db.put("a", "1").await.unwrap();
        db.close().await.unwrap();
    }
    fs::remove_file(directory.path().join("db")).unwrap();
    let error = refused(directory.path()).await;
    assert_eq!(error.code(), Code::Corruption);
    assert!(error.to_string().contains("snap."), "{error}");
    assert!(!directory.path().join("db").exists());
}

#[tokio::test]
async fn nothing_is_created_unasked() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { create_if_missing: false, ..Options::default() };
    for path in [directory.path().join("none"), directory.path().to_owned()] {
        let error = SledDb::with_options(&path, options.clone()).open().await.unwrap_err();
        assert_eq!(error.code(), Code::DatabaseFailedOpen, "{error}");
    }
    assert_eq!(names(directory.path()), [""; 0]);
    SledDb::new(directory.path()).open().await.unwrap().close().await.unwrap();
    SledDb::with_options(directory.path(), options).open().await.unwrap().close().await.unwrap();
    let options = Options { error_if_exists: true, ..Options::default() };
    let error = SledDb::with_options(directory.path(), options).open().await.unwrap_err();
    assert_eq!(error.code(), Code::DatabaseFailedOpen, "{error}");
}

#[tokio::test]
async fn a_held_lock_is_reported_with_its_holder() {
    let directory = tempfile::tempdir().unwrap();
    let opener = SledDb::new(directory.path());
    let db = opener.open().await.unwrap();
    assert!(matches!(opener.try_lock().await.unwrap(), LockAttempt::Held { .. }));
    let error = opener.open().await.unwrap_err();
    assert_eq!(error.code(), Code::Locked);
    #[cfg(target_os = "linux")]
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    db.close().await.unwrap();
    let LockAttempt::Acquired(locked) = opener.try_lock().await.unwrap() else { panic!("the lock is free") };
    assert!(matches!(opener.try_lock().await.unwrap(), LockAttempt::Held { .. }));
    drop(locked);
    opener.open().await.unwrap();
}

#[tokio::test]
async fn whoever_uses_sled_directly_is_not_disturbed() {
    let directory = tempfile::tempdir().unwrap();
    let direct = sled::open(directory.path()).unwrap();
    direct.insert("a", "1").unwrap();
    direct.flush().unwrap();
    let error = refused(directory.path()).await;
    assert_eq!(error.code(), Code::Locked, "{error}");
    drop(direct);
    // What it wrote is there, in the tree that sled calls the default one.
    let db = SledDb::new(directory.path()).open().await.unwrap();
    assert_eq!(db.get("a").await.unwrap().as_deref(), Some(&b"1"[..]));
}

#[tokio::test]
async fn other_settings_than_at_the_creation_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let db = SledDb::new(directory.path()).open().await.unwrap();
    db.put("a", "1").await.unwrap();
    db.close().await.unwrap();
    let options = Options { segment_bytes: 4096, ..Options::default() };
    for _ in 0..2 {
        let error = SledDb::with_options(directory.path(), options.clone()).open().await.unwrap_err();
        assert_eq!(error.code(), Code::DatabaseFailedOpen, "{error}");
    }
    assert!(SledDb::new(directory.path()).open().await.unwrap().has("a").await.unwrap());
}

#[tokio::test]
async fn what_the_engine_cannot_hold_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let db = SledDb::new(directory.path()).open().await.unwrap();
    let (longest, too_long) = (vec![255; (1 << 20) - 1], vec![255; 1 << 20]);
    let error = db.write(Batch::new().put("a", "1").put(&too_long, "2")).await.unwrap_err();
    assert_eq!((error.code(), error.effect()), (Code::InvalidKey, Effect::None));
    let and_write = Batch::new().put(&too_long, "");
    let error = db.clear_opts(ClearOptions { and_write, ..ClearOptions::default() }).await.unwrap_err();
    assert_eq!((error.code(), error.effect()), (Code::InvalidKey, Effect::None));
    assert!(contents(&db).await.is_empty());
    db.put(&longest, "of the longest key").await.unwrap();
    db.put("b", "2").await.unwrap();
    assert_eq!(contents(&db).await.len(), 2);
}

#[tokio::test]
async fn a_store_for_reading_only_takes_no_writes() {
    let directory = tempfile::tempdir().unwrap();
    let db = SledDb::new(directory.path()).open().await.unwrap();
    db.put("a", "1").await.unwrap();
    db.close().await.unwrap();
    let options = Options { read_only: true, ..Options::default() };
    let db = SledDb::with_options(directory.path(), options).open().await.unwrap();
    assert!(db.manifest().read_only);
    assert_eq!(db.put("b", "2").await.unwrap_err().code(), Code::ReadOnly);
    assert_eq!(contents(&db).await.len(), 1);
}
