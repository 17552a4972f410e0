//! The in-memory store: what the conformance suite does not ask, and the place that outlives its handles.

use futures::StreamExt;
use rave_core::{
    AbstractLevel, AbstractLevelExt, Batch, ClearOptions, Code, Effect, Error, Event, IteratorOptions, KeyRange,
    LockAttempt, LockedStore, MemoryLevel, MemoryOpener, Opener, ReadOptions, Status,
};
use std::{sync::Arc, time::Duration};

async fn lock(place: &MemoryOpener) -> Box<dyn LockedStore> {
    match place.try_lock().await.unwrap() {
        LockAttempt::Acquired(locked) => locked,
        held => panic!("{held:?}"),
    }
}

async fn open(place: &MemoryOpener) -> Arc<dyn AbstractLevel> {
    lock(place).await.open().await.unwrap()
}

async fn is_held(place: &MemoryOpener) -> bool {
    match place.try_lock().await.unwrap() {
        LockAttempt::Acquired(_) => false,
        LockAttempt::Held { holder } => {
            assert_eq!(holder, Some(std::process::id()));
            true
        }
    }
}

#[tokio::test]
async fn clones_are_one_handle_and_new_ones_are_not() {
    let db = MemoryLevel::new();
    let clone = db.clone();
    db.put("a", "1").await.unwrap();
    assert!(clone.has("a").await.unwrap());
    assert!(!MemoryLevel::new().has("a").await.unwrap());
    clone.close().await.unwrap();
    assert_eq!(db.status(), Status::Closed);
    assert_eq!(db.get("a").await.unwrap_err().code(), Code::DatabaseNotOpen);
}

#[tokio::test]
async fn pages_are_bounded_and_a_long_run_of_invisible_keys_is_crossed() {
    for reverse in [false, true] {
        let db = MemoryLevel::new();
        let key = |n: u32| format!("{n:05}");
        let keys: Batch = (0..5000).fold(Batch::new(), |batch, n| batch.put(key(n), ""));
        db.write(keys).await.unwrap();
        let ends = ["", "~"];
        let snapshot = {
            db.clear(KeyRange::all()).await.unwrap();
            db.write(ends.iter().fold(Batch::new(), |batch, end| batch.put(end, ""))).await.unwrap();
            db.snapshot().await.unwrap()
        };
        db.write((0..5000).fold(Batch::new(), |batch, n| batch.put(key(n), ""))).await.unwrap();

        let options = IteratorOptions { reverse, snapshot: Some(snapshot), ..IteratorOptions::default() };
        let mut seen: Vec<_> = db.all(options).await.unwrap().into_iter().map(|entry| entry.key).collect();
        if reverse {
            seen.reverse();
        }
        assert_eq!(seen, ends);

        let options = IteratorOptions { reverse, ..IteratorOptions::default() };
        let mut iterator = db.iterator_opts(options).await.unwrap();
        let mut count = 0;
        loop {
            let page = iterator.next_many(usize::MAX).await.unwrap();
            assert!(page.len() <= 1024);
            if page.is_empty() {
                break;
            }
            count += page.len();
        }
        assert_eq!(count, 5002);
    }
}

#[tokio::test]
async fn a_snapshot_of_another_database_is_refused() {
    let (db, other) = (MemoryLevel::new(), MemoryLevel::new());
    let snapshot = Some(other.snapshot().await.unwrap());
    let errors = [
        db.get_opts("a".into(), ReadOptions { snapshot: snapshot.clone() }).await.unwrap_err(),
        db.get_many_opts(vec![], ReadOptions { snapshot: snapshot.clone() }).await.unwrap_err(),
        db.clear_opts(ClearOptions { snapshot: snapshot.clone(), ..ClearOptions::default() }).await.unwrap_err(),
        db.iterator_opts(IteratorOptions { snapshot, ..IteratorOptions::default() }).await.err().unwrap(),
    ];
    for error in errors {
        assert_eq!(error.code(), Code::SnapshotNotOpen);
        assert!(error.message().contains("another database"), "{error}");
    }
}

#[tokio::test]
async fn a_closed_snapshot_and_a_closed_database_are_told_apart() {
    let db = MemoryLevel::new();
    db.put("a", "1").await.unwrap();
    let snapshot = db.snapshot().await.unwrap();
    let closed = db.snapshot().await.unwrap();
    closed.clone().close();
    let read = |snapshot| db.get_opts("a".into(), ReadOptions { snapshot: Some(snapshot) });
    assert_eq!(read(closed.clone()).await.unwrap_err().code(), Code::SnapshotNotOpen);
    let clear = ClearOptions { snapshot: Some(closed), ..ClearOptions::default() };
    assert_eq!(db.clear_opts(clear).await.unwrap_err().code(), Code::SnapshotNotOpen);

    let mut iterator = db.iterator(KeyRange::all()).await.unwrap();
    db.close().await.unwrap();
    assert_eq!(read(snapshot.clone()).await.unwrap_err().code(), Code::DatabaseNotOpen);
    assert_eq!(iterator.next().await.unwrap_err().code(), Code::DatabaseNotOpen);
    assert_eq!(iterator.seek("a".into()).await.unwrap_err().code(), Code::DatabaseNotOpen);
    iterator.close().await.unwrap();
    assert_eq!(iterator.next().await.unwrap_err().code(), Code::IteratorNotOpen);
    snapshot.close();
}

#[tokio::test]
async fn an_event_that_holds_the_last_clone_of_a_snapshot_does_no_harm() {
    let db = MemoryLevel::new();
    db.put("a", "1").await.unwrap();
    let events = db.events();
    let snapshot = db.snapshot().await.unwrap();
    db.clear_opts(ClearOptions { snapshot: Some(snapshot), ..ClearOptions::default() }).await.unwrap();
    // The event of the clear is pushed out, and the snapshot in it is dropped, in the middle of a write.
    for _ in 0..2 * rave_core::EventHub::CAPACITY {
        db.put("b", "1").await.unwrap();
    }
    drop(events);
    assert!(db.has("b").await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_never_see_half_a_batch() {
    let db = MemoryLevel::new();
    let keys: Vec<String> = (0..20).map(|n| format!("{n}")).collect();
    let write = |value: u32| keys.iter().fold(Batch::new(), |batch, key| batch.put(key, value.to_be_bytes()));
    db.write(write(0)).await.unwrap();
    let reader = {
        let (db, keys) = (db.clone(), keys.clone());
        tokio::spawn(async move {
            let mut last = None;
            while last.as_deref() != Some(&300_u32.to_be_bytes()[..]) {
                let values = db.get_many(keys.clone()).await.unwrap();
                assert!(values.iter().all(|value| *value == values[0]));
                let entries = db.all(KeyRange::all()).await.unwrap();
                assert!(entries.iter().all(|entry| entry.value == entries[0].value) && entries.len() == keys.len());
                assert!(Some(&entries[0].value) >= values[0].as_ref());
                last = values[0].clone();
                tokio::task::yield_now().await;
            }
        })
    };
    for value in 1..=300 {
        db.write(write(value)).await.unwrap();
        tokio::task::yield_now().await;
    }
    tokio::time::timeout(Duration::from_secs(60), reader).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_stored_does_not_keep_the_buffer_it_came_in() {
    let db = MemoryLevel::new();
    let buffer = rave_core::Bytes::from(vec![7; 1 << 20]);
    let operation = rave_core::Operation::Put { key: buffer.slice(..1), value: buffer.slice(1..2) };
    db.write([operation].into_iter().collect()).await.unwrap();
    assert!(buffer.is_unique());
}

#[tokio::test]
async fn a_place_is_locked_until_its_store_is_closed_and_keeps_the_data() {
    let place = MemoryOpener::new();
    let locked = lock(&place).await;
    assert!(is_held(&place.clone()).await);
    drop(locked);
    let db = open(&place).await;
    db.put("a", "1").await.unwrap();
    let mut iterator = db.iterator(KeyRange::all()).await.unwrap();
    let snapshot = db.snapshot().await.unwrap();
    assert!(is_held(&place).await);
    db.close().await.unwrap();
    db.close().await.unwrap();
    assert!(!is_held(&place).await);

    let next = open(&place).await;
    assert_eq!(next.get("a").await.unwrap().unwrap(), "1");
    assert_eq!(db.put("a", "2").await.unwrap_err().code(), Code::DatabaseNotOpen);
    assert_eq!(iterator.next().await.unwrap_err().code(), Code::DatabaseNotOpen);
    let read = next.get_opts("a".into(), ReadOptions { snapshot: Some(snapshot) }).await;
    assert_eq!(read.unwrap_err().code(), Code::SnapshotNotOpen);
    // What is left of the first handle does not release the lock of the second.
    drop((db, iterator));
    assert!(is_held(&place).await);
    assert!(next.manifest().permanence && !MemoryLevel::new().manifest().permanence);
}

#[tokio::test]
async fn dropping_the_last_handle_releases_the_place_whatever_else_lives() {
    let place = MemoryOpener::new();
    let db = open(&place).await;
    db.put("a", "1").await.unwrap();
    let clone = db.clone();
    let mut iterator = db.iterator(KeyRange::all()).await.unwrap();
    let snapshot = db.snapshot().await.unwrap();
    let events = db.events();
    drop(db);
    assert!(is_held(&place).await);
    drop(clone);
    assert!(!is_held(&place).await);
    assert_eq!(iterator.next().await.unwrap_err().code(), Code::DatabaseNotOpen);
    let events: Vec<_> = tokio::time::timeout(Duration::from_secs(30), events.collect()).await.unwrap();
    assert!(matches!(events[..], [Event::Closing, Event::Closed]), "{events:?}");
    drop(snapshot);
}

#[tokio::test]
async fn an_opening_can_be_held_and_given_up() {
    let place = MemoryOpener::new();
    let (first, second) = (place.hold_opening(), place.hold_opening());
    let given_up = lock(&place).await.open();
    assert!(futures::poll!(std::pin::pin!(given_up)).is_pending());
    assert!(!is_held(&place).await, "the future was dropped, and the lock with it");

    let opening = tokio::spawn(lock(&place).await.open());
    drop(first);
    tokio::task::yield_now().await;
    assert!(!opening.is_finished());
    assert!(is_held(&place).await);
    drop(second);
    let db = tokio::time::timeout(Duration::from_secs(30), opening).await.unwrap().unwrap().unwrap();
    assert_eq!(db.status(), Status::Open);
}

#[tokio::test]
async fn writes_can_be_made_to_fail_and_then_do_nothing() {
    let place = MemoryOpener::new();
    let db = open(&place).await;
    db.put("a", "1").await.unwrap();
    let events = db.events();
    place.fail_writes(Some(Error::new(Code::Io, "the disk is full").with_effect(Effect::Unknown)));
    for error in [db.put("a", "2").await.unwrap_err(), db.clear(KeyRange::all()).await.unwrap_err()] {
        assert_eq!((error.code(), error.effect()), (Code::Io, Effect::Unknown));
    }
    assert_eq!(db.get("a").await.unwrap().unwrap(), "1");
    db.write(Batch::new()).await.unwrap();
    place.fail_writes(None);
    db.put("a", "3").await.unwrap();
    db.close().await.unwrap();
    drop(db);
    let events: Vec<_> = events.collect().await;
    assert!(matches!(events[..], [Event::Write(_), Event::Closing, Event::Closed]), "{events:?}");
}
