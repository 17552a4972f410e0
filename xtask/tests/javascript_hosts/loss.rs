//! What becomes of operations whose answer is lost, by policy.

use crate::host::{Database, Node};
use futures::future::BoxFuture;
use rave_level::{AbstractLevelExt, Batch, Bytes, Code, Effect, KeyRange, RaveLevel, Result, RetryPolicy};
use std::{sync::Arc, time::Duration};

fn text(text: &'static str) -> Option<Bytes> {
    Some(Bytes::from_static(text.as_bytes()))
}

/// A guest's put is applied and its answer is lost; before the guest can know, another guest puts something newer.
/// Returns the put's outcome and what is there in the end.
async fn put_with_its_answer_lost(database: &Database, level: &RaveLevel) -> (Result<()>, Option<Bytes>) {
    database.ask("mute");
    let other = database.guest().await;
    let put = tokio::spawn({
        let level = level.clone();
        async move { level.put("a", "older").await }
    });
    while other.get("a").await.unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    other.put("a", "newer").await.unwrap();
    assert!(!put.is_finished(), "nobody can have answered it");
    database.cut();
    let outcome = put.await.unwrap();
    let value = other.get("a").await.unwrap();
    (outcome, value)
}

/// A read of a guest is on its way when the connection is cut.
async fn read_with_its_answer_lost(database: &Database, level: &RaveLevel) -> Result<Option<Bytes>> {
    database.ask("mute");
    let mut get = Box::pin(level.get("a"));
    assert!(futures::poll!(&mut get).is_pending());
    database.cut();
    get.await
}

async fn guest(database: &Database, policy: RetryPolicy) -> RaveLevel {
    database.builder().retry(policy).open().await.unwrap()
}

/// At least once: the put is applied again, over what was newer.
pub async fn always_writes_again(database: Arc<Database>) {
    let level = guest(&database, RetryPolicy::Always).await;
    let (outcome, value) = put_with_its_answer_lost(&database, &level).await;
    outcome.unwrap();
    assert_eq!(value, text("older"));
    assert_eq!(read_with_its_answer_lost(&database, &level).await.unwrap(), text("older"));
}

/// At most once: the put fails and is not applied again; reads go on.
pub async fn safe_says_that_the_effect_is_unknown(database: Arc<Database>) {
    let level = guest(&database, RetryPolicy::Safe).await;
    let (outcome, value) = put_with_its_answer_lost(&database, &level).await;
    let error = outcome.unwrap_err();
    assert_eq!((error.code(), error.effect()), (Code::ConnectionLost, Effect::Unknown), "{error}");
    assert_eq!(value, text("newer"));
    assert_eq!(read_with_its_answer_lost(&database, &level).await.unwrap(), text("newer"));
}

/// Writes, reads and open iterators fail; what comes later goes to the next connection.
pub async fn never_fails_whatever_was_asked(database: Arc<Database>) {
    let level = guest(&database, RetryPolicy::Never).await;
    level.write(Batch::new().put("x", "1").put("y", "2")).await.unwrap();
    let mut iterator = level.iterator(KeyRange::all()).await.unwrap();
    assert_eq!(iterator.next().await.unwrap().unwrap().key, "x");
    let (outcome, value) = put_with_its_answer_lost(&database, &level).await;
    let error = outcome.unwrap_err();
    assert_eq!((error.code(), error.effect()), (Code::ConnectionLost, Effect::Unknown), "{error}");
    assert_eq!(value, text("newer"));
    let error = iterator.next_many(2).await.and(iterator.next().await).unwrap_err();
    assert_eq!(error.code(), Code::ConnectionLost, "{error}");
    assert_eq!(level.get("a").await.unwrap(), text("newer"));
    let error = read_with_its_answer_lost(&database, &level).await.unwrap_err();
    assert_eq!((error.code(), error.effect()), (Code::ConnectionLost, Effect::None), "{error}");
    assert_eq!(level.get("a").await.unwrap(), text("newer"));
}

/// Writes that are on their way when the connection is cut take effect in their order, what is sent again included.
pub async fn writes_keep_their_order(database: Arc<Database>) {
    let level = database.guest().await;
    for round in 0..10_u64 {
        level.put("old", "").await.unwrap();
        let mut writes: Vec<BoxFuture<'_, Result<()>>> = Vec::new();
        for number in 0..200 {
            writes.push(match number {
                100 => Box::pin(level.clear(KeyRange::all())),
                _ if number % 3 == 0 => Box::pin(level.write(Batch::new().put("a", "").put("a", number.to_string()))),
                _ => Box::pin(level.put("a", number.to_string())),
            });
        }
        for write in &mut writes {
            assert!(futures::poll!(write).is_pending());
        }
        // Anywhere among them.
        tokio::time::sleep(Duration::from_micros(round * 300)).await;
        database.cut();
        for outcome in futures::future::join_all(writes).await {
            outcome.unwrap();
        }
        assert_eq!(level.get_many(vec!["a", "old"]).await.unwrap(), [text("199"), None], "round {round}");
    }
}

/// Reading several keys or iterating over a database that is closing crashes a JavaScript process. A guest with a
/// deadline hears of it then.
pub async fn a_crash_of_the_host_ends_at_the_deadline(database: Arc<Database>) {
    for iterate in [false, true] {
        let crashing = Database::open(Node::doomed(), database.kind);
        let level = crashing.builder().operation_timeout(Duration::from_secs(1)).open().await.unwrap();
        crashing.ask("close-database");
        let error = if iterate {
            level.iterator(KeyRange::all()).await.map(drop).unwrap_err()
        } else {
            level.get_many(vec!["a", "b"]).await.unwrap_err()
        };
        assert_eq!((error.code(), error.effect()), (Code::Aborted, Effect::None), "{error}");
        crashing.crashed().await;
    }
}

/// Without one it waits for whoever serves the place next.
pub async fn a_crash_of_the_host_waits_for_the_next_one(database: Arc<Database>) {
    let crashing = Database::open(Node::doomed(), database.kind);
    let level = crashing.guest().await;
    level.put("a", "1").await.unwrap();
    crashing.ask("close-database");
    let read = tokio::spawn({
        let level = level.clone();
        async move { level.get_many(vec!["a", "b"]).await }
    });
    crashing.crashed().await;
    let next = crashing.again(Node::shared());
    let expected = if next.kind.is_permanent() { text("1") } else { None };
    assert_eq!(read.await.unwrap().unwrap(), [expected, None]);
    level.put("b", "2").await.unwrap();
    assert_eq!(level.get("b").await.unwrap(), text("2"));
}
