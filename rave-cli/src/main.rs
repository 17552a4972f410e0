//! The `rave` command: one database, many processes.

mod cli;
mod commands;
mod database;
mod demo;
mod exec;
mod failure;
mod guests;
mod input;
mod interrupt;
mod network;
mod output;
mod place;
mod policies;
mod range;
mod record;
mod roles;

use clap::Parser;
use std::{io::IsTerminal, process::ExitCode};

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return failure::report_usage(&error),
    };
    start_logging(cli.verbose);
    // One thread: an operation then costs no hop between threads. What could block it has a thread of its own: reading
    // stdin, writing stdout and the store.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure::Failure::Usage(format!("the runtime cannot start: {error}")).report(),
    };
    match runtime.block_on(commands::run(cli.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn start_logging(verbose: u8) {
    use tracing_subscriber::EnvFilter;
    let level = match verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("RAVE_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
