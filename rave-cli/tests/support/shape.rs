//! Every message of many-level's guests, in parts that can be left out, cut and damaged, and what must come of that.

use super::wire::*;

/// The id of every request here.
pub const ID: u64 = 7;

/// What a guest hears.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Expected {
    /// An answer with this tag, which is no error.
    Answer(u8),
    /// An error in an answer with this tag; the connection goes on.
    Refusal(u8),
    /// No answer; the connection goes on.
    Silence,
    /// The connection ends without an answer.
    End,
}
use Expected::{Answer, End, Refusal, Silence};

/// A part of a message: mostly a field.
#[derive(Clone)]
pub struct Part {
    pub name: &'static str,
    pub required: bool,
    /// The field's number and wire type.
    pub field: (u64, u64),
    pub value: Vec<u8>,
}

impl Part {
    pub fn bytes(&self) -> Vec<u8> {
        match self.field {
            (field, 2) => bytes(field, &self.value),
            (field, wire_type) => [key(field, wire_type), self.value.clone()].concat(),
        }
    }
}

fn required(name: &'static str, field: u64, value: impl AsRef<[u8]>) -> Part {
    Part { name, required: true, field: (field, 2), value: value.as_ref().to_vec() }
}

fn optional(name: &'static str, field: u64, value: impl AsRef<[u8]>) -> Part {
    Part { required: false, ..required(name, field, value) }
}

fn numbered(name: &'static str, field: u64, value: u64) -> Part {
    Part { field: (field, 0), ..required(name, field, leb128(value)) }
}

/// A message that does no harm as it is, and would where it is taken for another one.
pub struct Shape {
    pub name: &'static str,
    pub tag: u8,
    pub parts: Vec<Part>,
    /// What comes of it as it is.
    pub whole: Expected,
    /// How many parts must be readable before an error can name the request, and where that error comes.
    pub refusal: Option<(usize, u8)>,
}

impl Shape {
    pub fn frame(&self, parts: &[Part]) -> Vec<u8> {
        frame(self.tag, &parts.iter().flat_map(Part::bytes).collect::<Vec<_>>())
    }

    /// What comes of it when only the parts before this one can be read.
    pub fn broken_at(&self, part: usize) -> Expected {
        match self.refusal {
            Some((naming, tag)) if part >= naming => Refusal(tag),
            _ => End,
        }
    }
}

pub fn operation(kind: &str, key: &str, value: Option<&str>) -> Vec<u8> {
    let value = value.map(|value| bytes(3, value)).unwrap_or_default();
    [bytes(1, kind), bytes(2, key), value].concat()
}

pub fn shapes() -> Vec<Shape> {
    let id = || numbered("id", 1, ID);
    let seq = || numbered("seq", 2, 0);
    let some = [bytes(4, "a"), bytes(6, "c")].concat();
    let none = [bytes(4, "x"), signed(7, -1), number(8, 0)].concat();
    let request = |name, tag, refusal, whole, mut parts: Vec<Part>| {
        parts.insert(0, id());
        Shape { name, tag, parts, whole: Answer(whole), refusal: Some((1, refusal)) }
    };
    let write = |name, tag, parts| request(name, tag, CALLBACK, CALLBACK, parts);
    let of_iterator = |name, tag, refusal, mut parts: Vec<Part>| {
        parts.splice(0..0, [id(), seq()]);
        Shape { name, tag, parts, whole: Silence, refusal }
    };
    vec![
        request("get", GET, CALLBACK, CALLBACK, vec![required("key", 2, "b")]),
        write("put", PUT, vec![required("key", 2, "b"), required("value", 3, "2")]),
        write("del", DEL, vec![required("key", 2, "absent")]),
        write("batch", BATCH, {
            let put = operation("put", "b", Some("2"));
            vec![optional("put", 2, put), optional("del", 2, operation("del", "absent", None))]
        }),
        write("clear", CLEAR, vec![required("range", 2, none)]),
        request("getMany", GET_MANY, GET_MANY_CALLBACK, GET_MANY_CALLBACK, {
            vec![optional("key", 2, "b"), optional("key", 2, "absent")]
        }),
        Shape {
            whole: Answer(ITERATOR_DATA),
            ..of_iterator("iterator", ITERATOR, Some((2, ITERATOR_ERROR)), {
                let consumed = Part { required: false, ..numbered("consumed", 4, 0) };
                vec![required("range", 3, range(&some)), consumed, optional("bookmark", 5, "a")]
            })
        },
        Shape { parts: vec![id()], ..of_iterator("iteratorClose", ITERATOR_CLOSE, None, vec![]) },
        of_iterator("iteratorAck", ITERATOR_ACK, None, vec![numbered("consumed", 3, 1)]),
        of_iterator("iteratorSeek", ITERATOR_SEEK, Some((2, ITERATOR_ERROR)), vec![required("target", 3, "b")]),
    ]
}
