//! The commands that want a closed database for themselves: `compact`, `stats`, `verify` and `repair`.
#![cfg(unix)]

mod support;

use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};
use support::{Dir, Exec, Finished, run, run_with};

const COMMANDS: [&str; 4] = ["compact", "stats", "verify", "repair"];

fn ok(command: &str, db: &Path, options: &[&str]) -> String {
    let finished = on(command, db, options);
    finished.succeeded();
    assert_eq!(finished.err, "", "{command} {options:?}");
    finished.text().to_owned()
}

fn on(command: &str, db: &Path, options: &[&str]) -> Finished {
    let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&command, &db];
    arguments.extend(options.iter().map(|option| option as &dyn AsRef<std::ffi::OsStr>));
    run(&arguments)
}

fn json_of(command: &str, db: &Path, options: &[&str]) -> Value {
    serde_json::from_str(&ok(command, db, &[options, &["--json"]].concat())).unwrap()
}

/// Puts so many entries under keys that begin with `prefix`.
fn fill(db: &Path, prefix: &str, count: usize) {
    let lines: Vec<_> = (0..count)
        .map(|n| json!({"key": format!("{prefix}{n:05}"), "value": format!("{n:0100}")}).to_string())
        .collect();
    run_with(&[&"load", &db], lines.join("\n").as_bytes()).succeeded();
}

/// Every file but the lock, with its contents.
fn files(db: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(db).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    entries.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap())).collect()
}

/// The files with this extension, in the order of their numbers.
fn with_extension(db: &Path, extension: &str) -> Vec<PathBuf> {
    let names = files(db).into_keys().filter(|name| name.ends_with(extension));
    names.map(|name| db.join(name)).collect()
}

fn damage(path: &Path, offset: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
}

#[test]
fn they_refuse_a_database_in_use_and_name_its_holder() {
    let dir = Dir::new();
    let db = dir.db();
    let leader = Exec::start(&db);
    leader.put("a", "1");
    let before = files(&db);
    for command in COMMANDS {
        let refused = on(command, &db, &[]);
        let line = refused.failed(3);
        assert!(line.contains("LEVEL_LOCKED") && line.contains("stop that process"), "{command}: {line}");
        assert!(line.contains(&leader.pid().to_string()), "{command}: {line}");
        assert!(refused.out.is_empty(), "{refused:?}");
    }
    assert!(files(&db) == before);
    leader.put("b", "2");
    leader.process.kill();
    for command in COMMANDS {
        ok(command, &db, &[]);
    }
    assert_eq!(ok("scan", &db, &[]), "a\t1\nb\t2\n");
}

#[test]
fn they_create_nothing_and_leave_other_files_alone() {
    let dir = Dir::new();
    let (empty, other, file) = (dir.join("empty"), dir.join("other"), dir.join("file"));
    fs::create_dir(&empty).unwrap();
    fs::create_dir(&other).unwrap();
    fs::write(other.join("letter.txt"), "Dear …").unwrap();
    fs::write(&file, "data").unwrap();
    for command in COMMANDS {
        for place in [&dir.join("missing"), &empty, &other, &file] {
            let refused = on(command, place, &[]);
            let line = refused.failed(3);
            assert!(line.contains(place.to_str().unwrap()), "{command}: {line}");
        }
    }
    assert!(!dir.join("missing").exists());
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 0);
    assert_eq!(fs::read_dir(&other).unwrap().count(), 1);
    assert_eq!(fs::read(&file).unwrap(), b"data");
}

#[test]
fn compacting_gives_back_space() {
    let dir = Dir::new();
    let db = dir.db();
    fill(&db, "a", 3000);
    fill(&db, "b", 3000);
    assert!(json_of("compact", &db, &[])["after"]["bytes"].as_u64().unwrap() > 0);
    ok("clear", &db, &["--prefix", "a"]);
    let all = ok("dump", &db, &[]);
    // Of another range: nothing to gain.
    let elsewhere = json_of("compact", &db, &["--gte", "b"]);
    assert!(elsewhere["after"]["bytes"].as_u64() >= elsewhere["before"]["bytes"].as_u64(), "{elsewhere}");
    let compacted = json_of("compact", &db, &["--prefix", "a"]);
    let (before, after) =
        (compacted["before"]["bytes"].as_u64().unwrap(), compacted["after"]["bytes"].as_u64().unwrap());
    assert!(after < before / 4 * 3, "{compacted}");
    assert!(ok("dump", &db, &[]) == all);
    assert_eq!(json_of("stats", &db, &[])["bytes"], after);
    let text = ok("compact", &db, &["--gte", "00", "--lt", "ff", "--key-encoding", "hex"]);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("before: ") && lines[1].starts_with("after: "), "{text}");
    on("compact", &db, &["--gte", "0", "--key-encoding", "hex"]).failed(2);
}

#[test]
fn stats_for_programs_and_for_people() {
    let dir = Dir::new();
    let db = dir.db();
    fill(&db, "k", 1000);
    let fresh = json_of("stats", &db, &[]);
    assert_eq!(fresh["writes"], 1000, "{fresh}");
    ok("compact", &db, &[]);
    let stats = json_of("stats", &db, &[]);
    assert_eq!((&stats["writes"], &stats["unflushed_bytes"]), (&json!(1000), &json!(0)), "{stats}");
    let levels = stats["levels"].as_array().unwrap();
    let sum = |name: &str| levels.iter().map(|level| level[name].as_u64().unwrap()).sum::<u64>();
    assert!(sum("tables") > 0 && sum("tables") == stats["tables"] && sum("bytes") == stats["bytes"], "{stats}");
    let on_disk: u64 = with_extension(&db, ".ldb").iter().map(|path| path.metadata().unwrap().len()).sum();
    assert_eq!(stats["bytes"], on_disk);
    let text = ok("stats", &db, &[]);
    assert!(
        text.contains(&on_disk.to_string()) && text.contains("writes so far: 1000") && !text.contains('\x1b'),
        "{text}"
    );
    assert_eq!(ok("stats", &db, &["--format", "json"]), ok("stats", &db, &["--json"]));
    on("stats", &db, &["--json", "--format", "json"]).failed(2);
}

#[test]
fn verify_changes_nothing_and_finds_nothing_in_a_sound_database() {
    let dir = Dir::new();
    let db = dir.db();
    fill(&db, "k", 1000);
    ok("compact", &db, &[]);
    ok("put", &db, &["more", "in the log"]);
    let before = files(&db);
    let text = ok("verify", &db, &[]);
    let last = text.lines().last().unwrap();
    assert!(last.contains("sound"), "{text}");
    for name in before.keys().filter(|name| name.ends_with(".ldb") || name.ends_with(".log")) {
        assert!(text.contains(name.as_str()), "{text}");
    }
    let found = json_of("verify", &db, &[]);
    assert_eq!((&found["sound"], &found["damages"]), (&json!(true), &json!([])), "{found}");
    assert_eq!((&found["logs"], &found["entries"]), (&json!(1), &json!(1001)), "{found}");
    assert!(found["bytes"].as_u64().unwrap() > 1000 && found["tables"].as_u64().unwrap() > 0, "{found}");
    assert!(files(&db) == before);
}

#[test]
fn a_damaged_table_is_found_and_repaired() {
    let dir = Dir::new();
    let db = dir.db();
    fill(&db, "a", 2000);
    ok("compact", &db, &[]);
    fill(&db, "b", 2000);
    ok("compact", &db, &["--gte", "b"]);
    let table = with_extension(&db, ".ldb").remove(0);
    let name = table.file_name().unwrap().to_str().unwrap();
    damage(&table, 5000);
    let before = files(&db);

    // Whoever meets the damage is told what to do.
    let met = on("scan", &db, &["--keys"]);
    let line = met.failed(3);
    assert!(line.contains(name) && line.contains("LEVEL_CORRUPTION") && line.contains("rave repair"), "{line}");
    let found = on("verify", &db, &[]);
    let line = found.failed(1);
    assert!(line.contains("rave repair"), "{line}");
    let start = format!("damaged: {name} at byte ");
    assert_eq!(found.text().lines().filter(|line| line.starts_with(&start)).count(), 1, "{found:?}");
    let found = on("verify", &db, &["--json"]);
    found.failed(1);
    let json: Value = serde_json::from_str(found.text()).unwrap();
    let damage = &json["damages"][0];
    assert_eq!(damage["file"], name, "{json}");
    assert!(damage["offset"].as_u64().is_some_and(|offset| offset <= 5000), "{json}");
    assert!(files(&db) == before);

    let repaired = ok("repair", &db, &[]);
    for start in ["lost: ", "kept: "] {
        assert!(repaired.contains(&format!("{start}{name}")), "{repaired}");
    }
    assert!(repaired.contains(&format!("original: {}.damaged\n", table.display())), "{repaired}");
    ok("verify", &db, &[]);
    let keys = ok("scan", &db, &["--keys"]);
    // A block's worth of entries is gone, no more.
    assert!((3900..4000).contains(&keys.lines().count()), "{}", keys.lines().count());
    assert_eq!(keys.lines().filter(|key| key.starts_with('b')).count(), 2000);
    assert_eq!(ok("get", &db, &["a01999"]), format!("{:0100}\n", 1999));
    assert!(fs::read(db.join(format!("{name}.damaged"))).unwrap() == before[name], "the damaged table is kept");
    ok("put", &db, &["c", "1"]);
    assert_eq!(ok("get", &db, &["c"]), "1\n");
}

#[test]
fn a_damaged_log_is_found_and_repaired() {
    let dir = Dir::new();
    let db = dir.db();
    // Enough for several blocks of the log, in many records.
    for n in 0..40 {
        fill(&db, &format!("{n:02}"), 30);
    }
    let log = with_extension(&db, ".log").pop().unwrap();
    damage(&log, 40_000);
    let refused = on("get", &db, &["0000000"]);
    let line = refused.failed(3);
    assert!(line.contains("LEVEL_CORRUPTION") && line.contains(log.to_str().unwrap()), "{line}");
    for command in ["stats", "compact"] {
        let refused = on(command, &db, &[]);
        assert!(refused.failed(3).contains("rave repair"), "{command}: {refused:?}");
    }
    let found = on("verify", &db, &[]);
    found.failed(1);
    assert!(found.text().contains(log.file_name().unwrap().to_str().unwrap()), "{found:?}");
    ok("repair", &db, &[]);
    ok("verify", &db, &[]);
    let keys = ok("scan", &db, &["--keys"]);
    let count = keys.lines().count();
    assert!((600..1200).contains(&count), "{count} of 1200");
    assert!(keys.starts_with("0000000\n"), "what came before the damage is there");
}

#[test]
fn a_lost_manifest_is_made_anew() {
    let dir = Dir::new();
    let db = dir.db();
    fill(&db, "k", 500);
    ok("compact", &db, &[]);
    ok("put", &db, &["late", "1"]);
    ok("del", &db, &["k00007"]);
    let all = ok("dump", &db, &[]);
    for name in files(&db).into_keys().filter(|name| name.starts_with("MANIFEST") || name == "CURRENT") {
        fs::remove_file(db.join(name)).unwrap();
    }
    on("scan", &db, &[]).failed(3);
    let report = json_of("repair", &db, &[]);
    assert_eq!((&report["rebuilt"], &report["files"][0]["file"]), (&json!(true), &json!("CURRENT")), "{report}");
    assert!(ok("dump", &db, &[]) == all);
    ok("verify", &db, &[]);
}
