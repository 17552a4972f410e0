//! abstract-level's own test suite through JavaScript guests on `rave host`.
//!
//! Each database that the suite asks for is a guest of many-level on a fresh process with a fresh store. No assertion
//! may fail, and none may be missing.

use super::{Context, Tally, host::Hosts, worker::Worker};
use anyhow::{Result, ensure};
use serde::Deserialize;
use serde_json::json;

/// Assertions and tests of abstract-level 1.0.4 for what both versions of many-level's guest say they support: so many
/// are there, and pass, with its own host on memory-level.
const ASSERTIONS: u32 = 5462;
const TESTS: u32 = 1020;

/// What came of one run.
#[derive(Deserialize)]
struct Counts {
    assertions: u32,
    tests: u32,
    skipped: u32,
    failed: u32,
    databases: u32,
    /// The first of those that failed: which test, what was wanted, and where.
    failures: Vec<String>,
}

impl Counts {
    fn judge(&self) -> Result<String> {
        let Self { assertions, tests, skipped, failed, databases, failures } = self;
        ensure!(*failed == 0, "{failed} of {assertions} assertions failed:\n{}", failures.join("\n"));
        ensure!(*skipped == 0, "{skipped} were skipped");
        ensure!(
            (*assertions, *tests) == (ASSERTIONS, TESTS),
            "{assertions} assertions in {tests} tests instead of {ASSERTIONS} in {TESTS}"
        );
        Ok(format!("all {assertions} assertions in {tests} tests pass, {databases} databases"))
    }
}

pub fn check(context: &Context<'_>, tally: &mut Tally<'_>) -> Result<()> {
    let hosts = Hosts::build(context.javascript)?;
    let mut worker = Worker::new(context.javascript.join("suite.mjs"));
    for version in [1, 2] {
        for store in ["memory", "leveldb"] {
            let description = format!("abstract-level's suite, many-level {version}, on the {store} store");
            tally.check(&description, || {
                let folder = tempfile::tempdir()?;
                let counts: Counts = worker.perform(&json!({
                    "command": hosts.rave(), "folder": folder.path(), "manyLevel": version, "store": store,
                }))?;
                counts.judge()
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_assertions_or_a_failure_do_not_pass() {
        let right =
            || Counts { assertions: ASSERTIONS, tests: TESTS, skipped: 0, failed: 0, databases: 566, failures: vec![] };
        assert!(right().judge().is_ok());
        assert!(Counts { assertions: ASSERTIONS - 1, ..right() }.judge().is_err());
        assert!(Counts { tests: TESTS + 1, ..right() }.judge().is_err());
        assert!(Counts { skipped: 1, ..right() }.judge().is_err());
        let failed = Counts { failed: 1, failures: vec!["get: wanted 1, got 2".into()], ..right() };
        assert!(failed.judge().unwrap_err().to_string().contains("wanted 1, got 2"));
    }
}
