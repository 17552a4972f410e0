//! One file per command, or per group of commands that are alike.

mod bulk;
mod compact;
mod host;
mod items;
mod repair;
mod scan;
mod serve;
mod stats;
mod status;
mod token;
mod verify;

use crate::{cli::Command, demo, exec, failure::Failure};

/// Runs a command to its end.
pub async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Put(args) => items::put(args).await,
        Command::Get(args) => items::get(args).await,
        Command::Del(args) => items::del(args).await,
        Command::Scan(args) => scan::scan(args).await,
        Command::Batch(args) => bulk::batch(args).await,
        Command::Clear(args) => scan::clear(args).await,
        Command::Load(args) => bulk::load(args).await,
        Command::Dump(args) => bulk::dump(args).await,
        Command::Serve(args) => serve::run(args).await,
        Command::Host(args) => host::run(args).await,
        Command::Token(args) => token::run(args).await,
        Command::Status(args) => status::run(args).await,
        Command::Compact(args) => compact::run(args).await,
        Command::Stats(args) => stats::run(args).await,
        Command::Verify(args) => verify::run(args).await,
        Command::Repair(args) => repair::run(args).await,
        Command::Exec(args) => exec::run(args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::DemoWorker(args) => demo::work(args).await,
    }
}
