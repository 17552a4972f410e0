//! What a level announces.

use super::{Harness, tools::*};
use crate::{AbstractLevel, AbstractLevelExt, Batch, ClearOptions, Event, EventStream, KeyRange, Operation};
use futures::StreamExt;
use std::sync::Arc;

/// The next event that `pick` wants; the others, such as a change of the leader, may come at any time.
async fn next<T>(events: &mut EventStream, mut pick: impl FnMut(Event) -> Option<T>) -> T {
    loop {
        let event = events.next().await.expect("the events ended");
        if let Some(picked) = pick(event) {
            return picked;
        }
    }
}

async fn next_write(events: &mut EventStream) -> Vec<Operation> {
    let batch: Arc<Batch> = next(events, |event| match event {
        Event::Write(batch) => Some(batch),
        _ => None,
    })
    .await;
    batch.operations().cloned().collect()
}

fn put(key: &str, value: &str) -> Operation {
    Operation::Put { key: b(key), value: b(value) }
}

/// Every write is announced once, in order, with its operations; to every listener; a batch as one.
pub async fn writes_are_announced(h: &mut Harness) {
    let db = h.level.clone();
    db.put("before", "1").await.unwrap();
    let (mut one, mut two) = (db.events(), db.events());
    db.put("a", "1").await.unwrap();
    db.del("a").await.unwrap();
    h.disturb().await;
    db.write(Batch::new().put("b", "2").del("c")).await.unwrap();
    for events in [&mut one, &mut two] {
        assert_eq!(next_write(events).await, [put("a", "1")]);
        assert_eq!(next_write(events).await, [Operation::Del { key: b("a") }]);
        assert_eq!(next_write(events).await, [put("b", "2"), Operation::Del { key: b("c") }]);
    }
}

/// An empty batch is not announced, and neither is a refused one.
pub async fn nothing_is_announced_for_nothing(h: &mut Harness) {
    let db = &h.level;
    let mut events = db.events();
    db.write(Batch::new()).await.unwrap();
    db.get("a").await.unwrap();
    let (one, two) = (db.sublevel("one").unwrap(), db.sublevel("two").unwrap());
    one.write(Batch::new().put_in(&two, "a", "1")).await.unwrap_err();
    db.put("marker", "1").await.unwrap();
    assert_eq!(next_write(&mut events).await, [put("marker", "1")]);
}

/// A clear is announced with its options.
pub async fn clears_are_announced(h: &mut Harness) {
    let db = h.level.clone();
    let mut events = db.events();
    fill(&db, &["a", "b", "c"]).await;
    let options = ClearOptions { limit: Some(2), reverse: true, ..KeyRange::all().gt("a").into() };
    db.clear(options.clone()).await.unwrap();
    let cleared: Arc<ClearOptions> = next(&mut events, |event| match event {
        Event::Clear(options) => Some(options),
        _ => None,
    })
    .await;
    assert_eq!((&cleared.range, cleared.limit, cleared.reverse), (&options.range, options.limit, options.reverse));
}

/// A sublevel announces what is written through it, without its prefix, and nothing else; the level its own.
pub async fn views_have_events_of_their_own(h: &mut Harness) {
    let db = &h.level;
    let (sub, other) = (db.sublevel("sub").unwrap(), db.sublevel("other").unwrap());
    let (mut of_level, mut of_sub) = (db.events(), sub.events());
    other.put("x", "1").await.unwrap();
    db.put("y", "2").await.unwrap();
    sub.put("z", "3").await.unwrap();
    assert_eq!(next_write(&mut of_sub).await, [put("z", "3")]);
    // Whether the level also hears of what is written through views depends on whether they go through it.
    while next_write(&mut of_level).await != [put("y", "2")] {}
}

/// `close` is announced at its beginning and at its end, once.
pub async fn the_end_is_announced(h: &mut Harness) {
    let db = h.level.clone();
    let mut events = db.events();
    db.put("a", "1").await.unwrap();
    let (one, two) = futures::join!(db.close(), db.close());
    one.unwrap();
    two.unwrap();
    db.close().await.unwrap();
    let lifecycle = |event| match event {
        Event::Closing => Some("closing"),
        Event::Closed => Some("closed"),
        _ => None,
    };
    assert_eq!(next(&mut events, lifecycle).await, "closing");
    assert_eq!(next(&mut events, lifecycle).await, "closed");
    // No second pair may follow; the stream itself lives as long as the handle.
    while let Some(Some(event)) = futures::future::poll_immediate(events.next()).await {
        assert!(!matches!(event, Event::Closing | Event::Closed), "{event:?} came twice");
    }
}

/// A listener who does not listen is told how much it missed, and slows nobody.
pub async fn slow_listeners_slow_nobody(h: &mut Harness) {
    let db = &h.level;
    let mut events = db.events();
    let rounds = crate::EventHub::CAPACITY / 100 + 2;
    let count = rounds * 100;
    for _ in 0..rounds {
        for result in in_order((0..100).map(|i| db.put("a", i.to_string())).collect()).await {
            result.unwrap();
        }
    }
    let mut seen = 0;
    while seen < count as u64 {
        match events.next().await.expect("the events ended") {
            Event::Write(_) => seen += 1,
            Event::Lagged(missed) => seen += missed,
            _ => {}
        }
    }
    db.put("end", "").await.unwrap();
    // Events of other kinds, such as a change of the leader, may have been among those missed; then writes are left.
    while next_write(&mut events).await != [put("end", "")] {}
}
