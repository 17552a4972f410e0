//! Batches that are built step by step.

use super::{Harness, tools::*};
use crate::{AbstractLevel, AbstractLevelExt, Code, Event, WriteOptions};
use futures::{FutureExt, StreamExt};

/// Nothing happens before `write`, and everything at it, in the order of the steps.
pub async fn steps_take_effect_at_write(h: &mut Harness) {
    let db = h.level.clone();
    fill(&db, &["gone"]).await;
    let mut batch = db.chained_batch();
    assert_eq!(batch.length(), 0);
    batch.put("a", "1").unwrap().put("a", "2").unwrap().put("b", "1").unwrap().del("b").unwrap().del("gone").unwrap();
    assert_eq!(batch.length(), 5);
    assert_eq!(all_keys(&db).await, ["gone"]);
    h.disturb().await;
    batch.write().await.unwrap();
    assert_eq!(all_keys(&db).await, ["a"]);
    assert_eq!(db.get("a").await.unwrap(), Some(b("2")));
}

/// `clear` drops the steps and leaves the batch usable.
pub async fn clear_drops_the_steps(h: &mut Harness) {
    let db = &h.level;
    let mut batch = db.chained_batch();
    batch.put("a", "1").unwrap().del("b").unwrap().clear().unwrap();
    assert_eq!(batch.length(), 0);
    batch.put("c", "1").unwrap();
    batch.write().await.unwrap();
    assert_eq!(all_keys(db).await, ["c"]);
}

/// After `write` or `close` the batch says that it is not open; closing it again is fine.
pub async fn a_finished_batch_says_so(h: &mut Harness) {
    let db = &h.level;
    for ending in ["write", "write of nothing", "close"] {
        let mut batch = db.chained_batch();
        if ending != "write of nothing" {
            batch.put("a", ending).unwrap();
        }
        match ending {
            "close" => batch.close(),
            _ => batch.write().await.unwrap(),
        }
        assert_code(batch.put("b", "1").map(drop), Code::BatchNotOpen);
        assert_code(batch.del("a").map(drop), Code::BatchNotOpen);
        assert_code(batch.clear().map(drop), Code::BatchNotOpen);
        assert_code(batch.write().await, Code::BatchNotOpen);
        batch.close();
        batch.close();
    }
    assert_eq!(db.get("a").await.unwrap(), Some(b("write")), "a closed batch must not be written");
    assert_eq!(all_keys(db).await, ["a"]);
}

/// Writing nothing does nothing, also no event.
pub async fn writing_nothing_does_nothing(h: &mut Harness) {
    let db = &h.level;
    let mut events = db.events();
    db.chained_batch().write().await.unwrap();
    db.put("marker", "1").await.unwrap();
    loop {
        match events.next().await.expect("the events ended") {
            Event::Write(batch) => {
                assert!(!batch.is_empty(), "an empty batch was announced");
                break;
            }
            _ => continue,
        }
    }
    assert!(!matches!(events.next().now_or_never(), Some(Some(Event::Write(_)))), "one write was announced twice");
}

/// Steps may go into sublevels; `sync` is honoured or refused as for any write.
pub async fn steps_may_go_into_sublevels(h: &mut Harness) {
    let db = &h.level;
    let sub = db.sublevel("sub").unwrap();
    let mut batch = db.chained_batch();
    batch.put("a", "1").unwrap().put_in(&sub, "a", "2").unwrap().put_in(&sub, "b", "3").unwrap();
    batch.del_in(&sub, "b").unwrap();
    batch.write().await.unwrap();
    assert_eq!(all_keys(db).await, ["!sub!a", "a"]);
    let mut batch = sub.chained_batch();
    batch.put("synced", "").unwrap();
    let result = batch.write_with(WriteOptions::synced()).await;
    if db.manifest().sync_writes {
        result.unwrap();
        assert!(sub.has("synced").await.unwrap());
    } else {
        h.assert_refused("sync_writes", result);
        assert!(!sub.has("synced").await.unwrap());
    }
}

/// On a closed level a batch cannot be written, and says why.
pub async fn a_closed_level_refuses_it(h: &mut Harness) {
    let db = &h.level;
    let mut batch = db.chained_batch();
    batch.put("a", "1").unwrap();
    db.close().await.unwrap();
    assert_code(batch.write().await, Code::DatabaseNotOpen);
}
