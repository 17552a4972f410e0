//! `rave host`, and commands that are given an address instead of a directory.
#![cfg(unix)]

mod support;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::{
    ffi::OsStr,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};
use support::{Dir, Exec, Process, eventually, rave, run, run_with};

/// A running `rave host`.
struct Host {
    process: Process,
    address: String,
}

impl Host {
    /// Starts `rave host ARGUMENTS --listen unix:SOCKET --json` and waits until it listens.
    fn start(socket: &Path, arguments: &[&dyn AsRef<OsStr>]) -> Self {
        let address = format!("unix:{}", socket.display());
        let mut command = rave();
        command.arg("host").args(arguments.iter().map(|argument| argument.as_ref()));
        let process = Process::spawn(command.args(["--json", "--listen", &address]));
        let mut line = String::new();
        BufReader::new(process.stdout()).read_line(&mut line).unwrap();
        let event: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event, json!({"event": "listening", "address": address}));
        Self { process, address }
    }

    fn ok(&self, command: &str, arguments: &[&str]) -> String {
        self.ok_with(command, arguments, "")
    }

    #[track_caller]
    fn ok_with(&self, command: &str, arguments: &[&str], input: &str) -> String {
        let mut all: Vec<&dyn AsRef<OsStr>> = vec![&command, &self.address];
        all.extend(arguments.iter().map(|argument| argument as &dyn AsRef<OsStr>));
        let finished = run_with(&all, input.as_bytes());
        finished.succeeded();
        assert_eq!(finished.err, "", "{command} {arguments:?}");
        finished.text().to_owned()
    }

    fn stop(&self) {
        self.process.signal(Signal::SIGTERM);
        assert!(self.process.wait().success());
    }
}

fn place() -> (Dir, PathBuf, PathBuf) {
    let dir = Dir::new();
    let (db, socket) = (dir.db(), dir.join("s"));
    (dir, db, socket)
}

#[test]
fn every_command_for_shared_databases_takes_an_address() {
    let (_dir, db, socket) = place();
    let host = Host::start(&socket, &[&db]);
    host.ok("put", &["a", "1"]);
    assert_eq!(host.ok("get", &["a"]), "1\n");
    host.ok_with("batch", &[], r#"{"type":"put","key":"b","value":"2"}"#);
    host.ok_with("load", &[], r#"{"key":"c","value":"3"}"#);
    host.ok("del", &["a"]);
    assert_eq!(host.ok("scan", &["--reverse"]), "c\t3\nb\t2\n");
    assert_eq!(host.ok("dump", &[]).lines().count(), 2);
    host.ok("put", &["--sublevel", "x/y", "k", "v"]);
    assert_eq!(host.ok("scan", &["--sublevel", "x/y"]), "k\tv\n");
    host.ok("clear", &["--lt", "c"]);

    let status: Value = serde_json::from_str(&host.ok("status", &["--json"])).unwrap();
    assert_eq!((&status["role"], &status["store"]), (&json!("guest"), &json!("leveldb")));
    assert_eq!(status["leader_pid"], json!(host.process.pid()));

    let exec = Exec::start(Path::new(&host.address));
    assert_eq!(exec.event("following")["leader_pid"], json!(host.process.pid()));
    exec.put("d", "4");
    assert_eq!(exec.role().as_deref(), Some("guest"));

    host.stop();
    assert!(!socket.exists());
    let left: Vec<_> = run(&[&"scan", &db]).succeeded().lines().into_iter().map(str::to_owned).collect();
    assert_eq!(left, ["c\t3", "d\t4"]);
}

#[test]
fn a_guest_waits_for_its_host_and_never_takes_its_place() {
    let (_dir, db, socket) = place();
    let host = Host::start(&socket, &[&db]);
    let exec = Exec::start(Path::new(&host.address));
    exec.put("a", "1");
    host.process.kill();
    eventually("it notices", || exec.ok(json!({"op": "role"}))["leader_pid"].is_null().then_some(()));
    let write = exec.send(json!({"op": "put", "key": "b", "value": "2"}));
    assert!(!exec.leads(), "the lock is free, but it is not for this process");

    let second = Host::start(&socket, &[&db]);
    assert_eq!(exec.reply(write).unwrap()["ok"], json!(true));
    assert_eq!((exec.get("a"), exec.get("b")), (Some("1".to_owned()), Some("2".to_owned())));
    assert!(!exec.leads());
    exec.close();
    second.stop();
}

#[test]
fn a_host_refuses_a_store_and_a_place_that_are_taken() {
    let (dir, db, socket) = place();
    let host = Host::start(&socket, &[&db]);
    let pid = host.process.pid().to_string();
    let free = format!("unix:{}", dir.join("free").display());
    let store_taken = run(&[&"host", &db, &"--listen", &free]);
    assert!(store_taken.failed(3).contains(&format!("is locked by process {pid}")), "{}", store_taken.err);
    let place_taken = run(&[&"host", &dir.join("other"), &"--listen", &host.address]);
    assert!(place_taken.failed(3).contains(&format!("process {pid} listens at")), "{}", place_taken.err);
    // Neither has harmed it.
    host.ok("put", &["a", "1"]);
    // The directory's own socket is not there, and the error says so.
    let by_directory = run(&[&"get", &"--open-timeout", &"0.5", &db, &"a"]);
    assert!(by_directory.failed(3).contains("does not serve it at"), "{}", by_directory.err);
    host.stop();

    // What a killed host has left is no obstacle.
    let killed = Host::start(&socket, &[&db]);
    killed.process.kill();
    assert!(socket.exists());
    Host::start(&socket, &[&db]).stop();
}

#[test]
fn a_read_only_host_refuses_writes_and_changes_nothing() {
    let (dir, db, socket) = place();
    let missing = run(&[&"host", &db, &"--read-only", &"--listen", &format!("unix:{}", socket.display())]);
    assert!(missing.failed(3).contains("not to be created"), "{}", missing.err);
    run(&[&"put", &db, &"a", &"1"]).succeeded();
    let host = Host::start(&socket, &[&db, &"--read-only"]);
    assert_eq!(host.ok("get", &["a"]), "1\n");
    for write in [&["put", "a", "2"][..], &["del", "a"], &["clear"]] {
        let mut all: Vec<&dyn AsRef<OsStr>> = vec![&write[0], &host.address];
        all.extend(write[1..].iter().map(|argument| argument as &dyn AsRef<OsStr>));
        assert!(run(&all).failed(3).contains("LEVEL_READONLY"), "{write:?}");
    }
    assert_eq!(host.ok("get", &["a"]), "1\n");
    host.stop();
    drop(dir);
}

#[test]
fn the_memory_store_is_gone_with_its_process() {
    let (_dir, _, socket) = place();
    let host = Host::start(&socket, &[&"--store", &"memory"]);
    host.ok("put", &["a", "1"]);
    assert_eq!(host.ok("get", &["a"]), "1\n");
    host.stop();
    let host = Host::start(&socket, &[&"--store", &"memory"]);
    run(&[&"get", &host.address, &"a"]).failed(1);
    host.stop();
}

#[test]
fn what_is_wrong_with_an_address_is_said() {
    let (dir, db, socket) = place();
    let address = format!("unix:{}", socket.display());
    let nobody = run(&[&"get", &"--open-timeout", &"0.3", &address, &"a"]);
    assert!(nobody.failed(3).contains("nobody serves a database at"), "{}", nobody.err);
    for command in ["verify", "stats", "compact", "repair"] {
        let finished = run(&[&command, &address]);
        assert!(finished.failed(2).contains("needs the directory itself"), "{}", finished.err);
    }
    for (place, text) in
        [("unix:", "names no socket"), ("pipe:x", "this build does not have"), ("tcp:localhost", "names no port")]
    {
        let finished = run(&[&"get", &place, &"a"]);
        assert!(finished.failed(2).contains(text), "{}", finished.err);
    }
    let no_scheme = run(&[&"host", &db, &"--listen", &socket]);
    assert!(no_scheme.failed(2).contains("no scheme"), "{}", no_scheme.err);
    let long = format!("unix:{}", dir.join(&"x".repeat(120)).display());
    let too_long = run(&[&"host", &db, &"--listen", &long]);
    assert!(too_long.failed(3).contains("at most 103"), "{}", too_long.err);
    let no_store = run(&[&"host", &"--listen", &address]);
    assert!(no_store.failed(2).contains("needs a directory"), "{}", no_store.err);
}
