//! The conformance suite, and more, through guests of ours on databases that JavaScript processes host.
//!
//! The checks are the test target `javascript_hosts`, which nothing else runs: it needs Node.js and the modules.

use super::{Context, Tally};
use crate::command::{cargo, run};
use anyhow::{Context as _, Result, ensure};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

/// Building takes long the first time.
const BUILD: Duration = Duration::from_secs(1200);
/// For the checks of one host.
const LIMIT: Duration = Duration::from_secs(300);

/// The modules of the test target, and what serves there.
const HOSTS: &[(&str, &str)] = &[
    ("many_level_1_over_memory", "a guest of many-level 1.0.1 over memory-level 1.0.0"),
    ("many_level_1_over_classic", "a guest of many-level 1.0.1 over classic-level 1.4.1"),
    ("many_level_2_over_memory", "a guest of many-level 2.0.0 over memory-level 1.0.0"),
    ("many_level_2_over_classic", "a guest of many-level 2.0.0 over classic-level 1.4.1"),
    ("rave_level", "a member of a directory that rave-level 1.0.0 leads"),
];

/// The test target.
struct Tests<'a> {
    javascript: &'a Path,
    output: PathBuf,
}

impl Tests<'_> {
    /// Runs it with these arguments; what it printed, and whether it succeeded.
    fn run(&self, arguments: &[&str], limit: Duration) -> Result<(String, Result<()>)> {
        let target = ["test", "--quiet", "--package", "xtask", "--features", "interop", "--test", "javascript_hosts"];
        let mut command = cargo(&target);
        command.args(arguments).env("RAVE_INTEROP_JAVASCRIPT", self.javascript).env("RUST_BACKTRACE", "0");
        command.stdout(File::create(&self.output)?);
        let outcome = run(&mut command, limit);
        Ok((fs::read_to_string(&self.output)?, outcome))
    }
}

/// Checks all hosts whose description was asked for.
pub fn check(context: &Context<'_>, tally: &mut Tally<'_>) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let tests = Tests { javascript: context.javascript, output: folder.path().join("output") };
    let (list, outcome) = tests.run(&["--", "--list", "--format=terse"], BUILD)?;
    outcome?;
    let list: Vec<&str> = list.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    for (module, host) in HOSTS {
        tally.check(&format!("the conformance suite through {host}"), || check_host(&tests, &list, module));
    }
    tally.check("the conformance suite is whole on every host", || {
        let elsewhere = list.iter().filter(|test| HOSTS.iter().all(|(module, _)| !is_in(test, module)));
        let elsewhere: Vec<_> = elsewhere.copied().collect();
        ensure!(elsewhere == ["every_host_runs_every_case"], "tests of no host that is run: {elsewhere:?}");
        passed(&tests, &["--", "--exact", "every_host_runs_every_case"], 1)?;
        Ok(format!("{} checks", list.len()))
    });
    Ok(())
}

fn is_in(test: &str, module: &str) -> bool {
    test.strip_prefix(module).is_some_and(|rest| rest.starts_with("::"))
}

fn check_host(tests: &Tests<'_>, list: &[&str], module: &str) -> Result<String> {
    let count = list.iter().filter(|test| is_in(test, module)).count();
    // They wait more than they work.
    passed(tests, &["--", "--test-threads=4", &format!("{module}::")], count)?;
    let cases = list.iter().filter(|test| is_in(test, &format!("{module}::suite"))).count();
    Ok(format!("{cases} cases, undisturbed and disturbed; {count} checks in all"))
}

/// Has exactly `count` tests pass.
fn passed(tests: &Tests<'_>, arguments: &[&str], count: usize) -> Result<()> {
    let (output, outcome) = tests.run(arguments, LIMIT)?;
    let told = output.lines().find_map(|line| line.strip_prefix("test result: "));
    let all = told.is_some_and(|told| told.starts_with(&format!("ok. {count} passed; 0 failed; 0 ignored;")));
    if outcome.is_err() || !all {
        println!("{output}");
    }
    outcome?;
    ensure!(all, "not all of {count} checks passed: {}", told.context("the tests told no result")?);
    Ok(())
}
