//! Databases on every kind of store, named by their locations.
#![cfg(unix)]

mod support;

use serde_json::json;
use std::path::{Path, PathBuf};
use support::{Dir, Exec, Group, eventually, run, run_with};

fn sled(path: &Path) -> PathBuf {
    format!("sled:{}", path.display()).into()
}

#[test]
fn every_command_for_shared_databases_takes_a_sled_database() {
    let dir = Dir::new();
    let (db, store) = (sled(&dir.db()), "sled");
    run(&[&"put", &db, &"a", &"1"]).succeeded();
    // The same, said differently.
    assert_eq!(run(&[&"get", &"--store", &store, &dir.db(), &"a"]).text(), "1\n");
    run_with(&[&"batch", &db], br#"{"type":"put","key":"b","value":"2"}"#).succeeded();
    run_with(&[&"load", &db], br#"{"key":"c","value":"3"}"#).succeeded();
    run(&[&"put", &"--sublevel", &"x", &db, &"k", &"v"]).succeeded();
    run(&[&"del", &db, &"a"]).succeeded();
    assert_eq!(run(&[&"scan", &"--reverse", &"--gte", &"b", &db]).lines(), ["c\t3", "b\t2"]);
    assert_eq!(run(&[&"dump", &db]).lines().len(), 3);
    run(&[&"clear", &db, &"--lt", &"c"]).succeeded();
    assert_eq!(run(&[&"scan", &db]).lines(), ["c\t3"]);
    let status: serde_json::Value = serde_json::from_str(run(&[&"status", &"--json", &db]).text()).unwrap();
    assert_eq!((&status["role"], &status["store"]), (&json!("leader"), &json!("sled")));
}

/// Each member writes its own key over and over; the last value that was acknowledged, or a later one, is there after
/// leader upon leader was killed.
#[test]
fn processes_on_sled_lose_nothing_when_leaders_are_killed() {
    let dir = Dir::new();
    let group = Group::start(&sled(&dir.db()), 4, &[]);
    let mut written = vec![0_u64; group.len()];
    for kill in 0..support::knob("RAVE_TEST_SLED_KILLS", 5) {
        for (slot, written) in written.iter_mut().enumerate() {
            let member = group.member(slot);
            for _ in 0..20 {
                member.put(&format!("key{slot}"), &(*written + 1).to_string());
                *written += 1;
            }
        }
        // On its way while the leader dies; the answer comes from the next one.
        let leader = group.leader();
        let waiting: Vec<_> = (0..group.len())
            .filter(|slot| *slot != leader)
            .map(|slot| {
                written[slot] += 1;
                let member = group.member(slot);
                let put = json!({"op": "put", "key": format!("key{slot}"), "value": written[slot].to_string()});
                let id = member.send(put);
                (member, id)
            })
            .collect();
        group.kill_leader();
        for (member, id) in waiting {
            let reply = member.reply(id).unwrap_or_else(|| panic!("kill {kill}: {}", member.stderr()));
            assert_eq!(reply["ok"], json!(true), "kill {kill}: {reply}");
        }
        let reader = group.member((leader + 1) % group.len());
        for (slot, written) in written.iter().enumerate() {
            assert_eq!(reader.get(&format!("key{slot}")), Some(written.to_string()), "kill {kill}, slot {slot}");
        }
    }
    for slot in 0..group.len() {
        group.member(slot).close();
    }
    let lines: Vec<_> = written.iter().enumerate().map(|(slot, written)| format!("key{slot}\t{written}")).collect();
    assert_eq!(run(&[&"scan", &sled(&dir.db())]).lines(), lines);
}

#[test]
fn one_directory_never_has_two_kinds_of_stores() {
    let dir = Dir::new();
    let (one, other) = (dir.join("one"), dir.join("other"));
    run(&[&"put", &sled(&one), &"a", &"1"]).succeeded();
    run(&[&"put", &other, &"a", &"1"]).succeeded();
    let as_leveldb = run(&[&"put", &one, &"a", &"2"]);
    assert!(as_leveldb.failed(3).contains("sled"), "{}", as_leveldb.err);
    let as_sled = run(&[&"put", &sled(&other), &"a", &"2"]);
    assert!(as_sled.failed(3).contains("LevelDB"), "{}", as_sled.err);
    assert_eq!(run(&[&"get", &sled(&one), &"a"]).text(), "1\n");
    assert_eq!(run(&[&"get", &other, &"a"]).text(), "1\n");
}

#[test]
fn commands_for_leveldb_files_say_so() {
    let dir = Dir::new();
    run(&[&"put", &sled(&dir.db()), &"a", &"1"]).succeeded();
    for command in ["stats", "compact", "verify", "repair"] {
        for at in [sled(&dir.db()), "memory:".into()] {
            let finished = run(&[&command, &at]);
            assert!(finished.failed(2).contains("is for LevelDB's files"), "{}", finished.err);
        }
        let finished = run(&[&command, &"--store", &"sled", &dir.db()]);
        assert!(finished.failed(2).contains("is for LevelDB's files"), "{}", finished.err);
        // Whoever forgets to say which store it is is told what was found.
        let finished = run(&[&command, &dir.db()]);
        assert!(finished.failed(3).contains("sled"), "{command}: {}", finished.err);
    }
    assert_eq!(run(&[&"get", &sled(&dir.db()), &"a"]).text(), "1\n");
}

#[test]
fn memory_is_for_one_process_alone() {
    let exec = Exec::start(Path::new("memory:"));
    eventually("it leads", || exec.leads().then_some(()));
    exec.put("a", "1");
    let other = Exec::with(Path::new("memory:"), &["--store", "memory"]);
    other.wait_until_leader();
    assert_eq!((exec.get("a"), other.get("a")), (Some("1".to_owned()), None));
    exec.close();
    other.close();
    run(&[&"get", &"memory:", &"a"]).failed(1);
    for (at, what) in [("memory:x", "write memory: alone"), ("sled:", "names no directory")] {
        let finished = run(&[&"get", &at, &"a"]);
        assert!(finished.failed(2).contains(what), "{}", finished.err);
    }
    let finished = run(&[&"get", &"--store", &"memory", &"x", &"a"]);
    assert!(finished.failed(2).contains("write memory:"), "{}", finished.err);
}

#[test]
fn the_demo_runs_on_sled() {
    let dir = Dir::new();
    let demo =
        run(&[&"demo", &"--store", &"sled", &"--processes", &"3", &"--kills", &"2", &"--seconds", &"2", &dir.db()]);
    demo.succeeded();
    assert!(dir.join("db/conf").exists());
    let refused = run(&[&"demo", &"memory:"]);
    assert!(refused.failed(2).contains("needs a directory"), "{}", refused.err);
}
