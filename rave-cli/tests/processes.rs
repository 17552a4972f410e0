//! Real processes on one directory, killed and stopped at will: nothing acknowledged is lost, nothing hangs.
//!
//! `RAVE_TEST_ROUNDS`, `RAVE_TEST_KILLS` and `RAVE_TEST_SCAN` set how long the long ones take.
#![cfg(unix)]

mod support;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, VecDeque},
    io::{BufRead, BufReader},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};
use support::{Dir, Exec, Group, Process, eventually, knob, lock, rave, start};

#[test]
fn ten_processes_open_a_fresh_directory_at_once() {
    for _ in 0..knob("RAVE_TEST_ROUNDS", 5) {
        let dir = Dir::new();
        let db = dir.db();
        let running: Vec<_> = (0..10).map(|n| start(&[&"put", &db, &format!("k{n}"), &format!("v{n}")], b"")).collect();
        for process in running {
            let finished = process.finish();
            finished.succeeded();
            assert_eq!(finished.err, "");
        }
        let reader = Exec::start(&db);
        let keys: Vec<_> = (0..10).map(|n| format!("k{n}")).collect();
        let values: Vec<_> = (0..10).map(|n| format!("v{n}")).collect();
        assert_eq!(reader.ok(json!({"op": "get_many", "keys": keys}))["values"], json!(values));
        reader.close();
    }
}

/// Keys that one writer owns.
const KEYS: usize = 8;
/// Writes on their way at once.
const WINDOW: usize = 32;

/// What one writer knows of its keys.
struct Written {
    sent: AtomicU64,
    acked: AtomicU64,
    /// By key: the last value acknowledged.
    last: Mutex<[u64; KEYS]>,
}

impl Written {
    fn new() -> Self {
        Self { sent: AtomicU64::new(0), acked: AtomicU64::new(0), last: Mutex::new([0; KEYS]) }
    }

    /// Overwrites own keys with growing values until told to stop; then waits for what is on its way.
    fn load(&self, group: &Group, slot: usize, stop: &AtomicBool) {
        let mut process = group.member(slot);
        let mut on_the_way = VecDeque::new();
        loop {
            let stopping = stop.load(Ordering::Relaxed);
            while !stopping && on_the_way.len() < WINDOW {
                let value = self.sent.fetch_add(1, Ordering::Relaxed) + 1;
                let key = key_of(slot, value);
                let id = process.send(json!({"op": "put", "key": key, "value": value.to_string()}));
                on_the_way.push_back((id, value));
            }
            let Some((id, value)) = on_the_way.pop_front() else { return };
            match process.reply(id) {
                Some(reply) => {
                    assert_eq!(reply["ok"], true, "put {value} got {reply}");
                    lock(&self.last)[value as usize % KEYS] = value;
                    self.acked.fetch_add(1, Ordering::Relaxed);
                }
                // Killed: what was on its way may or may not be there.
                None if !process.process.running() => {
                    on_the_way.clear();
                    if stopping {
                        return;
                    }
                    process = group.successor(slot, &process);
                }
                None => panic!("process {} closed its output: {}", process.pid(), process.stderr()),
            }
        }
    }

    /// Every key has the last value that was acknowledged, or a later one that was sent.
    fn check(&self, reader: &Exec, slot: usize) {
        for (index, acked) in lock(&self.last).iter().enumerate() {
            let found = reader.get(&key_of(slot, index as u64)).map_or(0, |value| value.parse().unwrap());
            assert!(
                (*acked..=self.sent.load(Ordering::Relaxed)).contains(&found) && found as usize % KEYS == index % KEYS
                    || *acked == 0,
                "{} is {found}, and {acked} was acknowledged",
                key_of(slot, index as u64)
            );
        }
    }
}

fn key_of(slot: usize, value: u64) -> String {
    format!("writer{slot}-{}", value as usize % KEYS)
}

#[test]
fn nothing_acknowledged_is_lost_when_leaders_are_killed_under_load() {
    let dir = Dir::new();
    // One leads and six follow.
    let group = Group::start(&dir.db(), 7, &[]);
    let written: Vec<_> = (0..group.len()).map(|_| Written::new()).collect();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = StopAtEnd(&stop);
        let (group, stop) = (&group, &stop);
        for (slot, written) in written.iter().enumerate() {
            scope.spawn(move || written.load(group, slot, stop));
        }
        for _ in 0..knob("RAVE_TEST_KILLS", 10) {
            let before: Vec<_> = written.iter().map(|written| written.acked.load(Ordering::Relaxed)).collect();
            group.kill_leader();
            // Nobody hangs: each has more acknowledged than could have been on its way before.
            for (written, before) in written.iter().zip(before) {
                eventually("all go on after a kill", || {
                    (written.acked.load(Ordering::Relaxed) > before + WINDOW as u64).then_some(())
                });
            }
        }
    });
    // The last leader leaves by SIGKILL too: what is checked is what is on disk.
    group.kill_leader();
    let reader = Exec::start(&dir.db());
    for (slot, written) in written.iter().enumerate() {
        assert!(written.acked.load(Ordering::Relaxed) > 0);
        written.check(&reader, slot);
    }
}

/// Tells writers to stop, also when a test fails.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The keys of the scans: all texts over four bytes, of any length, by number.
fn scan_key(mut number: u64) -> Vec<u8> {
    let mut key = Vec::new();
    number += 1;
    while number > 0 {
        number -= 1;
        key.push([0x00, 0x01, 0x7f, 0xff][number as usize % 4]);
        number /= 4;
    }
    key
}

/// Every fourth key comes and goes during a scan; the others stay.
fn comes_and_goes(number: u64) -> bool {
    number % 4 == 3
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().enumerate().fold(0u32, |bits, (n, byte)| bits | u32::from(*byte) << (16 - 8 * n));
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) as usize & 63;
            text.push(if digit > chunk.len() { '=' } else { DIGITS[index] as char });
        }
    }
    text
}

#[test]
fn base64_of_the_tests_is_base64() {
    for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
        assert_eq!(base64(bytes.as_bytes()), text);
    }
    assert_eq!(base64(&[0xff, 0xfe, 0x00]), "//4A");
}

fn scan_while_leaders_die(reverse: bool) {
    let count = knob("RAVE_TEST_SCAN", 20_000);
    let kill_every = (count / 6).max(1);
    let dir = Dir::new();
    let group = Group::start(&dir.db(), 3, &["--binary"]);
    let value = base64(&[0xa5; 100]);
    let loader = group.member(0);
    for first in (0..count).step_by(1000) {
        let put = |number| json!({"type": "put", "key": base64(&scan_key(number)), "value": value});
        let ops: Vec<_> = (first..count.min(first + 1000)).map(put).collect();
        loader.ok(json!({"op": "batch", "ops": ops}));
    }
    drop(loader);
    let by_text: BTreeMap<String, u64> = (0..count).map(|number| (base64(&scan_key(number)), number)).collect();
    let mut expected: Vec<u64> = (0..count).collect();
    expected.sort_by_key(|number| scan_key(*number));
    if reverse {
        expected.reverse();
    }

    group.leader();
    let scanner = Exec::with(&dir.db(), &["--binary"]);
    let iterator = scanner.ok(json!({"op": "iter_open", "reverse": reverse}))["iter"].clone();
    let stop = AtomicBool::new(false);
    let mut seen: Vec<u64> = Vec::new();
    let mut kills = 0;
    thread::scope(|scope| {
        let _stop = StopAtEnd(&stop);
        for slot in 0..group.len() {
            let (group, stop, value) = (&group, &stop, &value);
            scope.spawn(move || write_and_delete(group, slot, count, value, stop));
        }
        loop {
            let reply = scanner.ok(json!({"op": "iter_next", "iter": iterator, "count": 100}));
            for entry in reply["entries"].as_array().unwrap() {
                let key = entry[0].as_str().unwrap();
                seen.push(*by_text.get(key).unwrap_or_else(|| panic!("{key} was never written")));
                assert_eq!(entry[1], json!(value));
            }
            if reply["done"] == true {
                break;
            }
            assert!(!reply["entries"].as_array().unwrap().is_empty(), "neither entries nor the end: {reply}");
            if seen.len() as u64 >= (kills + 1) * kill_every {
                kills += 1;
                // Stopped, the scanner cannot become the leader, and can be made to lose the next one too.
                scanner.process.signal(Signal::SIGSTOP);
                group.kill_leader();
                group.leader();
                scanner.process.signal(Signal::SIGCONT);
            }
        }
    });
    assert!(kills >= 4, "only {kills} leaders died");
    let rank: BTreeMap<u64, usize> = expected.iter().enumerate().map(|(rank, number)| (*number, rank)).collect();
    for pair in seen.windows(2) {
        assert!(rank[&pair[0]] < rank[&pair[1]], "{:?} came before {:?}", scan_key(pair[0]), scan_key(pair[1]));
    }
    let stayed: Vec<u64> = seen.iter().copied().filter(|number| !comes_and_goes(*number)).collect();
    let should: Vec<u64> = expected.into_iter().filter(|number| !comes_and_goes(*number)).collect();
    assert!(stayed == should, "{} of {} keys that stayed were seen", stayed.len(), should.len());
    scanner.ok(json!({"op": "iter_close", "iter": iterator}));
    scanner.close();
}

/// Deletes and writes the keys that come and go, over and over, a hundred in a batch.
fn write_and_delete(group: &Group, slot: usize, count: u64, value: &str, stop: &AtomicBool) {
    let mut process = group.member(slot);
    let volatile: Vec<_> = (0..count).filter(|number| comes_and_goes(*number)).collect();
    let mut chunks = volatile.chunks(100).enumerate().skip(slot).cycle();
    while !stop.load(Ordering::Relaxed) {
        let Some((round, chunk)) = chunks.next() else { return };
        let ops: Vec<Value> = chunk
            .iter()
            .enumerate()
            .map(|(index, number)| {
                let key = base64(&scan_key(*number));
                if (index + round + slot).is_multiple_of(2) {
                    json!({"type": "del", "key": key})
                } else {
                    json!({"type": "put", "key": key, "value": value})
                }
            })
            .collect();
        match process.reply(process.send(json!({"op": "batch", "ops": ops}))) {
            Some(reply) => assert_eq!(reply["ok"], true, "a batch got {reply}"),
            None if stop.load(Ordering::Relaxed) => return,
            None => process = group.successor(slot, &process),
        }
    }
}

#[test]
fn a_scan_goes_on_while_leaders_die() {
    scan_while_leaders_die(false);
}

#[test]
fn a_reverse_scan_goes_on_while_leaders_die() {
    scan_while_leaders_die(true);
}

#[test]
fn a_leader_that_closes_under_load_hands_over_without_errors() {
    let dir = Dir::new();
    let mut leader = Exec::start(&dir.db());
    leader.put("first", "1");
    let group = Group::start(&dir.db(), 3, &[]);
    let written: Vec<_> = (0..group.len()).map(|_| Written::new()).collect();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = StopAtEnd(&stop);
        let (group, stop) = (&group, &stop);
        for (slot, written) in written.iter().enumerate() {
            // It fails on any error.
            scope.spawn(move || written.load(group, slot, stop));
        }
        for _ in 0..3 {
            let before: Vec<_> = written.iter().map(|written| written.acked.load(Ordering::Relaxed)).collect();
            for (written, before) in written.iter().zip(&before) {
                eventually("all write", || (written.acked.load(Ordering::Relaxed) > before + 100).then_some(()));
            }
            // The leader may be a member of the group from the second round on; then this one is a guest that leaves.
            leader.close();
            leader = Exec::start(&dir.db());
            leader.put("again", "1");
        }
        let before: Vec<_> = written.iter().map(|written| written.acked.load(Ordering::Relaxed)).collect();
        for (written, before) in written.iter().zip(&before) {
            eventually("all go on", || (written.acked.load(Ordering::Relaxed) > before + 100).then_some(()));
        }
    });
    for (slot, written) in written.iter().enumerate() {
        written.check(&leader, slot);
    }
    for slot in 0..group.len() {
        group.member(slot).close();
    }
    leader.close();
}

#[test]
fn operations_that_wait_for_a_stopped_leader_finish_with_the_next_one() {
    let dir = Dir::new();
    let leader = Exec::start(&dir.db());
    leader.put("before", "1");
    let guests: Vec<_> = (0..3).map(|_| Exec::start(&dir.db())).collect();
    for guest in &guests {
        assert_eq!(guest.get("before").as_deref(), Some("1"));
    }
    leader.process.signal(Signal::SIGSTOP);
    let mut waiting = Vec::new();
    for (number, guest) in guests.iter().enumerate() {
        for n in 0..20 {
            let put = guest.send(json!({"op": "put", "key": format!("{number}-{n}"), "value": n.to_string()}));
            let get = guest.send(json!({"op": "get", "key": format!("{number}-{n}")}));
            waiting.push((guest, put, get, n));
        }
    }
    leader.process.kill();
    for (guest, put, get, n) in waiting {
        let reply = guest.reply(put).unwrap();
        assert_eq!(reply["ok"], true, "{reply}");
        let reply = guest.reply(get).unwrap();
        assert_eq!(reply["value"], n.to_string(), "{reply}");
    }
    assert_eq!(guests[0].ok(json!({"op": "scan"}))["entries"].as_array().unwrap().len(), 61);
}

#[test]
fn a_leader_that_was_stopped_for_a_while_goes_on() {
    let dir = Dir::new();
    let leader = Exec::start(&dir.db());
    leader.put("before", "1");
    let guests: Vec<_> = (0..3).map(|_| Exec::start(&dir.db())).collect();
    for guest in &guests {
        assert_eq!(guest.get("before").as_deref(), Some("1"));
    }
    leader.process.signal(Signal::SIGSTOP);
    let waiting: Vec<_> = guests
        .iter()
        .enumerate()
        .flat_map(|(number, guest)| {
            (0..50).map(move |n| (guest, guest.send(json!({"op": "put", "key": format!("{number}-{n}"), "value": ""}))))
        })
        .collect();
    // It is no leader's end if it is slow.
    thread::sleep(std::time::Duration::from_millis(300));
    leader.process.signal(Signal::SIGCONT);
    for (guest, id) in waiting {
        let reply = guest.reply(id).unwrap();
        assert_eq!(reply["ok"], true, "{reply}");
    }
    assert!(leader.leads());
    for guest in &guests {
        assert_eq!(guest.ok(json!({"op": "role"}))["leader_pid"], leader.pid());
        assert_eq!(guest.ok(json!({"op": "scan"}))["entries"].as_array().unwrap().len(), 151);
    }
}

#[test]
fn queued_writes_of_a_promoted_guest_come_before_its_later_ones() {
    let dir = Dir::new();
    for _ in 0..3 {
        let leader = Exec::start(&dir.db());
        leader.put("before", "1");
        let guest = Exec::start(&dir.db());
        assert_eq!(guest.get("before").as_deref(), Some("1"));
        guest.event("following");
        leader.process.signal(Signal::SIGSTOP);
        let put = |value: u64| json!({"op": "put", "key": "k", "value": value.to_string()});
        let mut ids: Vec<_> = (0..300).map(|value| guest.send(put(value))).collect();
        leader.process.kill();
        // More while it changes from guest to leader, and after.
        ids.extend((300..600).map(|value| guest.send(put(value))));
        guest.event("leader");
        ids.extend((600..700).map(|value| guest.send(put(value))));
        for id in ids {
            let reply = guest.reply(id).unwrap();
            assert_eq!(reply["ok"], true, "{reply}");
        }
        assert_eq!(guest.get("k").as_deref(), Some("699"));
        guest.process.kill();
        let after = Exec::start(&dir.db());
        assert_eq!(after.get("k").as_deref(), Some("699"));
        after.close();
    }
}

#[test]
fn a_promoted_guest_becomes_the_leader_however_much_it_has_to_do() {
    let dir = Dir::new();
    let leader = Exec::start(&dir.db());
    leader.put("before", "1");
    let guest = Exec::start(&dir.db());
    assert_eq!(guest.get("before").as_deref(), Some("1"));
    let put = |value: usize| guest.send(json!({"op": "put", "key": "k", "value": value.to_string()}));
    let mut on_the_way: VecDeque<_> = (0..WINDOW).map(put).collect();
    leader.process.kill();
    // There is always something that waits; it must not keep the guest from its new role.
    for value in WINDOW..WINDOW + 5000 {
        let reply = guest.reply(on_the_way.pop_front().unwrap()).unwrap();
        assert_eq!(reply["ok"], true, "{reply}");
        if guest.heard("leader") {
            return;
        }
        on_the_way.push_back(put(value));
    }
    panic!("the guest applied 5000 operations and does not lead");
}

#[test]
fn roles_are_told_as_they_change() {
    let dir = Dir::new();
    let first = Exec::start(&dir.db());
    first.event("leader");
    let reply = first.ok(json!({"op": "role"}));
    assert_eq!((&reply["role"], &reply["leader_pid"]), (&json!("leader"), &json!(first.pid())));
    let second = Exec::start(&dir.db());
    assert_eq!(second.event("following")["leader_pid"], first.pid());
    let reply = second.ok(json!({"op": "role"}));
    assert_eq!((&reply["role"], &reply["leader_pid"]), (&json!("guest"), &json!(first.pid())));
    first.process.kill();
    second.event("leader");
    assert!(second.leads());
}

/// Starts `serve` and gives the lines it prints.
fn serve(dir: &Dir) -> (Process, impl Iterator<Item = String> + use<>) {
    let process = Process::spawn(rave().arg("serve").arg(dir.db()));
    let output = process.stdout();
    (process, BufReader::new(output).lines().map_while(Result::ok))
}

#[test]
fn serve_leaves_in_good_order_when_interrupted() {
    let dir = Dir::new();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (server, mut lines) = serve(&dir);
        let line = lines.next().unwrap();
        assert!(line.contains("leader"), "{line}");
        let guest = Exec::start(&dir.db());
        guest.put("a", "1");
        assert_eq!(guest.event("following")["leader_pid"], server.pid());
        server.signal(signal);
        assert_eq!(server.wait().code(), Some(0));
        guest.event("leader");
        assert_eq!(guest.get("a").as_deref(), Some("1"));
        // And a server that follows.
        let (server, mut lines) = serve(&dir);
        let line = lines.next().unwrap();
        assert!(line.contains("following") && line.contains(&guest.pid().to_string()), "{line}");
        server.signal(signal);
        assert_eq!(server.wait().code(), Some(0));
        assert!(guest.leads());
        guest.close();
    }
}

#[test]
fn serve_takes_over_when_the_leader_dies() {
    let dir = Dir::new();
    let leader = Exec::start(&dir.db());
    leader.put("a", "1");
    let (server, mut lines) = serve(&dir);
    let line = lines.next().unwrap();
    assert!(line.contains("following"), "{line}");
    leader.process.kill();
    let line = lines.next().unwrap();
    assert!(line.contains("leader"), "{line}");
    let guest = Exec::start(&dir.db());
    assert_eq!(guest.get("a").as_deref(), Some("1"));
    assert_eq!(guest.ok(json!({"op": "role"}))["leader_pid"], server.pid());
}
