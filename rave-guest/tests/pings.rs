//! A guest asks a silent leader whether it is there, and tells its users if it does not answer; under virtual time.

mod leader;

use futures::{FutureExt, StreamExt};
use leader::{Leader, follower, meet};
use rave_core::{AbstractLevel, AbstractLevelExt, Code, Effect, Event, EventStream};
use rave_guest::GuestOptions;
use rave_transport::{
    MemoryTransport, Transport,
    wire::{
        Request, Response,
        message::{GetManyCallback, Welcome},
    },
};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

const INTERVAL: Duration = Duration::from_secs(5);

/// Waits for the next request, which must be the question whether the leader is there.
async fn asked(leader: &mut Leader) -> u32 {
    match timeout(Duration::from_secs(3600), leader.next()).await {
        Ok(Some(Request::GetMany(question))) if question.keys.is_empty() => question.id,
        other => panic!("{other:?} instead of a question"),
    }
}

async fn answer(leader: &mut Leader, id: u32) {
    leader.say(&Response::GetManyCallback(GetManyCallback { id, ..Default::default() })).await;
}

async fn next(events: &mut EventStream) -> Event {
    timeout(Duration::from_secs(3600), events.next()).await.expect("an event").unwrap()
}

fn unresponsive(event: Event) -> Duration {
    match event {
        Event::Unresponsive { leader_pid, silent } if leader_pid == Some(std::process::id()) => silent,
        other => panic!("{other:?}"),
    }
}

fn responsive(event: Event) {
    assert!(matches!(event, Event::Responsive { leader_pid } if leader_pid == Some(std::process::id())), "{event:?}");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_answers_is_asked_once_for_each_interval() {
    let (guest, mut leader, _listener, _transport) = meet(GuestOptions::default()).await;
    let mut events = guest.events();
    let start = Instant::now();
    for round in 1..=20 {
        let id = asked(&mut leader).await;
        assert_eq!(start.elapsed().as_secs(), round * INTERVAL.as_secs());
        answer(&mut leader, id).await;
    }
    assert!(events.next().now_or_never().is_none());
    assert!(guest.leader().is_some());
}

#[tokio::test(start_paused = true)]
async fn users_are_told_of_a_silent_leader_once_and_of_its_return() {
    let (guest, mut leader, _listener, _transport) = meet(GuestOptions::default()).await;
    let mut events = guest.events();
    for _ in 0..3 {
        let id = asked(&mut leader).await;
        assert_eq!(unresponsive(next(&mut events).await), 2 * INTERVAL);
        // However long it lasts, neither it nor users are bothered again, and nothing ends by itself.
        sleep(Duration::from_secs(24 * 3600)).await;
        assert!(events.next().now_or_never().is_none());
        assert!(leader.next().now_or_never().is_none());
        answer(&mut leader, id).await;
        responsive(next(&mut events).await);
    }
}

#[tokio::test(start_paused = true)]
async fn operations_wait_for_the_leader_or_for_their_deadline() {
    let options = GuestOptions { timeout: Some(Duration::from_secs(60)), ..GuestOptions::default() };
    let (guest, mut leader, _listener, _transport) = meet(options).await;
    let mut events = guest.events();
    let operations = async {
        let (get, put) = tokio::join!(guest.get("a"), guest.put("a", "1"));
        let (get, put) = (get.unwrap_err(), put.unwrap_err());
        assert_eq!((get.code(), get.effect()), (Code::Aborted, Effect::None));
        assert_eq!((put.code(), put.effect()), (Code::Aborted, Effect::Unknown));
    };
    let told = async { unresponsive(next(&mut events).await) };
    let (_, silent) = tokio::join!(operations, told);
    assert_eq!(silent, 2 * INTERVAL);
    assert!(guest.leader().is_some(), "the connection is left as it is");
    assert!(matches!(leader.next().await, Some(Request::Get(_))));
    let Some(Request::Put(put)) = leader.next().await else { panic!("no put") };
    let id = asked(&mut leader).await;
    leader.done(put.id).await;
    responsive(next(&mut events).await);
    answer(&mut leader, id).await;
    let put = async {
        let Some(Request::Put(put)) = leader.next().await else { panic!("no put") };
        leader.done(put.id).await;
    };
    let (written, ()) = tokio::join!(guest.put("b", "2"), put);
    written.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_talks_is_not_asked() {
    let (guest, mut leader, _listener, _transport) = meet(GuestOptions::default()).await;
    for _ in 0..20 {
        sleep(INTERVAL - Duration::from_secs(1)).await;
        let put = async {
            let Some(Request::Put(put)) = leader.next().await else { panic!("it was asked") };
            leader.done(put.id).await;
        };
        tokio::join!(guest.put("a", "1"), put).0.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn without_an_interval_nobody_is_asked() {
    let options = GuestOptions { ping_interval: None, ..GuestOptions::default() };
    let (guest, mut leader, _listener, _transport) = meet(options).await;
    let mut events = guest.events();
    sleep(Duration::from_secs(24 * 3600)).await;
    assert!(leader.next().now_or_never().is_none() && events.next().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_legacy_leader_is_asked_too() {
    let transport = MemoryTransport::new();
    let mut listener = transport.listen().await.unwrap();
    let guest = follower(&transport, GuestOptions::default());
    let mut events = guest.events();
    let mut leader = Leader::accept(&mut listener).await;
    assert!(matches!(leader.next().await, Some(Request::Hello(_))));
    let id = asked(&mut leader).await;
    answer(&mut leader, id).await;
    for _ in 0..3 {
        assert_eq!(asked(&mut leader).await, id);
        answer(&mut leader, id).await;
    }
    assert!(guest.leader().unwrap().legacy);
    asked(&mut leader).await;
    assert_eq!(unresponsive(next(&mut events).await), 2 * INTERVAL);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_never_greets_is_noticed() {
    let transport = MemoryTransport::new();
    let mut listener = transport.listen().await.unwrap();
    let guest = follower(&transport, GuestOptions::default());
    let mut events = guest.events();
    let mut leader = Leader::accept(&mut listener).await;
    assert_eq!(unresponsive(next(&mut events).await), 2 * INTERVAL);
    assert!(matches!(leader.next().await, Some(Request::Hello(_))));
    // It greets at last, and answers both questions: the one behind the hello and the one for its silence.
    let (first, second) = (asked(&mut leader).await, asked(&mut leader).await);
    leader.say(&Response::Welcome(Welcome { version: 1, ..Default::default() })).await;
    answer(&mut leader, first).await;
    responsive(next(&mut events).await);
    answer(&mut leader, second).await;
    let put = async {
        let Some(Request::Put(put)) = leader.next().await else { panic!("no put") };
        leader.done(put.id).await;
    };
    tokio::join!(guest.put("a", "1"), put).0.unwrap();
    assert!(events.next().now_or_never().is_some_and(|event| matches!(event, Some(Event::Write(_)))));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_takes_no_more_bytes_is_noticed() {
    let (guest, mut leader, _listener, _transport) = meet(GuestOptions::default()).await;
    let mut events = guest.events();
    let value = vec![b'v'; 1 << 20];
    let put = guest.put("a", &value);
    tokio::pin!(put);
    let event = tokio::select! {
        _ = &mut put => panic!("nobody has answered"),
        event = next(&mut events) => event,
    };
    assert_eq!(unresponsive(event), 2 * INTERVAL);
    // The question comes behind the frame that was half sent.
    let leader = async {
        let Some(Request::Put(request)) = leader.next().await else { panic!("no put") };
        assert_eq!(request.value.unwrap(), value);
        asked(&mut leader).await;
        leader.done(request.id).await;
    };
    tokio::join!(put, leader).0.unwrap();
    responsive(next(&mut events).await);
}
