//! The two sides of the check: processes that write, read and compact the same directories.

use super::job::{Action, Contents, Job};
use crate::{
    command::{cargo, run},
    interop::whole_lines,
    licences::metadata,
};
use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use std::{
    fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// Building takes long the first time.
const BUILD: Duration = Duration::from_secs(1200);
/// No step takes nearly as long without a word.
const PATIENCE: Duration = Duration::from_secs(180);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This project's store.
    Rave,
    /// C++ LevelDB in classic-level of this major version.
    Classic(u8),
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rave => f.write_str("rave"),
            Self::Classic(version) => write!(f, "classic-level {version}"),
        }
    }
}

/// Both sides' programs.
pub struct Programs {
    rave: PathBuf,
    javascript: PathBuf,
}

impl Programs {
    /// Builds ours; theirs is in the folder `javascript`.
    pub fn build(javascript: &Path) -> Result<Self> {
        let build = ["build", "--release", "--package", "xtask", "--features", "interop", "--bin", "interop-worker"];
        run(&mut cargo(&build), BUILD)?;
        let name = format!("release/interop-worker{}", std::env::consts::EXE_SUFFIX);
        Ok(Self { rave: metadata()?.target_directory.join(name), javascript: javascript.join("format.mjs") })
    }

    /// Has a side do a job to its end.
    pub fn run<T: DeserializeOwned>(&self, side: Side, job: &Job) -> Result<T> {
        let what = || format!("{side}: {:?}", job.action);
        let line = self.lines(side, job, None).with_context(what)?.pop().with_context(what)?;
        serde_json::from_str(&line).with_context(what)
    }

    pub fn read(&self, side: Side, job: &Job) -> Result<Contents> {
        self.run(side, &Job { action: Action::Read, ..job.clone() })
    }

    /// Has a side write, and kills it as soon as it has acknowledged batch `kill_at`. The last batch that was
    /// acknowledged.
    pub fn write(&self, side: Side, job: &Job, kill_at: Option<u32>) -> Result<u32> {
        let what = || format!("{side}: writing");
        let lines = self.lines(side, &Job { action: Action::Write, ..job.clone() }, kill_at).with_context(what)?;
        Ok(lines.iter().rev().find_map(|line| line.parse().ok()).unwrap_or(job.from))
    }

    /// All whole lines that a process told, killed or not.
    fn lines(&self, side: Side, job: &Job, kill_at: Option<u32>) -> Result<Vec<String>> {
        let (mut command, version) = match side {
            Side::Rave => (Command::new(&self.rave), 0),
            Side::Classic(version) => (Command::new("node"), version),
        };
        if side != Side::Rave {
            command.arg(&self.javascript);
        }
        command.arg(serde_json::to_string(&Job { version, ..job.clone() })?);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let told = whole_lines(child.stdout.take().context("a process without stdout")?);
        let mut lines = Vec::new();
        let mut killed = false;
        loop {
            match told.recv_timeout(PATIENCE) {
                Ok(line) => {
                    let kill = kill_at.is_some_and(|batch| line.parse::<u32>().is_ok_and(|acked| acked >= batch));
                    if kill && !killed {
                        killed = true;
                        child.kill()?;
                    }
                    lines.push(line);
                }
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                    child.kill()?;
                    child.wait()?;
                    bail!("it has said nothing for {} s", PATIENCE.as_secs());
                }
            }
        }
        let status = child.wait()?;
        if kill_at.is_some() != killed {
            bail!("it ended before it was to be killed");
        }
        if !killed && !status.success() {
            bail!("it ended with {status}");
        }
        Ok(lines)
    }
}
