//! A leader whose own users never wait: what they ask for is answered in place, and the runtime must get its turn all the same.

mod support;

use rave_level::{AbstractLevelExt, KeyRange, RaveLevel};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use support::Place;

/// Works in place for as long as nobody says that it is enough.
async fn keep_busy(leader: RaveLevel, enough: Arc<AtomicBool>) {
    let start = Instant::now();
    let going_on = || !enough.load(Ordering::Relaxed);
    while going_on() {
        // No timer fires on a runtime that is kept from its work.
        assert!(start.elapsed() < Duration::from_secs(60), "the runtime never gets to the guest");
        leader.put("busy", "1").await.unwrap();
        let mut iterator = leader.iterator(KeyRange::all()).await.unwrap();
        while going_on() && start.elapsed() < Duration::from_secs(60) {
            iterator.next().await.unwrap();
            iterator.seek("".into()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_leader_that_is_busy_in_place_does_not_keep_its_guests_waiting() {
    let place = Place::new();
    let leader = place.open().await;
    let guest = place.open().await;
    let enough = Arc::new(AtomicBool::new(false));
    let busy = tokio::spawn(keep_busy(leader.clone(), enough.clone()));
    for round in 0..10 {
        guest.put("round", round.to_string()).await.unwrap();
    }
    enough.store(true, Ordering::Relaxed);
    busy.await.unwrap();
    assert_eq!(leader.get("round").await.unwrap().as_deref(), Some(&b"9"[..]));
}
