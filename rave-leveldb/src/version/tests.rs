//! Versions and the manifest: written, read again, cut, and damaged in every byte.

use super::{
    testing::{Scratch, adding, key, numbers, sized, table, version},
    *,
};
use crate::{
    compaction::LevelRules,
    key::{InternalKey, MAX_SEQUENCE},
    log::LogWriter,
    storage::FileName,
};
use rave_core::Code;
use std::{sync::Arc, thread};

const RULES: LevelRules = LevelRules { max_file_size: 1000 };
const OPTIONS: SetOptions = SetOptions { rules: RULES, manifest_limit: 1 << 20 };

fn layout(version: &Version) -> Vec<(usize, TableInfo)> {
    version.all_files().map(|(level, file)| (level, file.info().clone())).collect()
}

/// A database with some history, whose files are there but empty.
fn history(scratch: &Scratch) -> Vec<Vec<(usize, TableInfo)>> {
    let Recovered { mut set, mut manifest, .. } = VersionSet::create(&scratch.storage, OPTIONS).unwrap();
    let mut layouts = vec![layout(&set.current())];
    let mut edits = vec![VersionEdit { log_number: Some(3), ..VersionEdit::default() }];
    edits.push(adding([(0, table(4, "a", "m")), (0, table(5, "g", "z"))]));
    let mut compacted = adding([(1, table(6, "a", "k")), (1, table(7, "l", "z"))]);
    compacted.deleted_files = vec![(0, 4), (0, 5)];
    compacted.compact_pointers = vec![(0, key("z", 500))];
    edits.push(compacted);
    for number in 3..8 {
        assert_eq!(set.new_file_number(), number - 1);
        scratch.write(&FileName::Table(number).to_string(), b"");
    }
    scratch.write("000003.log", b"");
    for edit in edits {
        set.set_last_sequence(set.last_sequence() + 10);
        layouts.push(layout(&set.log_and_apply(&mut manifest, edit).unwrap()));
    }
    layouts
}

#[test]
fn what_was_applied_is_recovered() {
    let scratch = Scratch::new();
    assert_eq!(contents(&*scratch.storage).unwrap(), Contents::Empty);
    let layouts = history(&scratch);
    assert_eq!(contents(&*scratch.storage).unwrap(), Contents::Database);
    let before = scratch.read("MANIFEST-000001");
    let Recovered { set, manifest, torn } = VersionSet::recover(&scratch.storage, OPTIONS).unwrap();
    assert_eq!(Some(&layout(&set.current())), layouts.last());
    assert_eq!((set.log_number(), set.last_sequence(), torn), (3, 30, false));
    assert_eq!(set.compact_pointer(0), Some(&key("z", 500)));
    assert_eq!(set.numbers().next(), 8);
    assert_eq!(manifest.number(), 1);
    assert_eq!(scratch.read("MANIFEST-000001"), before, "opening writes nothing");
}

#[test]
fn a_recovered_manifest_is_continued() {
    let scratch = Scratch::new();
    history(&scratch);
    let Recovered { mut set, mut manifest, .. } = VersionSet::recover(&scratch.storage, OPTIONS).unwrap();
    let before = scratch.read("MANIFEST-000001");
    scratch.write("000008.ldb", b"");
    set.log_and_apply(&mut manifest, adding([(2, table(8, "a", "b"))])).unwrap();
    assert!(scratch.read("MANIFEST-000001").starts_with(&before));
    let again = VersionSet::recover(&scratch.storage, OPTIONS).unwrap();
    assert_eq!(layout(&again.set.current()), layout(&set.current()));
}

#[test]
fn the_first_manifest_is_leveldbs() {
    let scratch = Scratch::new();
    VersionSet::create(&scratch.storage, OPTIONS).unwrap();
    assert_eq!(scratch.read("CURRENT"), b"MANIFEST-000001\n");
    let record = scratch.read("MANIFEST-000001").split_off(7);
    assert_eq!(record, b"\x01\x1aleveldb.BytewiseComparator\x02\x00\x09\x00\x03\x02\x04\x00");
    assert_eq!(scratch.names(), ["CURRENT", "MANIFEST-000001"]);
}

#[test]
fn a_manifest_that_outgrew_its_limit_is_replaced() {
    let scratch = Scratch::new();
    let options = SetOptions { manifest_limit: 200, ..OPTIONS };
    let Recovered { mut set, mut manifest, .. } = VersionSet::create(&scratch.storage, options).unwrap();
    for round in 0..50 {
        let number = set.new_file_number();
        scratch.write(&FileName::Table(number).to_string(), b"");
        let mut edit = adding([(1, table(number, "a", "z"))]);
        if round > 0 {
            edit.deleted_files = set.live_files().into_iter().map(|number| (1, number)).collect();
        }
        set.log_and_apply(&mut manifest, edit).unwrap();
        let found = VersionSet::recover(&scratch.storage, options).unwrap();
        assert_eq!(layout(&found.set.current()), layout(&set.current()));
        assert!(found.set.numbers().next() >= set.numbers().next());
    }
    assert!(manifest.number() > 3);
    let manifests = scratch.names().iter().filter(|name| name.starts_with("MANIFEST")).count();
    assert_eq!(manifests, 1, "old ones are removed");
}

#[test]
fn a_manifest_cut_anywhere_is_an_earlier_state_or_an_error() {
    let scratch = Scratch::new();
    let layouts = history(&scratch);
    let whole = scratch.read("MANIFEST-000001");
    let mut earlier = 0;
    for length in 0..whole.len() {
        scratch.write("MANIFEST-000001", &whole[..length]);
        match VersionSet::recover(&scratch.storage, OPTIONS) {
            Ok(recovered) => {
                let position = layouts.iter().position(|known| *known == layout(&recovered.set.current()));
                assert!(position.unwrap() >= earlier);
                earlier = position.unwrap();
                // Whoever goes on must not append to what is torn.
                let Recovered { mut set, mut manifest, torn } = recovered;
                set.log_and_apply(&mut manifest, VersionEdit::default()).unwrap();
                assert_eq!(manifest.number() != 1, torn, "cut to {length}");
                let again = VersionSet::recover(&scratch.storage, OPTIONS).unwrap();
                assert_eq!(layout(&again.set.current()), layout(&set.current()));
                scratch.write("CURRENT", b"MANIFEST-000001\n");
            }
            Err(error) => {
                assert_eq!(error.code(), Code::Corruption);
                assert_eq!(earlier, 0, "cut to {length}: {error}");
            }
        }
    }
    assert_eq!(earlier, layouts.len() - 2);
}

#[test]
fn a_cut_that_loses_an_acknowledged_edit_is_noticed_by_its_missing_files() {
    let scratch = Scratch::new();
    history(&scratch);
    let whole = scratch.read("MANIFEST-000001");
    scratch.write("MANIFEST-000001", &whole[..whole.len() - 1]);
    // The inputs of the last compaction were deleted when it was durable.
    remove_table(&*scratch.storage, 4).unwrap();
    let error = VersionSet::recover(&scratch.storage, OPTIONS).unwrap_err();
    assert_eq!(error.code(), Code::Corruption);
    assert!(error.message().contains("000004.ldb"), "{error}");
    scratch.write("MANIFEST-000001", &whole);
    VersionSet::recover(&scratch.storage, OPTIONS).unwrap();
    scratch.storage.remove("000003.log").unwrap();
    let error = VersionSet::recover(&scratch.storage, OPTIONS).unwrap_err();
    assert!(error.message().contains("000003.log"), "{error}");
}

#[test]
fn a_flipped_bit_in_a_manifest_is_noticed() {
    let scratch = Scratch::new();
    let layouts = history(&scratch);
    let whole = scratch.read("MANIFEST-000001");
    for position in 0..whole.len() {
        for bit in [0x01, 0x80] {
            let mut flipped = whole.clone();
            flipped[position] ^= bit;
            scratch.write("MANIFEST-000001", &flipped);
            match VersionSet::recover(&scratch.storage, OPTIONS) {
                Ok(recovered) => {
                    // Only the last edit can be taken for one that was never completed.
                    assert!(recovered.torn, "byte {position}");
                    assert_eq!(layout(&recovered.set.current()), layouts[layouts.len() - 2], "byte {position}");
                }
                Err(error) => assert_eq!(error.code(), Code::Corruption, "byte {position}: {error}"),
            }
        }
    }
}

fn write_manifest(scratch: &Scratch, edits: &[VersionEdit]) {
    let mut writer = LogWriter::new(scratch.storage.create("MANIFEST-000005").unwrap());
    for edit in edits {
        let mut record = Vec::new();
        edit.encode_to(&mut record);
        writer.append(&record).unwrap();
    }
    scratch.write("CURRENT", b"MANIFEST-000005\n");
}

fn first_edit() -> VersionEdit {
    VersionEdit {
        comparator: Some(b"leveldb.BytewiseComparator".to_vec()),
        log_number: Some(0),
        next_file_number: Some(9),
        last_sequence: Some(7),
        ..VersionEdit::default()
    }
}

#[test]
fn manifests_that_cannot_be_are_refused() {
    let scratch = Scratch::new();
    for number in 1..5 {
        scratch.write(&FileName::Table(number).to_string(), b"");
    }
    let check = |edits: &[VersionEdit], code, what: &str| {
        write_manifest(&scratch, edits);
        let error = VersionSet::recover(&scratch.storage, OPTIONS).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.message().contains(what), "{error}");
    };
    let other = VersionEdit { comparator: Some(b"reverse".to_vec()), ..first_edit() };
    check(&[other], Code::NotSupported, "\"reverse\"");
    check(&[], Code::Corruption, "no edit");
    let unnamed = VersionEdit { comparator: None, ..first_edit() };
    check(&[unnamed], Code::Corruption, "comparator");
    let unnumbered = VersionEdit { next_file_number: None, ..first_edit() };
    check(&[unnumbered], Code::Corruption, "numbers");
    let overlapping = adding([(1, table(1, "a", "m")), (1, table(2, "m", "z"))]);
    // The two share a key and the older entries of it come first.
    check(&[first_edit(), overlapping], Code::Corruption, "overlap");
    let twice = adding([(1, table(1, "a", "m")), (2, table(1, "a", "m"))]);
    check(&[first_edit(), twice], Code::Corruption, "two levels");
    check(&[first_edit(), adding([(1, table(8, "a", "m"))])], Code::Corruption, "000008.ldb");
    scratch.write("CURRENT", b"MANIFEST-000004\n");
    let error = VersionSet::recover(&scratch.storage, OPTIONS).unwrap_err();
    assert!(error.code() == Code::Corruption && error.message().contains("missing"), "{error}");
    for wrong in ["", "MANIFEST-000005", "MANIFEST-x\n", "000001.log\n", &"MANIFEST-1\n".repeat(100)] {
        scratch.write("CURRENT", wrong.as_bytes());
        let error = VersionSet::recover(&scratch.storage, OPTIONS).unwrap_err();
        assert!(error.message().contains("does not name a manifest"), "{wrong:?}: {error}");
    }
}

#[test]
fn an_edit_that_would_make_tables_overlap_is_refused_and_changes_nothing() {
    let scratch = Scratch::new();
    history(&scratch);
    let Recovered { mut set, mut manifest, .. } = VersionSet::recover(&scratch.storage, OPTIONS).unwrap();
    let before = layout(&set.current());
    let error = set.log_and_apply(&mut manifest, adding([(1, table(9, "b", "c"))])).unwrap_err();
    assert_eq!(error.code(), Code::Corruption);
    assert_eq!(layout(&set.current()), before);
    set.log_and_apply(&mut manifest, VersionEdit::default()).unwrap();
}

#[test]
fn a_moved_table_stays_and_a_removed_one_goes_with_its_last_reader() {
    let scratch = Scratch::new();
    let Recovered { mut set, mut manifest, .. } = VersionSet::create(&scratch.storage, OPTIONS).unwrap();
    let old = set.log_and_apply(&mut manifest, adding([(1, table(8, "a", "b")), (1, table(9, "c", "d"))])).unwrap();
    let mut edit = adding([(2, table(8, "a", "b"))]);
    edit.deleted_files = vec![(1, 8), (1, 9)];
    let new = set.log_and_apply(&mut manifest, edit).unwrap();
    assert!(Arc::ptr_eq(&old.files(1)[0], &new.files(2)[0]));
    let (sent, deleted) = std::sync::mpsc::channel();
    let queue = Arc::clone(set.obsolete());
    let worker = thread::spawn(move || queue.work(|number| sent.send(number).unwrap()));
    assert!(deleted.try_recv().is_err());
    drop(old);
    assert_eq!(deleted.recv().unwrap(), 9);
    drop((new, set));
    let queue = VersionSet::recover(&scratch.storage, OPTIONS).err();
    assert!(queue.is_some(), "the tables were never written");
    drop(worker);
}

#[test]
fn unneeded_files_are_leveldbs_own() {
    let scratch = Scratch::new();
    history(&scratch);
    for name in ["000002.log", "000009.log", "000099.ldb", "000098.sst", "000097.dbtmp", "MANIFEST-000090", "notes.txt"]
    {
        scratch.write(name, b"");
    }
    scratch.write("LOCK", b"");
    scratch.write("rave-level.sock", b"");
    let Recovered { set, manifest, .. } = VersionSet::recover(&scratch.storage, OPTIONS).unwrap();
    assert_eq!(live_logs(&*scratch.storage, &set).unwrap(), [3, 9]);
    assert!(set.numbers().next() > 99);
    let mut names = obsolete_files(&*scratch.storage, &set, manifest.number()).unwrap();
    names.sort();
    let expected = [
        "000002.log",
        "000003.ldb",
        "000004.ldb",
        "000005.ldb",
        "000097.dbtmp",
        "000098.sst",
        "000099.ldb",
        "MANIFEST-000090",
    ];
    assert_eq!(names, expected);
    remove_files(&*scratch.storage, &names);
    assert_eq!(
        scratch.names(),
        [
            "000003.log",
            "000006.ldb",
            "000007.ldb",
            "000009.log",
            "CURRENT",
            "LOCK",
            "MANIFEST-000001",
            "notes.txt",
            "rave-level.sock"
        ]
    );
}

#[test]
fn directories_are_told_apart() {
    let with = |names: &[&str]| {
        let scratch = Scratch::new();
        names.iter().for_each(|name| scratch.write(name, b""));
        contents(&*scratch.storage)
    };
    for neutral in
        [&[][..], &["LOCK", "LOG", "LOG.old", "lost+found", "rave-level.sock"], &["MANIFEST-000001", "000001.dbtmp"]]
    {
        assert_eq!(with(neutral).unwrap(), Contents::Empty);
    }
    assert_eq!(with(&["CURRENT", "notes.txt"]).unwrap(), Contents::Database);
    assert_eq!(with(&["LOCK", "notes.txt"]).unwrap_err().code(), Code::DatabaseFailedOpen);
    for data in ["000005.ldb", "000005.sst", "000005.log", "MANIFEST-000002"] {
        assert_eq!(with(&[data, "LOCK"]).unwrap_err().code(), Code::Corruption, "{data}");
    }
}

#[test]
fn scores_tell_the_fullest_level() {
    assert!(!version(&RULES, (1..4).map(|n| (0, table(n, "a", "b")))).needs_compaction());
    let full = version(&RULES, (1..5).map(|n| (0, table(n, "a", "b"))));
    assert_eq!(full.compaction_score(), (0, 1.0));
    // Level 1 holds five tables' worth.
    let tables = [(1, sized(1, 4000, "a", "b")), (1, sized(2, 4000, "c", "d")), (2, sized(3, 60_000, "a", "z"))];
    let full = version(&RULES, tables);
    assert_eq!(full.compaction_score().0, 1);
    assert_eq!((full.level_bytes(1), full.level_bytes(2)), (8000, 60_000));
    let deepest = version(&RULES, [(6, sized(1, u64::MAX >> 3, "a", "b"))]);
    assert!(!deepest.needs_compaction(), "the deepest level has nowhere to go");
}

#[test]
fn overlapping_widens_in_level_0_only() {
    let tables = [(0, table(1, "a", "c")), (0, table(2, "b", "f")), (0, table(3, "e", "k")), (0, table(4, "p", "q"))];
    let chain = version(&RULES, tables);
    assert_eq!(numbers(&chain.overlapping(0, Some(b"a"), Some(b"a"))), [3, 2, 1]);
    assert_eq!(numbers(&chain.overlapping(0, Some(b"l"), Some(b"m"))), [0; 0]);
    assert_eq!(numbers(&chain.overlapping(0, None, Some(b"a"))), [3, 2, 1]);
    assert_eq!(numbers(&chain.overlapping(0, Some(b"l"), None)), [4]);
    assert_eq!(numbers(&chain.overlapping(0, None, None)), [4, 3, 2, 1]);
    let sorted = version(&RULES, [(1, table(1, "a", "c")), (1, table(2, "d", "f")), (1, table(3, "h", "k"))]);
    assert_eq!(numbers(&sorted.overlapping(1, Some(b"c"), Some(b"d"))), [1, 2]);
    assert_eq!(numbers(&sorted.overlapping(1, Some(b"g"), Some(b"g"))), [0; 0]);
    assert_eq!(numbers(&sorted.overlapping(1, None, Some(b"d"))), [1, 2]);
    assert_eq!(numbers(&sorted.overlapping(1, Some(b"f"), None)), [2, 3]);
}

#[test]
fn a_flush_goes_down_where_nothing_overlaps() {
    let level = |tables: &[(usize, TableInfo)]| version(&RULES, tables.to_vec()).level_for_flush(b"m", b"p", &RULES);
    assert_eq!(level(&[]), 2);
    assert_eq!(level(&[(0, table(1, "p", "z"))]), 0);
    assert_eq!(level(&[(0, table(1, "q", "z"))]), 2);
    assert_eq!(level(&[(1, table(1, "a", "m"))]), 0);
    assert_eq!(level(&[(2, table(1, "n", "o"))]), 1);
    assert_eq!(level(&[(3, sized(1, 10_000, "a", "z"))]), 2);
    assert_eq!(level(&[(3, sized(1, 10_001, "a", "z"))]), 1, "too much to merge with later");
    assert_eq!(level(&[(2, sized(1, 10_001, "a", "z"))]), 0);
}

#[test]
fn seeks_make_a_candidate() {
    let tables = [(0, table(1, "a", "z")), (1, table(2, "a", "z"))];
    let version = version(&RULES, tables);
    for _ in 0..99 {
        assert!(!version.sample_read(b"k"));
    }
    assert!(version.seek_candidate().is_none());
    assert!(version.sample_read(b"k"));
    let (level, file) = version.seek_candidate().unwrap();
    assert_eq!((level, file.number()), (0, 1));
    assert!(version.needs_compaction());
    assert!(!version.sample_read(b"k"), "it is due only once");
    assert!(!version.sample_read(b"zz"), "no table is looked into");
}

#[test]
fn a_table_has_a_seek_for_every_16_kib() {
    let version = version(&RULES, [(0, sized(1, 200 << 14, "a", "z")), (1, table(2, "a", "z"))]);
    let reads = (1..).find(|_| version.sample_read(b"k"));
    assert_eq!(reads, Some(200));
}

#[test]
fn flushes_stay_in_level_0_while_a_compaction_runs() {
    let scratch = Scratch::new();
    let Recovered { mut set, manifest, .. } = VersionSet::create(&scratch.storage, OPTIONS).unwrap();
    let mut manifest = manifest;
    set.log_and_apply(&mut manifest, adding([(1, sized(8, 9000, "a", "b"))])).unwrap();
    assert_eq!(set.level_for_flush(&manifest, b"m", b"p"), 2);
    let compaction = crate::compaction::pick(&mut set, &manifest).unwrap();
    assert_eq!(set.level_for_flush(&manifest, b"m", b"p"), 0);
    drop(compaction);
    assert_eq!(set.level_for_flush(&manifest, b"m", b"p"), 2);
}

#[test]
fn boundaries_are_internal_keys() {
    // One user key's entries may span two tables, as other engines write them.
    let newer = TableInfo { number: 1, size: 1000, smallest: key("a", 9), largest: key("k", 8) };
    let older = TableInfo { number: 2, size: 1000, smallest: key("k", 7), largest: key("z", 1) };
    let version = version(&RULES, [(1, older), (1, newer)]);
    assert_eq!(numbers(version.files(1)), [1, 2]);
    let at = |sequence| version.files(1).partition_point(|file| file.largest() < InternalKey::seek(b"k", sequence));
    assert_eq!((at(MAX_SEQUENCE), at(8), at(7)), (0, 0, 1));
}
