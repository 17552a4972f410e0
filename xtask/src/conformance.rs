//! `cargo xtask conformance`: the conformance suite on every store through every view of it, as a table. The program that
//! runs it is `xtask/src/bin/conformance`; it is built, with the relay that it starts, and started.

use crate::{
    command::{become_it, cargo, run as execute},
    licences::metadata,
};
use anyhow::{Context, Result};
use clap::Args;
use std::{
    process::{Command, ExitCode},
    time::Duration,
};

#[derive(Args)]
#[command(disable_help_flag = true)]
pub struct Options {
    /// What the program is told; `--help` lists it.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds the program and becomes it where that is possible, so that what ends this ends all of it.
pub fn run(options: &Options) -> Result<ExitCode> {
    let mut build = cargo(&["build", "--package", "xtask", "--features", "xtask/conformance", "--bin", "conformance"]);
    execute(build.args(["--package", "stdio-transport", "--bin", "rave-stdio"]), Duration::from_secs(1200))?;
    let program = metadata()?.target_directory.join(format!("debug/conformance{}", std::env::consts::EXE_SUFFIX));
    let mut command = Command::new(&program);
    command.args(&options.arguments);
    become_it(&mut command).with_context(|| program.display().to_string())
}
