//! The keys and values of the workload.
//!
//! A key is a generation, a kind, a name and a part of it, and its text sorts as these do. A value is a number, which
//! no two writes of the same key share; 0 stands for a key that is not there. How long a value is follows from its
//! number, so that a value that was damaged or mixed with another is recognized.

use rave_level::KeyRange;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// What a key is for, which decides what is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A number that transactions of all processes increase.
    Counter,
    /// Written by the same transaction as an increase of the counter of this name.
    Increment,
    /// Written in one batch with something else, never deleted. Its name is the client, its part the operation.
    Marker,
    /// Two keys, the parts 0 and 1, which are only ever written together and with the same value.
    Pair,
    /// Anybody writes it, deletes it, clears it.
    Register,
    /// One client alone writes it: 1, 2, 3, …, several at once.
    Sequence,
}

const KINDS: [(Kind, &str); 6] = [
    (Kind::Counter, "c"),
    (Kind::Increment, "i"),
    (Kind::Marker, "m"),
    (Kind::Pair, "p"),
    (Kind::Register, "r"),
    (Kind::Sequence, "s"),
];

/// A key; ordered like its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Key {
    /// When it is in use.
    pub generation: u64,
    /// What it is for.
    pub kind: Kind,
    /// Which one of this kind.
    pub name: u64,
    /// Which part of it.
    pub part: u64,
}

impl Key {
    /// The part 0.
    pub fn new(generation: u64, kind: Kind, name: u64) -> Self {
        Self { generation, kind, name, part: 0 }
    }

    /// Another part of the same.
    pub fn part(self, part: u64) -> Self {
        Self { part, ..self }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = KINDS.iter().find(|(kind, _)| *kind == self.kind).map_or("?", |(_, letter)| letter);
        write!(f, "{:010}/{letter}/{:010}/{:016}", self.generation, self.name, self.part)
    }
}

impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let mut fields = text.split('/');
            let mut number = |digits: usize| {
                let field = fields.next()?;
                (field.len() == digits).then(|| field.parse::<u64>().ok())?
            };
            let generation = number(10)?;
            let letter = text.get(11..12)?;
            let (kind, _) = KINDS.iter().find(|(_, of)| *of == letter)?;
            let mut fields = text.get(13..)?.split('/').map(str::parse);
            let key = Self { generation, kind: *kind, name: fields.next()?.ok()?, part: fields.next()?.ok()? };
            (key.to_string() == text).then_some(key)
        };
        read().ok_or_else(|| format!("{text:?} is no key of ours"))
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.to_string()
    }
}

impl TryFrom<String> for Key {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// All keys of one kind in one generation: the least, and the least behind them.
pub fn of_kind(generation: u64, kind: Kind) -> (Key, Key) {
    (Key::new(generation, kind, 0), Key { generation, kind, name: 9_999_999_999, part: 9_999_999_999_999_999 })
}

/// All keys of a generation.
pub fn of_generation(generation: u64) -> (Key, Key) {
    (of_kind(generation, Kind::Counter).0, of_kind(generation, Kind::Sequence).1)
}

/// From one key up to another, exclusively.
pub fn range(from: Key, to: Key) -> KeyRange {
    KeyRange::all().gte(from.to_string()).lt(to.to_string())
}

/// The bytes of a value.
pub fn encode(value: u64) -> Vec<u8> {
    let mut bytes = value.to_be_bytes().to_vec();
    bytes.resize(8 + (value % 120) as usize, value as u8);
    bytes
}

/// The value of which these are the bytes.
pub fn decode(bytes: &[u8]) -> Result<u64, String> {
    let head = bytes.get(..8).and_then(|head| <[u8; 8]>::try_from(head).ok());
    let value = head.map_or(0, u64::from_be_bytes);
    match value != 0 && encode(value) == bytes {
        true => Ok(value),
        false => Err(format!("a damaged value: {bytes:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_and_sort_like_their_texts() {
        let keys = [
            Key::new(1, Kind::Counter, 7),
            Key::new(1, Kind::Pair, 3),
            Key::new(1, Kind::Pair, 3).part(1),
            Key::new(1, Kind::Register, 20),
            Key::new(2, Kind::Marker, 5).part(77),
        ];
        for pair in keys.windows(2) {
            assert!(pair[0] < pair[1] && pair[0].to_string() < pair[1].to_string());
        }
        for key in keys {
            assert_eq!(key.to_string().parse(), Ok(key));
        }
        assert!("0000000001/x/0000000001/0000000000000001".parse::<Key>().is_err());
        assert!("0000000001".parse::<Key>().is_err());
    }

    #[test]
    fn damaged_values_are_recognized() {
        for value in [1, 119, 120, 1 << 40] {
            let mut bytes = encode(value);
            assert_eq!(decode(&bytes), Ok(value));
            bytes.push(0);
            assert!(decode(&bytes).is_err());
        }
        assert!(decode(b"").is_err());
    }
}
