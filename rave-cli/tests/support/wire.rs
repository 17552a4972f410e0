//! The wire protocol as a JavaScript peer speaks it: bytes put together by hand, without the code under test.

use super::DEADLINE;
use std::{
    io::{ErrorKind, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::Path,
};

/// The tags of requests.
pub const GET: u8 = 0;
pub const PUT: u8 = 1;
pub const DEL: u8 = 2;
pub const BATCH: u8 = 3;
pub const ITERATOR: u8 = 4;
pub const CLEAR: u8 = 5;
pub const GET_MANY: u8 = 6;
pub const ITERATOR_CLOSE: u8 = 7;
pub const ITERATOR_ACK: u8 = 8;
pub const ITERATOR_SEEK: u8 = 9;

/// The tags of answers.
pub const CALLBACK: u8 = 0;
pub const ITERATOR_DATA: u8 = 1;
pub const GET_MANY_CALLBACK: u8 = 2;
pub const ITERATOR_ERROR: u8 = 3;
pub const ITERATOR_END: u8 = 4;

/// An unsigned number as the wire has lengths, ids and keys of fields.
pub fn leb128(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        bytes.push(if number == 0 { low } else { low | 0x80 });
        if number == 0 {
            return bytes;
        }
    }
}

/// The same number in exactly `length` bytes, more than it needs.
pub fn overlong(number: u64, length: usize) -> Vec<u8> {
    let mut bytes = leb128(number);
    assert!(bytes.len() < length);
    *bytes.last_mut().unwrap() |= 0x80;
    bytes.resize(length - 1, 0x80);
    bytes.push(0);
    bytes
}

/// A tag and a body behind their length.
pub fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    [leb128(body.len() as u64 + 1), vec![tag], body.to_vec()].concat()
}

/// The key of a field.
pub fn key(field: u64, wire_type: u64) -> Vec<u8> {
    leb128(field << 3 | wire_type)
}

/// A field that is a number.
pub fn number(field: u64, value: u64) -> Vec<u8> {
    [key(field, 0), leb128(value)].concat()
}

/// A field that is a signed number, as limits are.
pub fn signed(field: u64, value: i64) -> Vec<u8> {
    number(field, (value << 1 ^ value >> 63) as u64)
}

/// A field of bytes, of text, or of a message within the message.
pub fn bytes(field: u64, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    [key(field, 2), leb128(value.len() as u64), value.to_vec()].concat()
}

/// A request for the value of a key.
pub fn get(id: u64, key: &str) -> Vec<u8> {
    frame(GET, &[number(1, id), bytes(2, key)].concat())
}

/// A range as JavaScript guests write it, with `bounds` before the rest: keys, values, any limit, forwards.
pub fn range(bounds: &[u8]) -> Vec<u8> {
    [&number(1, 1), &number(2, 1), bounds, &signed(7, -1), &number(8, 0)].concat()
}

/// A request for an iterator over a range.
pub fn open(id: u64, range: &[u8]) -> Vec<u8> {
    frame(ITERATOR, &[number(1, id), number(2, 0), bytes(3, range), number(4, 0)].concat())
}

/// What allows the host one more frame of an iterator.
pub fn ack(id: u64, seq: u64, consumed: u64) -> Vec<u8> {
    frame(ITERATOR_ACK, &[number(1, id), number(2, seq), number(3, consumed)].concat())
}

/// A request to move an iterator.
pub fn seek(id: u64, seq: u64, target: &str) -> Vec<u8> {
    frame(ITERATOR_SEEK, &[number(1, id), number(2, seq), bytes(3, target)].concat())
}

/// What ends an iterator.
pub fn close(id: u64) -> Vec<u8> {
    frame(ITERATOR_CLOSE, &number(1, id))
}

/// One message, taken apart.
#[derive(Debug)]
pub struct Message {
    pub tag: u8,
    fields: Vec<(u64, Field)>,
}

#[derive(Debug)]
enum Field {
    Number(u64),
    Bytes(Vec<u8>),
}

impl Message {
    fn parse(frame: &[u8]) -> Self {
        let (&tag, mut rest) = frame.split_first().unwrap();
        let mut fields = Vec::new();
        while !rest.is_empty() {
            let key = take_leb128(&mut rest).unwrap();
            let number = take_leb128(&mut rest).unwrap();
            fields.push(match key & 7 {
                0 => (key >> 3, Field::Number(number)),
                2 => (key >> 3, Field::Bytes(rest.split_off(..number as usize).unwrap().to_vec())),
                wire_type => panic!("wire type {wire_type} in an answer"),
            });
        }
        Self { tag, fields }
    }

    pub fn number(&self, field: u64) -> Option<u64> {
        self.fields.iter().find_map(|(number, value)| match value {
            Field::Number(value) if *number == field => Some(*value),
            _ => None,
        })
    }

    /// All values of a field of bytes.
    pub fn all(&self, field: u64) -> Vec<&[u8]> {
        self.fields
            .iter()
            .filter_map(|(number, value)| match value {
                Field::Bytes(bytes) if *number == field => Some(bytes.as_slice()),
                _ => None,
            })
            .collect()
    }

    pub fn id(&self) -> u64 {
        self.number(1).unwrap()
    }

    /// The code of an answer that is an error.
    pub fn error(&self) -> Option<String> {
        let field = match self.tag {
            CALLBACK | GET_MANY_CALLBACK => 2,
            ITERATOR_ERROR => 3,
            _ => return None,
        };
        self.all(field).first().map(|code| String::from_utf8(code.to_vec()).unwrap())
    }
}

/// The number at the front; nothing if its end has not come.
fn take_leb128(bytes: &mut &[u8]) -> Option<u64> {
    let length = bytes.iter().position(|byte| byte & 0x80 == 0)? + 1;
    let number = bytes[..length].iter().rev().fold(0, |number, byte| number << 7 | u64::from(byte & 0x7f));
    *bytes = &bytes[length..];
    Some(number)
}

/// One end of a connection.
pub struct Peer {
    stream: UnixStream,
    heard: Vec<u8>,
}

impl Peer {
    pub fn connect(socket: &Path) -> Self {
        Self::new(UnixStream::connect(socket).unwrap())
    }

    pub fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { stream, heard: Vec::new() }
    }

    pub fn into_stream(self) -> UnixStream {
        self.stream
    }

    /// Sends what the other end still takes; it may have hung up.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Will send nothing more.
    pub fn finish(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The next message that is none of the extensions; nothing if the connection has ended.
    pub fn hear(&mut self) -> Option<Message> {
        loop {
            let mut rest = self.heard.as_slice();
            if let Some(length) = take_leb128(&mut rest)
                && rest.len() as u64 >= length
            {
                let frame = rest[..length as usize].to_vec();
                self.heard = rest[length as usize..].to_vec();
                if frame.first().is_some_and(|tag| *tag < 32) {
                    return Some(Message::parse(&frame));
                }
                continue;
            }
            let mut chunk = [0; 64 << 10];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(length) => self.heard.extend_from_slice(&chunk[..length]),
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                    return None;
                }
                Err(error) => panic!("neither an answer nor an end: {error}"),
            }
        }
    }
}
