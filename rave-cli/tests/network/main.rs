//! `rave host` and its guests over TCP, as processes of their own.
#![cfg(target_os = "linux")]

mod attacks;
mod commands;
mod cut;
#[path = "../../../rave-transport/tests/tcp/pki.rs"]
mod pki;
#[path = "../support/mod.rs"]
mod support;

use pki::{Authority, write_private};
use serde_json::{Value, json};
use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::Command,
};
use support::{Finished, Process, Running, rave};

/// A running `rave host`.
struct Host {
    process: Process,
    address: String,
}

impl Host {
    /// Starts `rave host ARGUMENTS --json` and waits until it listens.
    fn start(arguments: &[&dyn AsRef<OsStr>]) -> Self {
        Self::of(rave(), arguments)
    }

    /// The same with a command that runs `rave`.
    fn of(mut command: Command, arguments: &[&dyn AsRef<OsStr>]) -> Self {
        command.args(["host", "--json"]).args(arguments.iter().map(|argument| argument.as_ref()));
        let process = Process::spawn(&mut command);
        let mut line = String::new();
        BufReader::new(process.stdout()).read_line(&mut line).unwrap();
        let event: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line:?}: {}", process.errors()));
        assert_eq!(event["event"], json!("listening"));
        Self { process, address: event["address"].as_str().unwrap().to_owned() }
    }

    /// How many guests it has, by the word of `rave status` with these options, which is not counted.
    fn guests(&self, command: Command, options: &[&dyn AsRef<OsStr>]) -> u64 {
        let mut all: Vec<&dyn AsRef<OsStr>> = vec![&"status", &"--json", &self.address];
        all.extend(options);
        let finished = finish(command, &all);
        let status: Value = serde_json::from_str(finished.succeeded().text()).unwrap();
        status["guests"].as_u64().unwrap() - 1
    }
}

/// Runs a command that runs `rave`, with these arguments.
fn finish(mut command: Command, arguments: &[&dyn AsRef<OsStr>]) -> Finished {
    command.args(arguments.iter().map(|argument| argument.as_ref()));
    Running::start(command, b"").finish()
}

/// What a host needs that lets guests with tokens in over TLS, and what a guest needs.
struct Secrets {
    authority: Authority,
    cert: PathBuf,
    key: PathBuf,
    tokens: PathBuf,
    /// Of a guest that may write.
    token: PathBuf,
    /// Of a guest that may only read.
    reader: PathBuf,
}

impl Secrets {
    /// For a host at this address.
    fn new(address: &str) -> Self {
        let authority = Authority::new();
        let pair = authority.issue("host", &[address]);
        let (tokens, token, reader) = (authority.join("tokens"), authority.join("token"), authority.join("reader"));
        let line = |arguments: &[&dyn AsRef<OsStr>]| support::run(arguments).succeeded().text().to_owned();
        let (writes, reads) = (line(&[&"token", &"alice"]), line(&[&"token", &"bob", &"--read-only"]));
        assert!(writes.starts_with("alice rw ") && reads.starts_with("bob ro "), "{writes}{reads}");
        write_private(&tokens, &format!("# who may come\n{writes}{reads}"));
        write_private(&token, &writes);
        write_private(&reader, &reads);
        Self { authority, cert: pair.cert, key: pair.key, tokens, token, reader }
    }

    /// The arguments of a host.
    fn of_host(&self) -> [&dyn AsRef<OsStr>; 6] {
        [&"--tls-cert", &self.cert, &"--tls-key", &self.key, &"--tokens", &self.tokens]
    }

    /// The options of a guest with this token.
    fn of_guest(&self, token: &Path) -> [String; 4] {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        ["--tls-ca".to_owned(), text(&self.authority.ca()), "--token-file".to_owned(), text(token)]
    }
}
