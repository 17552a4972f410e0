//! Deleting ranges.

use super::{
    Harness,
    model::{Bounds, Model, Query},
    tools::*,
};
use crate::{AbstractLevelExt, Batch, ClearOptions, Code, KeyRange};
use bytes::Bytes;

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
                fill(&(std::sync::Arc::new(sub.clone()) as _), &letters()).await;
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
