//! Reading single keys.

use super::{Harness, tools::*};
use crate::AbstractLevelExt;

/// What was put comes back; what was put again comes back new; neighbours do not matter.
pub async fn a_value_comes_back(h: &mut Harness) {
    let db = h.level.clone();
    db.put("a", "1").await.unwrap();
    db.put("aa", "2").await.unwrap();
    assert_eq!(db.get("a").await.unwrap(), Some(b("1")));
    h.disturb().await;
    assert_eq!(db.get("aa").await.unwrap(), Some(b("2")));
    db.put("a", "3").await.unwrap();
    assert_eq!(db.get("a").await.unwrap(), Some(b("3")));
    assert_eq!(db.get("aa").await.unwrap(), Some(b("2")));
}

/// A key that is not there gives nothing, and that is no error.
pub async fn a_missing_key_gives_nothing(h: &mut Harness) {
    let db = &h.level;
    assert_eq!(db.get("a").await.unwrap(), None);
    assert!(!db.has("a").await.unwrap());
    db.put("b", "1").await.unwrap();
    for near in ["", "a", "b\0", "c", "bb"] {
        assert_eq!(db.get(near).await.unwrap(), None, "{near:?}");
        assert!(!db.has(near).await.unwrap(), "{near:?}");
    }
    assert!(db.has("b").await.unwrap());
}

/// A deleted key is gone, also when other keys were deleted around it, and can be put again.
pub async fn a_deleted_key_is_gone(h: &mut Harness) {
    let db = h.level.clone();
    fill(&db, &["a", "b", "c"]).await;
    db.del("b").await.unwrap();
    assert_eq!(db.get("b").await.unwrap(), None);
    assert_eq!(db.get("a").await.unwrap(), Some(b("va")));
    assert_eq!(db.get("c").await.unwrap(), Some(b("vc")));
    db.del("a").await.unwrap();
    h.disturb().await;
    assert_eq!(db.get("c").await.unwrap(), Some(b("vc")));
    assert_eq!(db.get("a").await.unwrap(), None);
    db.put("b", "again").await.unwrap();
    assert_eq!(db.get("b").await.unwrap(), Some(b("again")));
}

/// `get_many` and `has_many` answer in the order of the question, repeated keys included.
pub async fn many_keys_keep_their_order(h: &mut Harness) {
    let db = h.level.clone();
    fill(&db, &["a", "b", "c"]).await;
    let keys = vec!["c", "x", "a", "a", "", "b"];
    let values = db.get_many(keys.clone()).await.unwrap();
    assert_eq!(values, [Some(b("vc")), None, Some(b("va")), Some(b("va")), None, Some(b("vb"))]);
    h.disturb().await;
    assert_eq!(db.has_many(keys).await.unwrap(), [true, false, true, true, false, true]);
}

/// A question about no keys has an empty answer.
pub async fn no_keys_give_no_values(h: &mut Harness) {
    assert_eq!(h.level.get_many(Vec::<&str>::new()).await.unwrap(), []);
    assert!(h.level.has_many(Vec::<&str>::new()).await.unwrap().is_empty());
}

/// The empty key is a key, the empty value a value and not an absence.
pub async fn empty_keys_and_values_are_legal(h: &mut Harness) {
    let db = h.level.clone();
    db.put("", "of the empty key").await.unwrap();
    db.put("empty", "").await.unwrap();
    assert_eq!(db.get("").await.unwrap(), Some(b("of the empty key")));
    assert_eq!(db.get("empty").await.unwrap(), Some(b("")));
    assert!(db.has("empty").await.unwrap());
    assert_eq!(db.get_many(vec!["empty", "", "none"]).await.unwrap(), [Some(b("")), Some(b("of the empty key")), None]);
    h.disturb().await;
    assert_eq!(all_keys(&db).await, ["", "empty"]);
    db.put("", "").await.unwrap();
    assert_eq!(db.get("").await.unwrap(), Some(b("")));
    db.del("").await.unwrap();
    assert_eq!(db.get("").await.unwrap(), None);
    assert_eq!(all_keys(&db).await, ["empty"]);
}

/// Every byte is just a byte, in keys and in values.
pub async fn any_bytes_are_legal(h: &mut Harness) {
    let db = h.level.clone();
    let every: Vec<u8> = (0..=255).collect();
    for key in KEYS {
        db.put(key, [key, &every].concat()).await.unwrap();
    }
    h.disturb().await;
    for key in KEYS {
        assert_eq!(db.get(key).await.unwrap(), Some(b([key, &every].concat())), "{}", key.escape_ascii());
    }
    db.put(&every, "key of every byte").await.unwrap();
    assert_eq!(db.get(&every).await.unwrap(), Some(b("key of every byte")));
}

/// A value of 1 MiB and a key of 8 KiB come back unharmed, by every way of reading.
pub async fn long_keys_and_values_are_legal(h: &mut Harness) {
    let db = h.level.clone();
    let long_value: Vec<u8> = (0..1024 * 1024_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let long_key = vec![b'k'; 8 * 1024];
    db.put("long", &long_value).await.unwrap();
    db.put(&long_key, "of the long key").await.unwrap();
    h.disturb().await;
    assert!(db.get("long").await.unwrap().is_some_and(|value| value == long_value));
    assert_eq!(db.get(&long_key).await.unwrap(), Some(b("of the long key")));
    assert_eq!(db.get(&long_key[1..]).await.unwrap(), None);
    let entries = db.all(crate::KeyRange::all()).await.unwrap();
    assert_eq!(entries.len(), 2);
    assert!(entries[0].key == long_key && entries[1].value == long_value);
}
