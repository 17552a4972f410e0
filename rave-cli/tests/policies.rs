//! What `rave host` grants its guests, with real processes.
#![cfg(unix)]

mod support;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Lines},
    path::{Path, PathBuf},
    process::ChildStdout,
};
use support::{Dir, Exec, Finished, Process, eventually, rave, run};

/// A running `rave host`, and what it prints.
struct Host {
    process: Process,
    address: String,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Host {
    fn start(db: &Path, socket: &Path, policies: &[&str]) -> Self {
        let address = format!("unix:{}", socket.display());
        let mut command = rave();
        command.arg("host").arg(db).args(policies);
        let process = Process::spawn(command.args(["--json", "--listen", &address]));
        let lines = BufReader::new(process.stdout()).lines();
        let mut host = Self { process, address, lines };
        assert_eq!(host.line().unwrap()["event"], json!("listening"));
        host
    }

    /// What it prints next; `None` once it has ended.
    fn line(&mut self) -> Option<Value> {
        self.lines.next().map(|line| serde_json::from_str(&line.unwrap()).unwrap())
    }

    fn run(&self, command: &str, arguments: &[&str]) -> Finished {
        let mut all: Vec<&dyn AsRef<OsStr>> = vec![&command, &self.address];
        all.extend(arguments.iter().map(|argument| argument as &dyn AsRef<OsStr>));
        run(&all)
    }

    fn ok(&self, command: &str, arguments: &[&str]) -> String {
        let finished = self.run(command, arguments);
        finished.succeeded();
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
fn a_guest_of_a_sublevel_knows_nothing_else() {
    let (_dir, db, socket) = place();
    for (key, value) in [("!a!!b!inside", "1"), ("!a!!b\"", "2"), ("!a!k", "3"), ("z", "4")] {
        run(&[&"put", &db, &key, &value]).succeeded();
    }
    let before = run(&[&"dump", &db]).text().to_owned();
    let host = Host::start(&db, &socket, &["--sublevel", "a/b"]);
    assert_eq!(host.ok("scan", &[]), "inside\t1\n");
    assert_eq!(host.ok("dump", &["--internal"]).lines().count(), 1);
    for key in ["z", "!a!k", "!a!!b!inside"] {
        host.run("get", &[key]).failed(1);
    }
    host.ok("put", &["z", "mine"]);
    host.ok("put", &["--sublevel", "deeper", "k", "v"]);
    assert_eq!(host.ok("scan", &["--reverse"]), "z\tmine\ninside\t1\n!deeper!k\tv\n");
    host.ok("clear", &["--gt", "inside"]);
    host.ok("clear", &["--sublevel", "deeper"]);
    host.stop();
    assert_eq!(run(&[&"dump", &db]).text(), before);

    let address = format!("unix:{}", socket.display());
    for path in ["rave-level", "a//b", "ä"] {
        let refused = run(&[&"host", &db, &"--listen", &address, &"--sublevel", &path]);
        assert!(refused.failed(2).contains("--sublevel"), "{}", refused.err);
    }
}

/// Each increment names the value that it increments, so one that is applied twice is refused the second time.
#[test]
fn writes_to_a_sublevel_are_applied_once_when_hosts_are_killed() {
    const WRITES: u64 = 300;
    let (_dir, db, socket) = place();
    let mut host = Host::start(&db, &socket, &["--sublevel", "a"]);
    let guest = Exec::start(Path::new(&host.address));
    guest.put("n", "0");
    let mut killed = 0;
    let mut asked = Vec::new();
    for n in 0..WRITES {
        let put = json!([{"type": "put", "key": "n", "value": (n + 1).to_string()}]);
        let condition = json!([{"key": "n", "equals": n.to_string()}]);
        asked.push(guest.send(json!({"op": "batch", "ops": put, "if": condition})));
        if n % 60 == 59 {
            // In the midst of what it has been sent.
            let reply = guest.reply(asked.remove(asked.len() - 30)).unwrap();
            assert_eq!(reply["ok"], json!(true), "{reply}");
            host.process.kill();
            killed += 1;
            host = Host::start(&db, &socket, &["--sublevel", "a"]);
        }
    }
    for id in asked {
        let reply = guest.reply(id).unwrap();
        assert_eq!(reply["ok"], json!(true), "{reply}");
    }
    assert_eq!((guest.get("n"), killed), (Some(WRITES.to_string()), 5));
    guest.close();
    host.stop();
    assert_eq!(run(&[&"scan", &db]).text(), format!("!a!n\t{WRITES}\n"));
}

#[test]
fn one_guest_too_many_is_told_so() {
    let (_dir, db, socket) = place();
    let host = Host::start(&db, &socket, &["--max-connections", "1"]);
    let first = Exec::start(Path::new(&host.address));
    first.put("a", "1");
    let second = host.run("get", &["--open-timeout", "0.5", "a"]);
    assert!(second.failed(3).contains("turned this process away"), "{}", second.err);
    assert!(second.err.contains("serves 1 connections at once"), "{}", second.err);
    first.close();
    assert_eq!(host.ok("get", &["--open-timeout", "60", "a"]), "1\n");
    host.stop();
}

#[test]
fn a_request_too_large_is_refused_and_others_are_not() {
    let (_dir, db, socket) = place();
    let host = Host::start(&db, &socket, &["--max-request", "4096"]);
    let refused = host.run("put", &["large", &"x".repeat(5000)]);
    assert!(refused.failed(2).contains("does not fit a frame of 4096 bytes"), "{}", refused.err);
    host.ok("put", &["small", "1"]);
    assert_eq!(host.ok("scan", &[]), "small\t1\n");
    host.stop();
    let address = format!("unix:{}", socket.display());
    run(&[&"host", &db, &"--listen", &address, &"--max-request", &"10"]).failed(2);
}

#[test]
fn a_guest_that_asks_for_too_much_waits_and_others_do_not() {
    let (_dir, db, socket) = place();
    let host = Host::start(&db, &socket, &["--rate", "20"]);
    let greedy = Exec::start(Path::new(&host.address));
    let put = |n: u32| greedy.send(json!({"op": "put", "key": n.to_string(), "value": "1"}));
    let asked: Vec<u64> = (0..3000).map(put).collect();
    assert_eq!(greedy.reply(asked[0]).unwrap()["ok"], json!(true));
    host.ok("put", &["modest", "1"]);
    assert_eq!(host.ok("get", &["modest"]), "1\n");
    assert_eq!(greedy.reply(asked[40]).unwrap()["ok"], json!(true), "it goes on");
    let done = host.ok("scan", &["--keys"]).lines().count();
    assert!((40..2900).contains(&done), "{done} of 3000 within the time of two commands");
    greedy.process.kill();
    host.stop();
}

#[test]
fn guests_come_and_go_in_pairs() {
    let (_dir, db, socket) = place();
    let mut host = Host::start(&db, &socket, &["--events"]);
    host.ok("put", &["a", "1"]);
    let came = host.line().unwrap();
    assert!(came["peer"]["pid"].is_u64(), "{came}");
    assert_eq!(came["event"], json!("connect"));
    assert_eq!((&came["peer"]["name"], &came["peer"]["read_only"]), (&json!(null), &json!(false)));
    let went = host.line().unwrap();
    assert_eq!(went, json!({"event": "disconnect", "peer": came["peer"], "reason": null}));

    let killed = Exec::start(Path::new(&host.address));
    killed.put("a", "2");
    assert_eq!(host.line().unwrap()["peer"]["pid"], json!(killed.pid()));
    killed.process.kill();
    assert_eq!(host.line().unwrap()["event"], json!("disconnect"));

    let staying = Exec::start(Path::new(&host.address));
    staying.put("a", "3");
    assert_eq!(host.line().unwrap()["event"], json!("connect"));
    host.process.signal(Signal::SIGTERM);
    let last = host.line().unwrap();
    assert_eq!((&last["event"], &last["peer"]["pid"]), (&json!("disconnect"), &json!(staying.pid())));
    assert_eq!(last["reason"], json!("the host stopped serving"));
    assert!(host.line().is_none());
    assert!(host.process.wait().success());
    staying.process.kill();

    // Nothing of it, if nobody asks.
    let mut quiet = Host::start(&db, &socket, &[]);
    quiet.ok("put", &["a", "1"]);
    eventually("it is served", || quiet.ok("get", &["a"]).contains('1').then_some(()));
    quiet.stop();
    assert!(quiet.line().is_none());
}
