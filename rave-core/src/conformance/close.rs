//! The end of a level.

use super::{Harness, tools::*};
use crate::{AbstractLevel, AbstractLevelExt, Batch, Code, IteratorOptions, KeyRange, ReadOptions, Status};
use futures::future::join_all;

/// Closing twice, one after the other and at once, succeeds.
pub async fn closing_is_idempotent(h: &mut Harness) {
    let db = &h.level;
    assert_eq!(db.status(), Status::Open);
    fill(db, &["a"]).await;
    for result in join_all((0..4).map(|_| db.close())).await {
        result.unwrap();
    }
    assert_eq!(db.status(), Status::Closed);
    db.close().await.unwrap();
    assert_eq!(db.status(), Status::Closed);
}

/// After close every operation says that the level is not open; manifest, status and events still answer.
pub async fn operations_after_close_are_refused(h: &mut Harness) {
    let db = &h.level;
    fill(db, &["a"]).await;
    db.close().await.unwrap();
    assert_code(db.get("a").await, Code::DatabaseNotOpen);
    assert_code(db.has("a").await, Code::DatabaseNotOpen);
    assert_code(db.get_many(vec!["a"]).await, Code::DatabaseNotOpen);
    assert_code(db.clear(KeyRange::all()).await, Code::DatabaseNotOpen);
    assert_code(db.iterator(KeyRange::all()).await.map(|_| ()), Code::DatabaseNotOpen);
    assert_code(db.all(KeyRange::all()).await, Code::DatabaseNotOpen);
    for write in [db.put("b", "1").await, db.del("a").await, db.write(Batch::new().put("b", "1")).await] {
        let error = write.expect_err("a write after close");
        assert_eq!((error.code(), error.effect()), (Code::DatabaseNotOpen, crate::Effect::None), "{error}");
    }
    let snapshot = code_of(db.snapshot().await).expect("a snapshot after close");
    let offered = db.manifest().explicit_snapshots;
    assert!(snapshot == Code::DatabaseNotOpen || (!offered && snapshot == Code::NotSupported), "{snapshot}");
    assert_eq!(db.status(), Status::Closed);
    drop(db.events());
}

/// Iterators that are open at close end with an error, not with a hang and not with an end that looks complete.
pub async fn open_iterators_end_with_an_error(h: &mut Harness) {
    let db = &h.level;
    let keys: Vec<String> = (0..3_000).map(|i| format!("{i:05}")).collect();
    fill(db, &keys).await;
    let mut fresh = db.iterator(KeyRange::all()).await.unwrap();
    let mut used = db.iterator(IteratorOptions::default().reversed()).await.unwrap();
    used.next_many(10).await.unwrap();
    let mut closed = db.iterator(KeyRange::all()).await.unwrap();
    closed.close().await.unwrap();
    db.close().await.unwrap();
    for iterator in [&mut fresh, &mut used] {
        assert_code(iterator.next().await, Code::DatabaseNotOpen);
        assert_code(iterator.next_many(5).await, Code::DatabaseNotOpen);
        assert_code(iterator.seek(b("a")).await, Code::DatabaseNotOpen);
        iterator.close().await.unwrap();
        iterator.close().await.unwrap();
    }
    let code = code_of(closed.next().await).expect("next after both closes");
    assert!(matches!(code, Code::IteratorNotOpen | Code::DatabaseNotOpen), "{code}");
    closed.close().await.unwrap();
}

/// Snapshots that are open at close can still be closed, and are of no more use.
pub async fn open_snapshots_end(h: &mut Harness) {
    let db = &h.level;
    fill(db, &["a"]).await;
    let taken = db.snapshot().await;
    if !db.manifest().explicit_snapshots {
        h.assert_refused("explicit_snapshots", taken);
        return;
    }
    let snapshot = taken.unwrap();
    db.close().await.unwrap();
    let options = ReadOptions { snapshot: Some(snapshot.clone()) };
    let code = code_of(db.get_opts(b("a"), options).await).expect("a read after close");
    assert!(matches!(code, Code::DatabaseNotOpen | Code::SnapshotNotOpen), "{code}");
    snapshot.close();
}

/// Operations in flight at close resolve: they complete, or they say that the level is not open. What was submitted
/// before `close` completes.
pub async fn operations_in_flight_resolve(h: &mut Harness) {
    let db = h.level.clone();
    fill(&db, &["a"]).await;
    let workers: Vec<_> = (0..6)
        .map(|worker| {
            let db = db.clone();
            tokio::spawn(async move {
                for i in 0_u32.. {
                    let key = format!("{worker}-{i}");
                    let result = match i % 5 {
                        0 | 1 => db.put(&key, "1").await,
                        2 => db.get("a").await.map(|value| assert_eq!(value, Some(b("va")))),
                        3 => db.all(KeyRange::all().lt("1")).await.map(drop),
                        _ => db.del(&key).await,
                    };
                    if let Err(error) = result {
                        assert_eq!(error.code(), Code::DatabaseNotOpen, "{error}");
                        return i;
                    }
                    tokio::task::yield_now().await;
                }
                0
            })
        })
        .collect();
    for _ in 0..20 {
        db.put("b", "1").await.unwrap();
        tokio::task::yield_now().await;
    }
    let (last, closed) = futures::join!(db.put("last", "1"), db.close());
    last.unwrap();
    closed.unwrap();
    for worker in workers {
        worker.await.unwrap();
    }
    assert_eq!(db.status(), Status::Closed);
}

/// Writes that were acknowledged while others closed the level are there afterwards, where it is permanent.
pub async fn acknowledged_writes_are_kept(h: &mut Harness) {
    let db = h.level.clone();
    let keys: Vec<String> = (0..50).map(|i| format!("{i:03}")).collect();
    let writer = {
        let (db, keys) = (db.clone(), keys.clone());
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for key in keys {
                match db.put(&key, "1").await {
                    Ok(()) => acknowledged.push(key),
                    Err(error) => assert_eq!(error.code(), Code::DatabaseNotOpen, "{error}"),
                }
                tokio::task::yield_now().await;
            }
            acknowledged
        })
    };
    for _ in 0..10 {
        db.has("000").await.unwrap();
        tokio::task::yield_now().await;
    }
    let permanent = db.manifest().permanence;
    let opened = h.reopen().await;
    let acknowledged = writer.await.unwrap();
    assert_eq!(db.status(), Status::Closed);
    if opened && permanent {
        let there = h.level.has_many(acknowledged.clone()).await.unwrap();
        for (key, there) in acknowledged.iter().zip(there) {
            assert!(there, "{key} was acknowledged and is lost");
        }
    }
}
