//! Parts of a level as levels of their own.

use super::{
    Harness,
    model::{Bounds, Model, Query},
    tools::*,
};
use crate::{AbstractLevel, AbstractLevelExt, Code, IteratorOptions, KeyRange, SublevelOptions};
use std::sync::Arc;

/// Keys of a sublevel carry the prefix `!name!`, nested ones `!a!!b!`, whichever way they are made.
pub async fn prefixes_have_the_known_form(h: &mut Harness) {
    let db = h.level.clone();
    let one = db.sublevel("one").unwrap();
    let nested = one.sublevel("two").unwrap();
    let named_at_once = db.sublevel_with(&["one", "two"], SublevelOptions::default()).unwrap();
    let hashed = db.sublevel_with(&["one"], SublevelOptions { separator: b'#' }).unwrap();
    one.put("k", "1").await.unwrap();
    nested.put("k", "2").await.unwrap();
    hashed.put("k", "3").await.unwrap();
    h.disturb().await;
    assert_eq!(named_at_once.get("k").await.unwrap(), Some(b("2")));
    assert_eq!(all_keys(&db).await, ["!one!!two!k", "!one!k", "#one#k"]);
    assert_eq!(db.get("!one!!two!k").await.unwrap(), Some(b("2")));
    assert_eq!(named_at_once.path(), nested.path());
    assert!(nested.path().ends_with(&["one".to_owned(), "two".to_owned()]));
    assert!(nested.prefix().ends_with(b"!one!!two!") && hashed.prefix().ends_with(b"#one#"));
}

/// A name that could be confused with a prefix is refused.
pub async fn bad_names_are_refused(h: &mut Harness) {
    let db = &h.level;
    let one = db.sublevel("one").unwrap();
    for name in ["", "a!b", "!", "a b", "\u{7f}", "é", "a\0", "\""] {
        // The byte next to the separator is legal in some versions of abstract-level and not in others.
        if name != "\"" {
            assert_code(db.sublevel(name), Code::InvalidPrefix);
            assert_code(one.sublevel(name), Code::InvalidPrefix);
            assert_code(db.sublevel_with(&["fine", name], SublevelOptions::default()), Code::InvalidPrefix);
        }
    }
    assert_code(db.sublevel_with(&[], SublevelOptions::default()), Code::InvalidPrefix);
    assert_code(db.sublevel_with(&["a#b"], SublevelOptions { separator: b'#' }), Code::InvalidPrefix);
    assert!(db.sublevel("fine-~09AZ").is_ok());
}

/// Reading, writing and iterating through a sublevel touches nothing outside of it.
pub async fn siblings_and_parents_are_apart(h: &mut Harness) {
    let db = h.level.clone();
    let (one, two) = (db.sublevel("one").unwrap(), db.sublevel("two").unwrap());
    let nested = one.sublevel("nested").unwrap();
    fill(&db, &["a", "z"]).await;
    for (level, value) in [(&one, "1"), (&two, "2"), (&nested, "3")] {
        for key in KEYS {
            level.put(key, value).await.unwrap();
        }
    }
    h.disturb().await;
    for (level, value, extra) in [(&one, "1", KEYS.len()), (&two, "2", 0), (&nested, "3", 0)] {
        for key in KEYS {
            assert_eq!(level.get(key).await.unwrap(), Some(b(value)));
        }
        // The nested sublevel's keys are the parent's keys too.
        let entries = level.all(KeyRange::all()).await.unwrap();
        assert_eq!(entries.len(), KEYS.len() + extra);
        assert_eq!(entries.iter().filter(|entry| entry.value == value).count(), KEYS.len());
    }
    two.del("a").await.unwrap();
    assert_eq!(one.get("a").await.unwrap(), Some(b("1")));
    assert_eq!(db.get("a").await.unwrap(), Some(b("va")));
}

/// The upper bound of a sublevel is exclusive: the parent's key that is the prefix's successor is neither seen nor
/// cleared.
pub async fn the_upper_bound_is_exclusive(h: &mut Harness) {
    let db = h.level.clone();
    let sub = db.sublevel("a").unwrap();
    let around = ["!a", "!a ", "!a\"", "!a\"\0", "!a#", "!b!"];
    fill(&db, &around).await;
    for reverse in [false, true] {
        let options = IteratorOptions { reverse, ..IteratorOptions::default() };
        assert_eq!(keys_of(&sub.all(options).await.unwrap()), [""; 0]);
    }
    fill_view(&Arc::new(sub.clone()), &["", "\u{ff}", "x"]).await;
    sub.put([0xff, 0xff], "last").await.unwrap();
    h.disturb().await;
    let mut iterator = sub.iterator(IteratorOptions::default().reversed()).await.unwrap();
    assert_eq!(iterator.next().await.unwrap().unwrap().key, [0xff_u8, 0xff][..]);
    assert_eq!(sub.all(KeyRange::all()).await.unwrap().len(), 4);
    sub.clear(KeyRange::all()).await.unwrap();
    assert_eq!(all_keys(&db).await, around.map(|key| key.escape_default().to_string().replace("\\u{0}", "\\x00")));
}

async fn fill_view<K: AsRef<[u8]>>(level: &Arc<impl AbstractLevel>, keys: &[K]) {
    let level: Arc<dyn AbstractLevel> = level.clone();
    fill(&level, keys).await;
}

/// Ranges, limits, both directions and seeks within a sublevel, against a model.
pub async fn every_range_is_right_within(h: &mut Harness) {
    let db = h.level.clone();
    let sub = db.sublevel("sub").unwrap();
    fill(&db, &["", "!", "!sub", "!sub\"", "\u{ff}", "z"]).await;
    fill_view(&Arc::new(sub.clone()), &KEYS).await;
    let model = Model(KEYS.iter().map(|key| (b(key), value_of(key))).collect());
    for (step, bounds) in Bounds::combinations(&[b"", b"a", b"\xff"]).into_iter().enumerate() {
        for reverse in [false, true] {
            for limit in [None, Some(2)] {
                let query = Query { bounds: bounds.clone(), reverse, limit };
                let entries = sub.all(query.iterator()).await.unwrap();
                assert_eq!(texts(&entries), texts(&model.entries(&query)), "{query:?}");
            }
            let query = Query { bounds: bounds.clone(), reverse, limit: None };
            for target in [&b""[..], b"aaa", b"ab", b"\xff\xff\xff"] {
                let (mut iterator, mut cursor) = (sub.iterator(query.iterator()).await.unwrap(), model.iterate(&query));
                iterator.seek(b(target)).await.unwrap();
                cursor.seek(target);
                assert_eq!(iterator.next().await.unwrap(), cursor.next(), "{query:?} {}", target.escape_ascii());
                assert_eq!(iterator.next().await.unwrap(), cursor.next(), "{query:?} {}", target.escape_ascii());
            }
        }
        if step == 20 {
            h.disturb().await;
        }
    }
}

/// A clear in a sublevel leaves its siblings and its parent alone, and takes what is nested in it along.
pub async fn a_clear_leaves_the_others(h: &mut Harness) {
    let db = h.level.clone();
    let (one, two) = (db.sublevel("one").unwrap(), db.sublevel("one-b").unwrap());
    let nested = one.sublevel("nested").unwrap();
    let refill = async || {
        fill(&db, &["", "a", "zz"]).await;
        for level in [&one, &two, &nested] {
            fill_view(&Arc::new(level.clone()), &["", "a", "b"]).await;
        }
    };
    let keys = async |level: &crate::Sublevel| keys_of(&level.all(KeyRange::all()).await.unwrap());
    refill().await;
    nested.clear(KeyRange::all()).await.unwrap();
    assert_eq!(keys(&nested).await, [""; 0]);
    assert_eq!(keys(&one).await, ["", "a", "b"]);
    refill().await;
    h.disturb().await;
    one.clear(KeyRange::all()).await.unwrap();
    assert_eq!(keys(&one).await, [""; 0]);
    assert_eq!(keys(&nested).await, [""; 0]);
    assert_eq!(keys(&two).await, ["", "a", "b"]);
    assert_eq!(all_keys(&db).await, ["", "!one-b!", "!one-b!a", "!one-b!b", "a", "zz"]);
    two.clear(crate::ClearOptions { limit: Some(1), reverse: true, ..KeyRange::all().gt("").into() }).await.unwrap();
    assert_eq!(keys(&two).await, ["", "a"]);
}

/// Closing a sublevel closes that view, what hangs on it and nothing else.
pub async fn closing_a_view_closes_only_the_view(h: &mut Harness) {
    let db = h.level.clone();
    let (one, other) = (db.sublevel("one").unwrap(), db.sublevel("other").unwrap());
    let (clone, nested, twin) = (one.clone(), one.sublevel("nested").unwrap(), db.sublevel("one").unwrap());
    one.put("a", "1").await.unwrap();
    let mut iterator = one.iterator(KeyRange::all()).await.unwrap();
    one.close().await.unwrap();
    one.close().await.unwrap();
    for view in [&one, &clone, &nested] {
        assert_eq!(view.status(), crate::Status::Closed);
        assert_code(view.get("a").await, Code::DatabaseNotOpen);
        assert_code(view.put("a", "2").await, Code::DatabaseNotOpen);
        assert_code(view.clear(KeyRange::all()).await, Code::DatabaseNotOpen);
        assert_code(view.iterator(KeyRange::all()).await.map(|_| ()), Code::DatabaseNotOpen);
    }
    assert_code(iterator.next().await, Code::DatabaseNotOpen);
    h.disturb().await;
    assert_eq!(twin.get("a").await.unwrap(), Some(b("1")));
    other.put("a", "3").await.unwrap();
    assert_eq!(all_keys(&db).await, ["!one!a", "!other!a"]);
    assert_eq!(db.status(), crate::Status::Open);
}

/// Closing the level closes its sublevels.
pub async fn closing_the_level_closes_its_views(h: &mut Harness) {
    let sub = h.level.sublevel("sub").unwrap();
    let nested = sub.sublevel("nested").unwrap();
    sub.put("a", "1").await.unwrap();
    h.level.close().await.unwrap();
    for view in [&sub, &nested] {
        assert_eq!(view.status(), crate::Status::Closed);
        assert_code(view.get("a").await, Code::DatabaseNotOpen);
        assert_code(view.put("a", "2").await, Code::DatabaseNotOpen);
        view.close().await.unwrap();
    }
}

/// A sublevel behaves like a level also behind `Arc<dyn AbstractLevel>`, with sublevels and batches of its own.
pub async fn views_nest_behind_the_trait(h: &mut Harness) {
    let outer: Arc<dyn AbstractLevel> = Arc::new(h.level.sublevel("outer").unwrap());
    let inner = outer.sublevel("inner").unwrap();
    inner.put("a", "1").await.unwrap();
    outer.write(crate::Batch::new().put("b", "2").put_in(&inner, "b", "3").del_in(&inner, "a")).await.unwrap();
    h.disturb().await;
    assert_eq!(all_keys(&outer).await, ["!inner!b", "b"]);
    assert_eq!(all_keys(&h.level).await, ["!outer!!inner!b", "!outer!b"]);
    h.level.write(crate::Batch::new().put_in(&inner, "c", "4")).await.unwrap();
    assert_eq!(inner.get("c").await.unwrap(), Some(b("4")));
}
