//! `cargo xtask sim`: builds the simulator so that it is fast and deterministic, and runs it.

mod bugs;

use crate::command::{cargo, root};
use anyhow::{Result, bail};
use clap::Args;
use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

#[derive(Args)]
pub struct Options {
    /// Put the bugs of `rave-sim/bugs` into a copy of the sources, one after the other, and count the seeds until each is
    /// caught. Names may follow.
    #[arg(long)]
    bugs: bool,
    /// What the simulator is told; `cargo xtask sim -- --help` shows all of it.
    #[arg(value_name = "ARGUMENT", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// The one setting of tokio's runtime that makes it deterministic, `rng_seed`, asks for this.
const FLAG: &str = "--cfg tokio_unstable";

pub fn run(options: &Options) -> Result<ExitCode> {
    // A directory of its own: with other flags everything is built anew.
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from).join("sim");
    if options.bugs {
        bugs::run(&target, &options.arguments)?;
        return Ok(ExitCode::SUCCESS);
    }
    // Without a time limit: a person may want to watch it for as long as it takes.
    let status = simulator(&target).args(&options.arguments).status()?;
    if !status.success() {
        bail!("the simulator found something, or could not run");
    }
    Ok(ExitCode::SUCCESS)
}

/// The simulator of the sources in the command's folder; its arguments follow.
fn simulator(target: &Path) -> Command {
    let flags = match std::env::var("RUSTFLAGS") {
        Ok(flags) if !flags.contains("tokio_unstable") => format!("{flags} {FLAG}"),
        Ok(flags) => flags,
        Err(_) => FLAG.to_owned(),
    };
    let mut command = cargo(&["run", "--quiet", "--profile", "sim", "--package", "rave-sim", "--target-dir"]);
    command.arg(target).arg("--").env("RUSTFLAGS", flags);
    command
}
