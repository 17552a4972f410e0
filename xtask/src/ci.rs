//! The gate: what must hold before a change is accepted, as a list of named steps.
//!
//! `.ci/run` calls this on a fresh clone; `cargo xtask ci` runs the same for a person. Every chosen step runs even if an
//! earlier one failed, so that one run tells everything.

use crate::{
    command::{cargo, run as execute},
    examples, features, house, licences, platforms,
};
use anyhow::{Result, bail};
use clap::Args;
use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

#[derive(Args)]
pub struct Options {
    /// Only these steps, in the gate's order; all without any.
    steps: Vec<String>,
    /// Not this step; may be repeated.
    #[arg(long, value_name = "STEP")]
    without: Vec<String>,
    /// Only list the steps.
    #[arg(long)]
    list: bool,
}

struct Step {
    name: &'static str,
    what: &'static str,
    run: fn() -> Result<()>,
}

/// Cheap steps first.
const STEPS: &[Step] = &[
    Step { name: "house", what: "the house rules: purity, layering, forbidden words", run: house::check },
    Step {
        name: "licences",
        what: "licences, bans and sources of dependencies, as in deny.toml",
        run: licences::check,
    },
    Step { name: "fmt", what: "formatting", run: fmt },
    Step { name: "clippy", what: "lints of all crates with all features, warnings denied", run: clippy },
    Step {
        name: "features",
        what: "each feature alone, all pairs, none and all: lints and tests, and what each of them depends on",
        run: features::check,
    },
    Step {
        name: "platforms",
        what: "all that is published, and its tests, compiles for Windows and macOS",
        run: platforms::check,
    },
    Step { name: "doc", what: "documentation, warnings denied", run: doc },
    Step { name: "test", what: "`cargo test --workspace`", run: test },
    Step { name: "conformance", what: "`cargo xtask conformance`: every store through every view", run: conformance },
    Step { name: "examples", what: "each example runs to its end", run: examples::check },
    Step { name: "interop", what: "`cargo xtask interop`: databases shared with JavaScript processes", run: interop },
    Step {
        name: "sim",
        what: "`cargo xtask sim --seeds 10000`: simulated processes, disks and networks that fail",
        run: sim,
    },
    Step { name: "demo", what: "`cargo run --release -- demo`", run: demo },
    Step {
        name: "torture",
        what: "`cargo xtask torture` for a minute, and the tests of what checks its histories",
        run: torture,
    },
    Step { name: "bench", what: "`cargo xtask bench --quick`: it runs; its figures are for reading", run: bench },
];

const MINUTE: Duration = Duration::from_secs(60);

pub fn run(options: &Options) -> Result<ExitCode> {
    for name in options.steps.iter().chain(&options.without) {
        if !STEPS.iter().any(|step| step.name == name) {
            bail!("there is no step {name:?}; `cargo xtask ci --list` names them");
        }
    }
    let chosen = STEPS.iter().filter(|step| {
        let name = step.name.to_string();
        (options.steps.is_empty() || options.steps.contains(&name)) && !options.without.contains(&name)
    });
    if options.list {
        chosen.for_each(|step| println!("{:10} {}", step.name, step.what));
        return Ok(ExitCode::SUCCESS);
    }

    let mut results = Vec::new();
    for step in chosen {
        println!("\n==> {}: {}", step.name, step.what);
        let start = Instant::now();
        let result = (step.run)();
        if let Err(error) = &result {
            println!("{}: {error:#}", step.name);
        }
        results.push((step.name, result.is_ok(), start.elapsed()));
    }
    println!("\nsteps:");
    for (name, passed, elapsed) in &results {
        println!("  {name:10} {:6} {:7.1} s", if *passed { "passed" } else { "FAILED" }, elapsed.as_secs_f64());
    }
    let failed = results.iter().filter(|(_, passed, _)| !passed).count();
    println!("{} steps passed, {failed} failed", results.len() - failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn fmt() -> Result<()> {
    execute(&mut cargo(&["fmt", "--all", "--check"]), MINUTE)
}

fn clippy() -> Result<()> {
    let arguments = ["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
    execute(&mut cargo(&arguments), 15 * MINUTE)
}

fn doc() -> Result<()> {
    execute(cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"), 10 * MINUTE)
}

fn test() -> Result<()> {
    execute(&mut cargo(&["test", "--workspace"]), 25 * MINUTE)
}

fn conformance() -> Result<()> {
    let runner = ["test", "--package", "xtask", "--features", "conformance", "--bin", "conformance"];
    execute(&mut cargo(&runner), 15 * MINUTE)?;
    execute(&mut cargo(&["xtask", "conformance"]), 15 * MINUTE)
}

fn demo() -> Result<()> {
    execute(&mut cargo(&["run", "--release", "--", "demo"]), 15 * MINUTE)
}

fn sim() -> Result<()> {
    execute(&mut cargo(&["xtask", "sim", "--seeds", "10000"]), 20 * MINUTE)
}

fn interop() -> Result<()> {
    execute(&mut cargo(&["xtask", "interop"]), 40 * MINUTE)
}

fn torture() -> Result<()> {
    let tests = ["test", "--package", "xtask", "--features", "torture", "--bin", "torture"];
    execute(&mut cargo(&tests), 15 * MINUTE)?;
    execute(&mut cargo(&["xtask", "torture", "--minutes", "0.75"]), 15 * MINUTE)
}

fn bench() -> Result<()> {
    // Not this program itself: a step before may have built it anew, with other features.
    execute(&mut cargo(&["xtask", "bench", "--quick"]), 20 * MINUTE)
}
