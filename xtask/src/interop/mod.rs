//! `cargo xtask interop`: JavaScript processes and ours share databases.
//!
//! | part | what is shown |
//! | --- | --- |
//! | `format` | C++ LevelDB reads what this store writes, and the reverse |
//! | `suite` | abstract-level's own suite, through JavaScript guests on `rave host` |
//! | `scenarios` | such guests when connections and hosts go, on sublevels, and many at once |
//! | `conformance` | our conformance suite through Rust guests of JavaScript hosts |
//! | `groups` | Rust and Node processes on one directory, whoever leads |

#[cfg(unix)]
mod conformance;
mod format;
#[cfg(unix)]
mod groups;
#[cfg(unix)]
mod host;
#[cfg(unix)]
mod scenarios;
#[cfg(unix)]
mod suite;
#[cfg(unix)]
mod worker;

use crate::node;
use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::ExitCode,
    sync::mpsc::{Receiver, channel},
    thread,
    time::Instant,
};

#[derive(Args)]
pub struct Options {
    /// Only these parts; all without any.
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Smaller sets, fewer rounds.
    #[arg(long)]
    quick: bool,
    /// Only the checks whose description contains this text.
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The files on disk.
    Format,
    /// abstract-level's suite through JavaScript guests.
    #[cfg(unix)]
    Suite,
    /// JavaScript guests whose connections and hosts come and go.
    #[cfg(unix)]
    Scenarios,
    /// Rust guests of JavaScript hosts.
    #[cfg(unix)]
    Conformance,
    /// Processes of both languages on one directory.
    #[cfg(unix)]
    Groups,
}

/// What every part has at hand.
struct Context<'a> {
    /// The folder of the JavaScript programs, with their packages.
    javascript: &'a Path,
    quick: bool,
}

/// Runs checks, tells what came of each, and counts.
struct Tally<'a> {
    only: &'a str,
    passed: usize,
    failed: usize,
}

impl Tally<'_> {
    /// Runs a check, unless its description was not asked for. It returns what it has seen, in a few words.
    fn check(&mut self, description: &str, check: impl FnOnce() -> Result<String>) {
        if !description.contains(self.only) {
            return;
        }
        let start = Instant::now();
        match check() {
            Ok(seen) => {
                self.passed += 1;
                println!("{description}: {seen}, {:.1} s", start.elapsed().as_secs_f64());
            }
            Err(error) => {
                self.failed += 1;
                println!("{description}: FAILED: {error:#}");
            }
        }
    }
}

/// Builds the command `rave`, and tells where it is.
#[cfg(unix)]
fn build_rave() -> Result<std::path::PathBuf> {
    use crate::{command, licences::metadata};
    /// Building takes long the first time.
    const LIMIT: std::time::Duration = std::time::Duration::from_secs(1200);
    command::run(&mut command::cargo(&["build", "--release", "--package", "rave-cli"]), LIMIT)?;
    Ok(metadata()?.target_directory.join("release/rave"))
}

pub fn run(options: &Options) -> Result<ExitCode> {
    let javascript = node::install("interop-js")?;
    let context = Context { javascript: &javascript, quick: options.quick };
    let mut tally = Tally { only: &options.only, passed: 0, failed: 0 };
    for part in Part::value_variants() {
        if options.parts.is_empty() || options.parts.contains(part) {
            println!("{part:?}:");
            match part {
                Part::Format => format::check(&context, &mut tally)?,
                #[cfg(unix)]
                Part::Suite => suite::check(&context, &mut tally)?,
                #[cfg(unix)]
                Part::Scenarios => scenarios::check(&context, &mut tally)?,
                #[cfg(unix)]
                Part::Conformance => conformance::check(&context, &mut tally)?,
                #[cfg(unix)]
                Part::Groups => groups::check(&context, &mut tally)?,
            }
        }
    }
    println!("{} checks passed, {} failed", tally.passed, tally.failed);
    ensure!(tally.passed + tally.failed > 0, "no check is described by {:?}", options.only);
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The lines of a stream as they come; not what stands behind the last line's end.
fn whole_lines(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|_| line.ends_with('\n')) {
            if sender.send(line.trim_end().to_owned()).is_err() {
                break;
            }
            line.clear();
        }
    });
    lines
}
