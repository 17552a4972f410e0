//! Entries and operations as JSON lines, in the encodings of the command line.

use rave_level::{
    Batch, Bytes, Entry, Operation, Result,
    encoding::{Encoding, TextEncoding},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// How keys and values are written.
#[derive(Clone, Copy, Debug)]
pub struct Encodings {
    /// How keys are written.
    pub key: TextEncoding,
    /// How values are written.
    pub value: TextEncoding,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryLine<'a> {
    #[serde(borrow)]
    key: &'a RawValue,
    #[serde(borrow)]
    value: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Put,
    Del,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OperationLine<'a> {
    r#type: Kind,
    #[serde(borrow)]
    key: &'a RawValue,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

impl Encodings {
    /// The put that a line such as `{"key":"a","value":"1"}` stands for.
    pub fn read_entry(self, line: &[u8]) -> Result<Operation, String> {
        let line: EntryLine<'_> = read_object(line)?;
        Ok(Operation::Put { key: self.read_key(line.key)?, value: self.read_value(line.value)? })
    }

    /// The operation that a line such as `{"type":"del","key":"a"}` stands for.
    pub fn read_operation(self, line: &[u8]) -> Result<Operation, String> {
        let line: OperationLine<'_> = read_object(line)?;
        let key = self.read_key(line.key)?;
        match (line.r#type, line.value) {
            (Kind::Put, Some(value)) => Ok(Operation::Put { key, value: self.read_value(value)? }),
            (Kind::Put, None) => Err("missing field `value`".to_owned()),
            (Kind::Del, None) => Ok(Operation::Del { key }),
            (Kind::Del, Some(_)) => Err("a delete has no `value`".to_owned()),
        }
    }

    /// Appends an entry as a line of JSON.
    pub fn write_entry(self, buffer: &mut Vec<u8>, entry: &Entry, with_key: bool, with_value: bool) -> Result<()> {
        buffer.push(b'{');
        if with_key {
            buffer.extend_from_slice(b"\"key\":");
            write_item(buffer, self.key, self.key.decode_key(&entry.key)?);
        }
        if with_key && with_value {
            buffer.push(b',');
        }
        if with_value {
            buffer.extend_from_slice(b"\"value\":");
            write_item(buffer, self.value, self.value.decode_value(&entry.value)?);
        }
        buffer.extend_from_slice(b"}\n");
        Ok(())
    }

    fn read_key(self, item: &RawValue) -> Result<Bytes, String> {
        let text = read_item(item, self.key).map_err(|error| format!("key: {error}"))?;
        self.key.encode_key(&text).map_err(|error| error.full_message())
    }

    fn read_value(self, item: &RawValue) -> Result<Bytes, String> {
        let text = read_item(item, self.value).map_err(|error| format!("value: {error}"))?;
        self.value.encode_value(&text).map_err(|error| error.full_message())
    }
}

/// Appends a record of rave-level's own as a line of JSON that nobody takes for an entry. `name` is its key without the
/// reserved prefix. Both are bytes of any kind, whatever the encodings of users.
pub fn write_internal(buffer: &mut Vec<u8>, name: &[u8], value: &[u8]) -> Result<()> {
    let (name, value) = (TextEncoding::Hex.decode_key(name)?, TextEncoding::Hex.decode_value(value)?);
    buffer.extend_from_slice(format!("{{\"internal\":\"{name}\",\"value\":\"{value}\"}}\n").as_bytes());
    Ok(())
}

/// Applies nothing yet: all lines as one batch, or the number of the first bad line and what is wrong with it.
pub fn read_batch<'a>(encodings: Encodings, lines: impl Iterator<Item = &'a [u8]>) -> Result<Batch, (usize, String)> {
    lines.enumerate().map(|(index, line)| encodings.read_operation(line).map_err(|error| (index + 1, error))).collect()
}

/// serde would take an array for a struct, too.
fn read_object<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, String> {
    if line.trim_ascii_start().first() != Some(&b'{') {
        return Err("not a JSON object".to_owned());
    }
    serde_json::from_slice(line).map_err(|error| json_error(&error))
}

/// With the JSON encoding an item is any JSON; with the others it is a string.
fn read_item(item: &RawValue, encoding: TextEncoding) -> Result<Cow<'_, str>, String> {
    if encoding == TextEncoding::Json {
        return Ok(Cow::Borrowed(item.get()));
    }
    serde_json::from_str::<String>(item.get()).map(Cow::Owned).map_err(|error| json_error(&error))
}

fn write_item(buffer: &mut Vec<u8>, encoding: TextEncoding, text: String) {
    if encoding == TextEncoding::Json {
        // Stored JSON may have line ends between its tokens (inside of strings they are escaped); a record is one line.
        buffer.extend(text.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
    } else {
        buffer.extend_from_slice(serde_json::Value::String(text).to_string().as_bytes());
    }
}

/// What is wrong with a line of JSON; "at line 1" would mislead, as each line is read by itself.
pub fn json_error(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", " at column ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: Encodings = Encodings { key: TextEncoding::Utf8, value: TextEncoding::Utf8 };
    const MIXED: Encodings = Encodings { key: TextEncoding::Hex, value: TextEncoding::Json };

    fn round_trip(encodings: Encodings, line: &str) {
        let Operation::Put { key, value } = encodings.read_entry(line.as_bytes()).unwrap() else { panic!("no put") };
        let mut written = Vec::new();
        encodings.write_entry(&mut written, &Entry { key, value }, true, true).unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), format!("{line}\n"));
    }

    #[test]
    fn entries_come_back_as_they_were() {
        round_trip(TEXT, r#"{"key":"a\n\"","value":""}"#);
        round_trip(TEXT, r#"{"key":"","value":"ü\u0000"}"#);
        round_trip(MIXED, r#"{"key":"00ff","value":{"b":1.50,"a":[123456789012345678901]}}"#);
    }

    #[test]
    fn bad_entries_are_refused() {
        for line in [
            "",
            "x",
            "{}",
            r#"{"key":"a"}"#,
            r#"{"key":"a","value":1}"#,
            r#"{"key":null,"value":"1"}"#,
            r#"{"key":"a","value":"1","ttl":1}"#,
            r#"{"key":"a","key":"b","value":"1"}"#,
            r#"{"key":"a","value":"1"} x"#,
            r#"["a","1"]"#,
        ] {
            assert!(TEXT.read_entry(line.as_bytes()).is_err(), "{line}");
        }
        assert!(TEXT.read_entry(b"{\"key\":\"\xff\",\"value\":\"\"}").is_err());
        assert!(MIXED.read_entry(br#"{"key":"0","value":1}"#).is_err());
    }

    #[test]
    fn operations() {
        let put = TEXT.read_operation(br#"{"type":"put","key":"a","value":"1"}"#).unwrap();
        assert_eq!(put, Operation::Put { key: "a".into(), value: "1".into() });
        let del = TEXT.read_operation(br#"{"type":"del","key":"a"}"#).unwrap();
        assert_eq!(del, Operation::Del { key: "a".into() });
        for line in [
            r#"{"type":"put","key":"a"}"#,
            r#"{"type":"del","key":"a","value":"1"}"#,
            r#"{"type":"get","key":"a"}"#,
            r#"{"key":"a"}"#,
        ] {
            assert!(TEXT.read_operation(line.as_bytes()).is_err(), "{line}");
        }
        let lines = [&br#"{"type":"del","key":"a"}"#[..], b"x"];
        assert_eq!(read_batch(TEXT, lines.into_iter()).unwrap_err().0, 2);
    }

    #[test]
    fn bytes_that_do_not_fit_the_encoding_are_an_error() {
        let entry = Entry { key: Bytes::from_static(b"\xff"), value: Bytes::new() };
        assert!(TEXT.write_entry(&mut Vec::new(), &entry, true, true).is_err());
        assert!(TEXT.write_entry(&mut Vec::new(), &entry, false, true).is_ok());
    }
}
