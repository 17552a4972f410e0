//! Cases as values: what came of each of them is told, and told apart.

use crate::{Broken, Fault};
use rave_core::{
    MemoryLevel,
    conformance::{CASES, Case, DEADLINE, Flavor, Harness, Outcome},
};
use std::{collections::HashSet, time::Duration};

fn case(name: &str) -> Case {
    *CASES.iter().find(|case| case.to_string() == name).unwrap()
}

fn outcome(name: &str, setup: impl AsyncFnOnce() -> Harness + Send + 'static) -> Outcome {
    case(name).run("outcomes", Flavor::CurrentThread, DEADLINE, setup)
}

#[test]
fn cases_have_names() {
    assert!(CASES.len() > 90);
    let names: HashSet<String> = CASES.iter().map(Case::to_string).collect();
    assert_eq!(names.len(), CASES.len());
    assert_eq!(case("get::long_keys_and_values_are_legal").group(), "get");
    assert_eq!(case("get::long_keys_and_values_are_legal").name(), "long_keys_and_values_are_legal");
}

#[test]
fn what_is_refused_as_declared_is_not_called_passed() {
    let poor = async || Harness::new(Broken::new(Fault::NoSnapshots));
    let refused = Outcome::Refused { capabilities: vec!["explicit_snapshots"] };
    assert_eq!(outcome("snapshot::reads_see_the_snapshot", poor), refused);
    assert_eq!(outcome("get::a_value_comes_back", poor), Outcome::Passed);
    let rich = async || Harness::new(Broken::new(Fault::None));
    assert_eq!(outcome("snapshot::reads_see_the_snapshot", rich), Outcome::Passed);
}

#[test]
fn a_failure_is_told_with_its_message() {
    let stale = async || Harness::new(Broken::new(Fault::StaleGet));
    let Outcome::Failed { message } = outcome("get::a_value_comes_back", stale) else { panic!("it is accepted") };
    assert!(message.contains("left == right"), "{message}");
    let unmade = async || panic!("no room for it");
    assert_eq!(outcome("get::a_value_comes_back", unmade), Outcome::Failed { message: "no room for it".to_owned() });
}

#[test]
fn a_known_failure_is_told_with_its_reason() {
    const KNOWN: &[(&str, &str)] = &[("get::a_value_comes_back", "it gives what it gave before")];
    let stale = async || Harness::new(Broken::new(Fault::StaleGet)).known_to_fail(KNOWN);
    let outcome_of_stale = outcome("get::a_value_comes_back", stale);
    assert!(
        matches!(outcome_of_stale, Outcome::KnownToFail { reason: "it gives what it gave before", .. }),
        "{outcome_of_stale:?}"
    );
    let right = async || Harness::new(MemoryLevel::new()).known_to_fail(KNOWN);
    assert!(matches!(outcome("get::a_value_comes_back", right), Outcome::Failed { .. }));
}

#[test]
fn a_case_that_hangs_is_left_behind() {
    let stuck = async || {
        std::future::pending::<()>().await;
        unreachable!()
    };
    let deadline = Duration::from_millis(50);
    let outcome = case("get::a_value_comes_back").run("outcomes", Flavor::CurrentThread, deadline, stuck);
    assert_eq!(outcome, Outcome::Hung);
}
