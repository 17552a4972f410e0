//! What rave-level keeps in a shared database for itself is not there for its users.

mod model;
mod store;

use futures::{FutureExt, StreamExt};
use rave_core::{
    AbstractLevel, AbstractLevelExt, Batch, Bytes, ClearOptions, Code, Condition, Digester, Effect, Error, Event,
    IteratorOptions, KeyRange, Operation, ReadOptions, Result, conformance::Harness,
};
use rave_host::{GuardedLevel, HostWrite, WriteHook};
use std::sync::{Arc, Mutex};
use store::{Peopled, RECORDS, is_hidden, keys};

async fn guarded() -> Harness {
    Harness::new(GuardedLevel::new(Arc::new(Peopled::new().await), false, None))
}

rave_core::conformance!(guarded, guarded);
rave_core::conformance!(guarded_many_threads, guarded, multi_thread);
rave_core::conformance!(a_sublevel_of_it, || async { Harness::new(guarded().await.level.sublevel("part").unwrap()) });

async fn shared() -> (Peopled, GuardedLevel) {
    let store = Peopled::new().await;
    (store.clone(), GuardedLevel::new(Arc::new(store), false, None))
}

fn refused(result: Result<()>) {
    let error = result.expect_err("a hidden key was named");
    assert_eq!((error.code(), error.effect()), (Code::InvalidKey, Effect::None));
    assert!(error.message().contains("!rave-level!") && error.message().contains("reserved"), "{error}");
}

#[tokio::test]
async fn reads_of_hidden_keys_find_nothing() {
    let (_, db) = shared().await;
    db.put("a", "1").await.unwrap();
    assert_eq!(db.get(RECORDS[1]).await.unwrap(), None);
    let wanted = [RECORDS[0], b"a", RECORDS[4], b"missing", RECORDS[2]];
    assert_eq!(db.get_many(wanted.to_vec()).await.unwrap(), [None, Some("1".into()), None, None, None]);
    assert_eq!(db.get_many(RECORDS.to_vec()).await.unwrap(), [None, None, None, None, None]);
    let snapshot = db.snapshot().await.unwrap();
    snapshot.close();
    let closed = ReadOptions { snapshot: Some(snapshot) };
    let error = db.get_opts(Bytes::from_static(RECORDS[0]), closed).await.unwrap_err();
    assert_eq!(error.code(), Code::SnapshotNotOpen);
    db.close().await.unwrap();
    assert_eq!(db.get(RECORDS[0]).await.unwrap_err().code(), Code::DatabaseNotOpen);
}

#[tokio::test]
async fn writes_and_conditions_that_name_hidden_keys_are_refused() {
    let (store, db) = shared().await;
    for key in RECORDS {
        refused(db.put(key, "mine").await);
        refused(db.del(key).await);
        refused(db.write(Batch::new().put("a", "1").del(key).put("b", "1")).await);
        refused(db.write(Batch::new().put("a", "1").if_absent(key)).await);
        refused(db.write(Batch::new().put("a", "1").if_equals(key, "record")).await);
        refused(db.write(Batch::new().if_absent(key)).await);
        let and_write = Batch::new().put("a", "1").put(key, "mine");
        refused(db.clear(ClearOptions { and_write, ..ClearOptions::default() }).await);
    }
    assert_eq!(db.all(KeyRange::all()).await.unwrap(), []);
    assert_eq!(store.records().await, RECORDS);
    // The neighbours are nobody's but the user's.
    db.write(Batch::new().put("!rave-level", "1").put("!rave-level\"", "1").if_absent("!rave-level\"")).await.unwrap();
    assert_eq!(keys(&db, KeyRange::all()).await, ["!rave-level", "!rave-level\""]);
}

#[tokio::test]
async fn a_condition_on_a_range_is_about_what_its_user_sees() {
    let (store, db) = shared().await;
    db.write(Batch::new().put("!a", "1").put("a", "2")).await.unwrap();
    let mut seen = Digester::default();
    for entry in db.all(KeyRange::all()).await.unwrap() {
        seen.entry(&entry.key, &entry.value);
    }
    let seen = seen.finish();
    let unchanged = |range| Condition::unchanged(range, seen);
    let nothing = Condition::unchanged(KeyRange::prefix("!rave-level!"), Digester::default().finish());
    for range in [KeyRange::all(), KeyRange::all().gte("!a").lt("b")] {
        db.write(Batch::new().put("checked", "1").require(unchanged(range)).require(nothing.clone())).await.unwrap();
        db.del("checked").await.unwrap();
    }
    store.0.put("!rave-level!s1", "another session").await.unwrap();
    db.write(Batch::new().require(unchanged(KeyRange::all()))).await.unwrap();
    db.put("!b", "3").await.unwrap();
    let batch = Batch::new().put("never", "1").require(nothing).require(unchanged(KeyRange::all()));
    assert_eq!(db.write(batch).await.unwrap_err().failed_conditions(), [1]);
    assert_eq!(db.get("never").await.unwrap(), None);
    store.0.del("!rave-level!s1").await.unwrap();
}

#[tokio::test]
async fn a_sublevel_of_the_reserved_name_is_empty_and_takes_nothing() {
    let (store, db) = shared().await;
    let sub = db.sublevel("rave-level").unwrap();
    assert_eq!(sub.all(KeyRange::all()).await.unwrap(), []);
    assert_eq!(sub.all(IteratorOptions::default().reversed()).await.unwrap(), []);
    assert_eq!(sub.get("z").await.unwrap(), None);
    refused(sub.put("z", "1").await);
    refused(db.write(Batch::new().put("a", "1").put_in(&sub, "z", "1")).await);
    refused(db.write(Batch::new().put("a", "1").if_absent_in(&sub, "new")).await);
    refused(sub.sublevel("deeper").unwrap().put("z", "1").await);
    sub.clear(KeyRange::all()).await.unwrap();
    assert_eq!(store.records().await, RECORDS);
    assert_eq!(db.get("a").await.unwrap(), None);
}

#[tokio::test]
async fn a_clear_writes_what_it_should_beside_them() {
    let (store, db) = shared().await;
    db.write(Batch::new().put("!a", "1").put("a", "2").put("b", "3")).await.unwrap();
    let and_write = Batch::new().put("a", "after");
    db.clear(ClearOptions { and_write, reverse: true, limit: Some(2), ..ClearOptions::default() }).await.unwrap();
    assert_eq!(keys(&db, KeyRange::all()).await, ["!a", "a"]);
    assert_eq!(db.get("a").await.unwrap(), Some("after".into()));
    assert_eq!(store.records().await, RECORDS);
}

#[tokio::test]
async fn internal_iterators_show_them() {
    let (_, db) = shared().await;
    db.write(Batch::new().put("!a", "1").put("a", "2")).await.unwrap();
    let internal = IteratorOptions { internal: true, ..IteratorOptions::default() };
    let shown = keys(&db, internal).await;
    assert_eq!(shown, [&[&b"!a"[..]], &RECORDS[..], &[b"a"]].concat());
}

#[tokio::test]
async fn an_iterator_at_its_limit_knows_whether_it_was_closed() {
    let (_, db) = shared().await;
    db.write(Batch::new().put("!a", "1").put("a", "2")).await.unwrap();
    for reverse in [false, true] {
        let one = IteratorOptions { reverse, limit: Some(1), ..IteratorOptions::default() };
        let mut iterator = db.iterator_opts(one).await.unwrap();
        assert!(iterator.next().await.unwrap().is_some());
        assert!(iterator.next().await.unwrap().is_none());
        iterator.close().await.unwrap();
        assert_eq!(iterator.next().await.unwrap_err().code(), Code::IteratorNotOpen);
    }
}

#[tokio::test]
async fn events_tell_only_what_users_did() {
    let (store, db) = shared().await;
    let mut events = db.events();
    db.write(Batch::new().put("a", "1").if_absent("a")).await.unwrap();
    store.0.put(RECORDS[2], "alone").await.unwrap();
    let and_write = Batch::new().put(RECORDS[2], "record").put("b", "1");
    store.0.clear(ClearOptions { and_write, ..ClearOptions::from(KeyRange::prefix("x")) }).await.unwrap();
    db.clear(KeyRange::all()).await.unwrap();
    let mut told = Vec::new();
    while let Some(Some(event)) = events.next().now_or_never() {
        told.push(event);
    }
    let b = Batch::new().put("b", "1");
    match &told[..] {
        [Event::Write(write), Event::Clear(first), Event::Clear(second)] => {
            assert_eq!(**write, Batch::new().put("a", "1").if_absent("a"));
            assert_eq!((&first.range, &first.and_write), (&KeyRange::prefix("x"), &b));
            assert_eq!((&second.range, &second.except, &second.and_write), (&KeyRange::all(), &vec![], &Batch::new()));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn hooks_see_what_users_asked_for() {
    #[derive(Debug, Default)]
    struct Listening(Mutex<Vec<String>>);
    impl Listening {
        fn note(&self, when: &str, write: HostWrite<'_>) {
            let hidden = |operation: &Operation| is_hidden(operation.key());
            let (and_write, what) = match write {
                HostWrite::Batch(batch) => (batch, "batch"),
                HostWrite::Clear(options) => {
                    assert_eq!(options.except, []);
                    (&options.and_write, "clear")
                }
            };
            assert!(!and_write.operations().any(hidden));
            self.0.lock().unwrap().push(format!("{when} {what}"));
        }
    }
    impl WriteHook for Listening {
        fn before(&self, write: HostWrite<'_>) -> Result<(), Error> {
            self.note("before", write);
            Ok(())
        }
        fn after(&self, write: HostWrite<'_>) {
            self.note("after", write);
        }
    }
    let hook = Arc::new(Listening::default());
    let db = GuardedLevel::new(Arc::new(Peopled::new().await), false, Some(hook.clone()));
    db.put("a", "1").await.unwrap();
    db.clear(KeyRange::all()).await.unwrap();
    refused(db.put(RECORDS[0], "1").await);
    assert_eq!(*hook.0.lock().unwrap(), ["before batch", "after batch", "before clear", "after clear"]);
}
