//! What rave-level keeps in a shared database for itself is not there for its users, whichever part their process plays.

use futures::TryStreamExt;
use rave_level::{
    AbstractLevel, AbstractLevelExt, Batch, Builder, Code, Effect, IteratorOptions, KeyRange, LockAttempt,
    MemoryOpener, Opener, Sublevel, transport::MemoryTransport,
};
use std::sync::Arc;

const RECORD: &str = "!rave-level!s0123456789abcdef";

async fn check(db: impl AbstractLevel + Clone) {
    let sub = Sublevel::new(Arc::new(db.clone()), &["rave-level"], Default::default()).unwrap();
    assert_eq!(sub.all(KeyRange::all()).await.unwrap(), []);
    assert_eq!(sub.get("s0123456789abcdef").await.unwrap(), None);
    let error = sub.put("mine", "1").await.unwrap_err();
    assert_eq!((error.code(), error.effect()), (Code::InvalidKey, Effect::None));
    assert_eq!(db.get_many(vec![RECORD, "a"]).await.unwrap(), [None, Some("1".into())]);
    // A write that is refused takes none of its neighbours with it.
    let (one, refused, other) = futures::join!(db.put("b", "1"), db.put(RECORD, "mine"), db.del("b"));
    assert_eq!(refused.unwrap_err().code(), Code::InvalidKey);
    one.and(other).unwrap();
    for options in [IteratorOptions::default(), IteratorOptions::default().reversed().limited(5)] {
        let streamed: Vec<_> = db.stream(options).try_collect().await.unwrap();
        assert_eq!(streamed.len(), 1, "{streamed:?}");
    }
    sub.clear(KeyRange::all()).await.unwrap();
    db.clear(KeyRange::all()).await.unwrap();
    assert_eq!(db.all(KeyRange::all()).await.unwrap(), []);
    let internal = IteratorOptions { internal: true, ..IteratorOptions::default() };
    let shown = db.all(internal).await.unwrap();
    assert!(shown.iter().any(|entry| entry.key == RECORD), "{shown:?}");
    db.put("a", "1").await.unwrap();
}

#[tokio::test]
async fn neither_the_leader_nor_a_guest_sees_them() {
    let (store, meeting_point) = (MemoryOpener::new(), MemoryTransport::new());
    let LockAttempt::Acquired(locked) = store.try_lock().await.unwrap() else { panic!("it is locked") };
    let alone = locked.open().await.unwrap();
    alone.write(Batch::new().put("a", "1").put(RECORD, "record")).await.unwrap();
    alone.close().await.unwrap();
    let leader = Builder::new(store.clone(), meeting_point.clone()).open().await.unwrap();
    let guest = Builder::new(store, meeting_point).open().await.unwrap();
    check(guest.clone()).await;
    check(leader.clone()).await;
    leader.close().await.unwrap();
    // Promoted.
    check(guest.clone()).await;
    guest.close().await.unwrap();
}
