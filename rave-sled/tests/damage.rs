//! Files that were damaged while nobody had them open: an error that says so, or no harm done. Only of damage in a segment
//! that is not the last one may come older values, because sled takes it for one whose values were replaced.
//!
//! A program of its own: the databases of a process share sled's threads, and here they are made to fail.
#![cfg(target_os = "linux")]

#[path = "store/common.rs"]
mod common;

use common::{Db, contents, small};
use rave_core::{AbstractLevel, AbstractLevelExt, Batch, Code, KeyRange};
use rave_sled::{Options, SledDb};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copied = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &copied);
        } else {
            fs::copy(&path, &copied).unwrap();
        }
    }
}

/// Names of all files below `directory` that sled made.
fn files(directory: &Path) -> Vec<String> {
    let below = |part: &str| fs::read_dir(directory.join(part)).unwrap().map(|entry| entry.unwrap().path());
    let all = below("").chain(below("blobs")).filter(|path| path.is_file());
    let names = all.map(|path: PathBuf| path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned());
    let mut names: Vec<_> = names.filter(|name| name != "LOCK" && !name.starts_with("rave-level")).collect();
    names.sort();
    names
}

/// A database that was opened several times and has, if segments are small, values with files of their own.
async fn make(opener: &SledDb) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut db: Db = opener.open().await.unwrap();
    for number in 0..400_usize {
        if number % 150 == 149 {
            db.close().await.unwrap();
            db = opener.open().await.unwrap();
        }
        let value = vec![b'a' + (number % 26) as u8; if number % 50 == 7 { 6000 } else { 40 }];
        let batch =
            Batch::new().put(format!("{:04}", number % 300), &value).put(format!("b{:04}", number % 100), &value);
        db.write(batch).await.unwrap();
    }
    let found = contents(&db).await;
    db.close().await.unwrap();
    found
}

/// Whether these are entries that were made at some time.
fn were_made(found: &BTreeMap<Vec<u8>, Vec<u8>>, made: &BTreeMap<Vec<u8>, Vec<u8>>) -> bool {
    let is_value = |value: &[u8]| [40, 6000].contains(&value.len()) && value.iter().all(|byte| *byte == value[0]);
    found.iter().all(|(key, value)| made.contains_key(key) && is_value(value))
}

/// Opens, reads all, writes and closes. Tells whether anything was reported.
async fn is_noticed(opener: &SledDb, made: &BTreeMap<Vec<u8>, Vec<u8>>, segments: usize, damage: &str) -> bool {
    let is_clear = |error: rave_core::Error| {
        let codes = [Code::Corruption, Code::Io, Code::DatabaseFailedOpen];
        assert!(codes.contains(&error.code()), "{damage}: {error}");
        assert!(error.to_string().contains(opener.path().to_str().unwrap()), "{damage}: {error}");
    };
    let db = match opener.open().await {
        Ok(db) => db,
        Err(error) => {
            is_clear(error);
            return true;
        }
    };
    let noticed = match db.all(KeyRange::all()).await {
        Ok(entries) => {
            let entry = |entry: rave_core::Entry| (entry.key.to_vec(), entry.value.to_vec());
            let found: BTreeMap<_, _> = entries.into_iter().map(entry).collect();
            let older = segments > 1 && were_made(&found, made);
            assert!(found == *made || older, "{damage}: {} entries of {}, or others", found.len(), made.len());
            false
        }
        Err(error) => {
            is_clear(error);
            true
        }
    };
    // Perhaps it meets the same place.
    if let Err(error) = db.put("later", "x").await {
        assert!([Code::Corruption, Code::Io].contains(&error.code()), "{damage}: {error}");
    }
    db.close().await.unwrap();
    noticed
}

async fn damage_everything(options: Options) {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    let made = make(&SledDb::with_options(&from, options.clone())).await;
    let segments = fs::metadata(from.join("db")).unwrap().len() as usize / options.segment_bytes + 1;
    let opener = SledDb::with_options(&to, options);
    let mut rng = fastrand::Rng::with_seed(1);
    let mut noticed = 0;
    for name in files(&from) {
        let data = fs::read(from.join(&name)).unwrap();
        for round in 0..if name == "db" { 45 } else { 6 } {
            let mut damaged = data.clone();
            let at = rng.usize(..data.len());
            match round % 3 {
                0 => damaged.truncate(at),
                1 => damaged[at] ^= 1 << rng.u8(..8),
                _ => damaged[at..(at + 512).min(data.len())].fill(0),
            }
            let _ = fs::remove_dir_all(&to);
            copy(&from, &to);
            fs::write(to.join(&name), damaged).unwrap();
            let damage = format!("{name}, round {round}, byte {at}");
            noticed += usize::from(is_noticed(&opener, &made, segments, &damage).await);
        }
        // Sled takes the file of a large value that is missing for one that was replaced.
        if !name.starts_with("blobs/") {
            let _ = fs::remove_dir_all(&to);
            copy(&from, &to);
            fs::remove_file(to.join(&name)).unwrap();
            noticed += usize::from(is_noticed(&opener, &made, segments, &format!("{name} is gone")).await);
        }
    }
    assert!(noticed > 20, "only {noticed} of many were noticed");
}

#[tokio::test]
async fn damage_is_an_error_or_harmless() {
    damage_everything(Options::default()).await;
}

#[tokio::test]
async fn damage_in_small_segments_makes_nothing_up() {
    damage_everything(small()).await;
}

/// Sled takes the log for ended where it meets something it cannot read.
#[tokio::test]
async fn a_log_that_ends_early_is_no_older_database() {
    let directory = tempfile::tempdir().unwrap();
    let opener = SledDb::new(directory.path());
    let db = opener.open().await.unwrap();
    for number in 0..100 {
        db.put(format!("{number:03}"), "value").await.unwrap();
    }
    db.close().await.unwrap();
    let log = fs::OpenOptions::new().write(true).open(directory.path().join("db")).unwrap();
    log.set_len(2000).unwrap();
    for _ in 0..2 {
        let error = opener.open().await.unwrap_err();
        assert_eq!(error.code(), Code::Corruption, "{error}");
        assert!(error.to_string().contains("rave-level.flushed"), "{error}");
    }
    // What the error says helps.
    fs::remove_file(directory.path().join("rave-level.flushed")).unwrap();
    let db = opener.open().await.unwrap();
    assert!((1..100).contains(&contents(&db).await.len()));
    db.put("later", "x").await.unwrap();
    db.close().await.unwrap();
    assert!(opener.open().await.unwrap().has("later").await.unwrap());
}
