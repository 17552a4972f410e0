//! Typed views and the encodings behind them.

use futures::TryStreamExt;
use rave_core::{
    AbstractLevel, AbstractLevelExt, Bytes, Code, KeyRange, MemoryLevel, ReadOptions,
    encoding::{Base64, Encoding, EncodingError, Hex, Json, NAMES, Raw, TextEncoding, Utf8, by_name},
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct User {
    name: String,
    age: u32,
}

fn user(name: &str, age: u32) -> User {
    User { name: name.into(), age }
}

/// Big-endian numbers: an encoding of somebody else's.
#[derive(Clone)]
struct Number;

impl Encoding for Number {
    type Input = u32;
    type Item = u32;

    fn name(&self) -> &str {
        "number"
    }

    fn encode(&self, item: &u32) -> Result<Bytes, EncodingError> {
        Ok(Bytes::copy_from_slice(&item.to_be_bytes()))
    }

    fn decode(&self, data: &[u8]) -> Result<u32, EncodingError> {
        data.try_into().map(u32::from_be_bytes).map_err(|_| EncodingError::new("not four bytes long"))
    }
}

#[tokio::test]
async fn items_come_back_as_they_were_written() {
    let db = MemoryLevel::new();
    let users = db.typed(Utf8, Json::<User>::new());
    let alice = user("Alice", 40);
    users.put("alice", &alice).await.unwrap();
    users.put(&String::from("bob"), &user("Bob", 50)).await.unwrap();
    assert_eq!(users.get("alice").await.unwrap(), Some(alice.clone()));
    assert_eq!(users.get("nobody").await.unwrap(), None);
    assert!(users.has("bob").await.unwrap() && !users.has("nobody").await.unwrap());
    let many = users.get_many(["bob", "nobody", "alice"]).await.unwrap();
    assert_eq!(many, [Some(user("Bob", 50)), None, Some(alice.clone())]);
    assert_eq!(users.level().get("alice").await.unwrap().unwrap(), r#"{"name":"Alice","age":40}"#);

    let snapshot = db.snapshot().await.unwrap();
    users.batch().put("carol", &user("Carol", 60)).del("bob").put("alice", &user("Alice", 41)).write().await.unwrap();
    assert_eq!(users.get("alice").await.unwrap().unwrap().age, 41);
    let then = users.get_opts("alice", ReadOptions { snapshot: Some(snapshot.clone()) }).await.unwrap();
    assert_eq!(then, Some(alice));
    assert_eq!(users.all(users.range().at(snapshot)).await.unwrap().len(), 2);
    assert!(!users.has("bob").await.unwrap());
    users.del("carol").await.unwrap();
    assert_eq!(users.all(users.range()).await.unwrap(), [("alice".to_owned(), user("Alice", 41))]);
}

#[tokio::test]
async fn ranges_are_typed_and_ordered_by_the_encoded_form() {
    let db = MemoryLevel::new();
    let numbers = db.typed(Number, Raw);
    for number in [1, 9, 10, 255, 256, 70_000] {
        numbers.put(&number, b"x").await.unwrap();
    }
    let keys = |range| async { numbers.keys(range).try_collect::<Vec<_>>().await.unwrap() };
    assert_eq!(keys(numbers.range()).await, [1, 9, 10, 255, 256, 70_000]);
    assert_eq!(keys(numbers.range().gt(&9).lte(&256)).await, [10, 255, 256]);
    assert_eq!(keys(numbers.range().gte(&9).lt(&256).reversed().limited(2)).await, [255, 10]);
    assert_eq!(numbers.values(numbers.range().lt(&9)).try_collect::<Vec<_>>().await.unwrap(), ["x"]);
    let entries: Vec<_> = numbers.stream(numbers.range().gt(&256)).try_collect().await.unwrap();
    assert_eq!(entries, [(70_000, Bytes::from("x"))]);

    let mut iterator = numbers.iterator(numbers.range().reversed()).await.unwrap();
    iterator.seek(&254).await.unwrap();
    assert_eq!(iterator.next().await.unwrap().unwrap().0, 10);
    assert_eq!(iterator.next_many(10).await.unwrap().len(), 2);
    assert!(iterator.next().await.unwrap().is_none());
    iterator.close().await.unwrap();
    assert_eq!(iterator.next().await.unwrap_err().code(), Code::IteratorNotOpen);

    numbers.clear(numbers.range().gte(&10).limited(2)).await.unwrap();
    assert_eq!(keys(numbers.range()).await, [1, 9, 256, 70_000]);
}

#[tokio::test]
async fn a_typed_sublevel_is_one_too() {
    let db = MemoryLevel::new();
    let users = db.sublevel("users").unwrap().typed(Number, Json::<User>::new());
    users.put(&7, &user("Alice", 40)).await.unwrap();
    assert_eq!(users.all(users.range()).await.unwrap(), [(7, user("Alice", 40))]);
    assert_eq!(db.all(KeyRange::prefix("!users!")).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_decoded_is_named_but_never_shown() {
    let db = MemoryLevel::new();
    db.put("key", r#"{"name":"SECRET","age":"SECRET"}"#).await.unwrap();
    db.put([0xff, b'S'], "SECRET").await.unwrap();
    let users = db.typed(Utf8, Json::<User>::new());
    let error = users.get("key").await.unwrap_err();
    assert_eq!(error.code(), Code::DecodeError);
    assert!(error.message().contains("value") && error.message().contains("json"), "{error}");
    assert!(!format!("{error} {error:?}").contains("SECRET"), "{error:?}");

    let error = users.keys(users.range().gt("key")).try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.code(), Code::DecodeError);
    assert!(error.message().contains("key") && error.message().contains("utf8"), "{error}");
    // They can still be found and removed.
    assert!(users.has("key").await.unwrap());
    users.clear(users.range()).await.unwrap();
    assert_eq!(db.all(KeyRange::all()).await.unwrap(), []);
}

#[tokio::test]
async fn an_entry_that_cannot_be_decoded_costs_only_itself() {
    let db = MemoryLevel::new();
    let numbers = db.typed(Number, Raw);
    for key in [&[0, 0, 0, 1][..], &[0, 0, 0, 1, 0], &[0, 0, 0, 2], &[0, 0, 0, 3], &[0, 0, 0, 3, 0]] {
        db.put(key, "").await.unwrap();
    }
    let mut iterator = numbers.iterator(numbers.range()).await.unwrap();
    let keys = |entries: Vec<(u32, Bytes)>| entries.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(keys(iterator.next_many(4).await.unwrap()), [1]);
    assert_eq!(iterator.next_many(4).await.unwrap_err().code(), Code::DecodeError);
    assert_eq!(iterator.next().await.unwrap().unwrap().0, 2);
    assert_eq!(keys(iterator.next_many(4).await.unwrap()), [3]);
    assert_eq!(iterator.next().await.unwrap_err().code(), Code::DecodeError);
    assert!(iterator.next().await.unwrap().is_none());
    // A seek forgets what was fetched.
    iterator.seek(&1).await.unwrap();
    assert_eq!(keys(iterator.next_many(5).await.unwrap()), [1]);
    iterator.seek(&3).await.unwrap();
    assert_eq!(iterator.next().await.unwrap().unwrap().0, 3);
}

#[tokio::test]
async fn what_cannot_be_encoded_changes_nothing() {
    let db = MemoryLevel::new();
    let hex = db.typed(Hex, Base64);
    hex.put("00FF", "AP8=").await.unwrap();
    assert_eq!(db.get([0x00, 0xff]).await.unwrap().unwrap(), &[0x00, 0xff][..]);
    assert_eq!(hex.all(hex.range()).await.unwrap(), [("00ff".to_owned(), "AP8=".to_owned())]);

    assert_eq!(hex.put("SECRET", "AP8=").await.unwrap_err().code(), Code::InvalidKey);
    assert_eq!(hex.put("abc", "AP8=").await.unwrap_err().code(), Code::InvalidKey);
    let error = hex.put("ab", "S~").await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidValue);
    assert!(!format!("{error:?}").contains("S~") && error.message().contains("base64"), "{error:?}");
    let error = hex.batch().put("ab", "AP8=").del("x").put("cd", "AP8=").write().await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidKey);
    assert_eq!(hex.clear(hex.range().gt("x").lt("ff")).await.unwrap_err().code(), Code::InvalidKey);
    assert_eq!(hex.all(hex.range().lt("x")).await.unwrap_err().code(), Code::InvalidKey);
    assert_eq!(hex.stream(hex.range().lt("x")).try_collect::<Vec<_>>().await.unwrap_err().code(), Code::InvalidKey);
    assert_eq!(hex.get("x").await.unwrap_err().code(), Code::InvalidKey);
    assert_eq!(db.all(KeyRange::all()).await.unwrap().len(), 1);
}

#[test]
fn encodings_are_found_by_name_and_go_both_ways() {
    let cases = [("utf8", "ä b", "ä b".as_bytes()), ("hex", "00ff", &[0, 255]), ("base64", "AP8=", &[0, 255])];
    for (name, text, stored) in cases {
        let encoding = by_name(name).unwrap();
        assert_eq!((encoding.name(), encoding.to_string()), (name, name.to_owned()));
        assert_eq!(encoding.encode(text).unwrap(), stored);
        assert_eq!(encoding.decode(stored).unwrap(), text);
        assert_eq!(encoding.encode("").unwrap(), "");
        assert_eq!(encoding.decode(b"").unwrap(), "");
    }
    let json: TextEncoding = "json".parse().unwrap();
    let text = r#"{"b":1.0,"a":123456789012345678901234567890}"#;
    assert_eq!(json.encode(&format!(" {text}\n")).unwrap(), text);
    assert_eq!(json.decode(text.as_bytes()).unwrap(), text);
    for bad in ["", "{", "nul", "1 2"] {
        assert_eq!(json.encode_value(bad).unwrap_err().code(), Code::InvalidValue, "{bad}");
        assert_eq!(json.decode_value(bad.as_bytes()).unwrap_err().code(), Code::DecodeError, "{bad}");
    }
    assert!(NAMES.iter().all(|name| by_name(name).unwrap().name() == *name));
    let error = by_name("utf16").unwrap_err();
    assert_eq!(error.code(), Code::EncodingNotFound);
    assert!(error.message().contains("utf16") && error.message().contains("base64"), "{error}");
}

#[test]
fn bytes_that_are_not_text_are_refused_by_text_encodings() {
    for encoding in [TextEncoding::Utf8, TextEncoding::Json] {
        assert_eq!(encoding.decode_key(&[0xff]).unwrap_err().code(), Code::DecodeError);
    }
}

#[tokio::test]
async fn conditions_are_of_the_encoded_form() {
    let db = MemoryLevel::new();
    let users = db.typed(Number, Json::<User>::new());
    let (ann, bob) = (user("ann", 40), user("bob", 50));
    users.batch().put(&1, &ann).if_absent(&1).write().await.unwrap();
    let error = users.batch().put(&1, &bob).if_absent(&2).if_equals(&1, &bob).write().await.unwrap_err();
    assert_eq!((error.code(), error.failed_conditions()), (Code::ConditionFailed, &[1][..]));
    users.batch().put(&1, &bob).if_equals(&1, &ann).write().await.unwrap();
    assert_eq!(users.get(&1).await.unwrap(), Some(bob.clone()));
    // The same value in other bytes is not equal, and what cannot be decoded is not absent.
    db.put(2_u32.to_be_bytes(), r#"{ "age": 50, "name": "bob" }"#).await.unwrap();
    db.put(3_u32.to_be_bytes(), "junk").await.unwrap();
    assert_eq!(users.get(&2).await.unwrap(), Some(bob.clone()));
    let error = users.batch().if_equals(&2, &bob).if_absent(&3).write().await.unwrap_err();
    assert_eq!(error.failed_conditions(), [0, 1]);
    // What cannot be encoded is reported by the write.
    let hex = db.typed(Hex, Base64);
    assert_eq!(hex.batch().put("ab", "AP8=").if_absent("x").write().await.unwrap_err().code(), Code::InvalidKey);
    assert_eq!(hex.batch().if_equals("ab", "~").put("x", "~").write().await.unwrap_err().code(), Code::InvalidValue);
    assert!(!hex.has("ab").await.unwrap());
}
