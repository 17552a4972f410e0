//! A process that is killed in the middle of its writes: what it was told was written is there.

use append_store::AppendStore;
use rave_level::{AbstractLevel, AbstractLevelExt, Batch, KeyRange, LockAttempt, Opener, WriteOptions};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

/// Tells the process that this test starts where to write.
const CHILD: &str = "APPEND_STORE_TEST_CHILD";

async fn open(directory: &Path) -> Arc<dyn AbstractLevel> {
    match AppendStore::new(directory).try_lock().await.unwrap() {
        LockAttempt::Acquired(locked) => locked.open().await.unwrap(),
        LockAttempt::Held { holder } => panic!("process {holder:?} has the lock"),
    }
}

/// Not a test by itself: the process that the other one kills. Batch `i` puts two keys.
#[tokio::test]
async fn child() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let db = open(directory.as_ref()).await;
    for i in db.all(KeyRange::all()).await.unwrap().len() / 2.. {
        let batch = Batch::new().put(format!("{i:08} a"), "value").put(format!("{i:08} b"), "value");
        db.write_opts(batch, WriteOptions { sync: i % 50 == 0 }).await.unwrap();
        println!("acknowledged {i:08}");
    }
}

/// Ends with the test, also with one that fails.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut last = 0;
    for round in 0..6 {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut child = Killed(child);
        let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
        let mut see = |line: String| {
            if let Some((_, number)) = line.split_once("acknowledged ") {
                last = number.parse::<usize>().unwrap();
            }
        };
        lines.by_ref().take(100 + 37 * round).for_each(|line| see(line.unwrap()));
        drop(child);
        // What it had still said.
        lines.for_each(|line| see(line.unwrap()));

        let db = open(folder.path()).await;
        let entries = db.all(KeyRange::all()).await.unwrap();
        db.close().await.unwrap();
        assert!(entries.len() / 2 > last, "{} batches, but {last} was acknowledged", entries.len() / 2);
        let expected = (0..entries.len() / 2).flat_map(|i| [format!("{i:08} a"), format!("{i:08} b")]);
        assert!(entries.iter().map(|entry| &entry.key).eq(expected.collect::<Vec<_>>().iter()), "half a batch");
    }
}
