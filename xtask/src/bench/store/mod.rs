//! `cargo xtask bench store`: what the store costs beside C++ LevelDB, rusty-leveldb, sled and fjall, in one run.
//!
//! Every single measurement is a process of its own, on a database of its own, so that nobody compacts in the background
//! of another's figures. Within a round the engines take turns, and the ratio to C++ LevelDB is taken within the round:
//! what else the machine does hits all of them. Figures are medians over the rounds. Compare ratios, not runs.

mod job;
mod report;
mod row;
mod stage;
mod worker;

use super::busy;
use anyhow::{Result, bail};
use clap::Args;
use job::{Job, Kind, Workload};
use report::Report;
use row::{Base, ROWS, Row};
use serde::Serialize;
use stage::Stage;
use std::{path::PathBuf, process::ExitCode};
use worker::Program;

#[derive(Args)]
pub struct Options {
    /// A short run: does it work, and roughly how fast.
    #[arg(long)]
    quick: bool,
    /// Write the figures, each round's too, as JSON to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only these rows; `--list` names them.
    #[arg(long, value_name = "ROW", value_delimiter = ',')]
    only: Vec<String>,
    /// Only these engines.
    #[arg(long, value_name = "ENGINE", value_delimiter = ',', value_enum)]
    engines: Vec<Kind>,
    /// Entries of the database instead of the usual number.
    #[arg(long)]
    entries: Option<u32>,
    /// Rounds instead of the usual number.
    #[arg(long)]
    rounds: Option<usize>,
    /// Where to put the databases; a directory that is removed in the end.
    #[arg(long, value_name = "DIRECTORY")]
    at: Option<PathBuf>,
    /// Only list the rows.
    #[arg(long)]
    list: bool,
}

/// How much is measured.
#[derive(Clone, Copy, Serialize)]
pub struct Extent {
    entries: u32,
    /// Gets in one measurement.
    reads: u32,
    /// Synced puts in one measurement.
    synced: u32,
    rounds: usize,
}

const FULL: Extent = Extent { entries: 500_000, reads: 200_000, synced: 500, rounds: 5 };
const QUICK: Extent = Extent { entries: 50_000, reads: 20_000, synced: 50, rounds: 1 };

/// What every engine is set to, as far as it has such a setting.
#[derive(Clone, Copy, Serialize)]
pub struct Setting {
    write_buffer_bytes: usize,
    cache_bytes: usize,
    /// Holds the whole database.
    large_cache_bytes: usize,
    /// Holds next to nothing of it.
    small_cache_bytes: usize,
    bloom_bits: u32,
}

const SETTING: Setting = Setting {
    write_buffer_bytes: 4 << 20,
    cache_bytes: 8 << 20,
    large_cache_bytes: 512 << 20,
    small_cache_bytes: 1 << 20,
    bloom_bits: 10,
};

pub fn run(options: &Options) -> Result<ExitCode> {
    let rows = chosen_rows(&options.only)?;
    if options.list {
        rows.iter().for_each(|row| println!("{:16} {}", row.name, row.title));
        return Ok(ExitCode::SUCCESS);
    }
    let mut kinds = options.engines.clone();
    if kinds.is_empty() {
        kinds = <Kind as clap::ValueEnum>::value_variants().to_vec();
    }
    kinds.sort();
    kinds.dedup();
    let usual = if options.quick { QUICK } else { FULL };
    let extent = Extent {
        entries: options.entries.unwrap_or(usual.entries).max(1000),
        rounds: options.rounds.unwrap_or(usual.rounds).max(1),
        ..usual
    };

    let program = Program::build()?;
    // Our own build counts as load, too: it is told, not judged.
    let mut report = Report::new(&kinds, extent, SETTING, busy());
    let mut stage = Stage::new(options.at.as_deref(), program, extent)?;
    for row in rows {
        for round in 0..extent.rounds {
            eprintln!("{}: round {} of {}", row.name, round + 1, extent.rounds);
            // Who begins changes from round to round.
            for turn in 0..kinds.len() {
                let kind = kinds[(turn + round) % kinds.len()];
                if row.suits(kind) {
                    report.add(row, kind, round, stage.measure(row, kind, round)?);
                }
            }
        }
    }
    report.finish(busy());
    println!("{report}");
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)? + "\n")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The rows that were asked for, in the table's order; a row of slowest operations comes with the one it belongs to.
fn chosen_rows(only: &[String]) -> Result<Vec<&'static Row>> {
    let called = |row: &Row, name: &str| row.name == name || row.slowest.is_some_and(|(slowest, _)| slowest == name);
    if let Some(name) = only.iter().find(|name| !ROWS.iter().any(|row| called(row, name))) {
        bail!("there is no row {name:?}; `cargo xtask bench store --list` names them");
    }
    Ok(ROWS.iter().filter(|row| only.is_empty() || only.iter().any(|name| called(row, name))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_name() {
        assert_eq!(chosen_rows(&[]).unwrap().len(), ROWS.len());
        let names = |only: &[&str]| {
            let only: Vec<String> = only.iter().map(|name| (*name).to_owned()).collect();
            chosen_rows(&only).map(|rows| rows.iter().map(|row| row.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["scan", "put-p999"]).unwrap(), ["fill-random", "scan"]);
        assert!(names(&["scan", "nothing"]).is_err());
    }
}
