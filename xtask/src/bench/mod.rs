//! `cargo xtask bench`: what one operation and one failover cost in whole processes, beside JavaScript `rave-level` and a
//! bare socket echo in the same run.
//!
//! Every process is a worker with one role. Leader and guests are of one language or of both. The groups take turns within
//! each round, so that what else the machine does hits all of them; the figures are medians over the rounds. Compare
//! ratios, not runs.

mod failover;
mod peer;
mod report;
mod sessions;
mod store;
mod throughput;
mod worker;

use anyhow::Result;
use clap::{Args, Subcommand};
use peer::Peer;
use report::Report;
use std::{path::PathBuf, process::ExitCode};

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Options {
    #[command(subcommand)]
    other: Option<Other>,
    /// A short run: does it work, and roughly how fast.
    #[arg(long)]
    quick: bool,
    /// Write the figures as JSON to this file, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Without JavaScript, if there is no npm.
    #[arg(long)]
    without_js: bool,
    /// Only the failovers, or only the throughput.
    #[arg(long, value_name = "PART")]
    only: Option<Part>,
}

#[derive(Subcommand)]
enum Other {
    /// Measure the store alone beside C++ LevelDB, rusty-leveldb, sled and fjall.
    Store(store::Options),
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Throughput,
    Failover,
}

/// How much is measured.
pub struct Extent {
    /// Entries in the database.
    entries: u32,
    /// Rounds of each workload.
    rounds: usize,
    /// Milliseconds of each round.
    millis: u64,
    /// Leaders killed for each failover figure.
    kills: usize,
}

const FULL: Extent = Extent { entries: 50_000, rounds: 7, millis: 400, kills: 15 };
const QUICK: Extent = Extent { entries: 10_000, rounds: 3, millis: 100, kills: 5 };

pub fn run(options: &Options) -> Result<ExitCode> {
    if let Some(Other::Store(options)) = &options.other {
        return store::run(options);
    }
    let extent = if options.quick { &QUICK } else { &FULL };
    let mut peers = vec![Peer::rust()?];
    if !options.without_js {
        peers.push(Peer::javascript()?);
    }
    let wanted = |part| options.only.is_none_or(|only| only == part);
    let busy = busy();
    let mut report = Report::new(options.quick, busy);
    if wanted(Part::Throughput) {
        throughput::measure(&peers, extent, &mut report)?;
        sessions::measure(&peers[0], extent, &mut report)?;
    }
    if wanted(Part::Failover) {
        failover::measure(&peers, extent, &mut report)?;
    }
    println!("{report}");
    if busy > 0.25 {
        println!("The machine was busy before this began ({busy:.1} runnable per core): do not trust these figures.");
    }
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)? + "\n")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What else the machine has to do: runnable tasks per core over the last minute; 0 where the system does not tell. Our
/// own build counts too, so measure with a build that is done.
fn busy() -> f64 {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0);
    load / std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64)
}
