//! `rave exec`: every request, every refusal, and the order of replies.
#![cfg(unix)]

mod support;

use serde_json::{Value, json};
use support::{Dir, Exec, error_code, eventually, start};

/// A database with these entries, and a process on it. Every test runs on the leader and on a guest.
fn on_both_roles(test: impl Fn(&Exec)) {
    let dir = Dir::new();
    let leader = Exec::start(&dir.db());
    assert!(leader.leads());
    test(&leader);
    leader.ok(json!({"op": "clear"}));
    let guest = Exec::start(&dir.db());
    assert_eq!(guest.role().as_deref(), Some("guest"));
    test(&guest);
    guest.close();
    leader.close();
}

fn fill(db: &Exec, keys: &str) {
    let ops: Vec<_> = keys.chars().map(|key| json!({"type": "put", "key": key, "value": format!("{key}!")})).collect();
    db.ok(json!({"op": "batch", "ops": ops}));
}

fn keys(reply: &Value) -> String {
    reply["entries"].as_array().unwrap().iter().map(|entry| entry[0].as_str().unwrap()).collect()
}

#[test]
fn single_keys() {
    on_both_roles(|db| {
        assert_eq!(db.get("a"), None);
        assert_eq!(db.ok(json!({"op": "has", "key": "a"}))["value"], false);
        db.put("a", "1");
        db.ok(json!({"op": "put", "key": "b", "value": "2", "sync": true}));
        assert_eq!(db.get("a").as_deref(), Some("1"));
        assert_eq!(db.ok(json!({"op": "has", "key": "a"}))["value"], true);
        db.ok(json!({"op": "del", "key": "a"}));
        db.ok(json!({"op": "del", "key": "never there", "sync": true}));
        let reply = db.ok(json!({"op": "get", "key": "a"}));
        assert!(reply.get("value").is_some_and(Value::is_null), "{reply}");
        let reply = db.ok(json!({"op": "get_many", "keys": ["b", "a", "b"]}));
        assert_eq!(reply["values"], json!(["2", null, "2"]));
        assert_eq!(db.ok(json!({"op": "get_many", "keys": []}))["values"], json!([]));
    });
}

#[test]
fn snapshots_hold_their_state() {
    on_both_roles(|db| {
        fill(db, "abc");
        let snap = db.ok(json!({"op": "snap_open"}))["snap"].clone();
        db.ok(json!({"op": "batch", "ops": [
            {"type": "put", "key": "a", "value": "new"}, {"type": "del", "key": "b"}, {"type": "put", "key": "d", "value": "new"}
        ]}));
        assert_eq!(db.ok(json!({"op": "get", "key": "a", "snap": snap}))["value"], "a!");
        assert_eq!(db.ok(json!({"op": "has", "key": "d", "snap": snap}))["value"], false);
        assert_eq!(db.ok(json!({"op": "get_many", "keys": ["b", "d"], "snap": snap}))["values"], json!(["b!", null]));
        assert_eq!(keys(&db.ok(json!({"op": "scan", "snap": snap}))), "abc");
        let iter = db.ok(json!({"op": "iter_open", "reverse": true, "snap": snap}))["iter"].clone();
        db.ok(json!({"op": "clear", "snap": snap, "lt": "c"}));
        assert_eq!(keys(&db.ok(json!({"op": "scan"}))), "cd");
        db.ok(json!({"op": "snap_close", "snap": snap}));
        db.ok(json!({"op": "snap_close", "snap": snap}));
        // What was open stays open.
        assert_eq!(keys(&db.ok(json!({"op": "iter_next", "iter": iter, "count": 9}))), "cba");
        assert_eq!(db.refused(json!({"op": "get", "key": "a", "snap": snap})), "LEVEL_SNAPSHOT_NOT_OPEN");
        assert_eq!(db.refused(json!({"op": "snap_close", "snap": 4711})), "LEVEL_SNAPSHOT_NOT_OPEN");
    });
}

#[test]
fn a_snapshot_is_lost_with_its_leader_and_says_so() {
    let dir = Dir::new();
    let leader = Exec::start(&dir.db());
    assert!(leader.leads());
    let guest = Exec::start(&dir.db());
    fill(&guest, "abc");
    let snap = guest.ok(json!({"op": "snap_open"}))["snap"].clone();
    let iter = guest.ok(json!({"op": "iter_open", "snap": snap}))["iter"].clone();
    let plain = guest.ok(json!({"op": "iter_open"}))["iter"].clone();
    assert_eq!(keys(&guest.ok(json!({"op": "iter_next", "iter": plain, "count": 1}))), "a");
    guest.put("b", "new");
    leader.process.kill();
    guest.wait_until_leader();
    for request in [
        json!({"op": "get", "key": "b", "snap": snap}),
        json!({"op": "scan", "snap": snap}),
        json!({"op": "clear", "snap": snap}),
        json!({"op": "iter_open", "snap": snap}),
        json!({"op": "iter_seek", "iter": iter, "target": "a"}),
    ] {
        let code = guest.ask(request.clone());
        // A seek may succeed; then the iterator fails.
        let code = match request["op"] == "iter_seek" && code["ok"] == true {
            true => guest.ask(json!({"op": "iter_next", "iter": iter, "count": 9})),
            false => code,
        };
        assert_eq!(error_code(&code).as_deref(), Some("LEVEL_SNAPSHOT_NOT_OPEN"), "{request}");
    }
    // All the rest goes on.
    assert_eq!(keys(&guest.ok(json!({"op": "iter_next", "iter": plain, "count": 9}))), "bc");
    assert_eq!(guest.get("b").as_deref(), Some("new"));
    let snap = guest.ok(json!({"op": "snap_open"}))["snap"].clone();
    guest.put("b", "newer");
    assert_eq!(guest.ok(json!({"op": "get", "key": "b", "snap": snap}))["value"], "new");
}

#[test]
fn empty_and_odd_texts() {
    on_both_roles(|db| {
        for (key, value) in [("", "empty"), ("empty", ""), ("\u{0}\n\"\\", "\t\u{1f980}"), ("ü", "\u{ffff}")] {
            db.put(key, value);
            assert_eq!(db.get(key).as_deref(), Some(value));
        }
        let long = "long".repeat(100_000);
        db.put("long", &long);
        assert_eq!(db.get("long"), Some(long));
    });
}

#[test]
fn batches_are_applied_in_order_and_whole() {
    on_both_roles(|db| {
        db.ok(json!({"op": "batch", "sync": true, "ops": [
            {"type": "put", "key": "a", "value": "1"},
            {"type": "put", "key": "b", "value": "1"},
            {"type": "del", "key": "a"},
            {"type": "put", "key": "b", "value": "2"},
        ]}));
        assert_eq!(db.ok(json!({"op": "scan"}))["entries"], json!([["b", "2"]]));
        db.ok(json!({"op": "batch", "ops": []}));
        // One bad operation, and none is applied.
        for bad in [
            json!({"type": "put", "key": "x"}),
            json!({"type": "get", "key": "x"}),
            json!({"type": "put", "key": 1, "value": ""}),
            json!({"type": "put", "key": "x", "value": "1", "ttl": 1}),
            json!(null),
        ] {
            db.refused(json!({"op": "batch", "ops": [{"type": "del", "key": "b"}, bad]}));
        }
        assert_eq!(db.ok(json!({"op": "scan"}))["entries"], json!([["b", "2"]]));
    });
}

#[test]
fn batches_with_conditions_are_applied_if_all_of_them_hold() {
    on_both_roles(|db| {
        db.put("a", "1");
        let put = |value: &str| json!([{"type": "put", "key": "a", "value": value}]);
        let held = json!([{"key": "a", "equals": "1"}, {"key": "b", "equals": null}]);
        db.ok(json!({"op": "batch", "if": held, "ops": put("2")}));
        assert_eq!(db.get("a").as_deref(), Some("2"));
        // The same again: the first condition does not hold any more.
        let reply = db.ask(json!({"op": "batch", "if": held, "ops": put("3")}));
        assert_eq!((&reply["ok"], &reply["failed"]), (&json!(false), &json!([0])), "{reply}");
        assert!(reply.get("error").is_none(), "{reply}");
        let several =
            json!([{"key": "a", "equals": null}, {"key": "a\u{0}", "equals": null}, {"key": "b", "equals": ""}]);
        assert_eq!(db.ask(json!({"op": "batch", "if": several, "ops": put("3")}))["failed"], json!([0, 2]));
        assert_eq!(db.get("a").as_deref(), Some("2"));
        // Conditions alone are a question; none are always met.
        db.ok(json!({"op": "batch", "if": [{"key": "a", "equals": "2"}], "ops": []}));
        assert_eq!(db.ask(json!({"op": "batch", "if": [{"key": "a", "equals": ""}], "ops": []}))["failed"], json!([0]));
        db.ok(json!({"op": "batch", "if": [], "ops": []}));
        for bad in [
            json!({}),
            json!(null),
            json!([null]),
            json!([{"key": "a"}]),
            json!([{"equals": "1"}]),
            json!([{"key": 1, "equals": null}]),
            json!([{"key": "a", "equals": 1}]),
            json!([{"key": "a", "equals": "2", "absent": false}]),
        ] {
            db.refused(json!({"op": "batch", "if": bad, "ops": put("4")}));
        }
        let code_of =
            |conditions: Value| error_code(&db.ask(json!({"op": "batch", "if": conditions, "ops": put("4")})));
        let contradiction = json!([{"key": "a", "equals": "2"}, {"key": "a", "equals": null}]);
        assert_eq!(code_of(contradiction).as_deref(), Some("LEVEL_INVALID_BATCH"));
        let many: Vec<_> = (0..1025).map(|n| json!({"key": format!("{n}"), "equals": null})).collect();
        assert_eq!(code_of(json!(many)).as_deref(), Some("LEVEL_INVALID_BATCH"));
        assert_eq!(db.get("a").as_deref(), Some("2"));
    });
}

/// Several processes increment one number by reading it and writing it back if nobody was in between.
#[test]
fn compare_and_swap_by_several_processes_is_exact() {
    const PROCESSES: u64 = 3;
    const EACH: u64 = 50;
    let dir = Dir::new();
    let processes: Vec<Exec> = (0..PROCESSES).map(|_| Exec::start(&dir.db())).collect();
    std::thread::scope(|scope| {
        for db in &processes {
            scope.spawn(|| {
                let mut done = 0;
                while done < EACH {
                    let old = db.get("n");
                    let new = old.as_ref().map_or(0, |old| old.parse::<u64>().unwrap()) + 1;
                    let put = json!([{"type": "put", "key": "n", "value": new.to_string()}]);
                    let reply = db.ask(json!({"op": "batch", "if": [{"key": "n", "equals": old}], "ops": put}));
                    match reply["ok"].as_bool() {
                        Some(true) => done += 1,
                        Some(false) => assert_eq!(reply["failed"], json!([0]), "{reply}"),
                        None => panic!("{reply}"),
                    }
                }
            });
        }
    });
    assert_eq!(processes[0].get("n"), Some((PROCESSES * EACH).to_string()));
    processes.iter().for_each(Exec::close);
}

#[test]
fn scans_and_clears_of_ranges() {
    on_both_roles(|db| {
        fill(db, "abcdef");
        for (range, expected) in [
            (json!({}), "abcdef"),
            (json!({"gt": "b"}), "cdef"),
            (json!({"gte": "b"}), "bcdef"),
            (json!({"lt": "c"}), "ab"),
            (json!({"lte": "c"}), "abc"),
            (json!({"gt": "b", "gte": "b", "lt": "d", "lte": "d"}), "bcd"),
            (json!({"reverse": true}), "fedcba"),
            (json!({"reverse": true, "limit": 2, "lt": "e"}), "dc"),
            (json!({"limit": 3}), "abc"),
            (json!({"limit": 0}), ""),
            (json!({"gt": "e", "lt": "b"}), ""),
        ] {
            let mut request = range.clone();
            request["op"] = json!("scan");
            let reply = db.ok(request);
            assert_eq!(keys(&reply), expected, "{range}");
            assert_eq!(reply["done"], true);
        }
        assert_eq!(db.ok(json!({"op": "scan", "limit": 1}))["entries"], json!([["a", "a!"]]));
        db.ok(json!({"op": "clear", "limit": 0}));
        db.ok(json!({"op": "clear", "gt": "b", "lte": "d"}));
        assert_eq!(keys(&db.ok(json!({"op": "scan"}))), "abef");
        db.ok(json!({"op": "clear", "reverse": true, "limit": 1, "sync": true}));
        assert_eq!(keys(&db.ok(json!({"op": "scan"}))), "abe");
        db.ok(json!({"op": "clear"}));
        assert_eq!(keys(&db.ok(json!({"op": "scan"}))), "");
    });
}

#[test]
fn iterators() {
    on_both_roles(|db| {
        fill(db, "abcdef");
        let open = |request: Value| db.ok(request)["iter"].clone();
        let next = |iter: &Value, count: u64| db.ok(json!({"op": "iter_next", "iter": iter, "count": count}));
        let iter = open(json!({"op": "iter_open", "gt": "a"}));
        let other = open(json!({"op": "iter_open", "reverse": true, "limit": 2}));
        assert!(iter.is_u64() && other.is_u64() && iter != other);
        // What is written now is not seen.
        fill(db, "z");
        let reply = next(&iter, 2);
        assert_eq!((keys(&reply).as_str(), reply.get("done")), ("bc", None));
        assert_eq!(keys(&next(&other, 1)), "f");
        db.ok(json!({"op": "iter_seek", "iter": iter, "target": "e"}));
        let reply = next(&iter, 100);
        assert_eq!((keys(&reply).as_str(), &reply["done"]), ("ef", &json!(true)));
        let reply = next(&iter, 100);
        assert_eq!((keys(&reply).as_str(), &reply["done"]), ("", &json!(true)));
        // The end is not the end after a seek.
        db.ok(json!({"op": "iter_seek", "iter": iter, "target": "c"}));
        assert_eq!(keys(&next(&iter, 2)), "cd");
        let reply = next(&other, 100);
        assert_eq!((keys(&reply).as_str(), &reply["done"]), ("e", &json!(true)));
        db.ok(json!({"op": "iter_close", "iter": iter}));
        assert_eq!(db.refused(json!({"op": "iter_next", "iter": iter, "count": 1})), "LEVEL_ITERATOR_NOT_OPEN");
        assert_eq!(db.refused(json!({"op": "iter_seek", "iter": iter, "target": "a"})), "LEVEL_ITERATOR_NOT_OPEN");
        for op in ["iter_next", "iter_close"] {
            assert_eq!(db.refused(json!({"op": op, "iter": 99})), "LEVEL_ITERATOR_NOT_OPEN");
        }
        db.ok(json!({"op": "iter_close", "iter": other}));
    });
}

#[test]
fn what_is_no_request_changes_nothing() {
    on_both_roles(|db| {
        fill(db, "a");
        for line in [
            &b"nonsense"[..],
            b"[]",
            b"1",
            b"null",
            b"{}",
            b"{\"op\":",
            b"{\"id\":null,\"op\":\"del\"}",
            b"\xff\xfe",
            b"{\"op\":\"put\",\"key\":\"\xff\",\"value\":\"\"}",
        ] {
            db.line(line);
            let reply = db.other();
            assert!(reply["id"].is_null(), "{reply}");
            assert!(error_code(&reply).is_some(), "{reply}");
            assert_eq!(reply["error"]["effect"], "none");
        }
        for request in [
            json!({"op": "fly"}),
            json!({"op": 7}),
            json!({"key": "a"}),
            json!({"op": "del"}),
            json!({"op": "del", "key": null}),
            json!({"op": "del", "key": ["a"]}),
            json!({"op": "put", "key": "a"}),
            json!({"op": "put", "key": "a", "value": 1}),
            json!({"op": "put", "key": "a", "value": "2", "ttl": 1}),
            json!({"op": "put", "key": "a", "value": "2", "sync": "yes"}),
            json!({"op": "clear", "range": "all"}),
            json!({"op": "clear", "limit": "1"}),
            json!({"op": "clear", "limit": 1.5}),
            json!({"op": "clear", "reverse": 1}),
            json!({"op": "scan", "limt": 1}),
            json!({"op": "get_many", "keys": "a"}),
            json!({"op": "batch", "ops": {}}),
            json!({"op": "iter_next"}),
            json!({"op": "iter_next", "iter": "1"}),
            json!({"op": "role", "extra": 1}),
        ] {
            db.refused(request);
        }
        // Empty lines are nothing at all, or not a request; either way the next line counts.
        assert_eq!(db.ok(json!({"op": "scan"}))["entries"], json!([["a", "a!"]]));
    });
}

#[test]
fn binary_keys_and_values() {
    let dir = Dir::new();
    let leader = Exec::with(&dir.db(), &["--binary"]);
    let guest = Exec::with(&dir.db(), &["--binary"]);
    for db in [&leader, &guest] {
        // 00, ff, ff 00, and nothing.
        for (key, value) in [("AA==", "/w=="), ("/w==", "AA=="), ("/wA=", ""), ("", "/wA=")] {
            db.put(key, value);
            assert_eq!(db.get(key).as_deref(), Some(value));
        }
        let entries = json!([["", "/wA="], ["AA==", "/w=="], ["/w==", "AA=="], ["/wA=", ""]]);
        assert_eq!(db.ok(json!({"op": "scan"}))["entries"], entries);
        assert_eq!(db.ok(json!({"op": "scan", "gte": "/w==", "limit": 1}))["entries"], json!([["/w==", "AA=="]]));
        for bad in ["*", "A", "AA", "AA=", "ü"] {
            db.refused(json!({"op": "put", "key": bad, "value": ""}));
            db.refused(json!({"op": "put", "key": "", "value": bad}));
            db.refused(json!({"op": "scan", "gt": bad}));
        }
        assert_eq!(db.ok(json!({"op": "scan"}))["entries"], entries);
    }
    // Without --binary what is not UTF-8 is an error, not something else.
    let text = Exec::start(&dir.db());
    text.refused(json!({"op": "scan"}));
    text.refused(json!({"op": "get", "key": "\u{0}"}));
    assert_eq!(text.ok(json!({"op": "has", "key": "\u{0}"}))["value"], true);
}

#[test]
fn ids_come_back_as_they_were() {
    let dir = Dir::new();
    let db = Exec::start(&dir.db());
    db.line(br#"{"id":"one","op":"has","key":"a"}"#);
    let reply = db.other();
    assert_eq!((&reply["id"], &reply["value"]), (&json!("one"), &json!(false)));
    db.line(br#"{"id":"two","op":"fly"}"#);
    assert_eq!(db.other()["id"], "two");
}

#[test]
fn requests_take_effect_in_the_order_of_their_lines() {
    on_both_roles(|db| {
        let mut last = 0;
        let mut pairs = Vec::new();
        for value in 0..500 {
            let value = value.to_string();
            db.send(json!({"op": "put", "key": "k", "value": value}));
            last = db.send(json!({"op": "get", "key": "k"}));
            pairs.push((last, value));
        }
        for (id, value) in pairs {
            assert_eq!(db.reply(id).unwrap()["value"], value);
        }
        assert!(last > 0);
    });
}

#[test]
fn replies_come_as_they_complete() {
    let dir = Dir::new();
    let leader = Exec::start(&dir.db());
    leader.put("a", "1");
    let guest = Exec::start(&dir.db());
    assert_eq!(guest.get("a").as_deref(), Some("1"));
    // The leader is away: what needs it waits, and what does not is answered.
    leader.process.signal(nix::sys::signal::Signal::SIGSTOP);
    let waiting = guest.send(json!({"op": "get", "key": "a"}));
    let role = guest.send(json!({"op": "role"}));
    assert_eq!(guest.reply(role).unwrap()["role"], "guest");
    guest.refused(json!({"op": "fly"}));
    assert!(!guest.order().contains(&waiting));
    leader.process.signal(nix::sys::signal::Signal::SIGCONT);
    assert_eq!(guest.reply(waiting).unwrap()["value"], "1");
}

#[test]
fn close_answers_what_came_before_and_ends_the_process() {
    let dir = Dir::new();
    let db = Exec::start(&dir.db());
    let puts: Vec<_> = (0..300).map(|n| db.send(json!({"op": "put", "key": n.to_string(), "value": ""}))).collect();
    let close = db.send(json!({"op": "close"}));
    // Comes too late.
    db.send(json!({"op": "put", "key": "late", "value": ""}));
    assert_eq!(db.reply(close).unwrap()["ok"], true);
    assert!(db.wait_ended().success());
    for id in puts {
        assert_eq!(db.reply(id).unwrap()["ok"], true);
    }
    let after = Exec::start(&dir.db());
    assert_eq!(after.ok(json!({"op": "scan"}))["entries"].as_array().unwrap().len(), 300);
    assert_eq!(after.get("late"), None);
}

#[test]
fn the_end_of_input_is_a_close() {
    let dir = Dir::new();
    let db = Exec::start(&dir.db());
    let puts: Vec<_> = (0..300).map(|n| db.send(json!({"op": "put", "key": n.to_string(), "value": ""}))).collect();
    db.end_input();
    assert!(db.wait_ended().success());
    for id in puts {
        assert_eq!(db.reply(id).unwrap()["ok"], true);
    }
    // A last line without an end counts too.
    let finished = start(&[&"exec", &dir.db()], br#"{"id":1,"op":"get","key":"7"}"#).finish();
    let replies: Vec<Value> = finished.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(replies.iter().any(|reply| reply["id"] == 1 && reply["value"] == ""), "{replies:?}");
}

#[test]
fn a_leader_whose_script_reads_nothing_still_serves_others() {
    let dir = Dir::new();
    let leader = std::sync::Arc::new(Exec::start(&dir.db()));
    leader.put("big", &"x".repeat(1 << 20));
    let guest = Exec::start(&dir.db());
    let deaf = support::rave()
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .arg("exec")
        .arg(dir.db())
        .spawn()
        .unwrap();
    let mut deaf = Deaf(deaf);
    let mut input = deaf.0.stdin.take().unwrap();
    let flood = std::thread::spawn(move || {
        use std::io::Write;
        let line = "{\"id\":1,\"op\":\"get\",\"key\":\"big\"}\n".repeat(1000);
        (0..10_000).all(|_| input.write_all(line.as_bytes()).is_ok())
    });
    for n in 0..100 {
        guest.put("a", &n.to_string());
        assert_eq!(leader.get("a"), Some(n.to_string()));
    }
    // What it reads is bounded by what is read from it: ten million requests do not fit.
    assert!(!flood.is_finished());
    leader.close();
    eventually("the guest goes on", || (guest.get("a").as_deref() == Some("99")).then_some(()));
    drop(deaf);
    assert!(!flood.join().unwrap());
}

/// A process whose output nobody reads.
struct Deaf(std::process::Child);

impl Drop for Deaf {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn exec_works_on_a_sublevel() {
    let dir = Dir::new();
    let inner = Exec::with(&dir.db(), &["--sublevel", "a/b"]);
    inner.put("k", "1");
    let outer = Exec::start(&dir.db());
    assert_eq!(outer.get("k"), None);
    assert_eq!(outer.ok(json!({"op": "scan"}))["entries"].as_array().unwrap().len(), 1);
    assert_eq!(inner.ok(json!({"op": "scan"}))["entries"], json!([["k", "1"]]));
}
