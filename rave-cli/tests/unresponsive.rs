//! A leader that is stopped and goes on: its guests name it, give up what has a deadline, and lose nothing else.
#![cfg(unix)]

mod support;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};
use support::{Dir, Exec, Process, eventually, rave};

#[track_caller]
fn given_up(reply: &Value, effect: &str) {
    let error = &reply["error"];
    assert_eq!((&error["code"], &error["effect"]), (&json!("LEVEL_ABORTED"), &json!(effect)), "{reply}");
}

#[test]
fn a_stopped_leader_is_named_and_nothing_is_lost() {
    let dir = Dir::new();
    let leader = Exec::start(&dir.db());
    leader.put("a", "1");
    let patient = Exec::start(&dir.db());
    let hasty = Exec::with(&dir.db(), &["--timeout", "4"]);
    assert_eq!((patient.get("a"), hasty.get("a")), (Some("1".into()), Some("1".into())));
    let serving = Process::spawn(rave().arg("serve").arg(dir.db()).stdout(Stdio::piped()));
    let mut told = BufReader::new(serving.stdout()).lines();
    assert_eq!(told.next().unwrap().unwrap(), format!("following {}", leader.pid()));

    leader.process.signal(Signal::SIGSTOP);
    let waiting = patient.send(json!({"op": "put", "key": "b", "value": "2"}));
    given_up(&hasty.ask(json!({"op": "get", "key": "a"})), "none");
    given_up(&hasty.ask(json!({"op": "put", "key": "c", "value": "3"})), "unknown");
    for guest in [&patient, &hasty] {
        let event = guest.event("unresponsive");
        assert_eq!(event["leader_pid"], leader.pid());
        // Two intervals of five seconds have passed at least.
        assert!(event["silent_ms"].as_u64().unwrap() >= 10_000, "{event}");
        let named = format!("process {} leads and does not answer", leader.pid());
        eventually("it is in the log", || guest.stderr().contains(&named).then_some(()));
    }
    let line = told.next().unwrap().unwrap();
    assert!(line.starts_with(&format!("unresponsive: process {} has said nothing for 1", leader.pid())), "{line}");
    assert_eq!(patient.role().as_deref(), Some("guest"), "nobody takes over from who holds the lock");
    assert!(!patient.order().contains(&waiting));

    leader.process.signal(Signal::SIGCONT);
    for guest in [&patient, &hasty] {
        assert_eq!(guest.event("responsive")["leader_pid"], leader.pid());
    }
    assert_eq!(told.next().unwrap().unwrap(), format!("responsive: process {} answers again", leader.pid()));
    assert_eq!(patient.reply(waiting).unwrap()["ok"], true);
    assert_eq!((hasty.get("b"), patient.get("a")), (Some("2".into()), Some("1".into())));
    hasty.put("c", "4");
    assert_eq!(patient.get("c").as_deref(), Some("4"));
    leader.process.kill();
    assert_eq!(patient.get("c").as_deref(), Some("4"));
}
