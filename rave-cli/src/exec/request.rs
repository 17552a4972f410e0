//! From a line to a typed request, or to a refusal that changes nothing.

use super::codec::Codec;
use crate::record::json_error;
use rave_level::{Batch, Bytes, ClearOptions, Condition, Error, IteratorOptions, KeyRange, Operation, WriteOptions};
use serde::Deserialize;
use serde_json::Value;

/// A request.
#[derive(Debug)]
pub struct Request {
    /// What the reply is to be told apart by: a number or a string.
    pub id: Value,
    /// What to do.
    pub action: Action,
}

/// The number of the snapshot that a request reads, if it reads one.
pub type Snap = Option<u64>;

/// What to do.
#[derive(Debug)]
pub enum Action {
    /// The value of a key.
    Get(Bytes, Snap),
    /// Whether a key exists.
    Has(Bytes, Snap),
    /// The values of keys.
    GetMany(Vec<Bytes>, Snap),
    /// Put, del or batch, which may have conditions.
    Write(Batch, WriteOptions),
    /// Delete a range.
    Clear(ClearOptions, Snap),
    /// All entries of a range.
    Scan(IteratorOptions, Snap),
    /// Open an iterator.
    IterOpen(IteratorOptions, Snap),
    /// The next entries of an iterator.
    IterNext {
        /// Its number.
        iter: u64,
        /// How many.
        count: u64,
    },
    /// Let an iterator continue elsewhere.
    IterSeek {
        /// Its number.
        iter: u64,
        /// Where.
        target: Bytes,
    },
    /// Release an iterator.
    IterClose {
        /// Its number.
        iter: u64,
    },
    /// Take a snapshot.
    SnapOpen,
    /// Release a snapshot.
    SnapClose {
        /// Its number.
        snap: u64,
    },
    /// Who leads.
    Role,
    /// Finish what is on its way, close and exit.
    Close,
}

/// Why a request was not carried out.
#[derive(Debug)]
pub struct Refusal {
    /// The request's id, if it has one.
    pub id: Value,
    /// `LEVEL_…`
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What it may have done.
    pub effect: &'static str,
}

impl Refusal {
    /// A line that is no request.
    pub fn new(id: Value, message: impl Into<String>) -> Self {
        Self { id, code: "LEVEL_INVALID_REQUEST", message: message.into(), effect: "none" }
    }

    /// A line that has no id.
    pub fn without_id(message: impl Into<String>) -> Self {
        Self::new(Value::Null, message)
    }

    /// A request that failed.
    pub fn failed(id: Value, error: &Error) -> Self {
        Self { id, code: error.code().as_str(), message: error.full_message(), effect: error.effect().as_str() }
    }
}

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
enum Body {
    Get {
        key: String,
        snap: Snap,
    },
    Has {
        key: String,
        snap: Snap,
    },
    GetMany {
        keys: Vec<String>,
        snap: Snap,
    },
    Put {
        key: String,
        value: String,
        #[serde(default)]
        sync: bool,
    },
    Del {
        key: String,
        #[serde(default)]
        sync: bool,
    },
    Batch {
        ops: Vec<BatchOp>,
        #[serde(default, rename = "if")]
        conditions: Vec<BatchCondition>,
        #[serde(default)]
        sync: bool,
    },
    Clear {
        gt: Option<String>,
        gte: Option<String>,
        lt: Option<String>,
        lte: Option<String>,
        reverse: Option<bool>,
        limit: Option<i64>,
        snap: Snap,
        #[serde(default)]
        sync: bool,
    },
    Scan(RangeBody),
    IterOpen(RangeBody),
    IterNext {
        iter: u64,
        #[serde(default = "one")]
        count: u64,
    },
    IterSeek {
        iter: u64,
        target: String,
    },
    IterClose {
        iter: u64,
    },
    SnapOpen {},
    SnapClose {
        snap: u64,
    },
    Role {},
    Close {},
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RangeBody {
    gt: Option<String>,
    gte: Option<String>,
    lt: Option<String>,
    lte: Option<String>,
    reverse: Option<bool>,
    limit: Option<i64>,
    snap: Snap,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum BatchOp {
    Put { key: String, value: String },
    Del { key: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchCondition {
    key: String,
    /// Of itself serde takes a missing member for null, and what was forgotten would read as "must not exist".
    #[serde(deserialize_with = "Option::deserialize")]
    equals: Option<String>,
}

fn one() -> u64 {
    1
}

/// Reads a line.
pub fn parse(line: &[u8], codec: Codec) -> Result<Request, Refusal> {
    let value: Value = serde_json::from_slice(line)
        .map_err(|error| Refusal::without_id(format!("not JSON: {}", json_error(&error))))?;
    let Value::Object(mut members) = value else {
        return Err(Refusal::without_id("a request is a JSON object"));
    };
    let id = match members.remove("id") {
        Some(id @ (Value::Number(_) | Value::String(_))) => id,
        Some(_) => return Err(Refusal::without_id("the id must be a number or a string")),
        None => return Err(Refusal::without_id("the id is missing")),
    };
    let body = match Body::deserialize(Value::Object(members)) {
        Ok(body) => body,
        Err(error) => return Err(Refusal::new(id, error.to_string())),
    };
    match action(body, codec) {
        Ok(action) => Ok(Request { id, action }),
        Err(Wrong::Item(error)) => Err(Refusal::failed(id, &error)),
        Err(Wrong::Limit) => Err(Refusal::new(id, "the limit must be 0 or more; -1 means none")),
    }
}

enum Wrong {
    Item(Error),
    Limit,
}

impl From<Error> for Wrong {
    fn from(error: Error) -> Self {
        Self::Item(error)
    }
}

fn action(body: Body, codec: Codec) -> Result<Action, Wrong> {
    Ok(match body {
        Body::Get { key, snap } => Action::Get(codec.key(&key)?, snap),
        Body::Has { key, snap } => Action::Has(codec.key(&key)?, snap),
        Body::GetMany { keys, snap } => {
            Action::GetMany(keys.iter().map(|key| codec.key(key)).collect::<Result<_, Error>>()?, snap)
        }
        Body::Put { key, value, sync } => write([BatchOp::Put { key, value }], [], sync, codec)?,
        Body::Del { key, sync } => write([BatchOp::Del { key }], [], sync, codec)?,
        Body::Batch { ops, conditions, sync } => write(ops, conditions, sync, codec)?,
        Body::Clear { gt, gte, lt, lte, reverse, limit, snap, sync } => {
            let body = RangeBody { gt, gte, lt, lte, reverse, limit, snap };
            let (IteratorOptions { range, reverse, limit, .. }, snap) = iterator(body, codec)?;
            Action::Clear(ClearOptions { range, reverse, limit, sync, ..ClearOptions::default() }, snap)
        }
        Body::Scan(body) => {
            let (options, snap) = iterator(body, codec)?;
            Action::Scan(options, snap)
        }
        Body::IterOpen(body) => {
            let (options, snap) = iterator(body, codec)?;
            Action::IterOpen(options, snap)
        }
        Body::IterNext { iter, count } => Action::IterNext { iter, count },
        Body::IterSeek { iter, target } => Action::IterSeek { iter, target: codec.key(&target)? },
        Body::IterClose { iter } => Action::IterClose { iter },
        Body::SnapOpen {} => Action::SnapOpen,
        Body::SnapClose { snap } => Action::SnapClose { snap },
        Body::Role {} => Action::Role,
        Body::Close {} => Action::Close,
    })
}

fn write(
    ops: impl IntoIterator<Item = BatchOp>,
    conditions: impl IntoIterator<Item = BatchCondition>,
    sync: bool,
    codec: Codec,
) -> Result<Action, Wrong> {
    let mut batch = Batch::new();
    for op in ops {
        batch.push(match op {
            BatchOp::Put { key, value } => Operation::Put { key: codec.key(&key)?, value: codec.value(&value)? },
            BatchOp::Del { key } => Operation::Del { key: codec.key(&key)? },
        });
    }
    for BatchCondition { key, equals } in conditions {
        let key = codec.key(&key)?;
        batch = batch.require(match equals {
            Some(value) => Condition::Equals { key, value: codec.value(&value)? },
            None => Condition::Absent { key },
        });
    }
    batch.validate()?;
    Ok(Action::Write(batch, WriteOptions { sync }))
}

fn iterator(body: RangeBody, codec: Codec) -> Result<(IteratorOptions, Snap), Wrong> {
    let mut range = KeyRange::all();
    if let Some(key) = body.gt {
        range = range.gt(codec.key(&key)?);
    }
    if let Some(key) = body.gte {
        range = range.gte(codec.key(&key)?);
    }
    if let Some(key) = body.lt {
        range = range.lt(codec.key(&key)?);
    }
    if let Some(key) = body.lte {
        range = range.lte(codec.key(&key)?);
    }
    // As in abstract-level -1 means none.
    let limit = match body.limit {
        None | Some(-1) => None,
        Some(limit) => Some(u64::try_from(limit).map_err(|_| Wrong::Limit)?),
    };
    let reverse = body.reverse.unwrap_or(false);
    Ok((IteratorOptions { range, reverse, limit, ..IteratorOptions::default() }, body.snap))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &str) -> Result<Request, Refusal> {
        parse(line.as_bytes(), Codec::Text)
    }

    #[test]
    fn writes() {
        let request = text(r#"{"id":1,"op":"put","key":"a","value":"1","sync":true}"#).unwrap();
        assert_eq!(request.id, 1);
        let Action::Write(batch, options) = request.action else { panic!("no write") };
        assert_eq!((batch, options.sync), (Batch::new().put("a", "1"), true));
        let ops = r#"{"id":"x","op":"batch","ops":[{"type":"put","key":"a","value":""},{"type":"del","key":""}]}"#;
        let Action::Write(batch, options) = text(ops).unwrap().action else { panic!("no write") };
        assert_eq!((batch, options.sync), (Batch::new().put("a", "").del(""), false));
    }

    #[test]
    fn conditions() {
        let line = r#"{"id":1,"op":"batch","ops":[],"if":[{"key":"a","equals":"1"},{"key":"b","equals":null}]}"#;
        let Action::Write(batch, _) = text(line).unwrap().action else { panic!("no write") };
        assert_eq!(batch, Batch::new().if_equals("a", "1").if_absent("b"));
        let line = br#"{"id":1,"op":"batch","ops":[],"if":[{"key":"AP8=","equals":""}]}"#;
        let Action::Write(batch, _) = parse(line, Codec::Base64).unwrap().action else { panic!("no write") };
        assert_eq!(batch, Batch::new().if_equals([0, 0xff], ""));
        let contradiction =
            r#"{"id":1,"op":"batch","ops":[],"if":[{"key":"a","equals":"1"},{"key":"a","equals":null}]}"#;
        assert_eq!(text(contradiction).unwrap_err().code, "LEVEL_INVALID_BATCH");
    }

    #[test]
    fn ranges() {
        let line = r#"{"id":1,"op":"scan","gt":"a","lte":"c","reverse":true,"limit":0}"#;
        let Action::Scan(options, None) = text(line).unwrap().action else { panic!("no scan") };
        assert_eq!(options.range, KeyRange::all().gt("a").lte("c"));
        assert_eq!((options.reverse, options.limit), (true, Some(0)));
        let Action::Clear(options, None) = text(r#"{"id":1,"op":"clear","limit":-1}"#).unwrap().action else {
            panic!()
        };
        assert_eq!((options.range, options.limit), (KeyRange::all(), None));
    }

    #[test]
    fn binary_items_are_base64() {
        let line = br#"{"id":1,"op":"put","key":"AP8=","value":""}"#;
        let Action::Write(batch, _) = parse(line, Codec::Base64).unwrap().action else { panic!() };
        assert_eq!(batch, Batch::new().put([0, 0xff], ""));
        let refusal = parse(br#"{"id":2,"op":"get","key":"?"}"#, Codec::Base64).unwrap_err();
        assert_eq!((refusal.id, refusal.code), (2.into(), "LEVEL_INVALID_KEY"));
        let refusal = parse(br#"{"id":2,"op":"put","key":"","value":"?"}"#, Codec::Base64).unwrap_err();
        assert_eq!(refusal.code, "LEVEL_INVALID_VALUE");
    }

    #[test]
    fn what_is_no_request_is_refused_with_the_id_if_there_is_one() {
        for line in
            ["", "x", "[]", "1", "{}", r#"{"op":"role"}"#, r#"{"id":null,"op":"role"}"#, r#"{"id":[],"op":"role"}"#]
        {
            assert_eq!(text(line).unwrap_err().id, Value::Null, "{line}");
        }
        assert_eq!(parse(b"{\"id\":1,\"op\":\"get\",\"key\":\"\xff\"}", Codec::Text).unwrap_err().id, Value::Null);
        for body in [
            r#""x":1"#,
            r#""op":"nap""#,
            r#""op":"get""#,
            r#""op":"get","key":1"#,
            r#""op":"get","key":"a","keys":[]"#,
            r#""op":"put","key":"a","value":null"#,
            r#""op":"scan","limt":1"#,
            r#""op":"scan","limit":-2"#,
            r#""op":"scan","sync":true"#,
            r#""op":"role","x":1"#,
            r#""op":"iter_next","iter":-1"#,
            r#""op":"batch","ops":[{"type":"del","key":"a","value":"1"}]"#,
            r#""op":"batch","ops":[{"type":"put","key":"a"}]"#,
            r#""op":"batch","ops":[],"if":[{"key":"a"}]"#,
            r#""op":"batch","ops":[],"if":[{"equals":"a"}]"#,
            r#""op":"batch","ops":[],"if":[{"key":"a","equals":1}]"#,
            r#""op":"batch","ops":[],"if":[{"key":"a","equals":null,"is":1}]"#,
            r#""op":"batch","ops":[],"if":{"key":"a","equals":null}"#,
            r#""op":"batch","if":[{"key":"a","equals":null}]"#,
            r#""op":"put","key":"a","value":"1","if":[]"#,
            r#""op":"put","key":"a","value":"1","snap":1"#,
            r#""op":"get","key":"a","snap":"1""#,
            r#""op":"snap_close""#,
        ] {
            let refusal = text(&format!(r#"{{"id":7,{body}}}"#)).unwrap_err();
            assert_eq!((refusal.id, refusal.effect), (7.into(), "none"), "{body}");
        }
    }

    #[test]
    fn the_rest() {
        let next = text(r#"{"id":1,"op":"iter_next","iter":3}"#).unwrap();
        assert!(matches!(next.action, Action::IterNext { iter: 3, count: 1 }));
        assert!(matches!(text(r#"{"id":1,"op":"role"}"#).unwrap().action, Action::Role));
        assert!(matches!(text(r#"{"op":"close","id":"e"}"#).unwrap().action, Action::Close));
    }
}
