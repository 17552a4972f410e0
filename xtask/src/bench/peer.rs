//! Who is measured, and how to start a process of theirs.

use super::worker::Worker;
use crate::{
    command::{cargo, run},
    licences::metadata,
    node,
};
use anyhow::{Context, Result};
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Rust,
    JavaScript,
}

/// One implementation of shared databases.
pub struct Peer {
    pub language: Language,
    program: PathBuf,
    arguments: Vec<PathBuf>,
}

const LIMIT: Duration = Duration::from_secs(1200);

impl Peer {
    /// This project, built for release.
    pub fn rust() -> Result<Self> {
        let build = ["build", "--release", "--package", "xtask", "--features", "bench", "--bin", "bench-worker"];
        run(&mut cargo(&build), LIMIT)?;
        let program = format!("release/bench-worker{}", std::env::consts::EXE_SUFFIX);
        Ok(Self { language: Language::Rust, program: metadata()?.target_directory.join(program), arguments: vec![] })
    }

    /// `rave-level` of the npm registry, in the version that the lock file fixes.
    pub fn javascript() -> Result<Self> {
        let folder = node::install("bench-js").context("`--without-js` does without the JavaScript peer")?;
        let arguments = vec![folder.join("worker.mjs")];
        Ok(Self { language: Language::JavaScript, program: "node".into(), arguments })
    }

    /// Starts a process on the database at `path`, and waits until it is ready.
    pub fn open(&self, path: &Path) -> Result<Worker> {
        let mut command = Command::new(&self.program);
        match self.language {
            Language::Rust => command.arg("database"),
            Language::JavaScript => command.args(&self.arguments),
        };
        Worker::start(command.arg(path))
    }

    /// Starts one side of the bare echo.
    pub fn echo(&self, side: &str, path: &Path) -> Result<Worker> {
        Worker::start(Command::new(&self.program).arg(side).arg(path))
    }
}
