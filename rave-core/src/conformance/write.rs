//! Puts, deletes and batches.

use super::{Harness, tools::*};
use crate::{AbstractLevel, AbstractLevelExt, Batch, Code, Effect, KeyRange, Operation, WriteOptions};
use futures::future::poll_immediate;
use std::sync::Arc;

/// Deleting what is not there is fine.
pub async fn deleting_a_missing_key_succeeds(h: &mut Harness) {
    h.level.del("a").await.unwrap();
    h.level.write(Batch::new().del("a").del("a")).await.unwrap();
    assert_eq!(all_keys(&h.level).await, [""; 0]);
}

/// All operations of a batch take effect.
pub async fn a_batch_takes_effect(h: &mut Harness) {
    let db = h.level.clone();
    fill(&db, &["gone", "kept"]).await;
    db.write(Batch::new().put("a", "1").del("gone").put("b", "").put("", "3")).await.unwrap();
    h.disturb().await;
    assert_eq!(all_keys(&db).await, ["", "a", "b", "kept"]);
    assert_eq!(db.get_many(vec!["a", "b", ""]).await.unwrap(), [Some(b("1")), Some(b("")), Some(b("3"))]);
}

/// Of several operations of one batch on the same key the last wins.
pub async fn the_last_operation_on_a_key_wins(h: &mut Harness) {
    let db = &h.level;
    db.write(Batch::new().put("a", "1").put("a", "2").put("b", "1").del("b").del("c").put("c", "2")).await.unwrap();
    assert_eq!(db.get_many(vec!["a", "b", "c"]).await.unwrap(), [Some(b("2")), None, Some(b("2"))]);
    db.write(Batch::new().del("a").put("a", "3").del("a").put("c", "4").del("c").put("c", "5")).await.unwrap();
    assert_eq!(db.get_many(vec!["a", "b", "c"]).await.unwrap(), [None, None, Some(b("5"))]);
    assert_eq!(all_keys(db).await, ["c"]);
}

/// A large batch is still one.
pub async fn a_large_batch_takes_effect(h: &mut Harness) {
    let db = h.level.clone();
    let keys: Vec<String> = (0..2_000).map(|i| format!("{i:05}")).collect();
    fill(&db, &keys).await;
    h.disturb().await;
    assert_eq!(all_keys(&db).await, keys);
    let batch = keys.iter().fold(Batch::new(), Batch::del);
    db.write(batch.put("end", "")).await.unwrap();
    assert_eq!(all_keys(&db).await, ["end"]);
}

/// Readers see all of a batch or nothing of it.
pub async fn readers_never_see_half_a_batch(h: &mut Harness) {
    let db = h.level.clone();
    let batch = |i: u32| (0..8).fold(Batch::new(), |batch, key| batch.put(format!("k{key}"), i.to_string()));
    db.write(batch(0)).await.unwrap();
    let writer = {
        let db = db.clone();
        tokio::spawn(async move {
            for i in 1..=50 {
                db.write(batch(i)).await.unwrap();
                tokio::task::yield_now().await;
            }
        })
    };
    loop {
        let last = writer.is_finished();
        let manifest = db.manifest();
        if manifest.implicit_snapshots {
            let keys: Vec<String> = (0..8).map(|key| format!("k{key}")).collect();
            let values = db.get_many(keys).await.unwrap();
            assert!(values.iter().all(|value| value.is_some() && *value == values[0]), "get_many: {values:?}");
            let entries = db.all(KeyRange::all()).await.unwrap();
            assert_eq!(entries.len(), 8);
            assert!(entries.iter().all(|entry| entry.value == entries[0].value), "iterator: {:?}", texts(&entries));
        } else {
            // Without implicit snapshots single reads still never go back behind an acknowledged batch.
            let number =
                |value: Option<bytes::Bytes>| -> u32 { std::str::from_utf8(&value.unwrap()).unwrap().parse().unwrap() };
            let first = number(db.get("k0").await.unwrap());
            let second = number(db.get("k7").await.unwrap());
            assert!(second >= first, "k7 was {second} after k0 was {first}");
        }
        if last {
            break;
        }
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
    assert_eq!(db.get("k7").await.unwrap(), Some(b("50")));
}

/// A batch of nothing succeeds and does nothing.
pub async fn an_empty_batch_does_nothing(h: &mut Harness) {
    let db = h.level.clone();
    fill(&db, &["a"]).await;
    db.write(Batch::new()).await.unwrap();
    h.disturb().await;
    db.write(Batch::new()).await.unwrap();
    assert_eq!(all_keys(&db).await, ["a"]);
}

/// A batch is made of operations in other ways too, and they keep their order.
pub async fn batches_are_built_in_several_ways(h: &mut Harness) {
    let db = &h.level;
    let mut batch: Batch =
        [Operation::Put { key: b("a"), value: b("1") }, Operation::Del { key: b("a") }].into_iter().collect();
    batch.push(Operation::Put { key: b("b"), value: b("1") });
    batch.append(Batch::new().put("b", "2").put("c", "1"));
    batch.extend([Operation::Del { key: b("c") }]);
    assert_eq!(batch.len(), 6);
    db.write(batch).await.unwrap();
    assert_eq!(all_keys(db).await, ["b"]);
    assert_eq!(db.get("b").await.unwrap(), Some(b("2")));
}

/// A batch may write into sublevels, in one atomic step with the rest.
pub async fn a_batch_writes_into_sublevels(h: &mut Harness) {
    let db = h.level.clone();
    let one = db.sublevel("one").unwrap();
    let two = db.sublevel("two").unwrap();
    let nested = one.sublevel("nested").unwrap();
    two.put("old", "1").await.unwrap();
    db.write(
        Batch::new()
            .put("a", "root")
            .put_in(&one, "a", "one")
            .put_in(&two, "a", "first")
            .del_in(&two, "old")
            .put_in(&two, "a", "two")
            .put_in(&nested, "", "nested"),
    )
    .await
    .unwrap();
    h.disturb().await;
    assert_eq!(db.get("a").await.unwrap(), Some(b("root")));
    assert_eq!(one.get("a").await.unwrap(), Some(b("one")));
    assert_eq!(two.get("a").await.unwrap(), Some(b("two")));
    assert_eq!(two.get("old").await.unwrap(), None);
    assert_eq!(nested.get("").await.unwrap(), Some(b("nested")));
    assert_eq!(all_keys(&db).await, ["!one!!nested!", "!one!a", "!two!a", "a"]);
    // Through the sublevel itself and through any ancestor of it.
    one.write(Batch::new().put_in(&one, "b", "1").put_in(&nested, "b", "2").put("c", "3")).await.unwrap();
    nested.write(Batch::new().put_in(&nested, "c", "4").del_in(&nested, "b")).await.unwrap();
    assert_eq!(one.get_many(vec!["b", "c"]).await.unwrap(), [Some(b("1")), Some(b("3"))]);
    assert_eq!(nested.get_many(vec!["b", "c"]).await.unwrap(), [None, Some(b("4"))]);
}

/// A batch that names a sublevel outside of the view it is written through is refused whole.
pub async fn a_batch_naming_a_foreign_sublevel_is_refused(h: &mut Harness) {
    let db = &h.level;
    let one = db.sublevel("one").unwrap();
    let two = db.sublevel("two").unwrap();
    let nested = one.sublevel("nested").unwrap();
    for (view, foreign) in [(&one, &two), (&nested, &one), (&nested, &two)] {
        let batch = Batch::new().put("a", "1").put_in(foreign, "b", "2").put("c", "3");
        let error = view.write(batch).await.expect_err("a foreign sublevel");
        assert_eq!((error.code(), error.effect()), (Code::InvalidPrefix, Effect::None), "{error}");
        assert_code(view.write(Batch::new().del_in(foreign, "b")).await, Code::InvalidPrefix);
    }
    assert_eq!(all_keys(db).await, [""; 0]);
}

/// Writes that were submitted without waiting for each other take effect in the order of submission.
pub async fn writes_take_effect_in_the_order_submitted(h: &mut Harness) {
    let db = h.level.clone();
    for round in 0..5 {
        let puts = (0..100).map(|i| db.put("same", format!("{round}-{i}"))).collect();
        for result in in_order(puts).await {
            result.unwrap();
        }
        assert_eq!(db.get("same").await.unwrap(), Some(b(format!("{round}-99"))));
        if round == 2 {
            h.disturb().await;
        }
    }
}

/// So do puts, deletes, batches and clears between one another, and a read sees what was submitted before it.
pub async fn different_operations_keep_their_order(h: &mut Harness) {
    let db = &h.level;
    for _ in 0..20 {
        let (put, del, batch, clear, again, read) = futures::join!(
            db.put("a", "1"),
            db.del("a"),
            db.write(Batch::new().put("a", "2").put("b", "2")),
            db.clear(KeyRange::all().lte("a")),
            db.put("c", "3"),
            db.del("c"),
        );
        for result in [put, del, batch, clear, again, read] {
            result.unwrap();
        }
        assert_eq!(all_keys(db).await, ["b"]);
    }
}

/// Tasks that write different keys at once do not disturb one another.
pub async fn many_tasks_write_at_once(h: &mut Harness) {
    let db = h.level.clone();
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let db = db.clone();
            tokio::spawn(async move {
                for i in 0..40 {
                    let key = format!("{task}-{i:03}");
                    db.put(&key, value_of(&key)).await.unwrap();
                    assert_eq!(db.get(&key).await.unwrap(), Some(value_of(&key)));
                    if i % 4 == 3 {
                        db.del(&key).await.unwrap();
                        assert_eq!(db.get(&key).await.unwrap(), None);
                    }
                }
            })
        })
        .collect();
    h.disturb().await;
    for task in tasks {
        task.await.unwrap();
    }
    let expected: Vec<String> =
        (0..8).flat_map(|task| (0..40).filter(|i| i % 4 != 3).map(move |i| format!("{task}-{i:03}"))).collect();
    assert_eq!(all_keys(&db).await, expected);
}

/// `sync` is honoured where the manifest says so, and refused with nothing written where not.
pub async fn sync_is_honoured_or_refused(h: &mut Harness) {
    let db = &h.level;
    let batch = Batch::new().put("a", "1").put("b", "2");
    let result = db.write_opts(batch, WriteOptions::synced()).await;
    if db.manifest().sync_writes {
        result.unwrap();
        assert_eq!(all_keys(db).await, ["a", "b"]);
        let clear = crate::ClearOptions { range: KeyRange::all().gte("b"), sync: true, ..Default::default() };
        db.clear(clear).await.unwrap();
        assert_eq!(all_keys(db).await, ["a"]);
    } else {
        h.assert_refused("sync_writes", result);
        assert_eq!(all_keys(db).await, [""; 0]);
    }
}

/// A write whose future was dropped takes effect as a whole or not at all, and the handle goes on.
pub async fn a_dropped_write_is_all_or_nothing(h: &mut Harness) {
    let db = h.level.clone();
    for i in 0..20 {
        let (one, two) = (format!("{i}-1"), format!("{i}-2"));
        let _ = poll_immediate(db.write(Batch::new().put(&one, "1").put(&two, "2"))).await;
        db.put("after", i.to_string()).await.unwrap();
        assert_eq!(db.get("after").await.unwrap(), Some(b(i.to_string())));
        let there = db.has_many(vec![one, two]).await.unwrap();
        if db.manifest().implicit_snapshots {
            assert_eq!(there[0], there[1], "half of a dropped batch was applied");
        }
    }
    h.disturb().await;
    let _ = poll_immediate(db.get("after")).await;
    assert_eq!(db.get("after").await.unwrap(), Some(b("19")));
}

/// What was written is there after closing and opening again, where the manifest says so.
pub async fn writes_survive_closing_and_opening_again(h: &mut Harness) {
    fill(&h.level, &KEYS).await;
    h.level.del("b").await.unwrap();
    h.level.put("a", "new").await.unwrap();
    let permanent = h.level.manifest().permanence;
    for round in 0..3 {
        if !h.reopen().await {
            assert_code(h.level.get("a").await, Code::DatabaseNotOpen);
            return;
        }
        let db: &Arc<dyn AbstractLevel> = &h.level;
        if !permanent {
            assert_eq!(all_keys(db).await, [""; 0], "the manifest does not say `permanence`");
            return;
        }
        assert_eq!(db.get("b").await.unwrap(), None);
        assert_eq!(db.get("a").await.unwrap(), Some(b("new")));
        assert_eq!(db.all(KeyRange::all()).await.unwrap().len(), KEYS.len() - 1 + round);
        db.put(format!("round{round}"), "").await.unwrap();
    }
}
