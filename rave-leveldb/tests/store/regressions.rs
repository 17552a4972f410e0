//! Histories in which a storage engine, `rusty-leveldb` as it comes, gave a wrong answer, lost a write or panicked.

use super::{Db, files};
use crate::{LevelDb, hasty};
use rave_core::{
    AbstractLevel, AbstractLevelExt, Batch, Code, Entry, IteratorOptions, KeyRange, ReadOptions, WriteOptions,
};
use rave_leveldb::{Compression, Options};
use std::{fs, path::Path};

/// Every write fills the buffer, so that each makes a table.
fn eager() -> Options {
    Options {
        write_buffer_size: 1,
        block_size: 64,
        compression: Compression::None,
        // So that everything is read from the tables.
        cache_bytes: 0,
        ..Options::default()
    }
}

async fn open(path: &Path, options: Options) -> Db {
    hasty(path, options).open().await.unwrap()
}

async fn get(db: &Db, key: &str) -> Option<String> {
    db.get(key).await.unwrap().map(|value| String::from_utf8(value.to_vec()).unwrap())
}

fn keys(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| String::from_utf8(entry.key.to_vec()).unwrap()).collect()
}

fn size_of(directory: &Path) -> u64 {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

#[tokio::test]
async fn the_tombstone_of_another_key_does_not_hide_a_value() {
    let directory = tempfile::tempdir().unwrap();
    let db = open(directory.path(), eager()).await;
    db.put("b", "value").await.unwrap();
    db.write(Batch::new().put("a", "1").del("c")).await.unwrap();
    assert_eq!(get(&db, "b").await.as_deref(), Some("value"));
    assert_eq!(db.get_many(vec!["c", "b", "a"]).await.unwrap().iter().flatten().count(), 2);
}

#[tokio::test]
async fn the_newest_value_wins_wherever_its_table_lies() {
    let directory = tempfile::tempdir().unwrap();
    let db = open(directory.path(), eager()).await;
    // A wide table, a narrow one in front of it, and then a newer value that the wide one covers.
    db.write(Batch::new().put("a", "0").put("m", "old").put("z", "0")).await.unwrap();
    db.write(Batch::new().put("b", "0").put("c", "0")).await.unwrap();
    db.put("m", "new").await.unwrap();
    assert_eq!(get(&db, "m").await.as_deref(), Some("new"));
    // A deletion must not be forgotten while an older value exists.
    db.del("m").await.unwrap();
    for i in 0..30 {
        db.put(format!("n{i}"), "x").await.unwrap();
        assert_eq!(get(&db, "m").await, None, "after {i}");
    }
    db.close().await.unwrap();
    let db = open(directory.path(), eager()).await;
    assert_eq!(get(&db, "m").await, None);
}

#[tokio::test]
async fn deleted_keys_do_not_come_back_in_reverse() {
    let directory = tempfile::tempdir().unwrap();
    for options in [Options::default(), eager()] {
        let path = directory.path().join(options.write_buffer_size.to_string());
        let db = open(&path, options).await;
        db.write(Batch::new().put("a", "1").put("b", "1").put("c", "1").put("d", "1")).await.unwrap();
        db.write(Batch::new().del("b").del("d").put("c", "2")).await.unwrap();
        assert_eq!(keys(&db.all(IteratorOptions::default().reversed()).await.unwrap()), ["c", "a"]);
        assert_eq!(keys(&db.all(IteratorOptions::default().reversed().limited(1)).await.unwrap()), ["c"]);
        let mut iterator = db.iterator(IteratorOptions::default().reversed()).await.unwrap();
        assert_eq!(iterator.next().await.unwrap().unwrap().value, "2");
        for (target, expected) in [("d", "c"), ("b", "a"), ("zz", "c"), ("c", "c")] {
            iterator.seek(target.into()).await.unwrap();
            assert_eq!(iterator.next().await.unwrap().unwrap().key, expected);
        }
    }
}

#[tokio::test]
async fn snapshots_and_iterators_keep_their_state_while_tables_are_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let db = open(directory.path(), eager()).await;
    let expected: Vec<String> = (0..200).map(|i| format!("{i:03}")).collect();
    let batch: Batch = expected.iter().fold(Batch::new(), |batch, key| batch.put(key, "old"));
    db.write(batch).await.unwrap();
    let snapshot = db.snapshot().await.unwrap();
    let mut forward = db.iterator(KeyRange::all()).await.unwrap();
    let mut reverse = db.iterator(IteratorOptions::default().reversed()).await.unwrap();
    let (mut up, mut down) = (Vec::new(), Vec::new());
    for round in 0..60 {
        up.extend(forward.next_many(3).await.unwrap());
        down.extend(reverse.next_many(3).await.unwrap());
        let batch: Batch = expected
            .iter()
            .skip(round % 7)
            .step_by(7)
            .fold(Batch::new(), |batch, key| if round % 2 == 0 { batch.put(key, "new") } else { batch.del(key) });
        db.write(batch).await.unwrap();
        let options = ReadOptions { snapshot: Some(snapshot.clone()) };
        let key = expected[round].clone();
        assert_eq!(db.get_opts(key.into(), options).await.unwrap().as_deref(), Some(&b"old"[..]));
    }
    db.clear(KeyRange::all()).await.unwrap();
    let old = IteratorOptions { snapshot: Some(snapshot.clone()), ..IteratorOptions::default() };
    assert_eq!(keys(&db.all(old.clone()).await.unwrap()), expected);
    let mut backwards = keys(&db.all(old.reversed()).await.unwrap());
    backwards.reverse();
    assert_eq!(backwards, expected);
    while let Some(entry) = forward.next().await.unwrap() {
        up.push(entry);
    }
    while let Some(entry) = reverse.next().await.unwrap() {
        down.push(entry);
    }
    down.reverse();
    assert_eq!(keys(&up), expected);
    assert_eq!(up, down);
    assert!(up.iter().all(|entry| entry.value == "old"));
    assert!(db.all(KeyRange::all()).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_open_iterator_does_not_end_early() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { write_buffer_size: 64 << 10, compression: Compression::None, ..Options::default() };
    let db = open(directory.path(), options).await;
    for part in 0..20 {
        let batch = (0..1000).fold(Batch::new(), |batch, i| batch.put(format!("{:06}", i * 20 + part), [b'x'; 20]));
        db.write(batch).await.unwrap();
    }
    let mut iterator = db.iterator(KeyRange::all()).await.unwrap();
    let mut seen = iterator.next_many(10).await.unwrap().len();
    for part in 0..20 {
        let batch = (0..1000).fold(Batch::new(), |batch, i| batch.del(format!("{:06}", i * 20 + part)));
        db.write(batch).await.unwrap();
    }
    loop {
        let page = iterator.next_many(1000).await.unwrap();
        if page.is_empty() {
            break;
        }
        seen += page.len();
    }
    assert_eq!(seen, 20_000);
}

#[tokio::test]
async fn space_is_reclaimed_after_iterators_and_snapshots() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { write_buffer_size: 32 << 10, compression: Compression::None, ..Options::default() };
    let db = open(directory.path(), options).await;
    for round in 0..60 {
        let batch = (0..100).fold(Batch::new(), |batch, i| batch.put(format!("{i:03}"), [round; 400]));
        db.write(batch).await.unwrap();
        assert_eq!(db.all(KeyRange::all()).await.unwrap().len(), 100);
        db.snapshot().await.unwrap().close();
    }
    // 40 KB live, 2.4 MB written.
    db.get("000").await.unwrap();
    let size = size_of(directory.path());
    assert!(size < 500_000, "{size} bytes");
}

#[tokio::test]
async fn an_empty_key_may_end_a_block() {
    let directory = tempfile::tempdir().unwrap();
    let db = open(directory.path(), eager()).await;
    db.write(Batch::new().put("", [b'v'; 1000]).put("a", "1")).await.unwrap();
    db.put("", "").await.unwrap();
    db.put("b", "1").await.unwrap();
    assert_eq!(get(&db, "").await.as_deref(), Some(""));
    assert_eq!(keys(&db.all(KeyRange::all()).await.unwrap()), ["", "a", "b"]);
    db.del("").await.unwrap();
    assert_eq!(keys(&db.all(KeyRange::all()).await.unwrap()), ["a", "b"]);
}

#[tokio::test]
async fn versions_of_a_key_and_its_successor_share_a_table() {
    // Separators between blocks are hardest here: nothing lies between a key and the key with a zero byte behind it.
    let directory = tempfile::tempdir().unwrap();
    let options = Options { block_size: 64, compression: Compression::None, ..Options::default() };
    let db = open(directory.path(), options.clone()).await;
    for round in 0..10 {
        for key in [&b"a\0"[..], b"a", b"a\0\0", b"\xff", b"\xff\xff"] {
            db.put(key, format!("{round}{}", "x".repeat(100))).await.unwrap();
        }
    }
    db.close().await.unwrap();
    let db = open(directory.path(), options).await;
    for key in [&b"a\0"[..], b"a", b"a\0\0", b"\xff", b"\xff\xff"] {
        assert!(db.get(key).await.unwrap().unwrap().starts_with(b"9"));
    }
    assert_eq!(db.all(IteratorOptions::default().reversed()).await.unwrap().len(), 5);
}

#[tokio::test]
async fn writes_behind_a_torn_log_are_not_lost() {
    let directory = tempfile::tempdir().unwrap();
    let log = || files(directory.path(), "log").pop().unwrap();
    for round in 0..5 {
        let db = open(directory.path(), Options::default()).await;
        for i in 0..round {
            assert_eq!(get(&db, &format!("kept {i}")).await.as_deref(), Some("1"));
        }
        db.put(format!("kept {round}"), "1").await.unwrap();
        db.put("torn", "1".repeat(round * 10 + 1)).await.unwrap();
        db.close().await.unwrap();
        let data = fs::read(log()).unwrap();
        fs::write(log(), &data[..data.len() - 1 - round]).unwrap();
    }
}

#[tokio::test]
async fn every_prefix_of_a_log_gives_a_prefix_of_the_writes() {
    let directory = tempfile::tempdir().unwrap();
    let origin = directory.path().join("origin");
    let db = open(&origin, Options::default()).await;
    for i in 0..12 {
        db.write(Batch::new().put(format!("a{i:02}"), "x".repeat(i)).put(format!("b{i:02}"), "")).await.unwrap();
    }
    db.close().await.unwrap();
    let log = files(&origin, "log").pop().unwrap();
    let length = fs::metadata(&log).unwrap().len();
    let mut last = 0;
    for cut in (0..=length).step_by(13).chain([length]) {
        let copy = directory.path().join(cut.to_string());
        super::copy(&origin, &copy);
        let file = fs::OpenOptions::new().write(true).open(copy.join(log.file_name().unwrap())).unwrap();
        file.set_len(cut).unwrap();
        let db = open(&copy, Options::default()).await;
        let all = keys(&db.all(KeyRange::all()).await.unwrap());
        assert!(all.len().is_multiple_of(2) && all.len() >= last, "half a batch, or less from more");
        let expected: Vec<String> =
            ["a", "b"].iter().flat_map(|part| (0..all.len() / 2).map(move |i| format!("{part}{i:02}"))).collect();
        assert_eq!(all, expected);
        last = all.len();
    }
    assert_eq!(last, 24);
}

#[tokio::test]
async fn batches_can_be_cleared_and_filled_again() {
    let directory = tempfile::tempdir().unwrap();
    let db = open(directory.path(), Options::default()).await;
    let mut batch = Batch::new().put("a", "1");
    batch.clear();
    db.write_opts(batch.put("b", "2"), WriteOptions::synced()).await.unwrap();
    assert_eq!(keys(&db.all(KeyRange::all()).await.unwrap()), ["b"]);
}

#[tokio::test]
async fn the_info_log_of_others_stays() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("LOG"), "theirs").unwrap();
    fs::write(directory.path().join("LOG.old"), "older").unwrap();
    let db = open(directory.path(), eager()).await;
    db.put("a", "1").await.unwrap();
    db.close().await.unwrap();
    assert_eq!(fs::read_to_string(directory.path().join("LOG")).unwrap(), "theirs");
    assert_eq!(fs::read_to_string(directory.path().join("LOG.old")).unwrap(), "older");
}

#[tokio::test]
async fn existing_databases_are_refused_only_if_they_exist() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { error_if_exists: true, ..Options::default() };
    let db = open(directory.path(), options.clone()).await;
    db.put("a", "1").await.unwrap();
    db.close().await.unwrap();
    let error = LevelDb::with_options(directory.path(), options).open().await.unwrap_err();
    assert_eq!(error.code(), Code::DatabaseFailedOpen);
    assert_eq!(get(&open(directory.path(), Options::default()).await, "a").await.as_deref(), Some("1"));
}
