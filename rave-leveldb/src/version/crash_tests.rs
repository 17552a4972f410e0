//! The manifest across crashes: at every operation, in every way in which a disk may come back.

use super::{
    testing::{adding, table},
    *,
};
use crate::{
    compaction::LevelRules,
    storage::{
        FileName, Storage,
        sim::{CrashMode, Fault, SimulatedDisk},
    },
};
use std::{collections::BTreeSet, io::IoSlice, path::PathBuf, sync::Arc};

/// Each edit begins a new manifest now and then.
const OPTIONS: SetOptions = SetOptions { rules: LevelRules { max_file_size: 1000 }, manifest_limit: 150 };
const EDITS: u64 = 8;

fn storage(disk: &SimulatedDisk) -> Arc<dyn Storage> {
    disk.storage(PathBuf::from("/db"))
}

/// Which tables there are after so many edits: each adds one, and every third removes the oldest.
fn tables_after(edits: u64) -> BTreeSet<u64> {
    let mut tables = BTreeSet::new();
    for edit in 0..edits {
        tables.insert(100 + edit);
        if edit % 3 == 2 {
            tables.pop_first();
        }
    }
    tables
}

/// Applies edits from where the database stands until one fails; says how many are acknowledged.
fn work(recovered: Recovered, storage: &dyn Storage, from: u64) -> u64 {
    let Recovered { mut set, mut manifest, .. } = recovered;
    for edit in from..EDITS {
        let mut change = adding([(0, table(100 + edit, "a", "b"))]);
        let gone = tables_after(edit).difference(&tables_after(edit + 1)).copied().next();
        change.deleted_files.extend(gone.map(|number| (0, number)));
        let name = FileName::Table(100 + edit).to_string();
        let written = storage.create(&name).and_then(|mut file| {
            file.write(&mut [IoSlice::new(b"table")])?;
            file.sync()
        });
        if written.is_err() || set.log_and_apply(&mut manifest, change).is_err() {
            return edit;
        }
        if let Some(number) = gone {
            // What the thread that deletes does. If it fails the file only takes space.
            let _ = remove_table(storage, number);
        }
    }
    EDITS
}

fn open(storage: &Arc<dyn Storage>) -> rave_core::Result<Recovered> {
    match contents(&**storage)? {
        Contents::Empty => VersionSet::create(storage, OPTIONS),
        Contents::Database => VersionSet::recover(storage, OPTIONS),
    }
}

/// The edits that a database shows, which must be at least the acknowledged ones.
fn check(recovered: &Recovered, acknowledged: u64, context: &str) -> u64 {
    let tables: BTreeSet<u64> = recovered.set.live_files().into_iter().collect();
    let edits = (acknowledged..=EDITS).find(|&edits| tables_after(edits) == tables);
    edits.unwrap_or_else(|| panic!("{context}: {tables:?} after {acknowledged} edits"))
}

fn run(disk: &SimulatedDisk, acknowledged: u64, context: &str) -> u64 {
    let storage = storage(disk);
    match open(&storage) {
        Ok(recovered) => {
            let edits = check(&recovered, acknowledged, context);
            work(recovered, &*storage, edits).max(edits)
        }
        Err(error) => {
            assert!(disk.crashed(), "{context}: {error}");
            acknowledged
        }
    }
}

fn operations_of_everything() -> u64 {
    let disk = SimulatedDisk::new();
    assert_eq!(run(&disk, 0, "no crash"), EDITS);
    assert!(disk.files().iter().any(|name| name.starts_with("MANIFEST-") && name != "MANIFEST-000001"));
    disk.operations()
}

#[test]
fn a_crash_at_any_operation_loses_nothing_acknowledged() {
    for operation in 0..operations_of_everything() {
        for mode in CrashMode::ALL {
            for seed in 0..64 {
                let context = format!("{mode:?}, seed {seed}, crash at {operation}");
                let disk = SimulatedDisk::new();
                disk.crash_after(operation);
                let acknowledged = run(&disk, 0, &context);
                let disk = disk.after_crash(seed, mode);
                // And once more, while it is at work again.
                disk.crash_after(operation % 11);
                let acknowledged = run(&disk, acknowledged, &context);
                let disk = disk.after_crash(seed + 1, mode);
                assert_eq!(run(&disk, acknowledged, &context), EDITS, "{context}");
            }
        }
    }
}

#[test]
fn a_failed_operation_loses_nothing_acknowledged_and_stops_the_manifest() {
    for operation in 0..operations_of_everything() {
        for fault in Fault::ALL {
            let context = format!("{fault:?} at {operation}");
            let disk = SimulatedDisk::new();
            disk.fail_operation(operation, fault);
            let storage = storage(&disk);
            let Ok(recovered) = open(&storage) else {
                disk.heal();
                assert_eq!(run(&disk, 0, &context), EDITS, "{context}");
                continue;
            };
            let acknowledged = work(recovered, &*storage, 0);
            disk.heal();
            assert_eq!(run(&disk, acknowledged, &context), EDITS, "{context}");
        }
    }
}

#[test]
fn after_a_failed_edit_no_other_is_taken() {
    let disk = SimulatedDisk::new();
    let storage = storage(&disk);
    let Recovered { mut set, mut manifest, .. } = VersionSet::create(&storage, OPTIONS).unwrap();
    let before = set.current();
    // The directory is synced, the record is written, the file is synced.
    disk.fail_operation(disk.operations() + 2, Fault::Io);
    let error = set.log_and_apply(&mut manifest, adding([(0, table(5, "a", "b"))])).unwrap_err();
    assert!(error.message().contains("MANIFEST-000001"), "{error}");
    assert!(Arc::ptr_eq(&before, &set.current()));
    let operations = disk.operations();
    let error = set.log_and_apply(&mut manifest, VersionEdit::default()).unwrap_err();
    assert!(error.message().contains("earlier"), "{error}");
    assert_eq!(disk.operations(), operations);
}
