//! Closing and opening at once again, in this process and in others: when `close` is done, nothing of sled is left.

use crate::{
    child::{self, Running},
    small,
};
use rave_core::{AbstractLevel, AbstractLevelExt, Batch, KeyRange, LockAttempt, Opener};
use rave_sled::SledDb;
use std::{
    io::{self, BufRead},
    path::Path,
    time::{Duration, Instant},
};

/// Opens, counts, does what gives sled's threads something to do, and closes.
async fn count(path: &Path) -> u32 {
    let db = SledDb::with_options(path, small()).open().await.unwrap();
    let found = db.get("count").await.unwrap();
    let count = found.map_or(0, |found| std::str::from_utf8(&found).unwrap().parse::<u32>().unwrap()) + 1;
    let fill = (0..100).fold(Batch::new(), |batch, key| batch.put(format!("fill {key}"), vec![b'x'; 100]));
    db.write(fill).await.unwrap();
    db.clear(KeyRange::prefix("fill ")).await.unwrap();
    db.put("count", count.to_string()).await.unwrap();
    db.close().await.unwrap();
    assert_nothing_is_open(path);
    count
}

/// Sled's own lock goes with the last of its threads that has the file.
fn assert_nothing_is_open(path: &Path) {
    let data = std::fs::File::open(path.join("db")).unwrap();
    data.try_lock().expect("sled has let go of its file");
    drop(data);
    #[cfg(target_os = "linux")]
    for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
        let Ok(target) = std::fs::read_link(entry.unwrap().path()) else { continue };
        assert!(!target.starts_with(path), "{} is still open", target.display());
    }
}

/// Not a test by itself: the process that takes turns with its parent.
#[test]
fn child_counts() {
    let Some((path, _)) = child::role() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for line in io::stdin().lock().lines() {
        line.unwrap();
        child::tell(&runtime.block_on(count(&path)).to_string());
    }
}

#[tokio::test]
async fn the_same_process_opens_at_once_again() {
    let directory = tempfile::tempdir().unwrap();
    for round in 1..=300 {
        assert_eq!(count(directory.path()).await, round);
    }
}

#[tokio::test]
async fn another_process_opens_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = Running::start("handover::child_counts", directory.path(), false);
    for round in 0..200 {
        assert_eq!(count(directory.path()).await, 2 * round + 1);
        child.order("go");
        assert_eq!(child.line().unwrap(), (2 * round + 2).to_string());
    }
}

#[tokio::test]
async fn dropping_every_handle_closes_in_the_background() {
    let directory = tempfile::tempdir().unwrap();
    let opener = SledDb::new(directory.path());
    for round in 0..20 {
        let db = opener.open().await.unwrap();
        assert_eq!(db.get("n").await.unwrap().is_some(), round > 0);
        db.put("n", "1").await.unwrap();
        drop(db);
        let deadline = Instant::now() + Duration::from_secs(60);
        while matches!(opener.try_lock().await.unwrap(), LockAttempt::Held { .. }) {
            assert!(Instant::now() < deadline, "the lock was not released");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_nothing_is_open(directory.path());
    }
}
