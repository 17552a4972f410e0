//! A disk that is full: played by a limit on the size of files.
#![cfg(unix)]

use crate::{
    Db,
    child::{self, Running},
    contents, small,
};
use rave_core::{AbstractLevel, AbstractLevelExt, Batch, Code, Effect, KeyRange};
use rave_sled::{Options, SledDb};
use std::{env, path::Path, process::Command};

async fn open(path: &Path, small_segments: bool) -> rave_core::Result<Db> {
    let options = if small_segments { small() } else { Options::default() };
    SledDb::with_options(path, options).open().await
}

async fn step(db: &Db, number: u64) -> rave_core::Result<()> {
    let value = format!("{number:08} {}", "x".repeat(number as usize % 300));
    let batch = ["a", "b", "c"].iter().fold(Batch::new(), |batch, key| batch.put(format!("{key}{number:08}"), &value));
    db.write(batch.put("n", format!("{number:08}"))).await
}

/// Not a test by itself: the process that may not write more than so much.
#[test]
fn child_fills_the_disk() {
    let Some((path, small_segments)) = child::role() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let db = match open(&path, small_segments).await {
            Ok(db) => db,
            Err(error) => {
                assert_eq!(error.code(), Code::Io, "{error}");
                child::tell("not open");
                return;
            }
        };
        db.put("before", "1").await.unwrap();
        let mut number = 0;
        let error = loop {
            match step(&db, number).await {
                Ok(()) => number += 1,
                Err(error) => break error,
            }
        };
        assert_eq!((error.code(), error.effect()), (Code::Io, Effect::Unknown), "{error}");
        for _ in 0..3 {
            let error = db.put("later", "x").await.unwrap_err();
            assert_eq!((error.code(), error.effect()), (Code::Io, Effect::None), "{error}");
            let error = db.clear(KeyRange::all()).await.unwrap_err();
            assert_eq!((error.code(), error.effect()), (Code::Io, Effect::None), "{error}");
        }
        // What is certain can be read, unless its page waits for the disk as well. What is not is not told.
        match db.get("before").await {
            Ok(found) => assert_eq!(found.as_deref(), Some(&b"1"[..])),
            Err(error) => assert_eq!(error.code(), Code::Io, "{error}"),
        }
        assert_eq!(db.get("n").await.unwrap_err().code(), Code::Io);
        assert_eq!(db.all(KeyRange::all()).await.unwrap_err().code(), Code::Io);
        db.close().await.unwrap();
        child::tell(&number.to_string());
    });
}

async fn fill(small_segments: bool, blocks: u32) {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path(), small_segments).await.unwrap().close().await.unwrap();
    let mut shell = Command::new("sh");
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    shell.args(["-c", &script]).arg(env::current_exe().unwrap());
    let mut child = Running::start_by(shell, "full::child_fills_the_disk", directory.path(), small_segments);
    let told = child.line().unwrap_or_else(|| panic!("the child failed at {blocks} blocks"));
    let db = open(directory.path(), small_segments).await.unwrap();
    let found = contents(&db).await;
    if let Ok(acknowledged) = told.parse::<u64>() {
        let number = |value: &Vec<u8>| std::str::from_utf8(&value[..8]).unwrap().parse::<u64>().unwrap();
        let reached = found.get(&b"n"[..]).map_or(0, |value| number(value) + 1);
        assert!(reached == acknowledged || reached == acknowledged + 1, "{reached}, but {acknowledged} acknowledged");
        for last in 0..reached {
            for key in ["a", "b", "c"] {
                let value = &found[format!("{key}{last:08}").as_bytes()];
                assert_eq!(number(value), last, "{key}");
            }
        }
    }
    step(&db, 1_000_000).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_loses_nothing_acknowledged() {
    for blocks in (20..400).step_by(19) {
        fill(false, blocks).await;
        fill(true, blocks).await;
    }
}
