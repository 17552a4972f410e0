//! What can be done to a database as a whole: compact and measure it while it is open, verify, repair and destroy it
//! while it is closed.

use crate::store::{contents, files, small};
use rave_core::{AbstractLevel, AbstractLevelExt, Batch, Code, KeyRange, LockAttempt, Opener};
use rave_leveldb::{LevelDb, Options, Store};
use std::{
    fs,
    future::Future,
    ops::ControlFlow,
    path::Path,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

fn go_on(_: rave_leveldb::Progress<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

async fn filled(path: &Path, options: Options) -> Arc<Store> {
    let db = LevelDb::with_options(path, options).open_store().await.unwrap();
    for part in 0..10 {
        let batch = (0..200).fold(Batch::new(), |batch, i| batch.put(format!("{part}-{i:03}"), [b'v'; 50]));
        db.write(batch).await.unwrap();
    }
    db
}

async fn is_free(opener: &LevelDb) -> bool {
    matches!(opener.try_lock().await.unwrap(), LockAttempt::Acquired(_))
}

#[tokio::test]
async fn compacting_a_range_gives_back_its_space_and_is_seen_in_the_figures() {
    let directory = tempfile::tempdir().unwrap();
    let db = filled(directory.path(), small()).await;
    let all = KeyRange::all();
    db.compact_range(all.clone()).await.unwrap();
    let full = db.approximate_size(all.clone()).await.unwrap();
    let half = db.approximate_size(KeyRange::all().lt("5")).await.unwrap();
    assert!(full > 2000 * 50 && half > full / 3 && half < full / 3 * 2, "{half} of {full}");
    let stats = db.stats();
    assert_eq!(stats.sequence, 2000);
    assert_eq!(stats.levels.iter().map(|level| level.bytes).sum::<u64>(), full);
    assert_eq!(stats.levels.iter().filter(|level| level.tables > 0).count(), 1, "{stats:?}");

    db.clear(KeyRange::all().lt("5")).await.unwrap();
    db.compact_range(KeyRange::all().lt("5")).await.unwrap();
    let left = db.approximate_size(KeyRange::all().lt("5")).await.unwrap();
    assert!(left < half / 10, "{left} of {half}");

    let snapshot = db.snapshot().await.unwrap();
    db.clear(KeyRange::all().lt("9")).await.unwrap();
    db.compact_range(KeyRange::all()).await.unwrap();
    assert_eq!(db.stats().snapshots, 1);
    assert!(db.approximate_size(all.clone()).await.unwrap() > full / 3, "the snapshot needs what was deleted");
    snapshot.close();
    drop(snapshot);
    assert_eq!((db.stats().snapshots, db.all(all).await.unwrap().len()), (0, 200));
    db.close().await.unwrap();
    assert_eq!(db.compact_range(KeyRange::all()).await.unwrap_err().code(), Code::DatabaseNotOpen);
    assert_eq!(db.approximate_size(KeyRange::all()).await.unwrap_err().code(), Code::DatabaseNotOpen);
}

#[tokio::test]
async fn a_store_opened_for_reading_is_not_compacted() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), small()).await.close().await.unwrap();
    let options = Options { read_only: true, ..small() };
    let db = LevelDb::with_options(directory.path(), options).open_store().await.unwrap();
    assert_eq!(db.compact_range(KeyRange::all()).await.unwrap_err().code(), Code::ReadOnly);
}

#[tokio::test]
async fn tools_refuse_a_database_that_is_open() {
    let directory = tempfile::tempdir().unwrap();
    let db = filled(directory.path(), small()).await;
    let opener = LevelDb::new(directory.path());
    let refusals = [
        opener.verify(go_on).await.unwrap_err(),
        opener.repair().await.unwrap_err(),
        opener.destroy().await.unwrap_err(),
    ];
    for refusal in refusals {
        assert_eq!(refusal.code(), Code::Locked, "{refusal}");
        #[cfg(target_os = "linux")]
        assert!(refusal.to_string().contains(&std::process::id().to_string()), "{refusal}");
    }
    assert_eq!(db.all(KeyRange::all()).await.unwrap().len(), 2000);
}

#[tokio::test]
async fn tools_create_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (missing, foreign) = (directory.path().join("missing"), directory.path().join("foreign"));
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("letter.txt"), "data").unwrap();
    for path in [&missing, &foreign] {
        let opener = LevelDb::new(path);
        assert_eq!(opener.verify(go_on).await.unwrap_err().code(), Code::DatabaseFailedOpen);
        assert_eq!(opener.repair().await.unwrap_err().code(), Code::DatabaseFailedOpen);
    }
    LevelDb::new(&missing).destroy().await.unwrap();
    assert_eq!(LevelDb::new(&foreign).destroy().await.unwrap_err().code(), Code::DatabaseFailedOpen);
    assert!(!missing.exists());
    assert_eq!(fs::read_dir(&foreign).unwrap().count(), 1);
}

#[tokio::test]
async fn verify_tells_how_far_it_is_and_can_be_ended() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), small()).await.close().await.unwrap();
    let opener = LevelDb::new(directory.path());
    let (mut names, mut done) = (Vec::new(), 0);
    let report = opener
        .verify(|progress| {
            assert!(progress.bytes_done >= done && progress.bytes_done <= progress.bytes_total);
            done = progress.bytes_done;
            names.push(progress.file.to_owned());
            ControlFlow::Continue(())
        })
        .await
        .unwrap();
    assert!(report.is_sound(), "{report:?}");
    names.dedup();
    assert_eq!(names.len() as u64, report.tables + report.logs, "each file once");
    assert!(report.tables > 1 && report.entries >= 2000, "{report:?}");

    let mut heard = 0;
    let error = opener.verify(|_| {
        heard += 1;
        ControlFlow::Break(())
    });
    assert_eq!(error.await.unwrap_err().code(), Code::Aborted);
    assert_eq!(heard, 1);
    assert!(is_free(&opener).await);

    // Dropped in the middle it ends too, soon.
    {
        let verifying = pin!(opener.verify(go_on));
        let mut context = Context::from_waker(Waker::noop());
        assert!(matches!(verifying.poll(&mut context), Poll::Pending | Poll::Ready(Ok(_))));
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_free(&opener).await {
        assert!(Instant::now() < deadline, "the lock was not released");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn what_is_damaged_is_found_and_what_is_not_is_saved() {
    let directory = tempfile::tempdir().unwrap();
    let db = filled(directory.path(), small()).await;
    db.compact_range(KeyRange::all()).await.unwrap();
    db.close().await.unwrap();
    let opener = LevelDb::with_options(directory.path(), small());
    let table = files(directory.path(), "ldb").remove(0);
    let name = table.file_name().unwrap().to_str().unwrap();
    let original = fs::read(&table).unwrap();
    let mut damaged = original.clone();
    damaged[300] ^= 1;
    fs::write(&table, &damaged).unwrap();
    let report = opener.verify(go_on).await.unwrap();
    assert_eq!((report.is_sound(), report.damages.len()), (false, 1), "{report:?}");
    assert!(report.damages[0].file == name && report.damages[0].offset <= 300, "{report:?}");

    let repaired = opener.repair().await.unwrap();
    assert!(!repaired.rebuilt && repaired.files.len() == 1, "{repaired:?}");
    assert_eq!(repaired.files[0].file, name);
    assert!(fs::read(directory.path().join(format!("{name}.damaged"))).unwrap() == damaged);
    assert!(opener.verify(go_on).await.unwrap().is_sound());
    let db = opener.open().await.unwrap();
    let saved = contents(&db).await.len();
    assert!(saved < 2000 && saved > 1990, "{saved}: a block has few entries");
    db.put("later", "1").await.unwrap();
    db.close().await.unwrap();

    // Nothing is wrong any more, so another repair loses nothing.
    let again = opener.repair().await.unwrap();
    assert!(again.files.is_empty(), "{again:?}");
    assert_eq!(contents(&opener.open().await.unwrap()).await.len(), saved + 1);
}

#[tokio::test]
async fn destroying_leaves_what_belongs_to_others() {
    let directory = tempfile::tempdir().unwrap();
    let (alone, shared) = (directory.path().join("alone"), directory.path().join("shared"));
    for path in [&alone, &shared] {
        filled(path, small()).await.close().await.unwrap();
    }
    fs::write(shared.join("letter.txt"), "data").unwrap();
    for path in [&alone, &shared] {
        LevelDb::new(path).destroy().await.unwrap();
    }
    assert!(!alone.exists());
    let left: Vec<_> = fs::read_dir(&shared).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["letter.txt"]);
    let db = LevelDb::new(&alone).open().await.unwrap();
    assert!(db.all(KeyRange::all()).await.unwrap().is_empty());
}
