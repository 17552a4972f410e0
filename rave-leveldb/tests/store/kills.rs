//! Processes that are killed while they write.

use super::contents;
use crate::LevelDb;
use rave_core::{AbstractLevel, Batch, WriteOptions};
use rave_leveldb::Options;
use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

const CHILD: &str = "RAVE_LEVELDB_TEST_CHILD";

/// Not a test by itself: the process that [`acknowledged_writes_survive_sigkill`] kills.
#[test]
fn child() {
    let Ok(path) = std::env::var(CHILD) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let options = Options { write_buffer_size: 2000, ..Options::default() };
        let db = LevelDb::with_options(path, options).open().await.unwrap();
        let start = contents(&db).await.len();
        for i in start.. {
            let options = WriteOptions { sync: i % 50 == 0 };
            db.write_opts(Batch::new().put(format!("{i:08}"), "value"), options).await.unwrap();
            println!("acknowledged {i:08}");
        }
    });
}

#[tokio::test]
async fn acknowledged_writes_survive_sigkill() {
    let directory = tempfile::tempdir().unwrap();
    let (_, module) = module_path!().split_once("::").unwrap();
    let mut last = None;
    for round in 0..6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("{module}::child"), "--nocapture"])
            .env(CHILD, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for _ in 0..100 + round * 37 {
            let line = lines.next().expect("the child goes on").unwrap();
            last = line.split_once("acknowledged ").map(|(_, key)| key.to_owned()).or(last);
        }
        child.kill().unwrap();
        for line in lines {
            last = line.unwrap().split_once("acknowledged ").map(|(_, key)| key.to_owned()).or(last);
        }
        child.wait().unwrap();
        let db = LevelDb::new(directory.path()).open().await.unwrap();
        let found = contents(&db).await;
        let last: usize = last.as_ref().unwrap()[..8].parse().unwrap();
        assert!(found.len() > last, "{} keys, but {last} was acknowledged", found.len());
        assert!(found.keys().enumerate().all(|(i, key)| *key == format!("{i:08}").into_bytes()));
        db.close().await.unwrap();
    }
}
