//! Who is measured, how to start a process of theirs, and who shares a directory with whom.

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

/// Which language leads a directory, and which one its guests speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    Rust,
    JavaScript,
    /// JavaScript guests of a Rust leader.
    JavaScriptOnRust,
    /// Rust guests of a JavaScript leader.
    RustOnJavaScript,
}

impl Mix {
    pub const ALL: [Self; 4] = [Self::Rust, Self::JavaScript, Self::JavaScriptOnRust, Self::RustOnJavaScript];

    fn leader(self) -> Language {
        match self {
            Self::Rust | Self::JavaScriptOnRust => Language::Rust,
            Self::JavaScript | Self::RustOnJavaScript => Language::JavaScript,
        }
    }

    fn guests(self) -> Language {
        match self {
            Self::Rust | Self::RustOnJavaScript => Language::Rust,
            Self::JavaScript | Self::JavaScriptOnRust => Language::JavaScript,
        }
    }

    /// Whether the guests speak another language than the leader.
    pub fn mixed(self) -> bool {
        self.leader() != self.guests()
    }
}

/// Who plays the roles of a mix.
pub struct Cast<'a> {
    pub mix: Mix,
    pub leader: &'a Peer,
    pub guests: &'a Peer,
}

/// The casts of all mixes that these peers can play.
pub fn casts(peers: &[Peer]) -> impl Iterator<Item = Cast<'_>> {
    Mix::ALL.into_iter().filter_map(|mix| {
        let of = |language| peers.iter().find(|peer| peer.language == language);
        Some(Cast { mix, leader: of(mix.leader())?, guests: of(mix.guests())? })
    })
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

    /// Starts a process on the database at `path`.
    pub fn open(&self, path: &Path) -> Result<Worker> {
        let mut command = Command::new(&self.program);
        match self.language {
            Language::Rust => command.arg("database"),
            Language::JavaScript => command.args(&self.arguments),
        };
        Worker::start(command.arg(path))
    }

    /// The same, of this project, where leaders keep no sessions.
    pub fn open_without_sessions(&self, path: &Path) -> Result<Worker> {
        Worker::start(Command::new(&self.program).arg("database-without-sessions").arg(path))
    }

    /// Starts one side of the bare echo.
    pub fn echo(&self, side: &str, path: &Path) -> Result<Worker> {
        Worker::start(Command::new(&self.program).arg(side).arg(path))
    }
}
