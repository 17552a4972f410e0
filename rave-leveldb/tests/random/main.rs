//! Random histories: a database and a `BTreeMap` are given the same thousands of steps, and must agree at each.
//!
//! A seed chooses the database's settings (tiny, so that every level and every rule is used), the kinds of keys and
//! values, and all steps: writes, reads, scans in both directions, iterators and snapshots that are held across later
//! writes, compactions, and the database closed or killed and opened again. The same seed gives the same steps, whatever
//! the database answers.
//!
//! | variable | what |
//! | --- | --- |
//! | `RAVE_TEST_SEEDS` | how many histories |
//! | `RAVE_TEST_STEPS` | how many steps each has |
//! | `RAVE_TEST_SEED` | the first seed: with `RAVE_TEST_SEEDS=1` that history alone |
//! | `RAVE_TEST_THREADS` | histories run at the same time; as many as there are processors by default |
//!
//! The long form is `RAVE_TEST_SEEDS=200 RAVE_TEST_STEPS=50000 cargo test --release -p rave-leveldb --test random`.

mod generate;
mod history;
mod model;
mod native;
mod run;
mod rusty;
mod subject;

use history::Kind;
use run::Plan;

#[test]
fn the_store_agrees_with_a_map() {
    let summary = Plan::from_environment(12, 1500).run::<native::Native>();
    println!("{summary}");
    assert!(summary.differences.is_empty(), "{} of {} histories differ", summary.failed_seeds(), summary.seeds);
    // Otherwise the rules for the deeper levels were not put to the test.
    assert!(summary.deepest_level >= 3, "no history filled the third level: {summary}");
}

/// The same harness finds what is known to be wrong in another engine: so it can fail.
#[test]
fn the_harness_finds_the_defects_of_another_engine() {
    let summary = Plan { first_seed: 0, seeds: 24, steps: 1500, threads: 2, quiet: true }.run::<rusty::Rusty>();
    println!("{summary}");
    for kind in [Kind::Get, Kind::ReverseScan, Kind::SnapshotGet, Kind::SnapshotScan] {
        assert!(summary.differences.contains_key(&kind), "{kind:?} was not found: {summary}");
    }
}
