//! What rave-level keeps in a database for itself: no command shows or touches it, but `dump --internal` shows it.
#![cfg(unix)]

mod support;

use rave_level::{AbstractLevel, AbstractLevelExt, Batch, RESERVED, leveldb::LevelDb};
use serde_json::json;
use std::path::Path;
use support::{Dir, Exec, run, run_with, wire::*};

/// Bytes of any kind, as in the id of a session.
const RECORD: &[u8] = b"!rave-level!s\0\xff\n\"0123456789ab";
const SHOWN: &str = r#"{"internal":"7300ff0a22303132333435363738396162","value":"01ff"}"#;

/// A database with a record, made while nobody shares it.
fn prepare(db: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = LevelDb::new(db).open().await.unwrap();
        let users = Batch::new().put("!a", "1").put("!rave-level", "2").put("!rave-level\"", "3").put("z", "4");
        store.write(users.put(RECORD, b"\x01\xff")).await.unwrap();
        store.close().await.unwrap();
    });
}

#[track_caller]
fn ok(db: &Path, command: &str, arguments: &[&str]) -> String {
    let mut all: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&command, &db];
    all.extend(arguments.iter().map(|argument| argument as &dyn AsRef<std::ffi::OsStr>));
    let finished = run(&all);
    finished.succeeded();
    assert_eq!(finished.err, "", "{command} {arguments:?}");
    finished.text().to_owned()
}

/// The commands lead and end, one after the other; then they are guests of a leader that stays.
fn on_both_roles(test: impl Fn(&Path)) {
    let dir = Dir::new();
    prepare(&dir.db());
    test(&dir.db());
    let dir = Dir::new();
    prepare(&dir.db());
    let leader = Exec::start(&dir.db());
    assert!(leader.leads());
    test(&dir.db());
    leader.close();
}

#[test]
fn only_an_internal_dump_shows_them() {
    on_both_roles(|db| {
        let entry = |key: &str, value: &str| json!({"key": key, "value": value}).to_string();
        let users = [entry("!a", "1"), entry("!rave-level", "2"), entry("!rave-level\"", "3"), entry("z", "4")];
        assert_eq!(ok(db, "dump", &[]).lines().collect::<Vec<_>>(), users);
        assert_eq!(ok(db, "scan", &["--keys", "--reverse"]), "z\n!rave-level\"\n!rave-level\n!a\n");
        assert_eq!(ok(db, "scan", &["--prefix", RESERVED]), "");
        assert_eq!(ok(db, "dump", &["--sublevel", "rave-level"]), "");
        let dump = ok(db, "dump", &["--internal"]);
        let (records, entries): (Vec<&str>, Vec<&str>) = dump.lines().partition(|line| line.contains("internal"));
        assert_eq!(entries, users);
        assert!(records.contains(&SHOWN), "{dump}");
        // In the order of the keys, and nothing that `load` would take for an entry.
        assert!(dump.find("rave-level\",").unwrap() < dump.find(SHOWN).unwrap());
        assert!(dump.find(SHOWN).unwrap() < dump.find("rave-level\\\"").unwrap());
        run_with(&[&"load", &db], SHOWN.as_bytes()).failed(2);
    });
}

#[test]
fn commands_leave_them_alone() {
    on_both_roles(|db| {
        let key = "!rave-level!mine";
        let refused = run(&[&"put", &db, &key, &"1"]);
        assert!(refused.failed(2).contains("LEVEL_INVALID_KEY"), "{}", refused.err);
        assert!(refused.err.contains("reserved"), "{}", refused.err);
        run(&[&"put", &db, &"--sublevel", &"rave-level", &"mine", &"1"]).failed(2);
        run(&[&"get", &db, &key]).failed(1);
        ok(db, "clear", &["--prefix", RESERVED]);
        ok(db, "clear", &["--limit", "1", "--gt", "!rave-level"]);
        assert_eq!(ok(db, "scan", &["--keys"]), "!a\n!rave-level\nz\n");
        ok(db, "clear", &[]);
        assert_eq!(ok(db, "dump", &[]), "");
        let dump = ok(db, "dump", &["--internal"]);
        assert!(dump.lines().any(|line| line == SHOWN), "{dump}");
        assert!(dump.lines().all(|line| line.starts_with(r#"{"internal":"#)), "{dump}");
        run(&[&"dump", &db, &"--internal", &"--sublevel", &"a"]).failed(2);
    });
}

#[test]
fn guests_that_speak_as_javascript_does_neither_see_nor_touch_them() {
    let dir = Dir::new();
    prepare(&dir.db());
    let leader = Exec::start(&dir.db());
    leader.event("leader");
    let mut guest = Peer::connect(&dir.db().join("rave-level.sock"));
    let mut ask = |request: Vec<u8>| {
        guest.send(&request);
        guest.hear().unwrap()
    };
    let record = bytes(2, RECORD);
    let answer = ask(frame(GET, &[number(1, 1), record.clone()].concat()));
    assert_eq!(answer.error().as_deref(), Some("LEVEL_NOT_FOUND"));
    let answer = ask(frame(PUT, &[number(1, 2), record.clone(), bytes(3, "mine")].concat()));
    assert_eq!(answer.error().as_deref(), Some("LEVEL_INVALID_KEY"));
    let answer = ask(frame(DEL, &[number(1, 3), record].concat()));
    assert_eq!(answer.error().as_deref(), Some("LEVEL_INVALID_KEY"));
    let page = ask(open(4, &range(&[])));
    assert_eq!(page.tag, ITERATOR_DATA);
    let expected: [&[u8]; 8] = [b"!a", b"1", b"!rave-level", b"2", b"!rave-level\"", b"3", b"z", b"4"];
    assert_eq!(page.all(3), expected);
    assert_eq!(guest.hear().unwrap().tag, ITERATOR_END);
    guest.send(&frame(CLEAR, &[number(1, 5), bytes(2, range(&[]))].concat()));
    assert_eq!(guest.hear().unwrap().error(), None);
    let dump = ok(&dir.db(), "dump", &["--internal"]);
    assert!(dump.lines().any(|line| line == SHOWN), "{dump}");
    assert!(dump.lines().all(|line| line.starts_with(r#"{"internal":"#)), "{dump}");
    leader.close();
}
