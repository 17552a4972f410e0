//! The way from opening to closing.

use crate::LevelDb;
use rave_core::{AbstractLevel, AbstractLevelExt, Batch, Code, IteratorOptions, KeyRange, Status, WriteOptions};
use rave_leveldb::Options;

#[tokio::test]
async fn open_write_read_iterate_close_and_open_again() {
    let directory = tempfile::tempdir().unwrap();
    let opener = LevelDb::new(directory.path().join("db"));
    let db = opener.open().await.unwrap();
    db.put("a", "1").await.unwrap();
    db.write_opts(Batch::new().put("b", "2").put("", "empty").del("a").put("c", ""), WriteOptions::synced())
        .await
        .unwrap();
    assert_eq!(db.get("a").await.unwrap(), None);
    assert_eq!(db.get("").await.unwrap().as_deref(), Some(&b"empty"[..]));
    assert_eq!(db.get("c").await.unwrap().as_deref(), Some(&b""[..]));
    let all = db.all(KeyRange::all()).await.unwrap();
    let keys: Vec<_> = all.iter().map(|entry| entry.key.as_ref()).collect();
    assert_eq!(keys, [&b""[..], b"b", b"c"]);
    let all = db.all(IteratorOptions::default().reversed()).await.unwrap();
    let keys: Vec<_> = all.iter().map(|entry| entry.key.as_ref()).collect();
    assert_eq!(keys, [&b"c"[..], b"b", b""]);
    db.close().await.unwrap();
    assert_eq!(db.status(), Status::Closed);
    assert_eq!(db.get("b").await.unwrap_err().code(), Code::DatabaseNotOpen);
    db.close().await.unwrap();

    let db = opener.open().await.unwrap();
    assert_eq!(db.all(KeyRange::all()).await.unwrap().len(), 3);
    db.clear(KeyRange::all().gte("b")).await.unwrap();
    assert_eq!(db.all(KeyRange::all()).await.unwrap().len(), 1);
    db.close().await.unwrap();
}

#[tokio::test]
async fn a_store_opened_for_reading_refuses_writes() {
    let directory = tempfile::tempdir().unwrap();
    let db = LevelDb::new(directory.path()).open().await.unwrap();
    db.put("a", "1").await.unwrap();
    db.close().await.unwrap();
    let db = LevelDb::with_options(directory.path(), Options { read_only: true, ..Options::default() });
    let db = db.open().await.unwrap();
    assert!(db.manifest().read_only);
    assert_eq!(db.put("a", "2").await.unwrap_err().code(), Code::ReadOnly);
    assert_eq!(db.clear(KeyRange::all()).await.unwrap_err().code(), Code::ReadOnly);
    assert_eq!(db.get("a").await.unwrap().as_deref(), Some(&b"1"[..]));
}
