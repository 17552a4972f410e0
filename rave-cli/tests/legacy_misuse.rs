//! Well-formed messages that make no sense, are too many, or ask for too much: the answer that the protocol has for it, a
//! bound on what it costs, and nobody else notices.
#![cfg(unix)]

mod support;

use std::{os::unix::net::UnixStream, thread, time::Duration};
use support::{eventually, stage::Stage, wire::*};

/// A message as the tables below write it.
fn told(message: &Message) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let parts: Vec<_> = message.all(3).into_iter().map(text).collect();
    let seq = message.number(2);
    match (message.tag, seq) {
        (ITERATOR_DATA, Some(seq)) => format!("data {}/{seq} {}", message.id(), parts.join(" ")),
        (ITERATOR_END, Some(seq)) => format!("end {}/{seq}", message.id()),
        (ITERATOR_ERROR, Some(seq)) => format!("error {}/{seq} {}", message.id(), parts.join(" ")),
        (CALLBACK | GET_MANY_CALLBACK, _) => {
            format!("callback {} {}", message.id(), message.error().unwrap_or_else(|| parts.join(" ")))
        }
        _ => panic!("{message:?}"),
    }
}

/// Sends each step's frames and hears its answers, and no others.
#[track_caller]
fn talk(stage: &mut Stage, name: &str, steps: &[(Vec<Vec<u8>>, &[&str])]) {
    let mut peer = stage.dial();
    for (step, (frames, expected)) in steps.iter().enumerate() {
        let what = format!("{}: {name}, step {step}", stage.name);
        peer.send(&frames.concat());
        for expected in *expected {
            let message = peer.hear().unwrap_or_else(|| panic!("{what}: an end instead of {expected}"));
            assert_eq!(told(&message), *expected, "{what}");
        }
        peer.send(&get(4242, "b"));
        let probe = peer.hear().unwrap_or_else(|| panic!("{what}: the connection ended"));
        assert_eq!(told(&probe), "callback 4242 2", "{what}");
    }
    stage.check(name);
}

/// From `a` to `c`, and what else the range says.
fn a_to_c(rest: &[u8]) -> Vec<u8> {
    [&number(1, 1), &number(2, 1), &bytes(4, "a"), &bytes(6, "c"), rest].concat()
}

fn all() -> Vec<u8> {
    a_to_c(&[signed(7, -1), number(8, 0)].concat())
}

const ALL: &str = "data 7/0 a 1 b 2 c 3";

#[test]
fn iterators_that_are_not_there_or_not_so_far() {
    for mut stage in Stage::all() {
        let stage = &mut stage;
        talk(
            stage,
            "acknowledging, seeking and closing no iterator",
            &[
                (vec![ack(9, 0, 1), ack(9, u32::MAX.into(), u64::MAX), seek(9, 1, "b"), close(9), close(9)], &[]),
                (vec![open(7, &all())], &[ALL, "end 7/0"]),
            ],
        );
        talk(
            stage,
            "acknowledging more than was sent",
            &[
                (vec![open(7, &all())], &[ALL, "end 7/0"]),
                (vec![ack(7, 0, u64::MAX); 1000], &[]),
                (vec![ack(7, 1, 3), ack(7, u32::MAX.into(), 3)], &[]),
                (vec![seek(7, 1, "b")], &["data 7/1 b 2 c 3", "end 7/1"]),
            ],
        );
        talk(
            stage,
            "acknowledging more than a limit allows",
            &[
                (vec![open(7, &a_to_c(&signed(7, 2)))], &["data 7/0 a 1 b 2", "end 7/0"]),
                (vec![ack(7, 0, 1)], &[]),
                (vec![seek(7, 1, "a")], &["data 7/1 a 1", "end 7/1"]),
                (vec![ack(7, 1, u64::MAX), seek(7, 2, "a")], &["end 7/2"]),
            ],
        );
        talk(
            stage,
            "seqs that go backwards and repeat",
            &[
                (vec![open(7, &all())], &[ALL, "end 7/0"]),
                (vec![seek(7, u32::MAX.into(), "b")], &["data 7/4294967295 b 2 c 3", "end 7/4294967295"]),
                (vec![seek(7, 3, "c")], &["data 7/3 c 3", "end 7/3"]),
                (vec![seek(7, 3, "b")], &["data 7/3 b 2 c 3", "end 7/3"]),
                (vec![seek(7, 0, "zz")], &["end 7/0"]),
            ],
        );
        talk(
            stage,
            "closing twice, and seeking after that",
            &[
                (vec![open(7, &all())], &[ALL, "end 7/0"]),
                (vec![close(7), close(7), seek(7, 1, "a"), ack(7, 0, 3)], &[]),
                (vec![open(7, &all())], &[ALL, "end 7/0"]),
            ],
        );
        talk(
            stage,
            "an id that is opened again is another iterator",
            &[
                (vec![open(7, &all())], &[ALL, "end 7/0"]),
                (vec![open(7, &a_to_c(&number(8, 1)))], &["data 7/0 c 3 b 2 a 1", "end 7/0"]),
                (vec![close(7)], &[]),
            ],
        );
        talk(
            stage,
            "a broken seek of an open iterator",
            &[
                (vec![open(7, &all())], &[ALL, "end 7/0"]),
                (vec![frame(ITERATOR_SEEK, &[number(1, 7), number(2, 5)].concat())], &["error 7/5 LEVEL_REMOTE_ERROR"]),
                (vec![seek(7, 6, "c")], &["data 7/6 c 3", "end 7/6"]),
            ],
        );
    }
}

#[test]
fn ranges_and_limits_at_their_edges() {
    for mut stage in Stage::all() {
        let stage = &mut stage;
        let nothing: &[&str] = &["end 7/0"];
        let whole: &[&str] = &[ALL, "end 7/0"];
        let bounds = |bounds: &[Vec<u8>]| range(&bounds.concat());
        for (name, range, expected) in [
            ("gt above lt", bounds(&[bytes(3, "c"), bytes(5, "a")]), nothing),
            ("gte above lte", bounds(&[bytes(4, "c"), bytes(6, "a")]), nothing),
            ("gt and lt at one key", bounds(&[bytes(3, "b"), bytes(5, "b")]), nothing),
            ("gt and lte at one key", bounds(&[bytes(3, "b"), bytes(6, "b")]), nothing),
            ("lt the empty key", bounds(&[bytes(5, "")]), nothing),
            ("gt above lt, in reverse", [bytes(3, "c"), bytes(5, "a"), number(8, 1)].concat(), nothing),
            ("gte beats gt, lte beats lt", a_to_c(&[bytes(3, "b"), bytes(5, "b")].concat()), whole),
            ("no limit", a_to_c(b""), whole),
            ("the limit -1", a_to_c(&signed(7, -1)), whole),
            ("the limit -5", a_to_c(&signed(7, -5)), whole),
            ("the lowest limit of 32 bits", a_to_c(&signed(7, i32::MIN.into())), whole),
            ("the lowest limit", a_to_c(&signed(7, i64::MIN)), whole),
            ("the highest limit", a_to_c(&signed(7, i64::MAX)), whole),
            ("the limit 0", a_to_c(&signed(7, 0)), nothing),
            ("the limit 1", a_to_c(&signed(7, 1)), &["data 7/0 a 1", "end 7/0"]),
            ("the limit 2^31", a_to_c(&signed(7, 1 << 31)), whole),
            ("the limit 2^32 + 1", a_to_c(&signed(7, (1 << 32) + 1)), whole),
            ("a bool of 2^63", a_to_c(&number(8, 1 << 63)), &["data 7/0 c 3 b 2 a 1", "end 7/0"]),
        ] {
            talk(stage, name, &[(vec![open(7, &range)], expected)]);
        }
        for (name, rest, expected) in [
            (
                "all consumed before",
                [number(4, u64::MAX), bytes(5, "a")].concat(),
                &["data 7/0 b 2 c 3", "end 7/0"][..],
            ),
            ("a bookmark behind the range", [number(4, 1), bytes(5, "x")].concat(), nothing),
            ("a bookmark before the range", [number(4, 1), bytes(5, "A")].concat(), nothing),
            ("a seek behind the range", [number(4, 1), bytes(6, "x")].concat(), nothing),
            (
                "a bookmark and a seek",
                [number(4, 1), bytes(5, "c"), bytes(6, "b")].concat(),
                &["data 7/0 b 2 c 3", "end 7/0"],
            ),
        ] {
            let body = [number(1, 7), number(2, 0), bytes(3, all()), rest].concat();
            talk(stage, name, &[(vec![frame(ITERATOR, &body)], expected)]);
        }
        let limited = [number(1, 7), number(2, 0), bytes(3, a_to_c(&signed(7, 2))), number(4, u64::MAX)].concat();
        talk(stage, "more consumed than the limit", &[(vec![frame(ITERATOR, &limited)], nothing)]);
        for (name, range) in [
            ("clear gt above lt", [bytes(3, "c"), bytes(5, "a")].concat()),
            ("clear with the limit 0", signed(7, 0)),
            ("clear behind everything, with the limit -1", [bytes(3, "zz"), signed(7, -1)].concat()),
            ("clear lt the empty key", bytes(5, "")),
        ] {
            let clear = frame(CLEAR, &[number(1, 1), bytes(2, range)].concat());
            talk(stage, name, &[(vec![clear], &["callback 1 "])]);
        }
    }
}

#[test]
fn more_iterators_than_a_connection_may_have() {
    for mut stage in Stage::all() {
        let mut peer = stage.dial();
        let empty = range(&bytes(3, "zz"));
        for id in 1..=4096 {
            peer.send(&open(id, &empty));
            assert_eq!(told(&peer.hear().unwrap()), format!("end {id}/0"), "{}", stage.name);
        }
        for id in 4097..4100 {
            peer.send(&open(id, &empty));
            assert_eq!(told(&peer.hear().unwrap()), format!("error {id}/0 LEVEL_NOT_SUPPORTED"), "{}", stage.name);
        }
        peer.send(&[open(5, &all()), close(6), open(4100, &all())].concat());
        for expected in ["data 5/0 a 1 b 2 c 3", "end 5/0", "data 4100/0 a 1 b 2 c 3", "end 4100/0"] {
            assert_eq!(told(&peer.hear().unwrap()), expected, "{}", stage.name);
        }
        stage.check("4100 iterators");
        drop(peer);
        stage.end();
    }
}

/// Bytes of memory that a host may take beyond what it had, in these tests; each would take gigabytes without bounds.
const ROOM: u64 = 512 << 20;

/// What a host may have from now on.
fn bound(stage: &Stage) -> Option<u64> {
    Some(stage.resident()? + ROOM)
}

#[track_caller]
fn within(stage: &Stage, bound: Option<u64>, what: &str) {
    let (resident, bound) = (stage.resident().unwrap_or(0), bound.unwrap_or(u64::MAX));
    assert!(resident <= bound, "{}: {resident} bytes of memory are more than {bound} after {what}", stage.name);
}

#[test]
fn a_million_keys_at_once() {
    for mut stage in Stage::all() {
        // The empty key, a million times: once when it does not exist, once when its value makes the answer too large.
        let ask = frame(GET_MANY, &[number(1, 7), bytes(2, "").repeat(1_000_000)].concat());
        for (value, expected) in [(None, None), (Some("v".repeat(1 << 20)), Some("LEVEL_NOT_SUPPORTED"))] {
            if let Some(value) = &value {
                stage.native().put("", value);
            }
            let bound = bound(&stage);
            let mut peer = stage.dial();
            peer.send(&ask);
            let answer = peer.hear().unwrap_or_else(|| panic!("{}: no answer", stage.name));
            assert_eq!((answer.tag, answer.id()), (GET_MANY_CALLBACK, 7), "{}", stage.name);
            assert_eq!(answer.error().as_deref(), expected, "{}", stage.name);
            assert_eq!(answer.all(3).len(), if expected.is_some() { 0 } else { 1_000_000 }, "{}", stage.name);
            within(&stage, bound, "a million keys");
        }
        stage.native().ok(serde_json::json!({"op": "del", "key": ""}));
        stage.check("a million keys at once");
        stage.end();
    }
}

#[test]
fn values_that_do_not_fit_an_answer_together() {
    for mut stage in Stage::all() {
        // More than any cache holds, so that each reading of a value is another copy.
        let big: Vec<_> = (0..40).map(|number| format!("big{number:02}")).collect();
        for key in &big {
            stage.native().put(key, &key.repeat(200_000));
        }
        let bound = bound(&stage);
        let keys: Vec<u8> = big.iter().flat_map(|key| bytes(2, key)).collect();
        let mut peer = stage.dial();
        peer.send(&frame(GET_MANY, &[number(1, 7), keys.repeat(40)].concat()));
        let answer = peer.hear().unwrap_or_else(|| panic!("{}: no answer", stage.name));
        assert_eq!((answer.tag, answer.id()), (GET_MANY_CALLBACK, 7), "{}", stage.name);
        assert_eq!(answer.error().as_deref(), Some("LEVEL_NOT_SUPPORTED"), "{}", stage.name);
        within(&stage, bound, "1,600 megabytes were asked for");
        stage.native().ok(serde_json::json!({"op": "clear", "gte": "big00", "lte": "big39"}));
        stage.check("values that do not fit");
        stage.end();
    }
}

#[test]
fn peers_that_ask_and_never_read() {
    let batch = {
        let operation = bytes(2, [bytes(1, "del"), bytes(2, "absent")].concat());
        frame(BATCH, &[number(1, 7), operation].concat())
    };
    let many = frame(GET_MANY, &[number(1, 7), bytes(2, "big").repeat(20)].concat());
    for mut stage in Stage::all() {
        stage.native().put("big", &"v".repeat(1 << 20));
        let bound = bound(&stage);
        let floods = [
            ("gets", get(7, "big").repeat(1000)),
            ("getManys", many.repeat(100)),
            ("writes", batch.repeat(1000)),
            ("gets of nothing", get(7, "absent").repeat(1000)),
            ("broken requests", frame(GET, &number(1, 7)).repeat(1000)),
            ("iterators", (1..=4000).flat_map(|id| open(id, &range(b""))).collect()),
            ("acknowledgements", [open(1, &range(b"")), ack(1, 0, 1).repeat(1000)].concat()),
            ("seeks", [open(1, &range(b"")), seek(1, 0, "").repeat(1000)].concat()),
        ];
        let peers: Vec<_> = floods
            .into_iter()
            .map(|(name, frames)| {
                let mut stream = stage.dial().into_stream();
                stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
                let kept = stream.try_clone().unwrap();
                (name, kept, thread::spawn(move || floods_until_deaf(&mut stream, &frames)))
            })
            .collect();
        for (name, _, flood) in &peers {
            eventually(&format!("{}: {name} end", stage.name), || flood.is_finished().then_some(()));
            within(&stage, bound, name);
        }
        stage.native().ok(serde_json::json!({"op": "del", "key": "big"}));
        stage.check("floods");
        // The host can leave although they are all still there.
        stage.end();
        for (name, kept, flood) in peers {
            assert!(flood.join().unwrap(), "{name}: the host took more than a peer that reads nothing should get");
            drop(kept);
        }
    }
}

/// Sends again and again; true if the other end took no more at some point.
fn floods_until_deaf(stream: &mut UnixStream, frames: &[u8]) -> bool {
    use std::io::Write;
    (0..(1 << 30) / frames.len()).any(|_| stream.write_all(frames).is_err())
}

#[test]
fn peers_that_say_nothing_or_only_that_much_will_come() {
    for mut stage in Stage::all() {
        let bound = bound(&stage);
        let peers: Vec<_> = (0..200)
            .map(|number| {
                let mut peer = stage.dial();
                match number % 4 {
                    0 => {}
                    1 => peer.send(&leb128(256 << 20)),
                    2 => peer.send(&[&leb128(256 << 20)[..], &[PUT, 8]].concat()),
                    _ => peer.send(&[0x80]),
                }
                peer
            })
            .collect();
        stage.check("200 silent peers");
        within(&stage, bound, "200 silent peers");
        // A frame that may be that large costs what has come of it.
        let mut slow = stage.dial();
        slow.send(&leb128(256 << 20));
        for _ in 0..100 {
            slow.send(&[0; 10_000]);
        }
        stage.check("a slow peer");
        within(&stage, bound, "a slow peer");
        drop((peers, slow));
        stage.end();
    }
}

#[test]
fn peers_that_come_and_go() {
    for mut stage in Stage::all() {
        let bound = bound(&stage);
        for round in 0..2000 {
            let mut peer = stage.dial();
            match round % 4 {
                0 => {}
                1 => peer.send(&get(1, "b")[..4]),
                2 => peer.send(&open(1, &range(b""))),
                _ => peer.send(&get(1, "b")),
            }
        }
        stage.check("2000 peers that came and went");
        within(&stage, bound, "2000 peers that came and went");
        stage.end();
    }
}
