//! What a body sees, what it leaves behind, and how it ends.

use crate::probe::Probe;
use futures::FutureExt;
use rave_core::{
    AbstractLevel, AbstractLevelExt, Code, Effect, Error, IteratorOptions, KeyRange, LevelIterator, MemoryLevel,
    Status, Transaction, TransactionOptions,
};
use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

#[tokio::test]
async fn a_body_sees_its_writes_and_others_see_them_at_the_end() {
    let db = MemoryLevel::new();
    db.put("old", "1").await.unwrap();
    let outside = &db;
    let seen = db
        .transaction(|tx| async move {
            tx.put("new", "2").await?;
            tx.del("old").await?;
            assert_eq!(tx.get("new").await?.unwrap(), "2");
            assert!(!tx.has("old").await?);
            assert!(outside.has("old").await? && !outside.has("new").await?);
            Ok::<_, Error>(tx.all(KeyRange::all()).await?.len())
        })
        .await
        .unwrap();
    assert_eq!(seen, 1);
    assert!(db.has("new").await.unwrap() && !db.has("old").await.unwrap());
}

#[derive(Debug, PartialEq)]
enum Mine {
    Refused,
    Level(Code),
}

impl From<Error> for Mine {
    fn from(error: Error) -> Self {
        Self::Level(error.code())
    }
}

#[tokio::test]
async fn a_body_that_fails_leaves_nothing() {
    let db = Probe::default();
    db.inner.put("there", "1").await.unwrap();
    let before = db.inner.all(KeyRange::all()).await.unwrap();
    let outcome: Result<(), Mine> = db
        .transaction(|tx| async move {
            tx.get("b").await?;
            tx.clear(KeyRange::all()).await?;
            tx.put("a", "1").await?;
            Err(Mine::Refused)
        })
        .await;
    assert_eq!(outcome, Err(Mine::Refused));
    assert_eq!(db.inner.all(KeyRange::all()).await.unwrap(), before);
}

/// Two keys always have the same value. A body that finds them different has read them at two moments.
#[tokio::test]
async fn an_error_that_is_owed_to_a_mixture_of_states_is_not_the_end() {
    let db = MemoryLevel::new();
    let both = |value: &str| rave_core::Batch::new().put("a", value).put("b", value);
    db.write(both("1")).await.unwrap();
    let runs = AtomicUsize::new(0);
    let (outside, runs_seen) = (&db, &runs);
    let outcome: Result<String, Mine> = db
        .transaction(|tx| async move {
            let first = tx.get("a").await?;
            if runs_seen.fetch_add(1, Ordering::SeqCst) == 0 {
                outside.write(both("2")).await?;
            }
            let second = tx.get("b").await?;
            if first == second { Ok("same".to_owned()) } else { Err(Mine::Refused) }
        })
        .await;
    assert_eq!(outcome.as_deref(), Ok("same"));
    assert_eq!(runs.into_inner(), 2);
}

#[tokio::test]
async fn a_panic_leaves_nothing_and_ends_the_handles() {
    let db = MemoryLevel::new();
    let leaked = Mutex::new(None);
    let kept = &leaked;
    let running = db.transaction::<(), Error, _, _>(|tx| async move {
        tx.put("a", "1").await?;
        *kept.lock().unwrap() = Some(tx);
        panic!("on purpose");
    });
    AssertUnwindSafe(running).catch_unwind().await.unwrap_err();
    assert!(!db.has("a").await.unwrap());
    let leaked: Transaction = leaked.into_inner().unwrap().unwrap();
    assert_eq!(leaked.get("a").await.unwrap_err().code(), Code::DatabaseNotOpen);
}

#[tokio::test]
async fn handles_and_iterators_are_of_no_use_behind_the_end() {
    for fails in [false, true] {
        let db = MemoryLevel::new();
        db.put("a", "1").await.unwrap();
        let kept: Mutex<Option<(Transaction, Box<dyn LevelIterator>)>> = Mutex::new(None);
        let keep = &kept;
        let outcome = db
            .transaction(|tx| async move {
                let iterator = tx.iterator(KeyRange::all()).await?;
                *keep.lock().unwrap() = Some((tx, iterator));
                if fails { Err(Error::new(Code::Aborted, "on purpose")) } else { Ok(()) }
            })
            .await;
        assert_eq!(outcome.is_err(), fails);
        let (tx, mut iterator) = kept.into_inner().unwrap().unwrap();
        assert_eq!(tx.status(), Status::Closed);
        let codes = [
            tx.get("a").await.map(drop),
            tx.put("a", "2").await,
            tx.clear(KeyRange::all()).await,
            tx.all(KeyRange::all()).await.map(drop),
            tx.snapshot().await.map(drop),
            tx.sublevel("s").unwrap().put("a", "2").await,
            iterator.next().await.map(drop),
            iterator.seek("a".into()).await,
        ]
        .map(|result| result.unwrap_err().code());
        assert_eq!(codes, [Code::DatabaseNotOpen; 8]);
        tx.close().await.unwrap();
        assert_eq!(db.get("a").await.unwrap().unwrap(), "1");
        db.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_handle_that_is_left_over_does_not_keep_the_database_open() {
    let place = rave_core::MemoryOpener::new();
    let open = async || match rave_core::Opener::try_lock(&place).await.unwrap() {
        rave_core::LockAttempt::Acquired(locked) => locked.open().await.ok(),
        _ => None,
    };
    let db = open().await.unwrap();
    let tx = db.transaction(|tx| async move { Ok::<_, Error>(tx) }).await.unwrap();
    drop(db);
    assert!(open().await.is_some(), "{tx:?} holds the database");
}

#[tokio::test]
async fn what_was_written_before_a_close_is_committed() {
    let db = MemoryLevel::new();
    let closed = |tx: Transaction| async move {
        tx.put("a", "1").await?;
        tx.close().await?;
        assert_eq!(tx.status(), Status::Closed);
        assert_eq!(tx.put("b", "1").await.unwrap_err().code(), Code::DatabaseNotOpen);
        Ok::<_, Error>(())
    };
    db.transaction(closed).await.unwrap();
    assert_eq!(db.all(KeyRange::all()).await.unwrap().len(), 1);
}

/// Polls the transaction so often and drops it, for every number of polls up to its end.
#[tokio::test]
async fn a_future_that_is_dropped_anywhere_leaves_all_or_nothing() {
    let (mut nothing, mut everything) = (0, 0);
    for polls in 0.. {
        fastrand::seed(polls);
        let db = Probe::default();
        db.inner.write(rave_core::Batch::new().put("a", "1").put("b", "1")).await.unwrap();
        let mut running = Box::pin(db.transaction(|tx| async move {
            tx.get("a").await?;
            tx.clear(KeyRange::all().gte("b")).await?;
            tx.write(rave_core::Batch::new().put("a", "2").put("c", "2").if_equals("a", "1")).await?;
            tx.all(IteratorOptions::default().reversed()).await?;
            Ok::<_, Error>(())
        }));
        let mut cx = Context::from_waker(Waker::noop());
        let ended = (0..polls).any(|_| matches!(running.poll_unpin(&mut cx), Poll::Ready(Ok(()))));
        drop(running);
        let sent = db.written() > 0;
        let keys: Vec<_> = db.inner.all(KeyRange::all()).await.unwrap().into_iter().map(|entry| entry.key).collect();
        let values = db.inner.get("a").await.unwrap().unwrap();
        match (keys == ["a", "c"] && values == "2", keys == ["a", "b"] && values == "1") {
            (true, _) => everything += 1,
            (_, true) => nothing += 1,
            _ => panic!("half of it after {polls} polls: {keys:?}"),
        }
        assert!(sent || keys == ["a", "b"]);
        if ended {
            break;
        }
    }
    assert!(nothing > 10 && everything > 0, "{nothing}, {everything}");
}

/// What has to be read for a write takes its time, and what is asked for behind it still comes behind it.
#[tokio::test]
async fn operations_take_effect_in_the_order_of_their_asking() {
    let db = Probe::default();
    db.inner.write(rave_core::Batch::new().put("a", "old").put("b", "old")).await.unwrap();
    db.transaction(|tx| async move {
        let conditional = rave_core::Batch::new().put("c", "1").if_equals("b", "new");
        let (cleared, between, put, written, after, all) = futures::join!(
            tx.clear(KeyRange::all()),
            tx.get("a"),
            tx.put("b", "new"),
            tx.write(conditional),
            tx.del("c"),
            tx.all(KeyRange::all()),
        );
        assert_eq!(between?, None);
        assert_eq!(all?.iter().map(|entry| entry.key.clone()).collect::<Vec<_>>(), ["b"]);
        cleared.and(put).and(written).and(after)
    })
    .await
    .unwrap();
    assert_eq!(db.inner.all(KeyRange::all()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_outcome_that_is_unknown_is_told_and_not_tried_again() {
    let db = Probe::default();
    let fault = Error::new(Code::ConnectionLost, "on purpose").with_effect(Effect::Unknown);
    *db.fault.lock().unwrap() = Some(fault);
    let runs = Arc::new(AtomicUsize::new(0));
    let error = db
        .transaction(|tx| {
            runs.fetch_add(1, Ordering::SeqCst);
            async move { tx.put("a", "1").await }
        })
        .await
        .unwrap_err();
    assert_eq!((error.code(), error.effect()), (Code::ConnectionLost, Effect::Unknown));
    assert_eq!((runs.load(Ordering::SeqCst), db.written()), (1, 1));
    assert!(db.inner.has("a").await.unwrap());
}

#[tokio::test]
async fn what_the_database_lacks_is_said_before_the_body_runs() {
    let body = |_: Transaction| async move { panic!("the body runs") as Result<(), Error> };
    let db = Probe { lacks_conditions: true, ..Probe::default() };
    assert_eq!(db.transaction(body).await.unwrap_err().code(), Code::NotSupported);
    let db = Probe { lacks_sync: true, ..Probe::default() };
    let options = TransactionOptions { sync: true, ..TransactionOptions::default() };
    assert_eq!(db.transaction_with(options, body).await.unwrap_err().code(), Code::NotSupported);
    let synced = |tx: Transaction| async move {
        let batch = rave_core::Batch::new().put("a", "1");
        tx.write_opts(batch, rave_core::WriteOptions::synced()).await
    };
    assert_eq!(db.transaction(synced).await.unwrap_err().code(), Code::NotSupported);
}

#[tokio::test]
async fn a_commit_is_synced_if_anything_asks_for_it() {
    let synced = async |options: TransactionOptions, write: rave_core::WriteOptions, clear: bool, wrote: bool| {
        let db = Probe::default();
        db.transaction_with(options, |tx| async move {
            tx.get("a").await?;
            if wrote {
                tx.write_opts(rave_core::Batch::new().put("a", "1"), write).await?;
                tx.clear(rave_core::ClearOptions { sync: clear, ..KeyRange::all().into() }).await?;
            }
            tx.write(rave_core::Batch::new().if_absent("b")).await
        })
        .await
        .unwrap();
        assert_eq!(db.written(), 1);
        db.synced.load(Ordering::SeqCst) == 1
    };
    let (usual, none) = (TransactionOptions::default, rave_core::WriteOptions::default());
    let sync = TransactionOptions { sync: true, ..usual() };
    assert!(!synced(usual(), none, false, true).await);
    assert!(synced(sync.clone(), none, false, true).await);
    assert!(synced(usual(), rave_core::WriteOptions::synced(), false, true).await);
    assert!(synced(usual(), none, true, true).await);
    assert!(!synced(sync, none, false, false).await, "there is nothing to sync");
}

#[tokio::test]
async fn a_key_is_asked_for_once() {
    let db = Probe::default();
    db.transaction(|tx| async move {
        tx.get("a").await?;
        tx.get_many(vec!["b", "a", "c"]).await?;
        tx.write(rave_core::Batch::new().put("d", "1").if_absent("b")).await?;
        tx.get_many(vec!["a", "b", "c", "d"]).await.map(drop)
    })
    .await
    .unwrap();
    assert_eq!(db.read.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn the_end_of_the_database_is_the_end_of_the_transaction() {
    let db = MemoryLevel::new();
    let outside = &db;
    let error = db
        .transaction(|tx| async move {
            tx.put("a", "1").await?;
            outside.close().await?;
            Ok::<_, Error>(())
        })
        .await
        .unwrap_err();
    assert_eq!((error.code(), error.effect()), (Code::DatabaseNotOpen, Effect::None));
}
