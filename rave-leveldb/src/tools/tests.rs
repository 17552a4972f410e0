//! The tools on databases with every kind of damage, and interrupted at every step.

use super::*;
use crate::{
    compaction::{
        LevelRules,
        testing::{Bench, Entry, OPTIONS, delete, put},
    },
    key::MAX_SEQUENCE,
    log::LogWriter,
    memtable::{MemTable, batch},
    storage::{
        FileName,
        sim::{CrashMode, Fault, SimulatedDisk},
    },
    version::{Contents, SetOptions, VersionSet, contents, live_logs},
};
use bytes::Bytes;
use rave_core::{Code, Operation, Result};
use std::{collections::BTreeMap, ops::ControlFlow, path::PathBuf};

const RULES: LevelRules = LevelRules { max_file_size: 2000 };

fn options() -> RepairOptions {
    RepairOptions { rules: RULES, table: OPTIONS, write_buffer_size: 10_000 }
}

fn storage_of(disk: &SimulatedDisk) -> Arc<dyn Storage> {
    disk.storage(PathBuf::from("/db"))
}

fn run_verify(disk: &SimulatedDisk) -> Result<VerifyReport> {
    verify(&storage_of(disk), &mut |_| ControlFlow::Continue(()))
}

fn run_repair(disk: &SimulatedDisk) -> Result<RepairReport> {
    repair(&storage_of(disk), &options(), &mut |_| ControlFlow::Continue(()))
}

fn write_log(bench: &mut Bench, batches: &[&[Entry]]) -> u64 {
    let number = bench.set.new_file_number();
    let mut writer = LogWriter::new(bench.storage.create(&FileName::Log(number).to_string()).unwrap());
    for entries in batches {
        let operations: Vec<_> = entries
            .iter()
            .map(|(key, _, value)| match value {
                Some(value) => Operation::Put { key: key.clone().into(), value: value.clone().into() },
                None => Operation::Del { key: key.clone().into() },
            })
            .collect();
        let mut record = Vec::new();
        batch::encode(entries[0].1, operations.iter(), &mut record);
        writer.append(&record).unwrap();
    }
    writer.sync().unwrap();
    bench.storage.sync_directory().unwrap();
    number
}

/// A database with tables in three levels and a log: 100 keys, the newest write of each in one of them.
fn database() -> Bench {
    let mut bench = Bench::new(RULES.max_file_size);
    let all = |sequence: u64| (0..100).map(move |key| put(&format!("{key:03}"), sequence + key)).collect::<Vec<_>>();
    bench.add(3, all(1000));
    bench.add(2, all(2000).into_iter().step_by(2).collect());
    bench.add(0, all(3000).into_iter().step_by(3).collect());
    bench.add(0, all(4000).into_iter().step_by(4).collect());
    bench.add(0, vec![delete("007", 4500), delete("008", 4501)]);
    let log = write_log(
        &mut bench,
        &[&[put("005", 5000), put("055", 5001)], &[delete("010", 5002)], &[put("new", 5003)], &[put("newer", 5004)]],
    );
    bench.set.set_last_sequence(5004);
    bench.apply(VersionEdit { log_number: Some(log), ..VersionEdit::default() });
    bench
}

/// What a user sees: the newest write of each key, in the tables and in the logs, read as reads do.
fn seen(disk: &SimulatedDisk) -> Result<BTreeMap<String, String>> {
    let storage = storage_of(disk);
    let options = SetOptions { rules: RULES, ..SetOptions::default() };
    let recovered = VersionSet::recover(&storage, options)?;
    let files = Arc::new(crate::storage::OpenFiles::new(Arc::clone(&storage), 10));
    let bench = Bench {
        disk: disk.clone(),
        tables: Arc::new(crate::table::TableCache::new(files, 1 << 20)),
        set: recovered.set,
        manifest: recovered.manifest,
        storage,
    };
    let memtable = MemTable::new();
    for log in live_logs(&*bench.storage, &bench.set)? {
        let name = FileName::Log(log).to_string();
        let path = bench.storage.directory().join(&name);
        let file = bench.storage.open(&name).unwrap();
        let mut reader = crate::log::LogReader::new(&*file, &path)?;
        while let crate::log::LogEntry::Record { payload, .. } = reader.next()? {
            memtable.apply(&payload).unwrap();
        }
    }
    let mut keys: Vec<_> = (0..100).map(|key| format!("{key:03}")).collect();
    keys.extend(["new".to_owned(), "newer".to_owned()]);
    let text = |value: Bytes| String::from_utf8(value.to_vec()).unwrap();
    Ok(keys
        .into_iter()
        .filter_map(|key| {
            let value = match memtable.get(&Bytes::copy_from_slice(key.as_bytes()), MAX_SEQUENCE) {
                Some(found) => found.map(text),
                None => bench.get(&key, MAX_SEQUENCE),
            };
            Some((key, value?))
        })
        .collect())
}

fn table_in(bench: &Bench, level: usize, index: usize) -> (u64, String) {
    let number = bench.version().files(level)[index].number();
    (number, FileName::Table(number).to_string())
}

#[test]
fn a_sound_database_is_found_sound_and_stays_as_it_is() {
    let bench = database();
    let before = (bench.disk.files(), bench.disk.bytes_written());
    let report = run_verify(&bench.disk).unwrap();
    assert_eq!(report.damages, []);
    assert!(report.is_sound());
    assert_eq!((report.tables, report.logs, report.entries), (5, 1, 100 + 50 + 34 + 25 + 2 + 5));
    assert_eq!((bench.disk.files(), bench.disk.bytes_written()), before);
    let kept = seen(&bench.disk).unwrap();
    assert_eq!(kept.len(), 100 - 3 + 2);
    let report = run_repair(&bench.disk).unwrap();
    assert_eq!((report.files, report.rebuilt), (vec![], false));
    assert_eq!(seen(&bench.disk).unwrap(), kept);
    assert!(run_verify(&bench.disk).unwrap().is_sound());
}

#[test]
fn progress_counts_up_to_all_bytes_and_can_stop() {
    let bench = database();
    let mut last = (0, 0);
    let mut steps = 0;
    verify(&bench.storage, &mut |progress| {
        assert!(progress.bytes_done >= last.0);
        last = (progress.bytes_done, progress.bytes_total);
        steps += 1;
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(last.0, last.1);
    for stop_at in 0..steps {
        let mut left = stop_at;
        let mut stop = |_: Progress<'_>| {
            left -= 1;
            if left < 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        assert_eq!(verify(&bench.storage, &mut stop).unwrap_err().code(), Code::Aborted);
        let files = bench.disk.files();
        left = stop_at;
        let mut stop = |_: Progress<'_>| {
            left -= 1;
            if left < 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        assert_eq!(repair(&bench.storage, &options(), &mut stop).unwrap_err().code(), Code::Aborted);
        assert_eq!(bench.disk.files(), files);
    }
}

#[test]
fn every_damaged_block_of_a_table_is_found() {
    let bench = database();
    let (_, name) = table_in(&bench, 3, 0);
    bench.disk.flip(&name, 10, 1);
    bench.disk.flip(&name, 700, 0x80);
    let report = run_verify(&bench.disk).unwrap();
    let found: Vec<_> = report.damages.iter().map(|damage| (damage.file.as_str(), damage.what.as_str())).collect();
    assert_eq!(found, [(name.as_str(), "checksum mismatch"), (name.as_str(), "checksum mismatch")]);
    assert_eq!(report.damages[0].offset, 0);
    assert!((400..=700).contains(&report.damages[1].offset));
}

#[test]
fn any_flipped_bit_of_a_table_is_found_and_repaired() {
    let bench = database();
    let healthy = seen(&bench.disk).unwrap();
    let (_, name) = table_in(&bench, 2, 0);
    let length = bench.disk.read(&name).unwrap().len();
    // Every byte would take too long; the steps meet every part of every block, the index and the footer.
    for byte in (0..length).step_by(13).chain(length - 160..length) {
        let disk = bench.disk.after_crash(0, CrashMode::ProcessKilled);
        disk.flip(&name, byte, 0x10);
        let report = run_verify(&disk).unwrap();
        // The footer has unused bytes between its handles and its magic number.
        let unused = (length - 48..length - 8).contains(&byte) && report.is_sound();
        assert!(unused || report.damages.iter().all(|damage| damage.file == name), "byte {byte}: {report:?}");
        assert!(unused || !report.is_sound(), "byte {byte}");
        let damaged = disk.read(&name).unwrap();
        let repaired = run_repair(&disk).unwrap();
        assert!(!repaired.rebuilt, "byte {byte}");
        if !unused {
            assert_eq!(repaired.files.len(), 1);
            assert_eq!(disk.read(&format!("{name}.damaged")), Some(damaged), "what is damaged is kept");
        }
        assert!(run_verify(&disk).unwrap().is_sound(), "byte {byte}");
        let now = seen(&disk).unwrap();
        for (key, value) in &now {
            // Where an entry is lost an older one may show, never a newer or another one.
            let older = [&healthy[key], &format!("{key}={}", 1000 + key.parse::<u64>().unwrap_or(0))].contains(&value);
            assert!(older, "byte {byte}: {key} is {value}");
        }
        assert!(now.len() == healthy.len(), "byte {byte}");
    }
}

#[test]
fn damage_to_the_index_or_the_footer_costs_no_entry() {
    let bench = database();
    let healthy = seen(&bench.disk).unwrap();
    let (_, name) = table_in(&bench, 2, 0);
    let length = bench.disk.read(&name).unwrap().len();
    // The magic number, where the metaindex is, the checksum of the index, the index.
    for from_end in [1, 48, 50, 60] {
        let disk = bench.disk.after_crash(0, CrashMode::ProcessKilled);
        disk.flip(&name, length - from_end, 1);
        let report = run_repair(&disk).unwrap();
        assert_eq!((report.files.len(), report.files[0].entries_kept), (1, 50), "{from_end} from the end: {report:?}");
        assert_eq!(seen(&disk).unwrap(), healthy);
    }
}

#[test]
fn a_rewritten_table_of_level_0_does_not_become_the_newest() {
    let bench = database();
    // The oldest of the three: it has 000, 003, 006 and so on; newer ones have 000, 012 and so on.
    let (_, name) = table_in(&bench, 0, 2);
    bench.disk.flip(&name, 10, 1);
    let report = run_repair(&bench.disk).unwrap();
    assert_eq!(report.files.len(), 1);
    assert!(report.files[0].entries_kept > 10 && report.files[0].entries_kept < 34);
    let now = seen(&bench.disk).unwrap();
    assert_eq!(now["096"], "096=4096");
    assert_eq!(now["099"], "099=3099");
    assert_eq!(now.get("008"), None);
    assert!(run_verify(&bench.disk).unwrap().is_sound());
}

#[test]
fn without_a_manifest_the_newest_entries_win() {
    let whole = database();
    let healthy = seen(&whole.disk).unwrap();
    type Harm = fn(&SimulatedDisk);
    let damage: [(&str, Harm); 5] = [
        ("CURRENT is gone", |disk| disk.delete("CURRENT")),
        ("CURRENT is empty", |disk| disk.truncate("CURRENT", 0)),
        ("the manifest is gone", |disk| disk.delete("MANIFEST-000001")),
        ("the manifest is damaged", |disk| disk.flip("MANIFEST-000001", 60, 1)),
        ("the manifest is empty", |disk| disk.truncate("MANIFEST-000001", 0)),
    ];
    for (what, damage) in damage {
        let disk = whole.disk.after_crash(0, CrashMode::ProcessKilled);
        damage(&disk);
        assert!(seen(&disk).is_err(), "{what}");
        let report = run_verify(&disk).unwrap();
        let file = &report.damages[0].file;
        assert!(file == "CURRENT" || file == "MANIFEST-000001", "{what}: {report:?}");
        assert_eq!((report.tables, report.logs), (5, 1), "the rest is verified all the same");
        let report = run_repair(&disk).unwrap();
        assert!(report.rebuilt, "{what}");
        assert_eq!(report.files.len(), 1, "{what}");
        assert_eq!(seen(&disk).unwrap(), healthy, "{what}");
        assert!(run_verify(&disk).unwrap().is_sound(), "{what}");
    }
}

#[test]
fn tables_of_any_age_are_put_together_by_sequence_numbers() {
    let mut bench = Bench::new(RULES.max_file_size);
    // The second table has newer entries than the first, except for one key.
    bench.add(0, vec![put("a", 50), put("c", 49)]);
    bench.add(1, vec![put("a", 1), put("b", 100)]);
    // And one that was compacted into others and is still there.
    bench.write(vec![put("a", 1), put("z", 2)]);
    bench.disk.delete("CURRENT");
    let report = run_repair(&bench.disk).unwrap();
    assert!(report.rebuilt);
    let storage = storage_of(&bench.disk);
    let recovered = VersionSet::recover(&storage, SetOptions::default()).unwrap();
    let bench = Bench { set: recovered.set, manifest: recovered.manifest, ..bench };
    assert_eq!(bench.entries(), [put("a", 50), put("a", 1), put("b", 100), put("c", 49), put("z", 2)]);
    assert_eq!(bench.get("a", MAX_SEQUENCE).as_deref(), Some("a=50"));
    assert_eq!(bench.set.last_sequence(), 100);
}

#[test]
fn missing_files_are_reported_and_the_rest_goes_on() {
    let bench = database();
    let (_, name) = table_in(&bench, 2, 0);
    bench.disk.delete(&name);
    let report = run_verify(&bench.disk).unwrap();
    assert_eq!(report.damages.len(), 1);
    assert_eq!(
        (report.damages[0].file.as_str(), report.damages[0].what.as_str()),
        (name.as_str(), "the file is missing")
    );
    let report = run_repair(&bench.disk).unwrap();
    assert_eq!(report.files.iter().map(|file| file.file.as_str()).collect::<Vec<_>>(), [name.as_str()]);
    assert_eq!(seen(&bench.disk).unwrap()["002"], "002=1002", "what the lost table hid");
    assert!(run_verify(&bench.disk).unwrap().is_sound());
}

#[test]
fn without_an_older_log_the_newer_one_still_counts() {
    let mut bench = database();
    write_marked_log(&mut bench, 6000);
    let log = FileName::Log(bench.set.log_number()).to_string();
    bench.disk.delete(&log);
    let report = run_verify(&bench.disk).unwrap();
    assert_eq!(report.damages.iter().map(|damage| damage.file.as_str()).collect::<Vec<_>>(), [log.as_str()]);
    let report = run_repair(&bench.disk).unwrap();
    assert_eq!(report.files.iter().map(|file| file.file.as_str()).collect::<Vec<_>>(), [log.as_str()]);
    assert_eq!(seen(&bench.disk).unwrap()["099"], "099=6000");
}

#[test]
fn tables_that_are_not_what_the_manifest_says_are_found() {
    let bench = database();
    let (_, lower) = table_in(&bench, 3, 0);
    let (_, upper) = table_in(&bench, 2, 0);
    let other = bench.disk.read(&upper).unwrap();
    bench.disk.put(&lower, other);
    let report = run_verify(&bench.disk).unwrap();
    let whats: Vec<_> = report.damages.iter().map(|damage| damage.what.as_str()).collect();
    assert!(whats[0].contains("bytes, but the manifest says") && whats[1].contains("first and last key"), "{whats:?}");
}

#[test]
fn damaged_batches_of_a_log_are_left_out() {
    let bench = database();
    let log = FileName::Log(bench.set.log_number()).to_string();
    // The first batch.
    bench.disk.flip(&log, 20, 1);
    let report = run_verify(&bench.disk).unwrap();
    assert_eq!(report.damages.len(), 1);
    assert_eq!((report.damages[0].file.as_str(), report.damages[0].offset), (log.as_str(), 0));
    let report = run_repair(&bench.disk).unwrap();
    assert_eq!((report.files.len(), report.files[0].entries_kept), (1, 3));
    let now = seen(&bench.disk).unwrap();
    assert_eq!((now["005"].as_str(), now["new"].as_str(), now.get("010")), ("005=1005", "new=5003", None));
    assert!(bench.disk.files().contains(&format!("{log}.damaged")));
    assert!(run_verify(&bench.disk).unwrap().is_sound());
}

#[test]
fn an_unfinished_end_of_the_newest_log_is_no_damage() {
    let bench = database();
    let log = FileName::Log(bench.set.log_number()).to_string();
    let length = bench.disk.read(&log).unwrap().len();
    bench.disk.truncate(&log, length - 1);
    assert!(run_verify(&bench.disk).unwrap().is_sound());
    assert_eq!(run_repair(&bench.disk).unwrap().files, []);
    let now = seen(&bench.disk).unwrap();
    assert!(now.contains_key("new") && !now.contains_key("newer"));
}

#[test]
fn a_log_that_is_cut_off_before_another_one_is_damaged() {
    let mut bench = database();
    let log = FileName::Log(bench.set.log_number()).to_string();
    write_log(&mut bench, &[&[put("099", 6000)]]);
    let length = bench.disk.read(&log).unwrap().len();
    bench.disk.truncate(&log, length - 1);
    let report = run_verify(&bench.disk).unwrap();
    assert_eq!((report.damages.len(), report.damages[0].file.as_str()), (1, log.as_str()));
    assert_eq!(run_repair(&bench.disk).unwrap().files.len(), 1);
    assert_eq!(seen(&bench.disk).unwrap()["099"], "099=6000");
}

/// A log with one write of the key 099. Our mark at its beginning tells its number; see `db/append.rs`.
fn write_marked_log(bench: &mut Bench, sequence: u64) -> u64 {
    let number = bench.set.new_file_number();
    let mut writer = LogWriter::new(bench.storage.create(&FileName::Log(number).to_string()).unwrap());
    let operation = Operation::Put { key: "099".into(), value: format!("099={sequence}").into() };
    for operations in [&[][..], &[operation]] {
        let mut record = Vec::new();
        batch::encode(sequence, operations.iter(), &mut record);
        writer.append(&record).unwrap();
    }
    writer.sync().unwrap();
    bench.storage.sync_directory().unwrap();
    number
}

#[test]
fn what_a_crash_tears_off_stays_off() {
    let mut bench = database();
    let log = FileName::Log(bench.set.log_number()).to_string();
    let next = write_marked_log(&mut bench, 5005);
    assert!(run_verify(&bench.disk).unwrap().is_sound());
    let length = bench.disk.read(&log).unwrap().len();
    bench.disk.truncate(&log, length - 1);
    assert!(run_verify(&bench.disk).unwrap().is_sound(), "opening would take it");
    let report = run_repair(&bench.disk).unwrap();
    assert_eq!(report.files, []);
    let now = seen(&bench.disk).unwrap();
    assert_eq!((now["099"].as_str(), now.get("newer"), now["new"].as_str()), ("099=3099", None, "new=5003"));
    for log in [log, FileName::Log(next).to_string()] {
        assert!(bench.disk.files().contains(&format!("{log}.damaged")), "it is kept aside");
    }
}

#[test]
fn a_filter_that_denies_its_keys_is_found() {
    let bench = database();
    let (number, name) = table_in(&bench, 3, 0);
    let mut data = bench.disk.read(&name).unwrap();
    // Empties the filter block and gives it a right checksum again.
    let report = |disk: &SimulatedDisk| run_verify(disk).unwrap().damages;
    let metaindex = data.windows(6).position(|bytes| bytes == b"filter").unwrap();
    let handle = &data[metaindex + "filter.leveldb.BuiltinBloomFilter2".len()..];
    let (offset, used) = crate::table::varint::get_u64(handle).unwrap();
    let (length, _) = crate::table::varint::get_u64(&handle[used..]).unwrap();
    let (start, end) = (offset as usize, (offset + length) as usize);
    // The last filter's first byte is among its bits.
    data[start..start + 8].fill(0);
    let checksum = crate::log::mask(crc32c::crc32c(&data[start..=end]));
    data[end + 1..end + 5].copy_from_slice(&checksum.to_le_bytes());
    bench.disk.put(&name, data);
    let damages = report(&bench.disk);
    assert!(damages.iter().all(|damage| damage.offset == offset && damage.what.contains("filter")), "{damages:?}");
    assert!(!damages.is_empty());
    run_repair(&bench.disk).unwrap();
    assert!(report(&bench.disk).is_empty());
    assert!(!bench.disk.files().contains(&FileName::Table(number).to_string()));
}

#[test]
fn damages_are_counted_beyond_those_listed() {
    let mut report = VerifyReport::default();
    (0..1500).for_each(|offset| report.add("x", offset, "y"));
    assert_eq!((report.damages.len(), report.more_damages), (1000, 500));
    assert_eq!(report.damages[7].to_string(), "x at byte 7: y");
}

#[test]
fn what_is_no_database_or_another_kind_is_refused() {
    let disk = SimulatedDisk::new();
    assert_eq!(run_verify(&disk).unwrap_err().code(), Code::DatabaseFailedOpen);
    assert_eq!(run_repair(&disk).unwrap_err().code(), Code::DatabaseFailedOpen);
    destroy(&storage_of(&disk)).unwrap();
    disk.put("notes.txt", vec![]);
    disk.put("20261121.log", vec![]);
    assert_eq!(run_verify(&disk).unwrap_err().code(), Code::DatabaseFailedOpen);
    assert_eq!(destroy(&storage_of(&disk)).unwrap_err().code(), Code::DatabaseFailedOpen);
    assert_eq!(disk.files().len(), 2);

    let bench = database();
    let storage = storage_of(&bench.disk);
    let mut record = Vec::new();
    VersionEdit { comparator: Some(b"reverse".to_vec()), ..VersionEdit::default() }.encode_to(&mut record);
    LogWriter::new(storage.create("MANIFEST-000001").unwrap()).append(&record).unwrap();
    assert_eq!(run_verify(&bench.disk).unwrap_err().code(), Code::NotSupported);
    assert_eq!(run_repair(&bench.disk).unwrap_err().code(), Code::NotSupported);
}

#[test]
fn a_repair_that_fails_or_is_cut_short_loses_nothing() {
    let prepared = || {
        let bench = database();
        let (_, name) = table_in(&bench, 0, 2);
        bench.disk.flip(&name, 10, 1);
        bench.disk.delete("CURRENT");
        bench.disk
    };
    let disk = prepared();
    let before = disk.operations();
    run_repair(&disk).unwrap();
    let expected = seen(&disk).unwrap();
    let operations = disk.operations() - before;
    for operation in 0..operations {
        let disk = prepared();
        disk.fail_operation(disk.operations() + operation, Fault::NoSpace);
        let _ = run_repair(&disk);
        disk.heal();
        run_repair(&disk).unwrap();
        assert_eq!(seen(&disk).unwrap(), expected, "failure of operation {operation}");
        for mode in CrashMode::ALL {
            let disk = prepared();
            disk.crash_after(disk.operations() + operation);
            let _ = run_repair(&disk);
            let disk = disk.after_crash(operation, mode);
            if seen(&disk).is_err() {
                run_repair(&disk).unwrap();
            }
            assert_eq!(seen(&disk).unwrap(), expected, "crash at {operation}, {mode:?}");
        }
    }
}

#[test]
fn destroy_removes_its_own_files_and_no_others() {
    let bench = database();
    for name in ["LOCK", "LOG", "LOG.old", "notes.txt", "rave-level.sock", "000003.ldb.damaged", "000090.dbtmp"] {
        bench.disk.put(name, vec![]);
    }
    destroy(&bench.storage).unwrap();
    assert_eq!(bench.disk.files(), ["LOCK", "notes.txt", "rave-level.sock"]);
}

#[test]
fn destroy_takes_away_what_is_damaged_too() {
    for damage in ["CURRENT", "MANIFEST-000001"] {
        let bench = database();
        bench.disk.delete(damage);
        destroy(&bench.storage).unwrap();
        assert_eq!(bench.disk.files(), [""; 0], "{damage}");
    }
}

#[test]
fn an_interrupted_destroy_leaves_a_database_or_an_empty_one() {
    let prepared = || {
        let disk = database().disk;
        disk.put("LOCK", vec![]);
        disk
    };
    let disk = prepared();
    let healthy = seen(&disk).unwrap();
    let before = disk.operations();
    destroy(&storage_of(&disk)).unwrap();
    let operations = disk.operations() - before;
    let mut outcomes = [0; 3];
    for operation in 0..operations {
        for mode in CrashMode::ALL {
            for seed in 0..6 {
                let disk = prepared();
                disk.crash_after(disk.operations() + operation);
                let _ = destroy(&storage_of(&disk));
                let disk = disk.after_crash(seed, mode);
                let context = format!("crash at {operation}, {mode:?}, seed {seed}");
                match contents(&*storage_of(&disk)).unwrap_or_else(|error| panic!("{context}: {error}")) {
                    Contents::Empty => outcomes[0] += 1,
                    Contents::Database => {
                        let now = seen(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
                        assert!(now.is_empty() || now == healthy, "{context}");
                        outcomes[if now.is_empty() { 1 } else { 2 }] += 1;
                    }
                }
                destroy(&storage_of(&disk)).unwrap();
                assert_eq!(disk.files(), ["LOCK"], "{context}");
            }
        }
    }
    assert!(outcomes.iter().all(|&count| count > 0), "{outcomes:?}");
}
