//! Bad answers from a host that speaks as JavaScript does: a guest's operation fails or waits for its deadline, and no
//! nonsense comes out as data. When the host is right again, so is everything.
#![cfg(unix)]

mod support;

use serde_json::{Value, json};
use std::{path::Path, sync::Arc};
use support::{Dir, Exec, error_code, eventually, legacy_host::*, run, wire::*};

/// What becomes of an operation.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// The right answer.
    Right,
    /// It fails: the answer is none.
    Wrong,
    /// It fails when its time is over; the guest has not heard, or not believed, an answer.
    Late,
    /// It fails with this code.
    Code(&'static str),
}
use Expected::{Code, Late, Right, Wrong};

/// A way to answer wrongly.
struct Case {
    name: &'static str,
    /// What becomes of a get, a getMany, a put, and a scan.
    expected: [Expected; 4],
    lie: fn(&Message) -> Option<Vec<u8>>,
    /// Also the greeting is answered so, and what needs no answer.
    always: bool,
}

impl Case {
    fn answer(&self, request: &Message) -> Option<Vec<u8>> {
        let asks = !is_probe(request) && !matches!(request.tag, ITERATOR_ACK | ITERATOR_CLOSE);
        if asks || self.always { (self.lie)(request) } else { honest(request) }
    }
}

fn case(name: &'static str, expected: [Expected; 4], lie: fn(&Message) -> Option<Vec<u8>>) -> Case {
    Case { name, expected, lie, always: false }
}

fn id_of(request: &Message) -> Vec<u8> {
    number(1, request.id())
}

fn seq_of(request: &Message) -> Vec<u8> {
    number(2, request.number(2).unwrap_or(0))
}

/// The right answer, of which the body of the first frame is changed.
fn changed(request: &Message, change: impl Fn(&mut Vec<u8>)) -> Option<Vec<u8>> {
    let honest = honest(request)?;
    // All are short: one byte of length, one of tag.
    let (first, others) = honest.split_at(honest[0] as usize + 1);
    let mut body = first[2..].to_vec();
    change(&mut body);
    Some([frame(first[1], &body), others.to_vec()].concat())
}

/// Entries, and the end behind them, for who would believe them.
fn entries(request: &Message, parts: &[u8], times: usize) -> Option<Vec<u8>> {
    let (id, seq) = (id_of(request), seq_of(request));
    let end = message(ITERATOR_END, &[&id, &seq]);
    Some([data(&[&id[..], &seq, parts]).repeat(times), end].concat())
}

/// An error with this code.
fn failing(request: &Message, code: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    let id = id_of(request);
    Some(match request.tag {
        GET_MANY => message(GET_MANY_CALLBACK, &[id, bytes(2, &code)]),
        ITERATOR => message(ITERATOR_ERROR, &[id, seq_of(request), bytes(3, &code)]),
        _ => callback(&[id, bytes(2, &code)]),
    })
}

/// Answers that are none.
fn lies() -> Vec<Case> {
    let late = [Late; 4];
    vec![
        case("silence", late, |_| Some(vec![])),
        case("hanging up", late, |_| None),
        case("a length above the limit", late, |_| Some(leb128((256 << 20) + 1))),
        case("the length ff…01", late, |_| Some([vec![0xff; 9], vec![1]].concat())),
        case("a length without an end", late, |_| Some(vec![0x80; 100])),
        case("half an answer", late, |request| honest(request).map(|answer| answer[..answer.len() / 2].to_vec())),
        case("an answer cut by a byte", late, |request| changed(request, |body| body.truncate(body.len() - 1))),
        case("an answer without its id", late, |request| changed(request, |body| drop(body.drain(..2)))),
        case("an answer of nothing", late, |request| changed(request, Vec::clear)),
        case("an answer with a group without an end", late, |request| changed(request, |body| body.extend(key(20, 3)))),
        case("another id", late, |request| {
            let answer = changed(request, |body| body[1] ^= 0x55)?;
            // Without the end of the right iterator.
            Some(answer[..answer[0] as usize + 1].to_vec())
        }),
        case("an id of 33 bits", late, |request| {
            changed(request, |body| drop(body.splice(1..2, leb128(1 << 32 | u64::from(body[1])))))
        }),
        case("an error", [Code("LEVEL_CORRUPTION"); 4], |request| failing(request, "LEVEL_CORRUPTION")),
        case("an error of no known code", [Wrong; 4], |request| failing(request, "EVIL\n\x1b[31m")),
        case("an error that is no text", late, |request| failing(request, [0xff, 0xfe])),
        case("a callback", [Wrong, Wrong, Right, Late], |request| Some(callback(&[id_of(request)]))),
        case("a callback with a value", [Right, Wrong, Wrong, Late], |request| {
            Some(callback(&[id_of(request), bytes(3, "v")]))
        }),
        case("the answer to a getMany of nothing", [Wrong, Wrong, Wrong, Late], |request| {
            Some(message(GET_MANY_CALLBACK, &[id_of(request)]))
        }),
        case("the answer to a getMany of one key", [Wrong, Wrong, Wrong, Late], |request| {
            Some(message(GET_MANY_CALLBACK, &[id_of(request), bytes(3, bytes(1, "v"))]))
        }),
        case("the answer to a getMany of three keys", [Wrong, Wrong, Wrong, Late], |request| {
            Some(message(GET_MANY_CALLBACK, &[id_of(request), bytes(3, bytes(1, "v")).repeat(3)]))
        }),
        case("the answer to a status", [Wrong, Wrong, Wrong, Late], |request| {
            Some(message(34, &[id_of(request), number(2, 1)]))
        }),
        case("entries", [Late, Late, Late, Right], |request| match request.tag {
            ITERATOR => honest(request),
            _ => Some(data(&[id_of(request), number(2, 0), bytes(3, "k"), bytes(3, "v")])),
        }),
    ]
}

/// Answers to iterators that are none.
fn lies_about_entries() -> Vec<Case> {
    let expected = [Right, Right, Right, Late];
    let case = |name, lie: fn(&Message) -> Option<Vec<u8>>| Case { name, expected, lie, always: false };
    vec![
        case("half an entry", |request| match request.tag {
            ITERATOR => entries(request, &[bytes(3, "k"), bytes(3, "v"), bytes(3, "l")].concat(), 1),
            _ => honest(request),
        }),
        case("a frame of no entries", |request| match request.tag {
            ITERATOR => entries(request, b"", 1),
            _ => honest(request),
        }),
        case("thousands of frames without credit", |request| match request.tag {
            ITERATOR => entries(request, &[bytes(3, "k"), bytes(3, "v")].concat(), 5000),
            _ => honest(request),
        }),
        case("the end and the failure of other iterators and seeks", |request| match request.tag {
            ITERATOR => {
                let (other, later) = (number(1, request.id() ^ 0x55), number(2, request.number(2)? + 1));
                let ends = [
                    message(ITERATOR_END, &[other, seq_of(request)]),
                    message(ITERATOR_END, &[id_of(request), later.clone()]),
                    message(ITERATOR_ERROR, &[id_of(request), later, bytes(3, "LEVEL_CORRUPTION")]),
                ];
                Some(ends.concat())
            }
            _ => honest(request),
        }),
    ]
}

/// What changes nothing about an answer.
fn noise() -> Vec<Case> {
    let case = |name, lie: fn(&Message) -> Option<Vec<u8>>| Case { name, expected: [Right; 4], lie, always: true };
    vec![
        case("answers to nothing", |request| {
            let wrong = bytes(3, "wrong");
            let strangers = (1000..3000).flat_map(|id| {
                let (id, seq) = (number(1, id), number(2, 0));
                let answers = [
                    callback(&[&id, &wrong]),
                    data(&[&id, &seq, &wrong, &wrong]),
                    message(GET_MANY_CALLBACK, &[&id, &bytes(3, &wrong)]),
                    message(ITERATOR_ERROR, &[&id, &seq, &wrong]),
                    message(ITERATOR_END, &[&id, &seq]),
                ];
                answers.concat()
            });
            Some(strangers.chain(honest(request)?).collect())
        }),
        case("each answer twice", |request| match request.tag {
            // Twice the same entries would be other entries.
            ITERATOR => honest(request),
            _ => Some(honest(request)?.repeat(2)),
        }),
        case("unknown tags and frames of nothing", |request| {
            let unknown = [frame(5, b"\xff"), frame(31, b""), frame(255, b"\x0b"), vec![0, 0, 0x80, 0]];
            Some([unknown.concat(), honest(request)?].concat())
        }),
        case("unknown fields", |request| match request.tag {
            GET | GET_MANY | PUT | ITERATOR => changed(request, |body| {
                let unknown = [number(15, u64::MAX), bytes(20, "wrong"), vec![0x7d, 1, 2, 3, 4]].concat();
                body.splice(0..0, unknown);
            }),
            _ => honest(request),
        }),
    ]
}

fn cases() -> impl Iterator<Item = Arc<Case>> {
    lies().into_iter().chain(lies_about_entries()).chain(noise()).map(Arc::new)
}

fn is_right(reply: &Value) -> bool {
    let values = [
        reply["value"] == "v",
        reply["values"] == json!(["v", null]),
        reply["entries"] == json!([["k", "v"]]) && reply["done"] == true,
        reply.as_object().is_some_and(|fields| fields.len() == 2),
    ];
    reply["ok"] == true && values.into_iter().any(|value| value)
}

#[track_caller]
fn judge(what: &str, reply: &Value, expected: Expected) {
    let code = error_code(reply);
    match expected {
        Right => assert!(is_right(reply), "{what}: {reply}"),
        Wrong => assert_eq!(code.as_deref(), Some("LEVEL_REMOTE_ERROR"), "{what}: {reply}"),
        Late => assert_eq!(code.as_deref(), Some("LEVEL_ABORTED"), "{what}: {reply}"),
        Code(expected) => assert_eq!(code.as_deref(), Some(expected), "{what}: {reply}"),
    }
}

fn requests() -> [Value; 4] {
    [
        json!({"op": "get", "key": "k"}),
        json!({"op": "get_many", "keys": ["k", "absent"]}),
        json!({"op": "put", "key": "k", "value": "v"}),
        json!({"op": "scan"}),
    ]
}

#[test]
fn a_guest_of_a_host_that_answers_nonsense() {
    let dir = Dir::new();
    let socket = dir.join("s");
    let host = LegacyHost::start(&socket);
    let address = format!("unix:{}", socket.display());
    let guests = |options: &[&str]| [(); 4].map(|()| Exec::with(Path::new(&address), options));
    // The ones would wait for ever; the others give up soon, and are asked only where that is what they have to do.
    let (patient, hasty) = (guests(&[]), guests(&["--timeout", "0.3"]));
    for case in cases() {
        let (name, expected) = (case.name, case.expected);
        host.behave(move |request| case.answer(request));
        let choose = |(place, expected)| match expected {
            Late => &hasty[place],
            _ => &patient[place],
        };
        let asked: Vec<_> = expected.into_iter().enumerate().map(choose).collect();
        let ids: Vec<_> = asked.iter().zip(requests()).map(|(guest, request)| guest.send(request)).collect();
        for (((guest, id), request), expected) in asked.into_iter().zip(ids).zip(requests()).zip(expected) {
            let what = format!("{name}: {request}");
            let reply = guest.reply(id).unwrap_or_else(|| panic!("{what}: no reply; {}", guest.stderr()));
            judge(&what, &reply, expected);
        }
        host.behave(honest);
        for (guest, request) in patient.iter().zip(requests()) {
            judge(&format!("honesty after {name}: {request}"), &guest.ask(request), Right);
        }
        host.hang_up();
        for (guest, request) in hasty.iter().zip(requests()) {
            // A machine under load may be late with anything.
            eventually(&format!("a right answer after {name}"), || is_right(&guest.ask(request.clone())).then_some(()));
        }
    }
    for guest in patient.iter().chain(&hasty) {
        guest.close();
        assert!(!guest.stderr().contains("panicked"), "{}", guest.stderr());
    }
}

#[test]
fn commands_on_a_host_that_answers_nonsense() {
    let dir = Dir::new();
    let socket = dir.join("s");
    let host = LegacyHost::start(&socket);
    let address = format!("unix:{}", socket.display());
    for case in cases() {
        let (name, expected) = (case.name, case.expected);
        host.behave(move |request| case.answer(request));
        let finished = run(&[&"get", &address, &"k", &"--timeout", &"0.3"]);
        match expected[0] {
            Right => assert_eq!(finished.lines(), ["v"], "{name}"),
            _ => {
                assert!(finished.failed(3).contains("LEVEL_"), "{name}: {finished:?}");
                assert!(finished.out.is_empty(), "{name}: {finished:?}");
            }
        }
    }
}

#[test]
fn a_host_that_never_answers_the_greeting() {
    let dir = Dir::new();
    let socket = dir.join("s");
    let host = LegacyHost::start(&socket);
    host.behave(|_| Some(vec![]));
    let address = format!("unix:{}", socket.display());
    let finished = run(&[&"get", &address, &"k", &"--open-timeout", &"0.5"]);
    assert!(finished.failed(3).contains(&socket.display().to_string()), "{finished:?}");
}
