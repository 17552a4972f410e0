//! Whether the simulator finds what it claims to find: bugs are put in on purpose, and each has to be caught.
//!
//! Each is a patch in `rave-sim/bugs` with a sentence in front that says what it breaks. They are applied to a copy of the
//! sources, one at a time. A patch that does not apply any more has to be made anew: it would test nothing.

use super::simulator;
use crate::{command::root, house};
use anyhow::{Context, Result, bail};
use comfy_table::Table;
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

/// A bug that is not caught within so many seeds is not caught.
const SEEDS: u64 = 100_000;
/// Seeds that have to be without a violation as long as there is no bug.
const CLEAN: u64 = 2000;

/// Of what was seen, how much the table shows.
const SHOWN: usize = 80;

struct Bug {
    name: String,
    what: String,
    patch: PathBuf,
}

pub(super) fn run(target: &Path, only: &[String]) -> Result<()> {
    let (sources, target) = (target.join("bugs/sources"), target.join("bugs/target"));
    let bugs = bugs(only)?;
    copy(&sources)?;
    if let Some((seed, what)) = first_failure(&sources, &target, CLEAN)? {
        bail!("without any bug seed {seed} fails: {what}");
    }
    let mut table = Table::new();
    table.set_header(["bug", "seeds until caught", "what was seen", "seconds"]);
    let mut missed = Vec::new();
    for bug in &bugs {
        println!("{}: {}", bug.name, bug.what);
        apply(&sources, &bug.patch).with_context(|| format!("{} does not apply any more", bug.name))?;
        let start = Instant::now();
        let found = first_failure(&sources, &target, SEEDS);
        // Takes it out again.
        copy(&sources)?;
        let seconds = format!("{:.0}", start.elapsed().as_secs_f64());
        match found.with_context(|| bug.name.clone())? {
            Some((seed, what)) => {
                println!("  caught by seed {seed}: {what}");
                let seen: String = what.chars().take(SHOWN).collect();
                table.add_row([&bug.name, &(seed + 1).to_string(), &seen, &seconds]);
            }
            None => {
                println!("  MISSED");
                table.add_row([&bug.name, "missed", "", &seconds]);
                missed.push(bug.name.as_str());
            }
        }
    }
    println!("{table}");
    // So that what was found is due to one bug each.
    if let Some((seed, what)) = first_failure(&sources, &target, CLEAN)? {
        bail!("with all bugs taken out again seed {seed} fails: {what}");
    }
    if !missed.is_empty() {
        bail!("not caught within {SEEDS} seeds: {}", missed.join(", "));
    }
    Ok(())
}

fn bugs(only: &[String]) -> Result<Vec<Bug>> {
    let folder = root().join("rave-sim/bugs");
    let mut bugs = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let patch = entry?.path();
        let name = patch.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&patch).with_context(|| patch.display().to_string())?;
        let what = text.lines().next().unwrap_or_default().to_owned();
        if only.is_empty() || only.contains(&name) {
            bugs.push(Bug { name, what, patch });
        }
    }
    bugs.sort_by(|one, other| one.name.cmp(&other.name));
    if bugs.is_empty() {
        bail!("there is no such bug in {}", folder.display());
    }
    Ok(bugs)
}

/// Copies the project's sources. What is there already and the same keeps its time, so that nothing is built in vain.
fn copy(sources: &Path) -> Result<()> {
    for path in house::tracked_files()? {
        let (from, to) = (root().join(&path), sources.join(&path));
        let content = std::fs::read(&from).with_context(|| from.display().to_string())?;
        if std::fs::read(&to).is_ok_and(|old| old == content) {
            continue;
        }
        if let Some(folder) = to.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&to, content).with_context(|| to.display().to_string())?;
    }
    Ok(())
}

fn apply(sources: &Path, patch: &Path) -> Result<()> {
    let mut git = Command::new("git");
    // Outside of any repository the copy is a plain folder to it.
    // What stands around the lines that it changes may be other than it was.
    git.args(["apply", "-C0", "--recount"]).current_dir(sources).env("GIT_DIR", sources.join("none"));
    let output = git.arg(patch).output().context("starting git")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// The first seed that fails, and what it says.
fn first_failure(sources: &Path, target: &Path, seeds: u64) -> Result<Option<(u64, String)>> {
    let mut command = simulator(target);
    // The same few crates are built again for each bug.
    command.env("CARGO_INCREMENTAL", "1");
    command.current_dir(sources).args(["--failures", "1", "--seeds", &seeds.to_string()]);
    let output = command.output().context("starting cargo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let failure = text.lines().find_map(|line| line.strip_prefix("seed ")?.split_once(": "));
    match failure {
        Some((seed, what)) => Ok(Some((seed.parse()?, what.to_owned()))),
        None if output.status.success() => Ok(None),
        None => bail!("it does not build or run: {}", String::from_utf8_lossy(&output.stderr)),
    }
}
