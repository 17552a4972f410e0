//! Bad input from a peer that speaks as JavaScript does: an error under the request's id where the protocol has one, else
//! the end of that connection; and nobody else notices.
#![cfg(unix)]

mod support;

use support::{
    shape::{
        Expected::{self, Answer, End, Refusal, Silence},
        ID, Part, operation, shapes,
    },
    stage::Stage,
    wire::*,
};

/// The id of the good request behind each.
const PROBE: u64 = 4242;

/// What a peer sends and must hear.
struct Case {
    name: String,
    bytes: Vec<u8>,
    expected: Expected,
}

fn case(name: impl Into<String>, bytes: Vec<u8>, expected: Expected) -> Case {
    Case { name: name.into(), bytes, expected }
}

/// What a peer heard before the answer to its good request, or before the end.
fn outcome(stage: &Stage, case: &Case, finish: bool) -> (Vec<Message>, bool) {
    let mut peer = stage.dial();
    peer.send(&case.bytes);
    if finish {
        peer.finish();
    } else {
        peer.send(&get(PROBE, "b"));
    }
    let mut heard = Vec::new();
    while let Some(message) = peer.hear() {
        if message.tag == CALLBACK && message.id() == PROBE {
            assert_eq!(message.all(3), [b"2"], "{}: {}", stage.name, case.name);
            return (heard, true);
        }
        heard.push(message);
    }
    (heard, false)
}

/// Lets a peer send each case over a connection of its own, to hosts of every kind.
fn try_all(cases: &[Case]) {
    for mut stage in Stage::all() {
        for case in cases {
            let what = format!("{}: {}", stage.name, case.name);
            let (heard, goes_on) = outcome(&stage, case, false);
            assert_eq!(goes_on, case.expected != End, "{what}: {heard:?}");
            match case.expected {
                Answer(tag) => {
                    let answer = heard.first().unwrap_or_else(|| panic!("{what}: no answer"));
                    assert_eq!((answer.tag, answer.id(), answer.error()), (tag, ID, None), "{what}");
                }
                Refusal(tag) => {
                    let [answer] = heard.as_slice() else { panic!("{what}: {heard:?}") };
                    let error = answer.error();
                    assert_eq!((answer.tag, answer.id()), (tag, ID), "{what}: {answer:?}");
                    assert_eq!(error.as_deref(), Some("LEVEL_REMOTE_ERROR"), "{what}");
                    assert!(tag != ITERATOR_ERROR || answer.number(2) == Some(0), "{what}: {answer:?}");
                }
                Silence | End => assert!(heard.is_empty(), "{what}: {heard:?}"),
            }
            stage.check(&case.name);
        }
        stage.end();
    }
}

#[test]
fn messages_without_a_field_that_they_need() {
    let mut cases = Vec::new();
    for shape in shapes() {
        cases.push(case(shape.name, shape.frame(&shape.parts), shape.whole));
        for (index, part) in shape.parts.iter().enumerate().filter(|(_, part)| part.required) {
            let mut parts = shape.parts.clone();
            parts.remove(index);
            let named = shape.refusal.is_some_and(|(naming, _)| index >= naming);
            let expected = if named { shape.broken_at(index) } else { End };
            cases.push(case(format!("{} without {}", shape.name, part.name), shape.frame(&parts), expected));
        }
        cases.push(case(format!("{} of nothing", shape.name), shape.frame(&[]), End));
    }
    for (what, operation) in [
        ("no type", bytes(2, "b")),
        ("no key", [bytes(1, "put"), bytes(3, "2")].concat()),
        ("a put without a value", operation("put", "b", None)),
        ("a del without a key", bytes(1, "del")),
        ("nothing", vec![]),
        ("an empty type", operation("", "b", Some("2"))),
        ("the type PUT", operation("PUT", "b", Some("2"))),
        ("the type merge", operation("merge", "b", Some("2"))),
        ("a type that is no text", [bytes(1, [0xff, 0xfe]), bytes(2, "b")].concat()),
    ] {
        // Good ones before and behind it must not be applied either.
        let good = bytes(2, operation_on_b());
        let body = [number(1, ID), good.clone(), bytes(2, operation), good].concat();
        cases.push(case(format!("an operation with {what}"), frame(BATCH, &body), Refusal(CALLBACK)));
    }
    try_all(&cases);
}

/// Would be seen if it were applied.
fn operation_on_b() -> Vec<u8> {
    operation("put", "b", Some("changed"))
}

#[test]
fn messages_whose_fields_have_other_types() {
    let mut cases = Vec::new();
    for shape in shapes() {
        for (index, part) in shape.parts.iter().enumerate() {
            let (field, right) = part.field;
            for (wire_type, value) in [
                (0, leb128(1)),
                (1, vec![0; 8]),
                (2, bytes(1, "b")[1..].to_vec()),
                (3, key(field, 4)),
                (4, vec![]),
                (5, vec![0; 4]),
                (6, vec![]),
                (7, vec![]),
            ] {
                if wire_type != right {
                    let mut body: Vec<u8> = shape.parts[..index].iter().flat_map(Part::bytes).collect();
                    body.extend([key(field, wire_type), value].concat());
                    body.extend(shape.parts[index + 1..].iter().flat_map(Part::bytes));
                    let name = format!("{} with {} of wire type {wire_type}", shape.name, part.name);
                    cases.push(case(name, frame(shape.tag, &body), shape.broken_at(index)));
                }
            }
        }
    }
    try_all(&cases);
}

#[test]
fn messages_cut_at_every_byte_in_a_frame_of_that_length() {
    let mut cases = Vec::new();
    for shape in shapes() {
        let encoded: Vec<_> = shape.parts.iter().map(Part::bytes).collect();
        let body = encoded.concat();
        for length in 0..body.len() {
            // How many parts are whole, and whether the cut is between two of them.
            let mut left = length;
            let whole =
                encoded.iter().take_while(|part| left.checked_sub(part.len()).map(|rest| left = rest).is_some());
            let whole = whole.count();
            let complete = left == 0 && shape.parts[whole..].iter().all(|part| !part.required);
            let expected = if complete { shape.whole } else { shape.broken_at(whole) };
            cases.push(case(
                format!("{} cut to {length} bytes", shape.name),
                frame(shape.tag, &body[..length]),
                expected,
            ));
        }
    }
    try_all(&cases);
}

#[test]
fn streams_that_end_in_the_middle_of_a_frame() {
    for mut stage in Stage::all() {
        for shape in shapes() {
            let whole = shape.frame(&shape.parts);
            for length in 0..whole.len() {
                let case = case(format!("{} of which {length} bytes come", shape.name), whole[..length].to_vec(), End);
                let (heard, _) = outcome(&stage, &case, true);
                assert!(heard.is_empty(), "{}: {}: {heard:?}", stage.name, case.name);
            }
            stage.check(shape.name);
        }
        stage.end();
    }
}

#[test]
fn lengths_that_point_outside() {
    let mut cases = Vec::new();
    for shape in shapes() {
        for (index, part) in shape.parts.iter().enumerate().filter(|(_, part)| part.field.1 == 2) {
            let before: Vec<u8> = shape.parts[..index].iter().flat_map(Part::bytes).collect();
            let behind: Vec<u8> = shape.parts[index + 1..].iter().flat_map(Part::bytes).collect();
            let beyond = (part.value.len() + behind.len() + 1) as u64;
            for length in [beyond, 1 << 31, u32::MAX.into(), 1 << 32, 1 << 63, u64::MAX] {
                let field = [key(part.field.0, 2), leb128(length), part.value.clone()].concat();
                let name = format!("{} whose {} has {length} bytes", shape.name, part.name);
                let body = [&before[..], &field, &behind].concat();
                cases.push(case(name, frame(shape.tag, &body), shape.broken_at(index)));
            }
        }
    }
    // Out of the message within the message, into what follows it.
    let put = |key_length: u8, behind: &[u8]| {
        let operation = [&bytes(1, "put")[..], &[0x12, key_length, b'b'], &bytes(3, "2")].concat();
        frame(BATCH, &[&number(1, ID)[..], &bytes(2, operation), behind].concat())
    };
    cases.push(case("an operation whose key ends in it", put(1, b""), Answer(CALLBACK)));
    cases.push(case("an operation whose key ends behind it", put(8, &bytes(2, operation_on_b())), Refusal(CALLBACK)));
    let clear = |length: u8| {
        let range = [&[0x22, length, b'x'][..], &signed(7, -1), &number(8, 0)].concat();
        frame(CLEAR, &[number(1, ID), bytes(2, range), bytes(60, "something")].concat())
    };
    cases.push(case("a range whose bound ends in it", clear(1), Answer(CALLBACK)));
    cases.push(case("a range whose bound ends behind it", clear(9), Refusal(CALLBACK)));
    try_all(&cases);
}

#[test]
fn frames_whose_length_is_none() {
    let mut cases = vec![
        case("a length above the limit", leb128((256 << 20) + 1), End),
        case("a length of half a terabyte", leb128(1 << 39), End),
        case("the length ff…01", [[0xff; 9].as_slice(), &[1]].concat(), End),
        case("the length 2^64 - 1", leb128(u64::MAX), End),
        case("a length of more than 64 bits", [[0xff; 9].as_slice(), &[2]].concat(), End),
        case("a length without an end", vec![0x80; 100], End),
        case("no frame but zeros", vec![0; 100_000], Silence),
    ];
    let body = [&[GET][..], &number(1, ID), &bytes(2, "b")].concat();
    for (length, expected) in [(2, Answer(CALLBACK)), (10, Answer(CALLBACK)), (11, End)] {
        let bytes = [overlong(body.len() as u64, length), body.clone()].concat();
        cases.push(case(format!("a length written in {length} bytes"), bytes, expected));
        let bytes = [overlong(0, length), get(ID, "b")].concat();
        cases.push(case(format!("a length of zero in {length} bytes, then a good frame"), bytes, expected));
    }
    try_all(&cases);
}

#[test]
fn numbers_that_are_long_or_large() {
    let mut cases = Vec::new();
    for (length, good) in [(9, true), (10, true), (11, false), (200, false)] {
        let get = |name: &str, body: Vec<u8>, named: bool| {
            let expected = match (good, named) {
                (true, _) => Answer(CALLBACK),
                (false, true) => Refusal(CALLBACK),
                (false, false) => End,
            };
            case(format!("{name} in {length} bytes"), frame(GET, &body), expected)
        };
        let (id, b) = (number(1, ID), bytes(2, "b"));
        cases.push(get("an id", [&key(1, 0)[..], &overlong(ID, length), &b].concat(), false));
        cases.push(get("the key of an id", [&overlong(1 << 3, length)[..], &leb128(ID), &b].concat(), false));
        cases.push(get("the key of a key", [&id[..], &overlong(2 << 3 | 2, length), &b[1..]].concat(), true));
        cases.push(get("the length of a key", [&id[..], &key(2, 2), &overlong(1, length), b"b"].concat(), true));
        cases.push(get("an unknown number", [&id[..], &key(15, 0), &overlong(1, length), &b].concat(), true));
    }
    for id in [1 << 32 | ID, 1 << 35 | ID, 1 << 63 | ID] {
        for shape in shapes() {
            let mut parts = shape.parts.clone();
            parts[0].value = leb128(id);
            cases.push(case(format!("{} with the id {id}", shape.name), shape.frame(&parts), End));
        }
    }
    for shape in shapes().into_iter().filter(|shape| shape.parts.get(1).is_some_and(|part| part.name == "seq")) {
        let mut parts = shape.parts.clone();
        parts[1].value = leb128(1 << 32);
        cases.push(case(format!("{} with a seq of 33 bits", shape.name), shape.frame(&parts), End));
    }
    let field = |number: u64| [leb128(number << 3), leb128(1)].concat();
    for (name, extra) in [("the field 0", field(0)), ("a field of 30 bits", field(1 << 29))] {
        let body = [number(1, ID), extra, bytes(2, "b")].concat();
        cases.push(case(name, frame(GET, &body), Refusal(CALLBACK)));
    }
    try_all(&cases);
}

#[test]
fn ids_at_both_ends_are_ids_like_others() {
    for stage in Stage::all() {
        for id in [0, u32::MAX.into()] {
            for shape in shapes() {
                let Answer(tag) = shape.whole else { continue };
                let mut parts = shape.parts.clone();
                parts[0].value = leb128(id);
                let mut peer = stage.dial();
                peer.send(&shape.frame(&parts));
                let answer = peer.hear().unwrap();
                assert_eq!(
                    (answer.tag, answer.id(), answer.error()),
                    (tag, id, None),
                    "{}: {}",
                    stage.name,
                    shape.name
                );
            }
        }
        stage.end();
    }
}

#[test]
fn what_is_unknown_is_passed_over() {
    let mut cases = Vec::new();
    for tag in (10..=31).chain(37..=255) {
        for body in [&b""[..], b"\xff\xff\xff", &number(1, ID)] {
            cases.push(case(format!("the tag {tag} with {body:?}"), frame(tag, body), Silence));
        }
    }
    let nested = |depth: usize| [key(20, 3).repeat(depth), key(20, 4).repeat(depth)].concat();
    let unknown = [
        ("a number", number(20, u64::MAX), true),
        ("eight bytes", [key(20, 1), vec![9; 8]].concat(), true),
        ("bytes", bytes(20, [0xff; 40]), true),
        ("four bytes", [key(20, 5), vec![9; 4]].concat(), true),
        ("a field with a large number", number(1 << 28, 1), true),
        ("a group", nested(1), true),
        ("groups in groups", nested(50), true),
        ("very many groups in groups", nested(50_000), false),
        ("a group without an end", key(20, 3), false),
        ("groups without an end", key(20, 3).repeat(50_000), false),
        ("a group that ends as another one", [key(20, 3), key(21, 4)].concat(), false),
        ("an end without a group", key(20, 4), false),
    ];
    for shape in shapes() {
        for (name, field, good) in &unknown {
            for at in 0..=shape.parts.len() {
                let mut body: Vec<u8> = shape.parts[..at].iter().flat_map(Part::bytes).collect();
                body.extend(field);
                body.extend(shape.parts[at..].iter().flat_map(Part::bytes));
                let expected = if *good { shape.whole } else { shape.broken_at(at) };
                cases.push(case(
                    format!("{} with {name} as field {at}", shape.name),
                    frame(shape.tag, &body),
                    expected,
                ));
            }
        }
    }
    for (name, field, good) in &unknown {
        let expected = if *good { Answer(CALLBACK) } else { Refusal(CALLBACK) };
        let operation = [operation("put", "b", Some("2")), field.clone()].concat();
        let batch = frame(BATCH, &[number(1, ID), bytes(2, operation)].concat());
        cases.push(case(format!("an operation with {name}"), batch, expected));
        let range = [bytes(4, "x"), field.clone()].concat();
        let clear = frame(CLEAR, &[number(1, ID), bytes(2, range)].concat());
        cases.push(case(format!("a range to clear with {name}"), clear, expected));
    }
    // The tags of extensions are known here, and their messages may be broken too.
    for tag in [32, 33] {
        cases.push(case(format!("the tag {tag} with nothing"), frame(tag, b""), End));
        cases.push(case(format!("the tag {tag} with half a number"), frame(tag, b"\x08\xff"), End));
    }
    try_all(&cases);
}
