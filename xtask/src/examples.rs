//! Every example runs to its end, with real processes and in good time.

use crate::{
    command::{cargo, root, run},
    licences::metadata,
};
use anyhow::{Context, Result, bail};
use std::{process::Command, time::Duration};

/// The examples and the arguments of each run. Those that need a database get one of their own, `{db}`.
const RUNS: &[(&str, &[&str])] = &[
    ("put", &["{db}", "greeting", "hello"]),
    ("get", &["{db}", "greeting"]),
    ("custom_store", &[]),
    ("custom_transport", &[]),
    ("typed", &["{db}"]),
    ("stream_failover", &[]),
];

/// For each run; the slowest takes a few seconds.
const LIMIT: Duration = Duration::from_secs(120);

pub fn check() -> Result<()> {
    for entry in std::fs::read_dir(root().join("examples")).context("examples")? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if path.extension().is_some_and(|extension| extension == "rs") && !RUNS.iter().any(|(run, _)| *run == name) {
            bail!("examples/{name}.rs: tell xtask/src/examples.rs how to run it");
        }
    }
    run(&mut cargo(&["build", "--examples"]), Duration::from_secs(600))?;
    let programs = metadata()?.target_directory.join("debug/examples");
    let folder = tempfile::tempdir()?;
    for (name, arguments) in RUNS {
        println!("example {name}");
        let db = folder.path().join("db");
        let program = programs.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
        let mut command = Command::new(program);
        for argument in *arguments {
            command.arg(argument.replace("{db}", &db.to_string_lossy()));
        }
        run(&mut command, LIMIT)?;
    }
    Ok(())
}
