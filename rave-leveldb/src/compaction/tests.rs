//! The rules by which compactions are picked, one by one.

use super::*;
use crate::version::{
    LEVELS, Manifest, Recovered, SetOptions, TableInfo, VersionEdit, VersionSet,
    testing::{Scratch, adding, key, numbers, sized, table},
};

const RULES: LevelRules = LevelRules { max_file_size: 1000 };

struct Picked {
    set: VersionSet,
    manifest: Manifest,
    _scratch: Scratch,
}

impl Picked {
    fn new(tables: &[(usize, TableInfo)]) -> Self {
        let scratch = Scratch::new();
        let options = SetOptions { rules: RULES, ..SetOptions::default() };
        let Recovered { mut set, mut manifest, .. } = VersionSet::create(&scratch.storage, options).unwrap();
        set.log_and_apply(&mut manifest, adding(tables.to_vec())).unwrap();
        Self { set, manifest, _scratch: scratch }
    }

    fn pick(&mut self) -> Option<Compaction> {
        pick(&mut self.set, &self.manifest)
    }

    fn apply(&mut self, edit: VersionEdit) {
        self.set.log_and_apply(&mut self.manifest, edit).unwrap();
    }
}

fn sorted(files: &[std::sync::Arc<crate::version::FileMetaData>]) -> Vec<u64> {
    let mut numbers = numbers(files);
    numbers.sort_unstable();
    numbers
}

#[test]
fn nothing_is_picked_while_nothing_is_due() {
    assert!(Picked::new(&[(0, table(1, "a", "b")), (1, sized(2, 4999, "a", "b"))]).pick().is_none());
}

#[test]
fn level_0_is_compacted_with_all_that_overlaps() {
    let mut picked = Picked::new(&[
        (0, table(1, "a", "c")),
        (0, table(2, "b", "e")),
        (0, table(3, "d", "g")),
        (0, table(4, "x", "z")),
        (1, table(5, "f", "h")),
        (1, table(6, "i", "j")),
        (2, table(7, "a", "b")),
        (2, table(8, "h", "h")),
        (2, table(9, "i", "z")),
    ]);
    let compaction = picked.pick().unwrap();
    assert_eq!((compaction.level(), compaction.output_level()), (0, 1));
    assert_eq!(sorted(&compaction.inputs().upper), [1, 2, 3]);
    assert_eq!(sorted(&compaction.inputs().lower), [5]);
    assert_eq!(sorted(&compaction.inputs().grandparents), [7, 8]);
    assert!(compaction.trivial_move().is_none());
    let edit = compaction.edit(vec![table(20, "a", "h")]);
    assert_eq!(edit.deleted_files, [(0, 3), (0, 2), (0, 1), (1, 5)]);
    assert_eq!(edit.new_files, [(1, table(20, "a", "h"))]);
    assert_eq!(edit.compact_pointers, [(0, key("g", 300))]);
}

#[test]
fn one_compaction_runs_at_a_time() {
    let mut picked = Picked::new(&(1..5).map(|number| (0, table(number, "a", "b"))).collect::<Vec<_>>());
    let compaction = picked.pick().unwrap();
    assert!(picked.pick().is_none());
    assert!(pick_range(&mut picked.set, &picked.manifest, 0, None, None).is_none());
    drop(compaction);
    assert!(picked.pick().is_some());
}

#[test]
fn a_level_is_compacted_round_and_round() {
    let tables = [(1, sized(1, 3000, "a", "b")), (1, sized(2, 3000, "c", "d")), (1, sized(3, 3000, "e", "f"))];
    let mut picked = Picked::new(&tables);
    let mut order = Vec::new();
    for _ in 0..4 {
        order.push(sorted(&picked.pick().unwrap().inputs().upper));
    }
    assert_eq!(order, [[1], [2], [3], [1]]);
}

#[test]
fn more_of_the_upper_level_is_taken_where_that_costs_nothing() {
    let mut tables = vec![
        (1, sized(1, 3000, "a", "c")),
        (1, sized(2, 3000, "d", "f")),
        (2, sized(3, 3000, "b", "g")),
        (2, sized(4, 3000, "h", "k")),
    ];
    let compaction = Picked::new(&tables).pick().unwrap();
    assert_eq!((sorted(&compaction.inputs().upper), sorted(&compaction.inputs().lower)), (vec![1, 2], vec![3]));
    // Not if that brings in more of the lower level,
    tables[1] = (1, sized(2, 3000, "d", "i"));
    let compaction = Picked::new(&tables).pick().unwrap();
    assert_eq!((sorted(&compaction.inputs().upper), sorted(&compaction.inputs().lower)), (vec![1], vec![3]));
    // and not if it becomes too much.
    tables[1] = (1, sized(2, 19_000, "d", "f"));
    let compaction = Picked::new(&tables).pick().unwrap();
    assert_eq!((sorted(&compaction.inputs().upper), sorted(&compaction.inputs().lower)), (vec![1], vec![3]));
}

#[test]
fn older_entries_of_a_boundary_key_come_along() {
    let newer = TableInfo { number: 1, size: 6000, smallest: key("a", 9), largest: key("k", 8) };
    let older = TableInfo { number: 2, size: 10, smallest: key("k", 7), largest: key("k", 5) };
    let oldest = TableInfo { number: 3, size: 10, smallest: key("k", 4), largest: key("m", 1) };
    let tables = [(1, newer), (1, older), (1, oldest), (1, table(4, "n", "o"))];
    let compaction = Picked::new(&tables).pick().unwrap();
    assert_eq!(sorted(&compaction.inputs().upper), [1, 2, 3]);
    assert!(compaction.trivial_move().is_none());
}

#[test]
fn a_table_alone_is_moved_unless_it_overlaps_too_much_below() {
    let mut tables = vec![(1, sized(1, 6000, "a", "c")), (2, table(2, "d", "e")), (3, sized(3, 10_000, "a", "b"))];
    let mut picked = Picked::new(&tables);
    let compaction = picked.pick().unwrap();
    let edit = compaction.trivial_move().unwrap();
    assert_eq!((edit.deleted_files.as_slice(), edit.new_files[0].0, edit.new_files[0].1.number), (&[(1, 1)][..], 2, 1));
    picked.apply(edit);
    assert_eq!(numbers(picked.set.current().files(2)), [1, 2]);
    tables[2] = (3, sized(3, 10_001, "a", "b"));
    assert!(Picked::new(&tables).pick().unwrap().trivial_move().is_none());
    tables[2] = (2, table(3, "b", "c"));
    assert!(Picked::new(&tables).pick().unwrap().trivial_move().is_none());
}

#[test]
fn reads_in_vain_cause_a_compaction_of_their_table() {
    let mut picked = Picked::new(&[(0, table(1, "a", "m")), (0, table(2, "k", "z")), (1, table(3, "a", "z"))]);
    assert!((0..100).any(|_| picked.set.current().sample_read(b"p")));
    let compaction = picked.pick().unwrap();
    assert_eq!(sorted(&compaction.inputs().upper), [1, 2], "what overlaps in level 0 comes along");
    drop(compaction);
    // A level that is too full comes first.
    picked.apply(adding([(2, sized(4, 60_000, "q", "r"))]));
    assert_eq!(picked.pick().unwrap().level(), 2);
}

#[test]
fn a_range_is_compacted_in_parts() {
    let tables: Vec<_> = ["a", "b", "c", "d", "e"].iter().zip(1..).map(|(k, n)| (1, sized(n, 600, k, k))).collect();
    let mut picked = Picked::new(&tables);
    let compaction = pick_range(&mut picked.set, &picked.manifest, 1, Some(b"b"), None).unwrap();
    assert_eq!(sorted(&compaction.inputs().upper), [2, 3]);
    assert_eq!(compaction.resume_at(), Some(&b"c"[..]));
    assert!(compaction.trivial_move().is_none());
    drop(compaction);
    let compaction = pick_range(&mut picked.set, &picked.manifest, 1, Some(b"d"), None).unwrap();
    assert_eq!((sorted(&compaction.inputs().upper), compaction.resume_at()), (vec![4, 5], None));
    drop(compaction);
    assert!(pick_range(&mut picked.set, &picked.manifest, 1, Some(b"f"), None).is_none());
    assert!(pick_range(&mut picked.set, &picked.manifest, 2, None, None).is_none());
    assert!(pick_range(&mut picked.set, &picked.manifest, LEVELS - 1, None, None).is_none());
}

#[test]
fn a_range_of_level_0_is_compacted_whole() {
    let tables: Vec<_> = (1..4).map(|number| (0, sized(number, 5000, "a", "c"))).collect();
    let mut picked = Picked::new(&tables);
    let compaction = pick_range(&mut picked.set, &picked.manifest, 0, Some(b"b"), Some(b"b")).unwrap();
    assert_eq!((sorted(&compaction.inputs().upper), compaction.resume_at()), (vec![1, 2, 3], None));
}
