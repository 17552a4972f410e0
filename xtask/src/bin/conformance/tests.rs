//! The runner and its report on levels that are right, wrong, poor, stuck or not to be had.

use crate::{
    report::{Report, counts},
    runner::{Cell, Runner, Setup},
};
use rave_level::{
    AbstractLevelExt, Builder, MemoryLevel, MemoryOpener,
    conformance::{CASES, Case, Harness, Outcome},
    transport::MemoryTransport,
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

fn setup<F>(make: fn() -> F) -> Setup
where
    F: Future<Output = anyhow::Result<Harness>> + Send + 'static,
{
    Arc::new(move || Box::pin(make()))
}

async fn right() -> anyhow::Result<Harness> {
    Ok(Harness::new(MemoryLevel::new()))
}

async fn wrong() -> anyhow::Result<Harness> {
    let level = MemoryLevel::new();
    level.put("of somebody else", "").await?;
    Ok(Harness::new(level))
}

async fn known() -> anyhow::Result<Harness> {
    const KNOWN: &[(&str, &str)] = &[("iterator::an_empty_level_has_no_entries", "somebody else is here")];
    Ok(wrong().await?.known_to_fail(KNOWN))
}

async fn poor() -> anyhow::Result<Harness> {
    let builder = Builder::new(MemoryOpener::new(), MemoryTransport::new()).read_only(true);
    Ok(Harness::new(builder.open().await?).without_reopening())
}

async fn stuck() -> anyhow::Result<Harness> {
    std::future::pending().await
}

async fn absent() -> anyhow::Result<Harness> {
    anyhow::bail!("there is no room")
}

/// Runs two cases, of which the first sees what somebody else has left in a level.
fn run(cells: &[(&str, Setup)]) -> Report {
    let wanted = ["iterator::an_empty_level_has_no_entries", "get::a_value_comes_back"];
    let case = |name: &str| *CASES.iter().find(|case| case.to_string() == name).expect("a case of that name");
    let cases: Vec<Case> = wanted.iter().map(|name| case(name)).collect();
    let told = Mutex::new(Vec::new());
    let progress = |cell: &Cell| told.lock().unwrap().push(cell.to_string());
    // Long enough for the cases that end, on a machine with much else to do.
    let runner = Runner { jobs: 2, deadline: Duration::from_secs(15), progress };
    let cells: Vec<_> =
        cells.iter().map(|(name, setup)| Cell::new((*name).into(), "test".into(), setup.clone())).collect();
    let report = Report { cells: runner.run(cells, &cases), elapsed: Duration::from_secs(1) };
    for cell in &report.cells {
        let names: Vec<_> = cell.results.iter().map(|done| done.case.to_string()).collect();
        assert_eq!(names, wanted, "{cell}");
        assert!(told.lock().unwrap().contains(&cell.to_string()), "{cell} was not told");
    }
    report
}

fn outcomes(report: &Report) -> Vec<&Outcome> {
    report.cells.iter().flat_map(|cell| &cell.results).map(|done| &done.outcome).collect()
}

/// What each cell says begins so; the time follows.
fn assert_counts(report: &Report, expected: &[&str]) {
    let told: Vec<_> = report.cells.iter().map(counts).collect();
    let right =
        told.len() == expected.len() && told.iter().zip(expected).all(|(told, expected)| told.starts_with(expected));
    assert!(right, "{told:?}");
}

#[test]
fn what_is_good_is_counted() {
    let report = run(&[("right", setup(right)), ("poor", setup(poor)), ("known", setup(known))]);
    let [Outcome::Passed, Outcome::Passed, Outcome::Refused { .. }, Outcome::Refused { .. }, known, Outcome::Passed] =
        outcomes(&report)[..]
    else {
        panic!("{:?}", outcomes(&report))
    };
    assert!(matches!(known, Outcome::KnownToFail { reason: "somebody else is here", .. }), "{known:?}");
    assert!(report.is_good());
    assert_counts(&report, &["2 passed, ", "0 passed, 2 refused, ", "1 passed, 1 known to fail, "]);
    let text = report.to_string();
    for part in [
        "  poor: writes in 2 (every view)",
        "  iterator::an_empty_level_has_no_entries: somebody else is here (known × test)",
        "3 cells, 6 cases, 0 failed",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

#[test]
fn a_failure_is_told_and_stops_nothing() {
    let report = run(&[("wrong", setup(wrong)), ("absent", setup(absent)), ("right", setup(right))]);
    let good: Vec<_> = outcomes(&report).iter().map(|outcome| **outcome == Outcome::Passed).collect();
    assert_eq!(good, [false, true, false, false, true, true]);
    assert_counts(&report, &["1 passed, 1 FAILED, ", "0 passed, 2 FAILED, ", "2 passed, "]);
    assert!(!report.is_good());
    let text = report.to_string();
    for part in [
        "FAILED: wrong × test, iterator::an_empty_level_has_no_entries\n",
        "rave-core/src/conformance/iterator.rs:",
        "  again: cargo xtask conformance --store wrong --view test --case iterator::an_empty_level_has_no_entries\n",
        "  setting up: there is no room",
        "3 cells, 6 cases, 3 failed",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    assert_eq!(json["good"], false);
    assert_eq!((&json["cells"][0]["passed"], &json["cells"][0]["failed"]), (&1.into(), &1.into()));
    assert_eq!(json["cells"][0]["cases"][0]["outcome"], "failed");
}

#[test]
fn a_case_that_hangs_is_told_and_stops_nothing() {
    let report = run(&[("stuck", setup(stuck)), ("right", setup(right))]);
    assert_eq!(outcomes(&report), [&Outcome::Hung, &Outcome::Hung, &Outcome::Passed, &Outcome::Passed]);
    assert!(!report.is_good());
    assert!(report.to_string().contains("did not end within 15s, and still runs"), "{report}");
}
