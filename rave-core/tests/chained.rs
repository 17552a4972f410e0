//! Batches that are built step by step.

use rave_core::{AbstractLevel, AbstractLevelExt, Code, KeyRange, MemoryLevel, WriteOptions};

#[tokio::test]
async fn operations_take_effect_together_at_the_write() {
    let db = MemoryLevel::new();
    let sub = db.sublevel("sub").unwrap();
    db.put("gone", "1").await.unwrap();
    sub.put("gone", "1").await.unwrap();
    let mut batch = db.chained_batch();
    batch.put("dropped", "1").unwrap().clear().unwrap();
    batch.put("a", "1").unwrap().put("a", "2").unwrap().del("gone").unwrap();
    batch.put_in(&sub, "b", "3").unwrap().del_in(&sub, "gone").unwrap();
    assert_eq!(batch.length(), 5);
    assert!(!db.has("a").await.unwrap());
    batch.write_with(WriteOptions::synced()).await.unwrap();
    let entries: Vec<_> = db.all(KeyRange::all()).await.unwrap().into_iter().map(|e| (e.key, e.value)).collect();
    assert_eq!(entries, [("!sub!b".into(), "3".into()), ("a".into(), "2".into())]);
}

#[tokio::test]
async fn a_written_or_closed_batch_is_unusable() {
    let db = MemoryLevel::new();
    let mut written = db.chained_batch();
    written.put("a", "1").unwrap();
    written.write().await.unwrap();
    let mut closed = db.chained_batch();
    closed.put("b", "1").unwrap();
    closed.close();
    let mut empty = db.chained_batch();
    empty.write().await.unwrap();
    let mut failed = MemoryLevel::new().chained_batch();
    let other = MemoryLevel::new();
    other.close().await.unwrap();
    failed.close();
    let mut refused = other.chained_batch();
    refused.put("a", "1").unwrap();
    assert_eq!(refused.write().await.unwrap_err().code(), Code::DatabaseNotOpen);
    let sub = db.sublevel("sub").unwrap();
    for mut batch in [written, closed, empty, failed, refused] {
        assert_eq!(batch.length(), 0);
        assert_eq!(batch.put("c", "1").unwrap_err().code(), Code::BatchNotOpen);
        assert_eq!(batch.del("c").unwrap_err().code(), Code::BatchNotOpen);
        assert_eq!(batch.put_in(&sub, "c", "1").unwrap_err().code(), Code::BatchNotOpen);
        assert_eq!(batch.del_in(&sub, "c").unwrap_err().code(), Code::BatchNotOpen);
        assert_eq!(batch.if_absent("c").unwrap_err().code(), Code::BatchNotOpen);
        assert_eq!(batch.if_equals("c", "1").unwrap_err().code(), Code::BatchNotOpen);
        assert_eq!(batch.clear().unwrap_err().code(), Code::BatchNotOpen);
        assert_eq!(batch.write().await.unwrap_err().code(), Code::BatchNotOpen);
        batch.close();
    }
    assert!(!db.has("b").await.unwrap() && !db.has("c").await.unwrap());
}

#[tokio::test]
async fn conditions_are_checked_at_write() {
    let db = MemoryLevel::new();
    let mut batch = db.chained_batch();
    batch.put("a", "1").unwrap().if_absent("a").unwrap();
    batch.write().await.unwrap();
    let mut batch = db.chained_batch();
    batch.if_equals("a", "1").unwrap().del("a").unwrap().if_absent("a").unwrap();
    batch.clear().unwrap().if_equals("a", "2").unwrap().put("b", "1").unwrap();
    assert_eq!(batch.write().await.unwrap_err().failed_conditions(), [0]);
    // Conditions alone are checked, too.
    let mut batch = db.chained_batch();
    batch.if_absent("a").unwrap();
    assert_eq!(batch.write().await.unwrap_err().code(), Code::ConditionFailed);
    assert!(!db.has("b").await.unwrap());
}
