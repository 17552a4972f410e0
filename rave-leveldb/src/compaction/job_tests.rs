//! Compaction jobs: what they drop, where their outputs end, and what a failure leaves.

use super::{
    testing::{Bench, Entry, OPTIONS, delete, entry, put},
    *,
};
use crate::{
    iterator::Cursor,
    key::{InternalKey, Kind, MAX_SEQUENCE},
    storage::sim::Fault,
    version::{LevelCursor, testing::adding},
};
use rave_core::Code;
use std::{collections::BTreeMap, sync::Arc};

#[test]
fn hidden_entries_are_dropped_as_far_as_no_snapshot_sees_them() {
    let history = || vec![put("a", 1), put("a", 3), put("a", 5), put("b", 2), put("b", 6)];
    let kept = |smallest_snapshot| {
        let mut bench = Bench::new(10_000);
        bench.add(0, history());
        bench.compact(0, smallest_snapshot);
        assert_eq!(bench.version().files(0).len(), 0);
        bench.entries()
    };
    assert_eq!(kept(MAX_SEQUENCE), [put("a", 5), put("b", 6)]);
    assert_eq!(kept(5), [put("a", 5), put("b", 6), put("b", 2)]);
    assert_eq!(kept(4), [put("a", 5), put("a", 3), put("b", 6), put("b", 2)]);
    assert_eq!(kept(3), [put("a", 5), put("a", 3), put("b", 6), put("b", 2)]);
    assert_eq!(kept(2), [put("a", 5), put("a", 3), put("a", 1), put("b", 6), put("b", 2)]);
    assert_eq!(kept(0).len(), 5);
}

#[test]
fn deletions_are_dropped_where_nothing_is_below_them() {
    let kept = |smallest_snapshot, below: &str| {
        let mut bench = Bench::new(10_000);
        if !below.is_empty() {
            bench.add(3, vec![put(below, 1)]);
        }
        bench.add(0, vec![delete("k", 9), put("k", 8), put("l", 7)]);
        bench.compact(0, smallest_snapshot);
        let mut entries = bench.entries();
        entries.retain(|(_, sequence, _)| *sequence > 1);
        entries
    };
    assert_eq!(kept(MAX_SEQUENCE, ""), [put("l", 7)]);
    assert_eq!(kept(MAX_SEQUENCE, "j"), [put("l", 7)]);
    assert_eq!(kept(MAX_SEQUENCE, "m"), [put("l", 7)]);
    assert_eq!(kept(MAX_SEQUENCE, "k"), [delete("k", 9), put("l", 7)], "it hides what is below");
    assert_eq!(kept(9, ""), [put("l", 7)]);
    assert_eq!(kept(8, ""), [delete("k", 9), put("k", 8), put("l", 7)], "a snapshot sees what it hides");
}

#[test]
fn an_entry_that_is_there_twice_is_written_once() {
    let mut bench = Bench::new(10_000);
    bench.add(0, vec![put("k", 8), put("l", 7)]);
    bench.add(0, vec![put("k", 8), put("m", 6)]);
    bench.compact(0, 0);
    assert_eq!(bench.entries(), [put("k", 8), put("l", 7), put("m", 6)]);
}

#[test]
fn outputs_end_at_their_size_but_never_within_a_key() {
    let mut bench = Bench::new(600);
    let wide = |key: &str, sequence| (key.to_owned(), sequence, Some(format!("{sequence:0>200}")));
    bench.add(0, (1..=40).map(|sequence| wide(&format!("{:02}", sequence / 10), sequence)).collect());
    bench.compact(0, 0);
    let version = bench.version();
    assert!(version.files(1).len() > 2);
    for pair in version.files(1).windows(2) {
        assert!(pair[0].largest().user_key < pair[1].smallest().user_key);
    }
    assert_eq!(bench.entries().len(), 40);
}

#[test]
fn outputs_end_where_they_would_overlap_too_much_below() {
    let mut bench = Bench::new(1000);
    let noise = |length: usize| -> String {
        let mut random = fastrand::Rng::with_seed(length as u64);
        (0..length).map(|_| random.alphanumeric()).collect()
    };
    for key in ["b", "d", "f", "h"] {
        bench.add(2, vec![(key.to_owned(), 1, Some(noise(12_000)))]);
    }
    bench.add(0, vec![put("a", 2), put("c", 3), put("e", 4), put("g", 5), put("i", 6)]);
    bench.compact(0, MAX_SEQUENCE);
    let version = bench.version();
    let ranges: Vec<_> =
        version.files(1).iter().map(|file| (file.smallest().user_key, file.largest().user_key)).collect();
    let alone = |key: &'static [u8]| (key, key);
    assert_eq!(ranges, [alone(b"a"), alone(b"c"), alone(b"e"), alone(b"g"), alone(b"i")]);
}

#[test]
fn a_failed_or_stopped_job_leaves_the_inputs_and_nothing_else() {
    let prepared = || {
        let mut bench = Bench::new(600);
        for sequence in 1..=4 {
            bench.add(0, (0..100).map(|key| put(&format!("{key:03}"), sequence)).collect());
        }
        bench
    };
    let mut bench = prepared();
    let compaction = pick(&mut bench.set, &bench.manifest).unwrap();
    let before = bench.disk.files();
    assert!(bench.job(&compaction, 0).run(&|| true).unwrap().is_none());
    assert_eq!(bench.disk.files(), before);
    let looks = std::cell::Cell::new(0);
    let second_look = || looks.replace(looks.get() + 1) > 0;
    assert!(bench.job(&compaction, 0).run(&second_look).unwrap().is_none());
    assert_eq!(bench.disk.files(), before);

    let start = bench.disk.operations();
    bench.job(&compaction, 0).run(&|| false).unwrap().unwrap();
    let operations = bench.disk.operations() - start;
    assert!(operations > 10);
    for fault in Fault::ALL {
        for operation in 0..operations {
            let mut bench = prepared();
            let before = (bench.disk.files(), bench.entries());
            let compaction = pick(&mut bench.set, &bench.manifest).unwrap();
            bench.disk.fail_operation(bench.disk.operations() + operation, fault);
            let error = bench.job(&compaction, 0).run(&|| false).err().expect("a write failed");
            assert_eq!(error.code(), Code::Io);
            assert!(error.message().contains(".ldb"), "{error}");
            assert_eq!((bench.disk.files(), bench.entries()), before, "{fault:?} of operation {operation}");
        }
    }
}

#[test]
fn damage_in_an_input_is_not_compacted_away() {
    let mut bench = Bench::new(600);
    for sequence in 1..=4 {
        bench.add(0, (0..100).map(|key| put(&format!("{key:03}"), sequence)).collect());
    }
    let victim = bench.version().files(0)[2].number();
    let name = crate::storage::FileName::Table(victim).to_string();
    bench.disk.flip(&name, 300, 0x40);
    let before = bench.disk.files();
    let compaction = pick(&mut bench.set, &bench.manifest).unwrap();
    let error = bench.job(&compaction, MAX_SEQUENCE).run(&|| false).err().unwrap();
    assert_eq!(error.code(), Code::Corruption);
    assert!(error.message().contains(&name), "{error}");
    assert_eq!(bench.disk.files(), before);
}

#[test]
fn an_empty_memtable_makes_no_table() {
    let mut bench = Bench::new(600);
    let before = bench.disk.files();
    let number = bench.set.new_file_number();
    let mut nothing = LevelCursor::new(Arc::from([]), Arc::clone(&bench.tables), false);
    assert_eq!(build_table(&bench.storage, &OPTIONS, number, &mut nothing).unwrap(), None);
    assert_eq!(bench.disk.files(), before);
}

/// Random writes into random levels, as flushes and compactions would arrange them, against a map.
#[test]
fn gets_cursors_and_compactions_agree_with_a_map() {
    for seed in 0..30 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bench = Bench::new(400);
        // For each key its writes, the newest first.
        let mut model: BTreeMap<String, Vec<(u64, Option<String>)>> = BTreeMap::new();
        let mut sequence = 0;
        for _ in 0..60 {
            let mut entries = Vec::new();
            for _ in 0..random.usize(1..30) {
                sequence += 1;
                let key = format!("{:02}", random.u32(0..60));
                let entry = if random.u32(0..4) == 0 { delete(&key, sequence) } else { put(&key, sequence) };
                model.entry(key).or_default().insert(0, (sequence, entry.2.clone()));
                entries.push(entry);
            }
            let table = bench.write(entries);
            let range = (table.smallest.as_key().user_key, table.largest.as_key().user_key);
            let level = bench.set.level_for_flush(&bench.manifest, range.0, range.1);
            bench.apply(adding([(level, table)]));
            // Every write counts as seen by a snapshot, so that reads in the past can be checked.
            while random.bool()
                && let Some(compaction) = pick(&mut bench.set, &bench.manifest)
            {
                let edit = match compaction.trivial_move() {
                    Some(edit) => edit,
                    None => bench.job(&compaction, 0).run(&|| false).unwrap().unwrap().edit,
                };
                drop(compaction);
                bench.apply(edit);
            }
            for _ in 0..20 {
                let (key, at) = (format!("{:02}", random.u32(0..62)), random.u64(0..=sequence));
                let expected = model.get(&key).and_then(|writes| writes.iter().find(|(number, _)| *number <= at));
                assert_eq!(
                    bench.get(&key, at),
                    expected.and_then(|(_, value)| value.clone()),
                    "seed {seed}: {key} at {at}"
                );
            }
        }
        assert!((1..4).filter(|&level| bench.version().level_bytes(level) > 0).count() > 1, "seed {seed}");
        check_level_cursors(&bench, &mut random);
        for level in 0..5 {
            bench.compact(level, MAX_SEQUENCE);
        }
        let newest = model.iter().filter_map(|(key, writes)| {
            let (sequence, value) = writes.first()?;
            Some((key.clone(), *sequence, Some(value.clone()?)))
        });
        let mut entries = bench.entries();
        entries.retain(|(_, _, value)| value.is_some());
        assert_eq!(entries, newest.collect::<Vec<_>>(), "seed {seed}");
    }
}

/// Walks each level at random beside a list of its entries.
fn check_level_cursors(bench: &Bench, random: &mut fastrand::Rng) {
    let version = bench.version();
    for level in 1..crate::version::LEVELS {
        let files: Arc<[_]> = version.files(level).into();
        let mut list = Vec::new();
        for file in files.iter() {
            let mut cursor = bench.tables.cursor(file.number(), file.size(), true);
            cursor.seek_to_first().unwrap();
            while cursor.valid() {
                list.push(entry(cursor.key(), &cursor.value()));
                cursor.next().unwrap();
            }
        }
        let mut cursor = LevelCursor::new(files, Arc::clone(&bench.tables), true);
        assert!(!cursor.valid());
        let mut position: Option<usize> = None;
        for _ in 0..300 {
            match random.u32(0..8) {
                0 => {
                    cursor.seek_to_first().unwrap();
                    position = (!list.is_empty()).then_some(0);
                }
                1 => {
                    cursor.seek_to_last().unwrap();
                    position = list.len().checked_sub(1);
                }
                2 => {
                    let key = format!("{:02}", random.u32(0..62));
                    let target = InternalKey::seek(key.as_bytes(), random.u64(0..2000));
                    cursor.seek(target).unwrap();
                    let before = |entry: &Entry| {
                        let kind = if entry.2.is_some() { Kind::Value } else { Kind::Deletion };
                        InternalKey::new(entry.0.as_bytes(), entry.1, kind) < target
                    };
                    position = Some(list.partition_point(before)).filter(|&at| at < list.len());
                }
                3..6 => {
                    if let Some(at) = position {
                        cursor.next().unwrap();
                        position = Some(at + 1).filter(|&at| at < list.len());
                    }
                }
                _ => {
                    if let Some(at) = position {
                        cursor.prev().unwrap();
                        position = at.checked_sub(1);
                    }
                }
            }
            let found = cursor.valid().then(|| entry(cursor.key(), &cursor.value()));
            assert_eq!(found.as_ref(), position.and_then(|at| list.get(at)));
        }
    }
}
