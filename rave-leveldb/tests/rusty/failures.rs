//! Disks that fill up or fail.

use crate::{
    LevelDb,
    store::{Db, contents, files, small},
};
use rave_core::{AbstractLevel, AbstractLevelExt, Batch, Code, Effect, IteratorOptions, KeyRange, WriteOptions};
use rave_leveldb::{Options, rusty::Faults};
use std::{fs, io::Write, path::Path, sync::Arc};

async fn open(path: &Path, options: Options) -> Db {
    LevelDb::with_options(path, options).open().await.unwrap()
}

async fn failing(path: &Path, faults: &Arc<Faults>) -> rave_core::Result<Db> {
    LevelDb::with_options(path, small()).with_faults(faults.clone()).open().await
}

/// Writes until the storage fails as `fail` arranges, and checks what the failure left.
async fn write_until_failure(case: &str, fail: impl FnOnce(&Faults)) {
    let directory = tempfile::tempdir().unwrap();
    let faults = Faults::without_sync();
    let db = failing(directory.path(), &faults).await.unwrap();
    for i in 0..20 {
        db.put(format!("key {:02}", i % 7), format!("before {i}")).await.unwrap();
    }
    let mut acknowledged = contents(&db).await;
    fail(&faults);
    let mut uncertain = None;
    let mut failed = false;
    for i in 0..500 {
        let (key, value) = (format!("key {:02}", i % 23), format!("value {i}"));
        match db.write_opts(Batch::new().put(&key, &value), WriteOptions { sync: i % 5 == 0 }).await {
            Ok(()) => {
                acknowledged.insert(key.into(), value.into());
            }
            Err(error) => {
                assert_eq!(error.code(), Code::Io, "{case}: {error}");
                if error.effect() == Effect::Unknown {
                    uncertain = Some((key.into_bytes(), value.into_bytes()));
                }
                failed = true;
                break;
            }
        }
    }
    assert!(failed, "{case}: the storage did not fail");
    for _ in 0..3 {
        let error = db.put("later", "x").await.unwrap_err();
        assert_eq!((error.code(), error.effect()), (Code::Io, Effect::None), "{case}");
        let error = db.clear(KeyRange::all()).await.unwrap_err();
        assert_eq!((error.code(), error.effect()), (Code::Io, Effect::None), "{case}");
    }
    let mut possible = acknowledged.clone();
    possible.extend(uncertain.clone());
    let found = contents(&db).await;
    assert!(found == acknowledged || found == possible, "{case}: reading after the failure");
    assert_eq!(db.get("key 01").await.unwrap().as_deref(), found.get(&b"key 01"[..]).map(Vec::as_slice));
    db.close().await.unwrap();

    let db = open(directory.path(), small()).await;
    let found = contents(&db).await;
    assert!(found == acknowledged || found == possible, "{case}: after opening again");
    db.put("later", "x").await.unwrap();
}

#[tokio::test]
async fn a_full_disk_loses_nothing_acknowledged() {
    for space in (0..6000).step_by(83) {
        write_until_failure(&format!("full after {space}"), |faults| faults.full_after(space)).await;
    }
}

#[tokio::test]
async fn a_single_failed_write_loses_nothing_acknowledged() {
    // Everything but the one write would succeed. The steps are small enough to meet the writing of `CURRENT`.
    for space in (0..2500).step_by(11) {
        write_until_failure(&format!("once after {space}"), |faults| faults.fail_once_after(space)).await;
    }
}

#[tokio::test]
async fn failing_renames_and_syncs_lose_nothing_acknowledged() {
    for count in 0..4 {
        write_until_failure(&format!("rename {count}"), |faults| faults.fail_renames_after(count)).await;
    }
    write_until_failure("sync", Faults::fail_sync).await;
}

#[tokio::test]
async fn a_full_disk_at_the_opening_is_an_error_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let db = open(directory.path(), Options { write_buffer_size: 1 << 20, ..small() }).await;
    for i in 0..200 {
        db.put(format!("{i:03}"), "value").await.unwrap();
    }
    db.close().await.unwrap();
    // A torn tail, so that opening has to write.
    let log = files(directory.path(), "log").pop().unwrap();
    fs::OpenOptions::new().append(true).open(log).unwrap().write_all(b"torn").unwrap();
    let mut opened = false;
    for space in (0..30_000).step_by(611) {
        let faults = Faults::without_sync();
        faults.full_after(space);
        match failing(directory.path(), &faults).await {
            Ok(db) => {
                assert_eq!(contents(&db).await.len(), 200);
                db.close().await.unwrap();
                opened = true;
                break;
            }
            Err(error) => assert_eq!(error.code(), Code::Io, "{error}"),
        }
    }
    assert!(opened);
    assert_eq!(contents(&open(directory.path(), small()).await).await.len(), 200);
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error_and_not_a_missing_key() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let db = failing(directory.path(), &faults).await.unwrap();
    let batch: Batch = (0..500).fold(Batch::new(), |batch, i| batch.put(format!("{i:04}"), "value"));
    db.write(batch).await.unwrap();
    // The table is made behind the answer to the write, and before any other.
    assert_eq!(db.get("0200").await.unwrap().as_deref(), Some(&b"value"[..]));
    faults.fail_reads(true);
    assert_eq!(db.get("0300").await.unwrap_err().code(), Code::Io);
    assert_eq!(db.all(KeyRange::all()).await.unwrap_err().code(), Code::Io);
    assert_eq!(db.all(IteratorOptions::default().reversed()).await.unwrap_err().code(), Code::Io);
    assert_eq!(db.clear(KeyRange::all()).await.unwrap_err().code(), Code::Io);
    // It was the disk, not the store.
    faults.fail_reads(false);
    assert_eq!(db.get("0200").await.unwrap().as_deref(), Some(&b"value"[..]));
    assert_eq!(db.all(KeyRange::all()).await.unwrap().len(), 500);
}
