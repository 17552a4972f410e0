//! The commands for people and shells: what they print, and with which status they end.
#![cfg(unix)]

mod support;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
};
use support::{Dir, Exec, Finished, Process, rave, run, run_with};

/// A database to run commands on, first by processes that lead and then by guests of a leader that stays.
struct Database {
    dir: Dir,
    leader: Option<Exec>,
}

impl Database {
    fn path(&self) -> PathBuf {
        self.dir.db()
    }

    /// Runs `rave COMMAND DB ARGUMENTS`.
    fn run(&self, command: &str, arguments: &[&str]) -> Finished {
        self.run_with(command, arguments, "")
    }

    fn run_with(&self, command: &str, arguments: &[&str], input: &str) -> Finished {
        let path = self.path();
        let mut all: Vec<&dyn AsRef<OsStr>> = vec![&command, &path];
        all.extend(arguments.iter().map(|argument| argument as &dyn AsRef<OsStr>));
        run_with(&all, input.as_bytes())
    }

    /// Runs it and gives what it printed; it must succeed and say nothing on stderr.
    #[track_caller]
    fn ok(&self, command: &str, arguments: &[&str]) -> String {
        let finished = self.run(command, arguments);
        finished.succeeded();
        assert_eq!(finished.err, "", "{command} {arguments:?}");
        finished.text().to_owned()
    }

    fn fill(&self, keys: &str) {
        let lines: Vec<_> =
            keys.chars().map(|key| json!({"key": key, "value": format!("{key}!")}).to_string()).collect();
        self.run_with("load", &[], &lines.join("\n")).succeeded();
    }
}

fn on_both_roles(test: impl Fn(&Database)) {
    test(&Database { dir: Dir::new(), leader: None });
    let dir = Dir::new();
    let leader = Exec::start(&dir.db());
    assert!(leader.leads());
    let database = Database { dir, leader: Some(leader) };
    test(&database);
    database.leader.unwrap().close();
}

#[test]
fn put_get_del() {
    on_both_roles(|db| {
        assert_eq!(db.ok("put", &["a", "1"]), "");
        assert_eq!(db.ok("get", &["a"]), "1\n");
        assert_eq!(db.ok("put", &["a", "-2", "--sync"]), "");
        assert_eq!(db.ok("get", &["a"]), "-2\n");
        assert_eq!(db.ok("put", &["", ""]), "");
        assert_eq!(db.ok("get", &[""]), "\n");
        assert_eq!(db.ok("del", &["a"]), "");
        let missing = db.run("get", &["a"]);
        missing.failed(1);
        assert!(missing.out.is_empty());
        assert_eq!(db.ok("del", &["a", "--sync"]), "");
    });
}

#[test]
fn scan_options() {
    on_both_roles(|db| {
        db.fill("abcdef");
        for (arguments, expected) in [
            (&["--keys"][..], "abcdef"),
            (&["--keys", "--gt", "b"], "cdef"),
            (&["--keys", "--gte", "b", "--lt", "d"], "bc"),
            (&["--keys", "--lte", "b"], "ab"),
            (&["--keys", "--prefix", "c"], "c"),
            (&["--keys", "--prefix", "x"], ""),
            (&["--keys", "--reverse"], "fedcba"),
            (&["--keys", "--reverse", "--limit", "2"], "fe"),
            (&["--keys", "--limit", "0"], ""),
        ] {
            assert_eq!(db.ok("scan", arguments).replace('\n', ""), expected, "{arguments:?}");
        }
        assert_eq!(db.ok("scan", &["--limit", "2"]), "a\ta!\nb\tb!\n");
        assert_eq!(db.ok("scan", &["--limit", "2", "--values"]), "a!\nb!\n");
        let json = db.ok("scan", &["--limit", "1", "--format", "json"]);
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), json!({"key": "a", "value": "a!"}));
        let json = db.ok("scan", &["--limit", "1", "--format", "json", "--keys"]);
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), json!({"key": "a"}));
        assert_eq!(db.ok("scan", &["--limit", "1", "--format", "text"]), "a\ta!\n");
    });
}

#[test]
fn clear_ranges() {
    on_both_roles(|db| {
        db.fill("abcdef");
        assert_eq!(db.ok("clear", &["--gte", "b", "--lt", "d"]), "");
        assert_eq!(db.ok("scan", &["--keys"]), "a\nd\ne\nf\n");
        db.ok("clear", &["--prefix", "d"]);
        db.ok("clear", &["--reverse", "--limit", "1"]);
        assert_eq!(db.ok("scan", &["--keys"]), "a\ne\n");
        db.ok("clear", &[]);
        assert_eq!(db.ok("scan", &[]), "");
    });
}

#[test]
fn encodings_of_keys_and_values() {
    on_both_roles(|db| {
        db.ok("put", &["00ff", "/wA=", "--key-encoding", "hex", "--value-encoding", "base64"]);
        let as_json = ["--format", "json", "--key-encoding", "base64", "--value-encoding", "hex"];
        let entry: Value = serde_json::from_str(&db.ok("scan", &as_json)).unwrap();
        assert_eq!(entry, json!({"key": "AP8=", "value": "ff00"}));
        assert_eq!(db.ok("get", &["AP8=", "--key-encoding", "base64", "--value-encoding", "hex"]), "ff00\n");
        assert_eq!(db.ok("scan", &["--gt", "00", "--key-encoding", "hex", "--value-encoding", "hex"]), "00ff\tff00\n");
        // What is no UTF-8 is an error, not something else.
        db.run("scan", &[]).failed(3);
        db.ok("del", &["00ff", "--key-encoding", "hex"]);
        db.ok("put", &["k", "{\"a\": [1]}", "--value-encoding", "json"]);
        let value: Value = serde_json::from_str(&db.ok("get", &["k", "--value-encoding", "json"])).unwrap();
        assert_eq!(value, json!({"a": [1]}));
        // Text that the encoding does not allow is a mistake of whoever typed it.
        db.run("put", &["0", "v", "--key-encoding", "hex"]).failed(2);
        db.run("put", &["k", "*", "--value-encoding", "base64"]).failed(2);
        db.run("put", &["k", "{", "--value-encoding", "json"]).failed(2);
        let unknown = db.run("get", &["k", "--key-encoding", "morse"]);
        assert!(unknown.failed(2).contains("morse"), "{unknown:?}");
    });
}

#[test]
fn sublevels() {
    on_both_roles(|db| {
        db.ok("put", &["k", "inner", "--sublevel", "a/b"]);
        db.ok("put", &["k", "middle", "--sublevel", "a"]);
        db.ok("put", &["k", "outer"]);
        assert_eq!(db.ok("get", &["k", "--sublevel", "a/b"]), "inner\n");
        assert_eq!(db.ok("get", &["k", "--sublevel", "a"]), "middle\n");
        assert_eq!(db.ok("get", &["k"]), "outer\n");
        assert_eq!(db.ok("scan", &["--sublevel", "a/b"]), "k\tinner\n");
        assert_eq!(db.ok("scan", &["--keys"]).lines().count(), 3);
        db.run("get", &["k", "--sublevel", "b"]).failed(1);
        db.ok("clear", &["--sublevel", "a/b"]);
        assert_eq!(db.ok("get", &["k", "--sublevel", "a"]), "middle\n");
        db.ok("clear", &["--sublevel", "a"]);
        assert_eq!(db.ok("scan", &[]), "k\touter\n");
        for bad in ["", "a//b", "/", "a!"] {
            db.run("put", &["k", "v", "--sublevel", bad]).failed(2);
        }
        assert_eq!(db.ok("scan", &[]), "k\touter\n");
    });
}

#[test]
fn what_is_dumped_can_be_loaded() {
    let from = Database { dir: Dir::new(), leader: None };
    let lines: Vec<_> = (0..3000)
        .map(|n| json!({"key": format!("k{n:05}\n\u{0}"), "value": "ü\"".repeat(n % 50)}).to_string() + "\n")
        .collect();
    from.run_with("load", &[], &lines.concat()).succeeded();
    let dump = from.run("dump", &[]);
    assert!(dump.succeeded().text() == lines.concat(), "the dump differs from what was loaded");
    assert_eq!(dump.err, "");

    let file = from.dir.join("dump.jsonl");
    fs::write(&file, &dump.out).unwrap();
    let to = Database { dir: Dir::new(), leader: None };
    to.run("load", &[file.to_str().unwrap(), "--sublevel", "s"]).succeeded();
    assert!(to.run("dump", &["--sublevel", "s"]).out == dump.out);
    assert_eq!(to.run("scan", &["--keys"]).lines().len(), 2 * 3000, "a line end in each key");

    // Bytes of any kind, by encodings.
    let bytes = Database { dir: Dir::new(), leader: None };
    bytes.ok("put", &["ff00", "00", "--key-encoding", "hex", "--value-encoding", "hex"]);
    bytes.run("dump", &[]).failed(3);
    let dump = bytes.ok("dump", &["--key-encoding", "hex", "--value-encoding", "base64"]);
    assert_eq!(dump, "{\"key\":\"ff00\",\"value\":\"AA==\"}\n");
    bytes.ok("clear", &[]);
    bytes.run_with("load", &["--key-encoding", "hex", "--value-encoding", "base64"], &dump).succeeded();
    assert_eq!(bytes.ok("scan", &["--key-encoding", "hex", "--value-encoding", "hex"]), "ff00\t00\n");
}

#[test]
fn bad_lines_of_load() {
    on_both_roles(|db| {
        for bad in [
            "nonsense",
            "{}",
            "{\"key\":\"b\"}",
            "{\"key\":1,\"value\":\"\"}",
            "{\"key\":\"b\",\"value\":\"\",\"x\":1}",
        ] {
            let finished = db.run_with("load", &[], &format!("{{\"key\":\"a\",\"value\":\"1\"}}\n{bad}\n"));
            assert!(finished.failed(2).contains("line 2"), "{finished:?}");
            db.run("get", &["b"]).failed(1);
        }
        let missing = db.run("load", &["/nowhere/at/all.jsonl"]);
        assert!(missing.failed(2).contains("/nowhere/at/all.jsonl"), "{missing:?}");
    });
}

#[test]
fn batches_are_applied_whole_or_not_at_all() {
    on_both_roles(|db| {
        let put = |key: &str| json!({"type": "put", "key": key, "value": "1"}).to_string();
        let del = |key: &str| json!({"type": "del", "key": key}).to_string();
        let lines = [put("a"), put("b"), del("a"), put("c")].join("\n");
        db.run_with("batch", &["--sync"], &lines).succeeded();
        assert_eq!(db.ok("scan", &["--keys"]), "b\nc\n");
        for bad in ["nonsense", "{}", "[]", "{\"type\":\"get\",\"key\":\"a\"}", "{\"type\":\"put\",\"key\":\"x\"}"] {
            let finished = db.run_with("batch", &[], &[put("x"), del("b"), bad.to_owned(), put("y")].join("\n"));
            assert!(finished.failed(2).contains("line 3"), "{finished:?}");
            assert_eq!(db.ok("scan", &["--keys"]), "b\nc\n");
        }
        db.run_with("batch", &[], "").succeeded();
        db.run_with("batch", &["--sublevel", "s", "--key-encoding", "hex"], &put("ff")).succeeded();
        assert_eq!(db.ok("scan", &["--sublevel", "s", "--key-encoding", "hex"]), "ff\t1\n");
    });
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let db = Database { dir: Dir::new(), leader: None };
    let lines: Vec<_> =
        (0..2000).map(|n| json!({"key": format!("k{n:05}"), "value": "x".repeat(500)}).to_string()).collect();
    db.run_with("load", &[], &lines.join("\n")).succeeded();
    for command in ["scan", "dump"] {
        let process = Process::spawn(rave().arg(command).arg(db.path()));
        let mut line = String::new();
        let mut output = BufReader::new(process.stdout());
        output.read_line(&mut line).unwrap();
        assert!(line.contains("k00000"), "{line}");
        drop(output);
        let status = process.wait();
        assert!(status.success(), "{command}: {status}");
        assert_eq!(process.errors(), "", "{command}");
    }
}

#[test]
fn status_for_programs_and_for_people() {
    let db = Database { dir: Dir::new(), leader: None };
    db.ok("put", &["a", "1"]);
    let own: Value = serde_json::from_str(&db.ok("status", &["--format", "json"])).unwrap();
    assert_eq!((&own["role"], &own["guests"]), (&json!("leader"), &json!(0)), "{own}");
    assert!(own["leader_pid"].is_u64(), "{own}");

    let leader = Exec::start(&db.path());
    leader.put("a", "1");
    let status: Value = serde_json::from_str(&db.ok("status", &["--format", "json"])).unwrap();
    assert_eq!((&status["role"], &status["leader_pid"]), (&json!("guest"), &json!(leader.pid())), "{status}");
    // This very process is one.
    assert_eq!(status["guests"], 1, "{status}");
    assert!(status["operations"].as_u64().unwrap() >= 1, "{status}");
    assert!(status["store"].as_str().is_some_and(|store| !store.is_empty()), "{status}");
    let text = db.ok("status", &[]);
    assert!(text.contains(&leader.pid().to_string()) && text.contains("guest"), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
}

#[test]
fn commands_survive_the_death_of_their_leader() {
    let db = Database { dir: Dir::new(), leader: None };
    let leader = Exec::start(&db.path());
    leader.put("a", "1");
    // They wait for a leader that does not answer, and go on with the next, which is one of themselves.
    leader.process.signal(Signal::SIGSTOP);
    let path = db.path();
    let waiting: Vec<_> = (0..3).map(|n| support::start(&[&"put", &path, &format!("k{n}"), &"v"], b"")).collect();
    leader.process.kill();
    for process in waiting {
        process.finish().succeeded();
    }
    assert_eq!(db.ok("scan", &["--keys"]), "a\nk0\nk1\nk2\n");
}

#[test]
fn mistakes_on_the_command_line() {
    let dir = Dir::new();
    let db = dir.db();
    for arguments in [
        &[][..],
        &["fly"],
        &["put"],
        &["put", "DB", "k"],
        &["put", "DB", "k", "v", "x"],
        &["get", "DB", "k", "--fast"],
        &["scan", "DB", "--limit", "-1"],
        &["scan", "DB", "--limit", "many"],
        &["scan", "DB", "--keys", "--values"],
        &["scan", "DB", "--prefix", "a", "--gt", "b"],
        &["scan", "DB", "--format", "xml"],
        &["status", "DB", "--format", "xml"],
        &["demo", "--processes", "1"],
    ] {
        let mut command = rave();
        command.args(
            arguments.iter().map(|argument| if *argument == "DB" { db.as_os_str() } else { OsStr::new(argument) }),
        );
        let finished = support::Running::start(command, b"").finish();
        finished.failed(2);
        assert!(finished.out.is_empty(), "{finished:?}");
    }
    assert!(!db.exists());
    for help in [&["--help"][..], &["--version"], &["scan", "--help"], &["help", "exec"]] {
        let mut command = rave();
        command.args(help);
        let finished = support::Running::start(command, b"").finish();
        assert!(!finished.succeeded().out.is_empty(), "{help:?}");
    }
    run(&[&"get", &db, &"k"]).failed(1);
}
