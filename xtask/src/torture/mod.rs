//! `cargo xtask torture`: real processes share one database, are frozen, killed and run out of disk, and everything
//! that they were told is checked. The program that does so is `xtask/src/bin/torture`; it is built for release and
//! started.

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
    let build = ["build", "--release", "--package", "xtask", "--features", "torture", "--bin", "torture"];
    execute(&mut cargo(&build), Duration::from_secs(1200))?;
    let program = metadata()?.target_directory.join(format!("release/torture{}", std::env::consts::EXE_SUFFIX));
    let mut command = Command::new(&program);
    command.args(&options.arguments);
    become_it(&mut command).with_context(|| program.display().to_string())
}
