//! The chores of the project: `cargo xtask ci` runs what CI runs, `cargo xtask bench` measures against peers.

mod bench;
mod ci;
mod command;
mod conformance;
mod examples;
mod features;
mod guides;
mod house;
mod interop;
mod licences;
mod node;
mod platforms;
mod sim;
mod torture;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The chores of the rave-level project.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Run the gate's steps, all or some of them; prints what each one took.
    Ci(ci::Options),
    /// Measure leaders, guests and failovers beside JavaScript and a bare socket echo.
    Bench(bench::Options),
    /// Run the conformance suite on every store through every view of it, and print what came of it as a table.
    Conformance(conformance::Options),
    /// Write the files of the guides' crates into the guides, where those show them.
    Guides,
    /// Check against the JavaScript modules: the same files, the same sockets, the same groups of processes.
    Interop(interop::Options),
    /// Simulate groups of processes with faults: `--seeds N`, `--seed S` to replay one, `--minutes M`, `--threads T`.
    Sim(sim::Options),
    /// Kill, freeze and starve many processes on one database, and check all that they were told.
    Torture(torture::Options),
}

fn main() -> Result<ExitCode> {
    match Cli::parse().chore {
        Chore::Ci(options) => ci::run(&options),
        Chore::Bench(options) => bench::run(&options),
        Chore::Conformance(options) => conformance::run(&options),
        Chore::Guides => guides::write().map(|()| ExitCode::SUCCESS),
        Chore::Interop(options) => interop::run(&options),
        Chore::Sim(options) => sim::run(&options),
        Chore::Torture(options) => torture::run(&options),
    }
}
