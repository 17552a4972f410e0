//! Disks that fill up or fail, in every operation.

mod disk;

use disk::{Contents, Step, Workload, contents, full, in_parallel};
use rave_core::{AbstractLevel, AbstractLevelExt, Code, Effect, KeyRange};
use rave_leveldb::{
    Store,
    testing::{Fault, SimulatedDisk},
};
use std::{ops::RangeInclusive, path::Path, time::Duration};

/// Where a disk fails.
#[derive(Clone, Copy, Debug)]
struct Case {
    operation: u64,
    fault: Fault,
    /// Whether it fails from there on until it is healed.
    on: bool,
}

impl Case {
    fn arrange(&self, disk: &SimulatedDisk) {
        if self.on {
            disk.fail_from(self.operation, self.fault);
        } else {
            disk.fail_operation(self.operation, self.fault);
        }
    }
}

fn cases(operations: u64) -> Vec<Case> {
    let operations = 0..operations;
    let cases = operations.flat_map(|operation| {
        Fault::ALL.into_iter().flat_map(move |fault| [true, false].map(|on| Case { operation, fault, on }))
    });
    // Each operation fails in some of the ways, and over all of them in every way.
    cases
        .enumerate()
        .filter(|(i, _)| full() || i % 6 == (i / 6 * 5) % 6 || i % 6 == (i / 6 + 2) % 6)
        .map(|(_, case)| case)
        .collect()
}

/// Operations of a whole workload, about.
fn operations(workload: &Workload, start: Option<&SimulatedDisk>) -> u64 {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let disk = start.map_or_else(SimulatedDisk::new, SimulatedDisk::copy);
    runtime.block_on(async {
        let db = workload.open(directory.path(), &disk).await.unwrap();
        if start.is_none() {
            assert!(workload.run(&db, 0).await.error.is_none());
        }
        db.close().await.unwrap();
    });
    disk.operations() + 10
}

/// After a failure: later writes are refused, reads go on and show what was acknowledged, perhaps with the step in
/// which it failed.
async fn check_failed(
    db: &Store,
    workload: &Workload,
    possible: &RangeInclusive<usize>,
    disk: &SimulatedDisk,
    case: &str,
) {
    for _ in 0..2 {
        let error = db.put("later", "x").await.expect_err(case);
        assert_eq!((error.code(), error.effect()), (Code::Io, Effect::None), "{case}: {}", error.full_message());
        let error = db.clear(KeyRange::all()).await.expect_err(case);
        assert_eq!((error.code(), error.effect()), (Code::Io, Effect::None), "{case}: {}", error.full_message());
    }
    // While the disk fails, tables that are not open cannot be read.
    match contents(db).await {
        Ok(found) => check_contents(&found, workload, possible, case),
        Err(error) => assert_eq!(error.code(), Code::Io, "{case}: {}", error.full_message()),
    }
    disk.heal();
    let found = contents(db).await.unwrap_or_else(|error| panic!("{case}: {}", error.full_message()));
    check_contents(&found, workload, possible, case);
}

/// Checks that the contents are those after one of the steps `possible`: at least those that were acknowledged, at most
/// those that were begun.
fn check_contents(found: &Contents, workload: &Workload, possible: &RangeInclusive<usize>, case: &str) {
    let position = workload.position(found, &case);
    assert!(
        position.end() >= possible.start() && position.start() <= possible.end(),
        "{case}: found the state after step {position:?}, but it has to be one of {possible:?}"
    );
}

/// The disk works again: the database opens, has what was acknowledged, and takes the rest of the workload.
async fn check_healed(
    directory: &Path,
    workload: &Workload,
    possible: &RangeInclusive<usize>,
    disk: &SimulatedDisk,
    case: &str,
) {
    disk.heal();
    let db = workload.open(directory, disk).await.unwrap_or_else(|error| panic!("{case}: {}", error.full_message()));
    let found = contents(&db).await.unwrap_or_else(|error| panic!("{case}: {}", error.full_message()));
    check_contents(&found, workload, possible, case);
    let position = *workload.position(&found, &case).end();
    let progress = workload.run(&db, position.min(*possible.end())).await;
    assert!(progress.error.is_none(), "{case}: {:?}", progress.error);
    db.close().await.unwrap();
    let db = workload.open(directory, disk).await.unwrap();
    assert!(contents(&db).await.unwrap() == *workload.states.last().unwrap(), "{case}: wrong in the end");
    db.close().await.unwrap();
    let files = disk.files();
    let count = |what: &str| files.iter().filter(|name| name.contains(what)).count();
    assert_eq!((count("MANIFEST"), count("dbtmp"), count("CURRENT")), (1, 0, 1), "{case}: {files:?}");
    assert_eq!(disk.read_handles(), 0, "{case}: files stay open");
}

/// Fails every operation of the workload in turn.
fn fail_everywhere(workload: &Workload) {
    in_parallel(&cases(operations(workload, None)), async |directory, case| {
        let disk = SimulatedDisk::new();
        disk.cold_sometimes(20);
        case.arrange(&disk);
        let text = format!("{case:?}");
        let mut possible = 0..=0;
        match workload.open(directory, &disk).await {
            Err(error) => assert_eq!(error.code(), Code::Io, "{text}: {}", error.full_message()),
            Ok(db) => {
                let progress = workload.run(&db, 0).await;
                possible = progress.acknowledged..=progress.submitted;
                if let Some(error) = &progress.error {
                    assert_eq!(error.code(), Code::Io, "{text}: {}", error.full_message());
                    // A clear that could not read what to delete.
                    let failed = progress.first_failed;
                    let no_clear =
                        error.effect() == Effect::None && matches!(workload.steps.get(failed), Some(Step::Clear(..)));
                    if no_clear && progress.submitted > failed + 1 {
                        // Steps begun at the same time go on without it: the contents are those of no prefix.
                        db.close().await.unwrap();
                        return;
                    }
                    if no_clear && db.del("later").await.is_ok() {
                        possible = failed..=failed;
                    } else {
                        check_failed(&db, workload, &possible, &disk, &text).await;
                    }
                }
                match contents(&db).await {
                    Ok(found) => check_contents(&found, workload, &possible, &text),
                    Err(error) => assert_eq!(error.code(), Code::Io, "{text}: {}", error.full_message()),
                }
                db.close().await.unwrap();
            }
        }
        check_healed(directory, workload, &possible, &disk, &text).await;
    });
}

#[test]
fn a_failure_in_any_operation_loses_nothing_acknowledged() {
    fail_everywhere(&Workload::new(11, 100));
}

#[test]
fn a_failure_while_several_write_loses_nothing_acknowledged() {
    fail_everywhere(&Workload::new(12, 60).at_once(5).slow_tables(Duration::from_micros(300)));
}

#[test]
fn a_failure_in_any_operation_of_an_opening_loses_nothing() {
    let workload = Workload::large(12, 100);
    let taken = 60;
    // Killed in mid-work, so that there is something to recover.
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let origin = runtime.block_on(async {
        let disk = SimulatedDisk::new();
        let db = workload.open(directory.path(), &disk).await.unwrap();
        for step in &workload.steps[..taken] {
            disk::take(&db, step).await.unwrap();
        }
        let killed = disk.copy();
        db.close().await.unwrap();
        // A torn tail, so that the log cannot be continued.
        let log = killed.files().into_iter().filter(|name| name.ends_with(".log")).max().unwrap();
        killed.edit(&log, |data| data.extend(b"torn"));
        killed
    });
    let cases = cases(operations(&workload, Some(&origin)));
    in_parallel(&cases, async |directory, case| {
        let disk = origin.copy();
        case.arrange(&disk);
        let text = format!("opening, {case:?}");
        match workload.open(directory, &disk).await {
            Err(error) => assert_eq!(error.code(), Code::Io, "{text}: {}", error.full_message()),
            Ok(db) => {
                match contents(&db).await {
                    Ok(found) => check_contents(&found, &workload, &(taken..=taken), &text),
                    Err(error) => assert_eq!(error.code(), Code::Io, "{text}: {}", error.full_message()),
                }
                db.close().await.unwrap();
            }
        }
        check_healed(directory, &workload, &(taken..=taken), &disk, &text).await;
    });
}

#[tokio::test]
async fn the_failing_write_says_that_its_effect_is_unknown() {
    let workload = Workload::new(14, 0);
    for fault in Fault::ALL {
        for sync in [false, true] {
            for (which, offset) in [("write", 0), ("sync", 1)] {
                if which == "sync" && !sync {
                    continue;
                }
                let directory = tempfile::tempdir().unwrap();
                let disk = SimulatedDisk::new();
                let db = workload.open(directory.path(), &disk).await.unwrap();
                db.put("a", "1").await.unwrap();
                // The first sync also syncs the directory.
                let options = rave_core::WriteOptions { sync: true };
                db.write_opts(rave_core::Batch::new().put("b", "2"), options).await.unwrap();
                disk.fail_operation(disk.operations() + offset, fault);
                let options = rave_core::WriteOptions { sync };
                let write = db.write_opts(rave_core::Batch::new().put("c", "3"), options).await;
                let error = write.expect_err("it fails");
                let case = format!("{which}, {fault:?}");
                assert_eq!((error.code(), error.effect()), (Code::Io, Effect::Unknown), "{case}");
                assert!(error.full_message().contains(".log"), "{case}: {}", error.full_message());
                assert_eq!(db.get("b").await.unwrap().as_deref(), Some(&b"2"[..]));
                assert_eq!(db.put("d", "4").await.unwrap_err().effect(), Effect::None, "{case}");
                db.close().await.unwrap();
                let db = workload.open(directory.path(), &disk).await.unwrap();
                assert_eq!(db.get("b").await.unwrap().as_deref(), Some(&b"2"[..]), "{case}");
                assert_eq!(db.get("d").await.unwrap(), None, "{case}");
                db.put("d", "5").await.unwrap();
                db.close().await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_read_that_fails_is_an_error_and_harms_nothing() {
    let workload = Workload::new(13, 60);
    let directory = tempfile::tempdir().unwrap();
    let disk = SimulatedDisk::new();
    let db = workload.open(directory.path(), &disk).await.unwrap();
    assert!(workload.run(&db, 0).await.error.is_none());
    db.close().await.unwrap();
    let db = workload.open(directory.path(), &disk).await.unwrap();
    disk.fail_reads(true);
    let mut failed = 0;
    for (key, value) in workload.states.last().unwrap() {
        match db.get(key).await {
            Ok(found) => assert!(found.as_deref() == Some(value)),
            Err(error) => {
                assert_eq!(error.code(), Code::Io, "{}", error.full_message());
                failed += 1;
            }
        }
    }
    assert!(failed > 0);
    assert_eq!(db.all(KeyRange::all()).await.unwrap_err().code(), Code::Io);
    disk.heal();
    assert!(contents(&db).await.unwrap() == *workload.states.last().unwrap());
    db.close().await.unwrap();
    assert_eq!(disk.read_handles(), 0);
}
