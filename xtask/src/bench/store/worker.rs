//! The program that does one measurement in a process of its own: built, and run to its answer.

use super::job::{Job, Outcome, Workload};
use crate::{
    command::{cargo, run},
    licences::metadata,
};
use anyhow::{Context, Result, bail};
use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// Building takes long the first time: four engines, linked as one.
const BUILD: Duration = Duration::from_secs(1800);
/// No measurement takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(600);

/// The worker, built for release.
pub struct Program(PathBuf);

impl Program {
    pub fn build() -> Result<Self> {
        library()?;
        let build = ["build", "--release", "--package", "xtask", "--features", "bench-store", "--bin", "store-worker"];
        run(&mut cargo(&build), BUILD)?;
        let name = format!("release/store-worker{}", std::env::consts::EXE_SUFFIX);
        Ok(Self(metadata()?.target_directory.join(name)))
    }

    /// Runs a job to its answer. The process that prepares a log is killed once it has written it.
    pub fn run(&self, job: &Job) -> Result<Outcome> {
        let what = || format!("{:?} of {:?}", job.workload, job.kind);
        let mut command = Command::new(&self.0);
        command.arg(serde_json::to_string(job)?).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(what)?;
        let stdout = child.stdout.take().context("a worker without stdout")?;
        let (sender, answer) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(stdout).read_line(&mut line);
            let _ = sender.send(read.map(|_| line));
        });
        let line = answer.recv_timeout(PATIENCE);
        if line.is_err() || job.workload == Workload::PrepareLog {
            child.kill().with_context(what)?;
        }
        let status = child.wait().with_context(what)?;
        let line = line.with_context(|| format!("{} was still running after {} s", what(), PATIENCE.as_secs()))??;
        if line.is_empty() || !status.success() && job.workload != Workload::PrepareLog {
            bail!("{}: the process ended with {status}", what());
        }
        serde_json::from_str(&line).with_context(what)
    }
}

/// Whether the linker finds C++ LevelDB.
fn library() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut command = Command::new("cc");
    command.args(["-x", "c", "-", "-lleveldb", "-o"]).arg(folder.path().join("probe"));
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().context("the benchmark needs a C compiler, `cc`, as a linker")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin
            .write_all(b"int leveldb_major_version(void); int main(void) { return leveldb_major_version() == 0; }\n")?;
    }
    if !child.wait()?.success() {
        bail!(
            "the benchmark compares with C++ LevelDB, which is not installed: `apt-get install libleveldb-dev` on \
             Debian and Ubuntu, `dnf install leveldb-devel` on Fedora, `brew install leveldb` on macOS"
        );
    }
    Ok(())
}
