//! What many-level's guests go through with a host: lost connections, sublevels, many at once, hosts that leave.
//!
//! The scenarios are in JavaScript. Some of them many-level's own host does not pass; that they find its mistakes shows
//! that they can fail.

use super::{Context, Tally, host::Hosts, worker::Worker};
use anyhow::{Result, bail};
use serde_json::json;
use std::path::Path;

/// What many-level's own host gets wrong.
const MISTAKEN: [&str; 4] = [
    "an iterator goes on after each entry, in reverse",
    "an iterator goes on after seeks, in reverse",
    "a host goes on behind any bookmark, in reverse",
    "operations of one guest take effect in order",
];
/// What the program says where a scenario came to another result than it must.
const WRONG_RESULT: &str = "AssertionError";

/// The scenarios of one version of many-level on one program's hosts.
struct Stage<'a> {
    worker: &'a mut Worker,
    command: Vec<String>,
    folder: &'a Path,
    version: u8,
}

impl Stage<'_> {
    fn play(&mut self, scenario: &str) -> Result<String> {
        self.worker.perform(&json!({
            "command": self.command, "folder": self.folder, "manyLevel": self.version, "scenario": scenario,
        }))
    }
}

pub fn check(context: &Context<'_>, tally: &mut Tally<'_>) -> Result<()> {
    let hosts = Hosts::build(context.javascript)?;
    let folder = tempfile::tempdir()?;
    let mut worker = Worker::new(context.javascript.join("scenarios.mjs"));
    let scenarios: Vec<String> = worker.perform(&json!({}))?;
    for version in [1, 2] {
        let mut stage = Stage { worker: &mut worker, command: hosts.rave(), folder: folder.path(), version };
        for scenario in &scenarios {
            tally.check(&format!("many-level {version}: {scenario}"), || stage.play(scenario));
        }
        stage.command = hosts.many_level(version);
        for scenario in MISTAKEN {
            tally.check(&format!("many-level {version}'s own host: {scenario}"), || match stage.play(scenario) {
                Ok(seen) => bail!("it passes, with {seen}, so nothing shows that this scenario can fail"),
                Err(error) if error.to_string().starts_with(WRONG_RESULT) => Ok("wrong, as is known".to_owned()),
                Err(error) => Err(error.context("it fails otherwise than is known")),
            });
        }
    }
    Ok(())
}
