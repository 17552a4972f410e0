//! Deleting ranges.

use super::{
    Harness,
    model::{Bounds, Model, Query},
    tools::*,
};
use crate::{AbstractLevel, AbstractLevelExt, Batch, ClearOptions, Code, Effect, KeyRange};
use bytes::Bytes;
use std::sync::Arc;

fn letters() -> Vec<String> {
    ('a'..='j').map(String::from).collect()
}

/// Everything goes, and the level can be used again.
pub async fn everything_goes(h: &mut Harness) {
    let db = h.level.clone();
    db.clear(KeyRange::all()).await.unwrap();
    fill(&db, &KEYS).await;
    h.disturb().await;
    db.clear(KeyRange::all()).await.unwrap();
    assert_eq!(all_keys(&db).await, [""; 0]);
    db.put("", "1").await.unwrap();
    assert_eq!(all_keys(&db).await, [""]);
}

/// Exactly the keys of a range go, for every kind and combination of bounds.
pub async fn exactly_the_range_goes(h: &mut Harness) {
    let db = h.level.clone();
    for (step, bounds) in Bounds::combinations(&[b"", b"a", b"aaa", b"\xff"]).into_iter().enumerate() {
        fill(&db, &KEYS).await;
        let query = Query { bounds, ..Query::default() };
        db.clear(query.clear()).await.unwrap();
        let left: Vec<String> = sorted_keys()
            .iter()
            .filter(|key| !query.bounds.contains(key))
            .map(|key| key.escape_ascii().to_string())
            .collect();
        assert_eq!(all_keys(&db).await, left, "{query:?}");
        if step == 40 {
            h.disturb().await;
        }
    }
}

fn sorted_keys() -> Vec<Bytes> {
    let mut keys: Vec<Bytes> = KEYS.iter().map(b).collect();
    keys.sort();
    keys
}

/// A limit deletes the lowest keys, in reverse the highest; inside the range only.
pub async fn a_limit_takes_the_nearest_keys(h: &mut Harness) {
    let db = h.level.clone();
    for (reverse, limit) in [(false, 1), (false, 3), (true, 1), (true, 3), (false, 100), (true, 100)] {
        for bounds in [Bounds::default(), Bounds { gt: Some(b("b")), lt: Some(b("i")), ..Bounds::default() }] {
            fill(&db, &letters()).await;
            let query = Query { bounds, reverse, limit: Some(limit) };
            let mut model = Model(letters().iter().map(|key| (b(key), value_of(key))).collect());
            model.clear(&query);
            db.clear(query.clear()).await.unwrap();
            assert_eq!(db.all(KeyRange::all()).await.unwrap(), model.entries(&Query::default()), "{query:?}");
        }
        h.disturb().await;
    }
}

/// Parts of the range that are to stay do so, and a limit does not count them, in both directions. A level that only asks
/// another one over a wire may refuse that.
pub async fn what_is_excepted_stays(h: &mut Harness) {
    let db = h.level.clone();
    fill(&db, &letters()).await;
    let refused = ClearOptions { except: vec![KeyRange::prefix("c")], ..ClearOptions::default() };
    if let Some(Code::NotSupported) = code_of(db.clear(refused).await) {
        assert_eq!(all_keys(&db).await, letters());
        return;
    }
    db.clear(KeyRange::all()).await.unwrap();
    let sub = db.sublevel("sub").unwrap();
    let holes = [
        vec![KeyRange::all()],
        vec![KeyRange::prefix("c")],
        vec![KeyRange::all().gt("c").lte("f")],
        vec![KeyRange::all().lt("b"), KeyRange::all().gte("i")],
        // In any order, one over the other, and empty.
        vec![KeyRange::all().gte("e").lt("g"), KeyRange::all().gte("b").lte("e"), KeyRange::all().gte("z").lt("a")],
    ];
    for (step, except) in holes.into_iter().enumerate() {
        for (reverse, limit) in [(false, None), (true, None), (false, Some(3)), (true, Some(3)), (false, Some(100))] {
            for range in [KeyRange::all(), KeyRange::all().gt("b").lt("i")] {
                let stays = |key: &String| except.iter().any(|hole| hole.contains(key.as_bytes()));
                let mut goes: Vec<String> = letters();
                goes.retain(|key| range.contains(key.as_bytes()) && !stays(key));
                if reverse {
                    goes.reverse();
                }
                goes.truncate(limit.map_or(usize::MAX, |limit| limit as usize));
                let mut left = letters();
                left.retain(|key| !goes.contains(key));
                let options = ClearOptions { range, except: except.clone(), reverse, limit, ..ClearOptions::default() };
                fill(&db, &letters()).await;
                fill(&(Arc::new(sub.clone()) as _), &letters()).await;
                sub.clear(options.clone()).await.unwrap();
                assert_eq!(keys_of(&sub.all(KeyRange::all()).await.unwrap()), left, "{options:?} in a sublevel");
                sub.clear(KeyRange::all()).await.unwrap();
                assert_eq!(all_keys(&db).await, letters(), "{options:?} in a sublevel, seen from outside");
                db.clear(options.clone()).await.unwrap();
                assert_eq!(all_keys(&db).await, left, "{options:?}");
            }
        }
        if step == 2 {
            h.disturb().await;
        }
    }
}

/// A limit of zero deletes nothing.
pub async fn a_limit_of_zero_deletes_nothing(h: &mut Harness) {
    let db = &h.level;
    fill(db, &["a", "b"]).await;
    for reverse in [false, true] {
        db.clear(ClearOptions { limit: Some(0), reverse, ..ClearOptions::default() }).await.unwrap();
        assert_eq!(all_keys(db).await, ["a", "b"]);
    }
}

/// An empty range and a range without keys delete nothing.
pub async fn an_empty_range_deletes_nothing(h: &mut Harness) {
    let db = &h.level;
    fill(db, &["a", "c"]).await;
    for range in [
        KeyRange::all().gt("a").lt("c"),
        KeyRange::all().gte("c").lt("a"),
        KeyRange::all().gt("c").lte("a"),
        KeyRange::all().gt("a").lt("a"),
        KeyRange::all().gte("a").lt("a"),
        KeyRange::all().lt(""),
        KeyRange::prefix("b"),
    ] {
        db.clear(range.clone()).await.unwrap();
        assert_eq!(all_keys(db).await, ["a", "c"], "{range:?}");
    }
}

/// A clear of many keys, more than any page of a store or a wire.
pub async fn many_keys_go(h: &mut Harness) {
    let db = h.level.clone();
    let keys: Vec<String> = (0..3_000).map(|i| format!("{i:05}")).collect();
    fill(&db, &keys).await;
    db.clear(KeyRange::all().gte("00100").lt("02900")).await.unwrap();
    h.disturb().await;
    let left: Vec<&String> = keys.iter().filter(|key| key.as_str() < "00100" || key.as_str() >= "02900").collect();
    assert_eq!(all_keys(&db).await.iter().collect::<Vec<_>>(), left);
}

/// An iterator that was open before a clear goes on: over its own state, or without repeating and going back.
pub async fn an_open_iterator_survives_a_clear(h: &mut Harness) {
    let db = &h.level;
    fill(db, &letters()).await;
    let mut iterator = db.iterator(KeyRange::all()).await.unwrap();
    let first = iterator.next().await.unwrap().unwrap();
    assert_eq!(first.key, "a");
    db.clear(KeyRange::all().gte("c").lt("f")).await.unwrap();
    let seen = keys_of(&rest(&mut *iterator).await);
    if db.manifest().implicit_snapshots {
        assert_eq!(seen, letters()[1..]);
    } else {
        assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{seen:?}");
        let throughout: Vec<String> = seen.into_iter().filter(|key| !("c".."f").contains(&key.as_str())).collect();
        assert_eq!(throughout, ["b", "f", "g", "h", "i", "j"]);
    }
    iterator.close().await.unwrap();
    assert_eq!(all_keys(db).await, ["a", "b", "f", "g", "h", "i", "j"]);
}

/// Where the manifest says `atomic_clear`, readers see all of it or nothing; elsewhere it at least ends complete.
pub async fn a_clear_is_as_atomic_as_declared(h: &mut Harness) {
    let db = h.level.clone();
    let keys: Vec<String> = (0..50).map(|i| format!("{i:03}")).collect();
    for _ in 0..10 {
        fill(&db, &keys).await;
        let clearing = {
            let db = db.clone();
            tokio::spawn(async move { db.clear(KeyRange::all()).await })
        };
        loop {
            let last = clearing.is_finished();
            let count = db.all(KeyRange::all()).await.unwrap().len();
            let manifest = db.manifest();
            if manifest.atomic_clear && manifest.implicit_snapshots {
                assert!(count == 0 || count == keys.len(), "{count} of {} keys seen during a clear", keys.len());
            }
            if last {
                assert_eq!(count, 0);
                break;
            }
            tokio::task::yield_now().await;
        }
        clearing.await.unwrap().unwrap();
    }
}

/// What is put after a clear stays, and what was put into the same range with it in one batch too.
pub async fn later_writes_stay(h: &mut Harness) {
    let db = &h.level;
    fill(db, &["a", "b"]).await;
    let (cleared, put) =
        futures::join!(db.clear(KeyRange::all()), db.write(Batch::new().put("b", "new").put("c", "new")));
    cleared.unwrap();
    put.unwrap();
    assert_eq!(all_keys(db).await, ["b", "c"]);
}

/// Whether a clear can write too. If not, this is where it has to be refused.
async fn clears_and_writes(h: &Harness) -> bool {
    let db = &h.level;
    if db.manifest().atomic_clear {
        return true;
    }
    fill(db, &["a", "b"]).await;
    h.assert_refused("atomic_clear", db.clear(and_write(KeyRange::all(), Batch::new().put("c", "1"))).await);
    assert_eq!(all_keys(db).await, ["a", "b"]);
    false
}

fn and_write(range: KeyRange, and_write: Batch) -> ClearOptions {
    ClearOptions { and_write, ..range.into() }
}

/// What a clear brings along is written behind its deletions, also if there is nothing to delete.
pub async fn what_comes_with_a_clear_is_written(h: &mut Harness) {
    let db = h.level.clone();
    if !clears_and_writes(h).await {
        return;
    }
    fill(&db, &["a", "b", "c"]).await;
    // In the range: it is written after the deletion. Outside of it: it may delete too.
    db.clear(and_write(KeyRange::all().lt("c"), Batch::new().put("b", "new").put("d", "1").del("c"))).await.unwrap();
    assert_eq!(texts(&db.all(KeyRange::all()).await.unwrap()), [("b", "new"), ("d", "1")].map(owned));
    h.disturb().await;
    db.clear(and_write(KeyRange::all().gt("x"), Batch::new().put("d", "2"))).await.unwrap();
    db.clear(and_write(KeyRange::all().gte("z").lt("a"), Batch::new().put("e", "3"))).await.unwrap();
    for reverse in [false, true] {
        let wanted = and_write(KeyRange::all(), Batch::new().put(format!("zero-{reverse}"), "4"));
        db.clear(ClearOptions { limit: Some(0), reverse, ..wanted }).await.unwrap();
    }
    assert_eq!(all_keys(&db).await, ["b", "d", "e", "zero-false", "zero-true"]);
    // A limit counts deletions.
    let wanted = and_write(KeyRange::all(), Batch::new().put("a", "5").put("f", "5"));
    db.clear(ClearOptions { limit: Some(2), reverse: true, sync: db.manifest().sync_writes, ..wanted }).await.unwrap();
    assert_eq!(all_keys(&db).await, ["a", "b", "d", "e", "f"]);
}

fn owned((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

/// Readers see what a clear deletes, or what it writes, and never both or neither.
pub async fn a_clear_and_its_writes_are_one_step(h: &mut Harness) {
    let db = h.level.clone();
    if !clears_and_writes(h).await {
        return;
    }
    let key = |i: u32| format!("{i:03}");
    db.put(key(0), "").await.unwrap();
    let clearing = {
        let db = db.clone();
        tokio::spawn(async move {
            for i in 1..=50 {
                db.clear(and_write(KeyRange::all(), Batch::new().put(key(i), ""))).await.unwrap();
                tokio::task::yield_now().await;
            }
        })
    };
    loop {
        let last = clearing.is_finished();
        let keys = all_keys(&db).await;
        if db.manifest().implicit_snapshots {
            assert_eq!(keys.len(), 1, "{keys:?}");
        }
        if last {
            break;
        }
        tokio::task::yield_now().await;
    }
    clearing.await.unwrap();
    assert_eq!(all_keys(&db).await, [key(50)]);
}

/// What a clear of a sublevel brings along goes there too, or below; conditions are refused.
pub async fn a_clear_writes_where_it_belongs(h: &mut Harness) {
    let db = &h.level;
    if !clears_and_writes(h).await {
        return;
    }
    let (one, two) = (db.sublevel("one").unwrap(), db.sublevel("two").unwrap());
    let nested = one.sublevel("nested").unwrap();
    db.write(Batch::new().put("a", "1").put_in(&one, "a", "1").put_in(&two, "a", "1")).await.unwrap();
    one.clear(and_write(KeyRange::all(), Batch::new().put("b", "2").put_in(&nested, "c", "3"))).await.unwrap();
    let there = ["!one!!nested!c", "!one!b", "!two!a", "a"];
    assert_eq!(all_keys(db).await, there);
    let foreign = and_write(KeyRange::all(), Batch::new().put("c", "3").put_in(&two, "b", "2"));
    assert_code(one.clear(foreign).await, Code::InvalidPrefix);
    let conditional = and_write(KeyRange::all(), Batch::new().put("c", "3").if_absent("d"));
    let error = db.clear(conditional).await.expect_err("a clear takes no conditions");
    assert_eq!((error.code(), error.effect()), (Code::InvalidBatch, Effect::None), "{error}");
    assert_eq!(all_keys(db).await, there);
}
