//! The program behind `cargo xtask conformance`: the conformance suite on every store through every view of it, as a table.
//!
//! | part | what |
//! | --- | --- |
//! | `store` | the stores, and a fresh database of one |
//! | `view`, `stage` | the views, and what they set up around a database |
//! | `hosted`, `facade` | … a host and its guest; shared handles that elect a leader |
//! | `typed` | a database whose every operation goes through a typed view |
//! | `part` | a store or a transport that was chosen at run time |
//! | `runner`, `panics` | runs cases side by side, and survives those that fail or hang |
//! | `report` | what came of it |

mod facade;
mod hosted;
mod panics;
mod part;
mod report;
mod runner;
mod stage;
mod store;
#[cfg(test)]
mod tests;
mod typed;
mod view;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use rave_level::conformance::{CASES, Case, DEADLINE};
use report::Report;
use runner::{Cell, Runner};
use std::{path::PathBuf, process::ExitCode, sync::Arc, thread, time::Instant};
use store::{Database, Store};
use view::View;

/// Run the conformance suite on every store through every view of it, and print what came of it as a table.
///
/// The exit code is 1 if a case failed or hung.
#[derive(Parser)]
#[command(name = "cargo xtask conformance", bin_name = "cargo xtask conformance")]
struct Cli {
    /// Only this store; may be repeated.
    #[arg(long, value_enum, value_name = "STORE")]
    store: Vec<Store>,
    /// Only this view; may be repeated.
    #[arg(long, value_enum, value_name = "VIEW")]
    view: Vec<View>,
    /// Only cases whose names, such as `get::a_value_comes_back`, contain this.
    #[arg(long, value_name = "CASE", default_value = "", hide_default_value = true)]
    case: String,
    /// Write what came of each case to this file too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// How many cases run at a time; most of their time they wait. Default: four for each processor.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Only list stores, views and cases.
    #[arg(long)]
    list: bool,
}

/// Those that were named, or all.
fn chosen<T: ValueEnum + PartialEq + Copy>(named: &[T]) -> Vec<T> {
    T::value_variants().iter().copied().filter(|value| named.is_empty() || named.contains(value)).collect()
}

/// The word that names it on the command line.
fn word(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    let (stores, views) = (chosen(&cli.store), chosen(&cli.view));
    let cases: Vec<Case> = CASES.iter().copied().filter(|case| case.to_string().contains(&cli.case)).collect();
    if cases.is_empty() {
        bail!("no case has {:?} in its name; `cargo xtask conformance --list` names them", cli.case);
    }
    if cli.list {
        stores.iter().for_each(|store| println!("store {}", word(*store)));
        views.iter().for_each(|view| println!("view  {}", word(*view)));
        cases.iter().for_each(|case| println!("case  {case}"));
        return Ok(ExitCode::SUCCESS);
    }

    // One folder for all, which also takes with it what cases that hang have left.
    let folder = tempfile::tempdir().context("a temporary folder")?;
    let mut cells = Vec::new();
    for &view in &views {
        for &store in &stores {
            let root = folder.path().to_owned();
            let setup = move || {
                let database = Database::new(store, &root);
                async move { stage::harness(view, database?).await }
            };
            cells.push(Cell::new(word(store), word(view), Arc::new(move || Box::pin(setup()))));
        }
    }
    let processors = thread::available_parallelism().map_or(2, usize::from);
    let jobs = cli.jobs.map_or(4 * processors, usize::from);
    let started = Instant::now();
    let runner = Runner { jobs, deadline: DEADLINE, progress: |cell| eprintln!("{cell}: {}", report::counts(cell)) };
    let report = Report { cells: runner.run(cells, &cases), elapsed: started.elapsed() };
    print!("{report}");
    if let Some(path) = &cli.json {
        std::fs::write(path, report.json()?).with_context(|| path.display().to_string())?;
    }
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
