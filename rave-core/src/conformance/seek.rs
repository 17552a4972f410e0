//! Moving an iterator.

use super::{
    Harness,
    model::{Bounds, Model, Query},
    tools::*,
};
use crate::{AbstractLevelExt, Batch, IteratorOptions, KeyRange};

/// Forward to the first key ≥ the target, in reverse to the first ≤ it, for targets on, between, before and behind keys.
pub async fn seeks_find_the_nearest_key(h: &mut Harness) {
    let db = h.level.clone();
    fill(&db, &KEYS).await;
    let model = Model(KEYS.iter().map(|key| (b(key), value_of(key))).collect());
    let mut targets = KEYS.to_vec();
    targets.extend([&b"aa\0"[..], b"aaa", b"az", b"d", b"\0\x01", b"\xff\xff\xff", b"b\0"]);
    for reverse in [false, true] {
        let query = Query { reverse, ..Query::default() };
        for target in &targets {
            let mut iterator = db.iterator(query.iterator()).await.unwrap();
            let mut cursor = model.iterate(&query);
            iterator.seek(b(target)).await.unwrap();
            cursor.seek(target);
            let expected: Vec<_> = std::iter::from_fn(|| cursor.next()).collect();
            assert_eq!(texts(&rest(&mut *iterator).await), texts(&expected), "{} {reverse}", target.escape_ascii());
        }
        h.disturb().await;
    }
}

/// A target outside the range, on either side, leads to the end; one inside leads out of it again.
pub async fn a_target_outside_the_range_is_the_end(h: &mut Harness) {
    let db = h.level.clone();
    fill(&db, &["a", "b", "c", "d", "e"]).await;
    let range = || KeyRange::all().gt("a").lt("e");
    for reverse in [false, true] {
        let options = IteratorOptions { reverse, ..range().into() };
        for outside in ["", "a", "e", "z"] {
            let mut iterator = db.iterator(options.clone()).await.unwrap();
            iterator.seek(b(outside)).await.unwrap();
            assert_eq!(iterator.next().await.unwrap(), None, "{outside:?} {reverse}");
            assert_eq!(iterator.next_many(2).await.unwrap(), []);
            h.disturb().await;
            iterator.seek(b("c")).await.unwrap();
            let expected = if reverse { ["c", "b"] } else { ["c", "d"] };
            assert_eq!(keys_of(&rest(&mut *iterator).await), expected, "{outside:?} {reverse}");
        }
    }
    let mut iterator = db.iterator(KeyRange::all().gte("b").lte("d")).await.unwrap();
    iterator.seek(b("d")).await.unwrap();
    assert_eq!(keys_of(&rest(&mut *iterator).await), ["d"]);
    iterator.seek(b("b")).await.unwrap();
    assert_eq!(iterator.next().await.unwrap().unwrap().key, "b");
}

/// A seek after the end starts anew.
pub async fn a_seek_rearms_after_the_end(h: &mut Harness) {
    let db = h.level.clone();
    fill(&db, &["a", "b", "c"]).await;
    for reverse in [false, true] {
        let mut iterator = db.iterator(IteratorOptions { reverse, ..IteratorOptions::default() }).await.unwrap();
        for round in 0..3 {
            if round == 1 {
                h.disturb().await;
            }
            rest(&mut *iterator).await;
            assert_eq!(iterator.next().await.unwrap(), None);
            iterator.seek(b("b")).await.unwrap();
            assert_eq!(keys_of(&rest(&mut *iterator).await), if reverse { ["b", "a"] } else { ["b", "c"] });
        }
    }
}

/// Entries that were delivered before a seek count against the limit, and once it is reached no seek helps.
pub async fn a_seek_does_not_reset_the_limit(h: &mut Harness) {
    let db = h.level.clone();
    fill(&db, &["a", "b", "c", "d"]).await;
    for pages in [false, true] {
        let mut iterator = db.iterator(IteratorOptions::default().limited(3)).await.unwrap();
        assert_eq!(iterator.next().await.unwrap().unwrap().key, "a");
        assert_eq!(iterator.next().await.unwrap().unwrap().key, "b");
        iterator.seek(b("a")).await.unwrap();
        h.disturb().await;
        let again = if pages {
            iterator.next_many(10).await.unwrap().into_iter().next()
        } else {
            iterator.next().await.unwrap()
        };
        assert_eq!(again.unwrap().key, "a");
        assert_eq!(iterator.next().await.unwrap(), None, "the limit is reached");
        iterator.seek(b("a")).await.unwrap();
        assert_eq!(iterator.next().await.unwrap(), None, "the limit stays reached");
        assert_eq!(iterator.next_many(5).await.unwrap(), [], "the limit stays reached");
    }
    let mut iterator = db.iterator(IteratorOptions::default().limited(0)).await.unwrap();
    iterator.seek(b("a")).await.unwrap();
    assert_eq!(iterator.next().await.unwrap(), None);
}

/// Seeks go back and forth between steps of both kinds.
pub async fn steps_and_seeks_interleave(h: &mut Harness) {
    let db = h.level.clone();
    let keys: Vec<String> = (0..200).map(|i| format!("{i:03}")).collect();
    fill(&db, &keys).await;
    let model = Model(keys.iter().map(|key| (b(key), value_of(key))).collect());
    for reverse in [false, true] {
        let bounds = Bounds { gt: Some(b("010")), lte: Some(b("190")), ..Bounds::default() };
        let query = Query { bounds, reverse, limit: Some(150) };
        let mut iterator = db.iterator(query.iterator()).await.unwrap();
        let mut cursor = model.iterate(&query);
        for step in 0..60_usize {
            let target = format!("{:03}", step * 37 % 200);
            iterator.seek(b(&target)).await.unwrap();
            cursor.seek(target.as_bytes());
            for _ in 0..step % 4 {
                assert_eq!(iterator.next().await.unwrap(), cursor.next(), "step {step}, {target} {reverse}");
            }
            if step % 3 == 0 {
                for entry in iterator.next_many(4).await.unwrap() {
                    assert_eq!(Some(entry), cursor.next(), "step {step}, {target} {reverse}");
                }
            }
            if step == 30 {
                h.disturb().await;
            }
        }
    }
}

/// A seek stays in the view of the iterator's creation; without implicit snapshots it still finds every key that existed
/// throughout.
pub async fn a_seek_takes_no_newer_view(h: &mut Harness) {
    let db = &h.level;
    fill(db, &["a", "b", "c", "d"]).await;
    let mut iterator = db.iterator(KeyRange::all()).await.unwrap();
    iterator.next().await.unwrap();
    db.write(Batch::new().put("aa", "new").del("c").put("b", "new").put("e", "new")).await.unwrap();
    iterator.seek(b("a")).await.unwrap();
    let first = rest(&mut *iterator).await;
    iterator.seek(b("aa")).await.unwrap();
    let second = rest(&mut *iterator).await;
    if db.manifest().implicit_snapshots {
        let expected = |keys: &[&str]| keys.iter().map(|key| (key.to_string(), format!("v{key}"))).collect::<Vec<_>>();
        assert_eq!(texts(&first), expected(&["a", "b", "c", "d"]));
        assert_eq!(texts(&second), expected(&["b", "c", "d"]));
    } else {
        assert!(["a", "b", "d"].iter().all(|key| keys_of(&first).contains(&key.to_string())), "{:?}", texts(&first));
        assert!(["b", "d"].iter().all(|key| keys_of(&second).contains(&key.to_string())), "{:?}", texts(&second));
    }
}

/// A seek to a key in an empty level is the end.
pub async fn a_seek_in_an_empty_level_is_the_end(h: &mut Harness) {
    for reverse in [false, true] {
        let mut iterator = h.level.iterator(IteratorOptions { reverse, ..IteratorOptions::default() }).await.unwrap();
        for target in ["", "a", "z"] {
            iterator.seek(b(target)).await.unwrap();
            assert_eq!(iterator.next().await.unwrap(), None);
        }
    }
}

/// Without values or keys a seek works alike.
pub async fn seeks_work_without_keys_or_values(h: &mut Harness) {
    let db = &h.level;
    fill(db, &["a", "b", "c"]).await;
    let mut values = db.iterator(IteratorOptions { keys: false, ..IteratorOptions::default() }).await.unwrap();
    values.next().await.unwrap();
    values.seek(b("c")).await.unwrap();
    assert_eq!(texts(&rest(&mut *values).await), [(String::new(), "vc".to_owned())]);
    let mut keys =
        db.iterator(IteratorOptions { values: false, ..IteratorOptions::default() }.reversed()).await.unwrap();
    keys.next_many(1).await.unwrap();
    keys.seek(b("ab")).await.unwrap();
    assert_eq!(texts(&rest(&mut *keys).await), [("a".to_owned(), String::new())]);
}
