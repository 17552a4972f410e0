//! Crashes in every operation on the disk, also while recovering from a crash, and damage to every byte.
//!
//! A run takes a sample of the cases that would take long; `RAVE_TEST_CRASHES=full` takes them all.

mod disk;

use disk::{COUNTER, Contents, Step, Workload, contents, full, in_parallel};
use rave_core::{AbstractLevel, AbstractLevelExt, Batch, Code, IteratorOptions, KeyRange, WriteOptions};
use rave_leveldb::{
    LevelDb, Options, Store,
    testing::{CrashMode, SimulatedDisk},
};
use std::{ops::RangeInclusive, path::Path, time::Duration};

/// Written after a recovery.
const LATER: &[u8] = b"written later";

/// Runs the workload until the disk crashes in operation `crash_at`, and says which steps must be left and which may.
async fn crash(directory: &Path, workload: &Workload, crash_at: u64) -> (SimulatedDisk, usize, RangeInclusive<usize>) {
    let disk = SimulatedDisk::new();
    disk.cold_sometimes(20);
    disk.crash_after(crash_at);
    let Ok(db) = workload.open(directory, &disk).await else { return (disk, 0, 0..=0) };
    let progress = workload.run(&db, 0).await;
    db.close().await.unwrap();
    if progress.error.is_some() {
        assert!(disk.crashed(), "{:?}", progress.error);
    }
    (disk, progress.acknowledged, progress.synced..=progress.submitted)
}

/// Opens what a crash left and checks it: it is the state after one of the steps `possible`. Then it has to be a
/// database like any other.
async fn check(
    directory: &Path,
    workload: &Workload,
    disk: &SimulatedDisk,
    possible: RangeInclusive<usize>,
    case: &str,
) {
    let some = disk.size().is_multiple_of(3);
    let for_reading = some.then(|| Options { read_only: true, ..workload.options(&disk.copy()) });
    let db = workload.open(directory, disk).await.unwrap_or_else(|error| panic!("{case}: {}", error.full_message()));
    let mut found = contents(&db).await.unwrap_or_else(|error| panic!("{case}: {}", error.full_message()));
    let position = workload.position(&found, &case);
    assert!(
        position.start() <= possible.end() && possible.start() <= position.end(),
        "{case}: found the state after step {position:?}, but it has to be one of {possible:?}"
    );
    db.write_opts(Batch::new().put(LATER, "x"), WriteOptions { sync: true }).await.unwrap();
    let lost = disk.after_crash(0, CrashMode::PowerLossNothing);
    db.close().await.unwrap();
    if let Some(for_reading) = for_reading {
        let db = LevelDb::with_options(directory, for_reading).open_store().await.unwrap();
        assert!(contents(&db).await.unwrap() == found, "{case}: other contents for one who only reads");
        assert_eq!(db.put(LATER, "x").await.unwrap_err().code(), Code::ReadOnly);
        db.close().await.unwrap();
    }
    found.insert(LATER.to_vec(), b"x".to_vec());
    for (how, disk) in [("reopened", disk), ("synced and crashed", &lost)] {
        let db = workload
            .open(directory, disk)
            .await
            .unwrap_or_else(|error| panic!("{case}, {how}: {}", error.full_message()));
        assert!(contents(&db).await.unwrap() == found, "{case}: changed when {how}");
        db.close().await.unwrap();
        let files = disk.files();
        let count = |what: &str| files.iter().filter(|name| name.contains(what)).count();
        assert_eq!((count("MANIFEST"), count("dbtmp"), count("CURRENT")), (1, 0, 1), "{case}, {how}: {files:?}");
        assert!(count(".log") <= 2, "{case}, {how}: {files:?}");
    }
}

fn must_be_left(mode: CrashMode, acknowledged: usize, possible: &RangeInclusive<usize>) -> RangeInclusive<usize> {
    let least = if mode == CrashMode::ProcessKilled { acknowledged } else { *possible.start() };
    least..=*possible.end()
}

/// Operations of the whole workload, about: it differs from run to run with what the background threads do when.
fn operations(workload: &Workload) -> u64 {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (disk, acknowledged, _) = runtime.block_on(crash(directory.path(), workload, u64::MAX));
    assert_eq!(acknowledged, workload.steps.len());
    disk.operations() + 10
}

/// Crashes in every operation of the workload, or in every `stride`th, and checks what is left in every mode.
fn crash_everywhere(workload: &Workload, stride: usize) {
    let cases: Vec<_> = (0..operations(workload)).step_by(if full() { 1 } else { stride }).collect();
    in_parallel(&cases, async |directory, &crash_at| {
        let (crashed, acknowledged, possible) = crash(directory, workload, crash_at).await;
        for mode in CrashMode::ALL {
            let seeds = if mode == CrashMode::PowerLossNothing {
                1
            } else if full() {
                10
            } else {
                2
            };
            for seed in 0..seeds {
                let seed = crash_at * 100 + seed;
                let disk = crashed.after_crash(seed, mode);
                let case = format!("crashed in operation {crash_at}, {mode:?}, seed {seed}");
                check(directory, workload, &disk, must_be_left(mode, acknowledged, &possible), &case).await;
            }
        }
    });
}

/// Seeds of workloads.
fn seeds(first: u64) -> std::ops::Range<u64> {
    first..first + if full() { 5 } else { 1 }
}

#[test]
fn after_a_crash_in_any_operation_a_prefix_of_the_batches_is_there() {
    for seed in seeds(100) {
        crash_everywhere(&Workload::new(seed, 120), 1);
    }
}

#[test]
fn after_a_crash_while_several_write_a_prefix_of_the_batches_is_there() {
    for seed in seeds(200) {
        crash_everywhere(&Workload::new(seed, 120).at_once(6).slow_tables(Duration::from_micros(500)), 3);
    }
}

/// The same workload where every other batch depends on the one before.
fn conditional(mut workload: Workload) -> Workload {
    for (step, before) in workload.steps.iter_mut().zip(&workload.states).step_by(2) {
        if let Step::Write(batch, _) = step {
            *batch = match before.get(COUNTER) {
                Some(count) => batch.clone().if_equals(COUNTER, count),
                None => batch.clone().if_absent(COUNTER),
            };
        }
    }
    workload
}

#[test]
fn after_a_crash_among_conditional_batches_a_prefix_of_the_batches_is_there() {
    for seed in seeds(400) {
        crash_everywhere(&conditional(Workload::new(seed, 80)).at_once(6), 2);
    }
}

#[test]
fn after_a_crash_in_logs_of_many_blocks_a_prefix_of_the_batches_is_there() {
    for seed in seeds(300) {
        crash_everywhere(&Workload::large(seed, 100).at_once(3).slow_tables(Duration::from_micros(500)), 4);
    }
}

/// Crashes in `sample` operations of the workload, each chosen at random, and then in every operation of the recovery.
fn crash_twice(workload: &Workload, sample: usize) {
    let mut cases: Vec<_> = (0..operations(workload)).collect();
    if !full() {
        fastrand::Rng::with_seed(5).shuffle(&mut cases);
        cases.truncate(sample);
    }
    let modes: Vec<_> =
        CrashMode::ALL.into_iter().flat_map(|first| CrashMode::ALL.map(|second| (first, second))).collect();
    in_parallel(&cases, async |directory, &crash_at| {
        let (crashed, acknowledged, possible) = crash(directory, workload, crash_at).await;
        let mut random = fastrand::Rng::with_seed(crash_at);
        let first_modes = if full() { CrashMode::ALL.to_vec() } else { vec![CrashMode::ALL[random.usize(0..4)]] };
        for first in first_modes {
            let seed = random.u64(..);
            let disk = crashed.after_crash(seed, first);
            for again_at in 0.. {
                // A copy, with what is not synced still not synced.
                let recovering = disk.copy();
                recovering.crash_after(again_at);
                let mut later = None;
                if let Ok(db) = workload.open(directory, &recovering).await {
                    later =
                        Some(db.write_opts(Batch::new().put(LATER, "x"), WriteOptions { sync: true }).await.is_ok());
                    db.close().await.unwrap();
                }
                if !recovering.crashed() {
                    break;
                }
                let seconds = modes.iter().filter(|modes| modes.0 == first).map(|modes| modes.1);
                for second in seconds {
                    let seed_again = random.u64(..);
                    let case = format!(
                        "crashed in operation {crash_at}, {first:?}, seed {seed}, then in operation {again_at} of the \
                         recovery, {second:?}, seed {seed_again}"
                    );
                    let disk = recovering.after_crash(seed_again, second);
                    let both_killed = first == CrashMode::ProcessKilled && second == CrashMode::ProcessKilled;
                    let least = if both_killed { acknowledged } else { *possible.start() };
                    check_with_later(directory, workload, &disk, least..=*possible.end(), later, &case).await;
                }
            }
        }
    });
}

#[test]
fn after_a_crash_in_the_recovery_from_a_crash_a_prefix_of_the_batches_is_there() {
    crash_twice(&Workload::new(2, 90), 10);
    crash_twice(&Workload::new(4, 90).at_once(5).slow_tables(Duration::from_micros(300)), 4);
    crash_twice(&Workload::large(6, 60).at_once(3).slow_tables(Duration::from_micros(300)), 3);
}

/// As [`check`], where [`LATER`] may have been written or (`Some(true)`) was acknowledged with sync.
async fn check_with_later(
    directory: &Path,
    workload: &Workload,
    disk: &SimulatedDisk,
    possible: RangeInclusive<usize>,
    later: Option<bool>,
    case: &str,
) {
    let db = workload.open(directory, disk).await.unwrap_or_else(|error| panic!("{case}: {}", error.full_message()));
    let found = db.get(LATER).await.unwrap();
    assert!(found.is_some() || later != Some(true), "{case}: a synced write is lost");
    assert!(found.is_none() || later.is_some(), "{case}: a write that was never made");
    db.write_opts(Batch::new().del(LATER), WriteOptions { sync: false }).await.unwrap();
    db.close().await.unwrap();
    check(directory, workload, disk, possible, case).await;
}

/// A database of some tables and a log that is not empty, and what is in it.
async fn intact(directory: &Path, workload: &Workload) -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    let db = workload.open(directory, &disk).await.unwrap();
    let progress = workload.run(&db, 0).await;
    assert_eq!(progress.acknowledged, workload.steps.len());
    db.close().await.unwrap();
    disk
}

/// What a test expects of a damaged file.
#[derive(Clone, Copy, PartialEq)]
enum Expect {
    /// Errors or right answers.
    Right,
    /// The log's last batches may be missing.
    Prefix,
    /// The log's last batch may be missing.
    LastMayMiss,
}

/// Opens a damaged database. Whatever it answers is right, or an error that names the file. Says how many errors.
async fn check_damaged(
    directory: &Path,
    workload: &Workload,
    disk: &SimulatedDisk,
    name: &str,
    expect: Expect,
    case: &str,
) -> usize {
    let check_error = |error: &rave_core::Error| {
        let manifest = name.starts_with("MANIFEST") || name == "CURRENT";
        let fits = error.code() == Code::Corruption || (manifest && error.code() == Code::NotSupported);
        assert!(fits, "{case}: {}", error.full_message());
        // Damage of what names other files may show in those.
        assert!(manifest || error.full_message().contains(name), "{case}: {}", error.full_message());
    };
    let db = match workload.open(directory, disk).await {
        Ok(db) => db,
        Err(error) => {
            check_error(&error);
            return 1;
        }
    };
    let mut errors = 0;
    let last = workload.states.len() - 1;
    match contents(&db).await {
        Ok(found) => {
            let position = workload.position(&found, &case);
            let least = match expect {
                Expect::Right => last,
                Expect::Prefix => 0,
                Expect::LastMayMiss => last - 1,
            };
            assert!(*position.end() >= least, "{case}: only {position:?} steps of {last} are left");
        }
        Err(error) => {
            check_error(&error);
            errors += 1;
            check_answers(&db, &workload.states[last], &check_error, case).await;
            // A compaction must not make of damage that is noticed one that is not. It may well leave it where it is.
            if name.ends_with(".ldb") {
                if let Err(error) = db.compact_range(KeyRange::all()).await {
                    check_error(&error);
                    assert!(db.put("later", "x").await.is_err(), "{case}: writes go on");
                }
                check_answers(&db, &workload.states[last], &check_error, case).await;
                db.close().await.unwrap();
                let db = workload.open(directory, disk).await.unwrap();
                check_answers(&db, &workload.states[last], &check_error, case).await;
                db.close().await.unwrap();
            }
        }
    }
    db.close().await.unwrap();
    errors
}

/// Every answer is right or an error that `check_error` accepts.
async fn check_answers(db: &Store, expected: &Contents, check_error: &impl Fn(&rave_core::Error), case: &str) {
    for (key, value) in expected {
        match db.get(key).await {
            Ok(found) => assert!(found.as_deref() == Some(value), "{case}: a wrong value"),
            Err(error) => check_error(&error),
        }
    }
    for reverse in [false, true] {
        let mut iterator = db.iterator(IteratorOptions { reverse, ..Default::default() }).await.unwrap();
        let entries = expected.iter().map(|(key, value)| (key.to_vec(), value.to_vec()));
        let mut entries: Vec<_> = entries.collect();
        if reverse {
            entries.reverse();
        }
        let mut entries = entries.into_iter();
        loop {
            match iterator.next().await {
                Ok(Some(entry)) => {
                    let found = Some((entry.key.to_vec(), entry.value.to_vec()));
                    assert!(found == entries.next(), "{case}: a wrong entry");
                }
                Ok(None) => {
                    assert_eq!(entries.len(), 0, "{case}: a scan misses entries");
                    break;
                }
                Err(error) => {
                    check_error(&error);
                    break;
                }
            }
        }
    }
}

/// A workload that leaves little, so that every byte of it can be damaged.
fn small() -> Workload {
    Workload::new(7, 45)
}

#[test]
fn a_log_cut_at_any_byte_gives_a_prefix() {
    // One log and no table.
    let workload = Workload::new(3, 17);
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let origin = runtime.block_on(intact(directory.path(), &workload));
    let logs: Vec<_> = origin.files().into_iter().filter(|name| name.ends_with(".log")).collect();
    let log = logs.last().unwrap();
    let lengths: Vec<_> = (0..origin.read(log).unwrap().len()).collect();
    println!("{} bytes", lengths.len());
    in_parallel(&lengths, async |directory, &len| {
        let disk = origin.copy();
        disk.truncate(log, len);
        let case = format!("{log} cut at {len}");
        let errors = check_damaged(directory, &workload, &disk, log, Expect::Prefix, &case).await;
        assert_eq!(errors, 0, "{case}");
    });
}

#[test]
fn damage_of_any_byte_is_an_error_or_harmless() {
    let workload = small();
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let origin = runtime.block_on(intact(directory.path(), &workload));
    let mut cases = Vec::new();
    for name in origin.files() {
        let len = origin.read(&name).unwrap().len();
        println!("{name}: {len} bytes");
        let step = if full() || len < 100 { 1 } else { 5 };
        for byte in (0..len).step_by(step) {
            for mask in [1, 0xff] {
                cases.push((name.clone(), byte, mask));
            }
        }
    }
    let errors = std::sync::atomic::AtomicUsize::new(0);
    in_parallel(&cases, async |directory, (name, byte, mask)| {
        let disk = origin.copy();
        disk.flip(name, *byte, *mask);
        let expect = if name.ends_with(".log") { Expect::LastMayMiss } else { Expect::Right };
        let case = format!("byte {byte} of {name} xor {mask:#x}");
        let count = check_damaged(directory, &workload, &disk, name, expect, &case).await;
        errors.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
    });
    let errors = errors.into_inner();
    assert!(errors > cases.len() / 3, "only {errors} of {} were noticed", cases.len());
}

/// Power loss takes sectors only of what was written after the last sync. A log shows how far that was, so a sector that
/// is missing before is damage.
#[test]
fn a_lost_sector_of_what_was_synced_is_an_error() {
    const SECTOR: usize = 512;
    let workload = Workload::large(43, 10);
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (origin, log, synced) = runtime.block_on(async {
        let disk = SimulatedDisk::new();
        let db = workload.open(directory.path(), &disk).await.unwrap();
        let log = disk.files().into_iter().find(|name| name.ends_with(".log")).unwrap();
        let mut synced = Vec::new();
        for (i, step) in workload.steps.iter().enumerate() {
            let Step::Write(batch, _) = step else { continue };
            let sync = i % 4 == 2;
            db.write_opts(batch.clone(), WriteOptions { sync }).await.unwrap();
            if sync {
                synced.push(disk.read(&log).unwrap().len());
            }
        }
        db.close().await.unwrap();
        assert_eq!(disk.files().iter().filter(|name| name.ends_with(".log")).collect::<Vec<_>>(), [&log]);
        (disk, log, synced)
    });
    let len = origin.read(&log).unwrap().len();
    let known = *synced.last().unwrap();
    assert!(len > 40_000 && known > 33_000 && known < len, "{synced:?} of {len}: too little to show anything");
    let sectors: Vec<_> = (0..len.div_ceil(SECTOR)).collect();
    in_parallel(&sectors, async |directory, &sector| {
        let disk = origin.copy();
        let (from, to) = (sector * SECTOR, len.min((sector + 1) * SECTOR));
        disk.edit(&log, |data| data[from..to].fill(0));
        // What the log has behind the synced bytes says that they were.
        let expect = if to + 64 <= known { Expect::Right } else { Expect::Prefix };
        let case = format!("sector {sector} of {log} is lost");
        let errors = check_damaged(directory, &workload, &disk, &log, expect, &case).await;
        assert!(errors > 0 || expect == Expect::Prefix, "{case}");
        assert!(errors == 0 || from < known, "{case}: power loss may take it");
    });
}

#[test]
fn damage_in_a_log_of_several_blocks_is_an_error_or_harmless() {
    let workload = Workload::large(43, 10);
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let origin = runtime.block_on(intact(directory.path(), &workload));
    let log = origin.files().into_iter().rfind(|name| name.ends_with(".log")).unwrap();
    let len = origin.read(&log).unwrap().len();
    assert!(len > 33_000, "{len}: only one block");
    let bytes: Vec<_> = (0..len).step_by(if full() { 1 } else { 101 }).collect();
    in_parallel(&bytes, async |directory, &byte| {
        for mask in [1, 0xff] {
            let disk = origin.copy();
            disk.flip(&log, byte, mask);
            let case = format!("byte {byte} of {log} xor {mask:#x}");
            check_damaged(directory, &workload, &disk, &log, Expect::LastMayMiss, &case).await;
        }
    });
}

#[test]
fn a_missing_file_is_an_error() {
    let workload = small();
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let origin = runtime.block_on(intact(directory.path(), &workload));
    let mut tables = 0;
    for name in origin.files() {
        let disk = origin.copy();
        disk.delete(&name);
        runtime.block_on(async {
            let db = match workload.open(directory.path(), &disk).await {
                Ok(db) => db,
                Err(error) => {
                    assert_eq!(error.code(), Code::Corruption, "{name}: {}", error.full_message());
                    assert!(error.full_message().contains(&name), "{name}: {}", error.full_message());
                    tables += usize::from(name.ends_with(".ldb"));
                    return;
                }
            };
            // A table that was compacted away, but not removed before the database was closed.
            assert!(name.ends_with(".ldb"), "{name} is not missed");
            assert!(contents(&db).await.unwrap() == *workload.states.last().unwrap(), "{name} is not missed");
            db.close().await.unwrap();
        });
    }
    assert!(tables > 0);
}
