//! Sessions: what is recorded of them, who may speak for one, and what is refused.

mod peer;

use peer::{Peer, soon};
use prost::Message as _;
use rave_core::{
    AbstractLevel, AbstractLevelExt, Batch, Bytes, Code, Event, IteratorOptions, KeyRange, LockAttempt, MemoryLevel,
    MemoryOpener, Opener, Operation, RESERVED,
};
use rave_host::{GuardedLevel, Host, HostOptions};
use rave_transport::{
    MemoryTransport, Transport,
    wire::{
        MAX_UNSETTLED_WRITES, Request, Response,
        message::{
            self, BatchCondition, BatchOperation, Callback, Clear, GetMany, Goodbye, Hello, Put, RangeOptions, Refusal,
            SessionRecord, SessionState, Welcome,
        },
    },
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

const SESSION: [u8; 16] = [7; 16];

fn hello(attempt: u64, next: u64) -> Request {
    let session = Some(Bytes::copy_from_slice(&SESSION));
    Request::Hello(Hello { version: 1, session, attempt: Some(attempt), next: Some(next), ..Hello::default() })
}

fn put(number: u64, key: &str) -> Request {
    let (key, value) = (Some(Bytes::copy_from_slice(key.as_bytes())), Some(number.to_string().into()));
    Request::Put(Put { id: number as u32, key, value, number: Some(number), ..Put::default() })
}

fn record_key() -> String {
    format!("{RESERVED}session!{}", "07".repeat(16))
}

/// A put that is refused unless `key` is absent.
fn create(number: u64, key: &str) -> Request {
    let key = Some(Bytes::copy_from_slice(key.as_bytes()));
    let kind = "put".to_owned();
    let operation = BatchOperation { kind, key: key.clone(), value: Some(number.to_string().into()) };
    let condition = BatchCondition { key, ..BatchCondition::default() };
    Request::Batch(message::Batch {
        id: number as u32,
        ops: vec![operation],
        conditions: vec![condition],
        number: Some(number),
        ..message::Batch::default()
    })
}

fn clear(number: u64, limit: Option<i64>) -> Request {
    let options = Some(RangeOptions { limit, ..RangeOptions::default() });
    Request::Clear(Clear { id: number as u32, options, number: Some(number), ..Clear::default() })
}

/// A place with a host.
struct Scene {
    host: Host,
    transport: MemoryTransport,
    store: MemoryLevel,
    guarded: GuardedLevel,
}

impl Scene {
    async fn new(options: HostOptions) -> Self {
        Self::on(MemoryLevel::new(), options).await
    }

    async fn on(store: MemoryLevel, options: HostOptions) -> Self {
        let transport = MemoryTransport::new();
        let host = Host::start(transport.listen().await.unwrap(), options);
        let guarded = host.serve(Arc::new(store.clone()));
        Self { host, transport, store, guarded }
    }

    /// A guest and what it is told first.
    async fn greet(&self, hello: Request) -> (Peer, Welcome) {
        let mut peer = Peer::connect(&self.transport).await;
        peer.say(&[hello, Request::GetMany(GetMany::default())]).await;
        let Some(Response::Welcome(welcome)) = peer.next().await else { panic!("no welcome") };
        assert!(matches!(peer.next().await, Some(Response::GetManyCallback(_))), "the greeting comes to its end");
        (peer, welcome)
    }

    async fn state(&self) -> SessionState {
        self.guarded.session_state(&SESSION, false).await.unwrap()
    }

    async fn value(&self, key: &str) -> Option<Bytes> {
        self.store.get(key).await.unwrap()
    }

    async fn records(&self) -> usize {
        let prefix = KeyRange::prefix(format!("{RESERVED}session!"));
        self.store.all(IteratorOptions { internal: true, ..prefix.into() }).await.unwrap().len()
    }
}

async fn answer(peer: &mut Peer) -> Callback {
    match peer.next().await {
        Some(Response::Callback(callback)) => callback,
        other => panic!("{other:?} is no answer to a write"),
    }
}

#[tokio::test]
async fn a_record_tells_how_far_a_session_got_and_comes_with_its_writes() {
    let scene = Scene::new(HostOptions::default()).await;
    let (mut peer, welcome) = scene.greet(hello(1, 1)).await;
    let begun = welcome.session.as_ref().and_then(|state| state.begun);
    assert!(begun.unwrap() > 0, "it begins somewhere");
    assert_eq!(welcome.session, Some(SessionState { forgotten: Some(0), begun, ..SessionState::default() }));
    assert_eq!(scene.state().await, SessionState { forgotten: begun, ..SessionState::default() });
    assert_eq!(scene.records().await, 0, "a guest that writes nothing leaves nothing");
    peer.say(&[put(3, "a"), put(5, "b"), clear(6, Some(1))]).await;
    for id in [3, 5, 6] {
        assert_eq!(answer(&mut peer).await, Callback { id, ..Callback::default() });
    }
    assert_eq!(scene.state().await.applied, Some(6));
    assert_eq!(scene.records().await, 1);
    assert_eq!((scene.value("a").await, scene.value("b").await), (None, Some("5".into())), "a clear of one key");
    // What has been done is not done again, and is answered.
    peer.say(&[put(5, "b again"), clear(6, None), put(7, "c")]).await;
    for id in [5, 6, 7] {
        assert_eq!(answer(&mut peer).await.id, id);
    }
    assert_eq!((scene.value("b again").await, scene.value("b").await), (None, Some("5".into())));
    assert!(scene.guarded.all(KeyRange::all()).await.unwrap().iter().all(|entry| entry.key.len() == 1));
}

#[tokio::test]
async fn refusals_are_remembered_until_the_guest_has_them() {
    let scene = Scene::new(HostOptions::default()).await;
    let (mut peer, _) = scene.greet(hello(1, 1)).await;
    peer.say(&[put(1, "a"), create(2, "a"), create(3, "b"), put(4, "c")]).await;
    for (id, failed) in [(1, vec![]), (2, vec![0]), (3, vec![]), (4, vec![])] {
        let answer = answer(&mut peer).await;
        assert_eq!((answer.id, answer.failed, answer.effect), (id, failed, None));
    }
    // The guest loses all of that.
    let (mut peer, welcome) = scene.greet(hello(2, 5)).await;
    let state = welcome.session.unwrap();
    assert_eq!(state.applied, Some(4));
    let refused: Vec<_> = state.refused.iter().map(|refusal| (refusal.number, refusal.failed.clone())).collect();
    assert_eq!(refused, [(2, vec![0])]);
    // Now it has it.
    let Request::Put(last) = put(5, "d") else { unreachable!() };
    peer.say(&[Request::Put(Put { settled: Some(5), ..last })]).await;
    answer(&mut peer).await;
    let state = scene.state().await;
    assert_eq!((state.applied, state.refused), (Some(5), vec![]));
}

#[tokio::test]
async fn a_refused_batch_with_nothing_behind_it_is_judged_again() {
    let scene = Scene::new(HostOptions::default()).await;
    scene.store.put("a", "1").await.unwrap();
    let (mut peer, _) = scene.greet(hello(1, 1)).await;
    peer.say(&[create(1, "a")]).await;
    assert_eq!(answer(&mut peer).await.failed, [0]);
    scene.store.del("a").await.unwrap();
    let (mut peer, welcome) = scene.greet(hello(2, 2)).await;
    assert_eq!(welcome.session.unwrap().applied, None);
    peer.say(&[create(1, "a")]).await;
    assert_eq!(answer(&mut peer).await.error, None);
}

#[tokio::test]
async fn one_connection_at_a_time_speaks_for_a_session() {
    let scene = Scene::new(HostOptions::default()).await;
    let (mut old, _) = scene.greet(hello(1, 1)).await;
    old.say(&[put(1, "a")]).await;
    answer(&mut old).await;
    let (mut new, _) = scene.greet(hello(2, 2)).await;
    // The older one is cut, whatever it says.
    let _ = tokio::io::AsyncWriteExt::write_all(&mut old.connection.writer, &[0]).await;
    assert_eq!(old.next().await, None);
    new.say(&[put(2, "b")]).await;
    answer(&mut new).await;
    // Somebody else with this id, or an old greeting once more.
    for (attempt, next) in [(2, 3), (1, 3), (0, 3)] {
        let (mut other, welcome) = scene.greet(hello(attempt, next)).await;
        assert_eq!(welcome.error.as_deref(), Some(Code::Session.as_str()));
        assert!(welcome.session.is_none() && !welcome.message.unwrap().is_empty());
        assert_eq!(other.next().await, None, "attempt {attempt}");
    }
    new.say(&[put(3, "c")]).await;
    answer(&mut new).await;
}

#[tokio::test]
async fn greetings_that_cannot_be_true_are_refused() {
    let scene = Scene::new(HostOptions::default()).await;
    let (mut peer, _) = scene.greet(hello(1, 1)).await;
    peer.say(&[put(8, "a")]).await;
    answer(&mut peer).await;
    drop(peer);
    // It claims not to have sent what is recorded: a copy of the handle from before.
    for next in [0, 1, 8] {
        let (mut peer, welcome) = scene.greet(hello(9, next)).await;
        assert_eq!(welcome.error.as_deref(), Some(Code::Session.as_str()), "next {next}");
        assert_eq!(peer.next().await, None);
    }
    for session in ["", "short", "seventeen bytes.."] {
        let hello = Hello { version: 1, session: Some(session.into()), ..Hello::default() };
        let (mut peer, welcome) = scene.greet(Request::Hello(hello)).await;
        assert_eq!(welcome.error.as_deref(), Some(Code::Session.as_str()), "{session:?}");
        assert_eq!(peer.next().await, None);
    }
    let (mut peer, welcome) = scene.greet(hello(10, 9)).await;
    assert_eq!(welcome.error, None);
    peer.say(&[hello(11, 9)]).await;
    assert_eq!(peer.next().await, None, "one greeting is enough");
}

#[tokio::test]
async fn a_guest_that_takes_no_answers_and_is_always_refused_is_cut() {
    let scene = Scene::new(HostOptions::default()).await;
    let most = MAX_UNSETTLED_WRITES as u64;
    let refused = (1..=most).map(|number| Refusal { number, ..Refusal::default() }).collect();
    let state = SessionState { applied: Some(most), refused, ..SessionState::default() };
    let record = SessionRecord { state: Some(state), time: None };
    scene.store.put(record_key(), record.encode_to_vec()).await.unwrap();
    scene.store.put("a", "1").await.unwrap();
    let (mut peer, _) = scene.greet(hello(1, most + 1)).await;
    peer.say(&[create(most + 1, "a"), put(most + 2, "b")]).await;
    assert_eq!(answer(&mut peer).await.failed, [0]);
    assert_eq!(peer.next().await, None);
    assert_eq!(scene.value("b").await, None);
}

#[tokio::test]
async fn a_session_is_forgotten_on_goodbye() {
    let scene = Scene::new(HostOptions::default()).await;
    let (mut peer, _) = scene.greet(hello(1, 1)).await;
    peer.say(&[put(1, "a")]).await;
    answer(&mut peer).await;
    assert_eq!(scene.records().await, 1);
    let count = scene.state().await.forgotten;
    peer.say(&[Request::Goodbye(Goodbye {})]).await;
    assert_eq!(peer.next().await, None);
    assert_eq!(scene.records().await, 0);
    assert_eq!(scene.state().await.forgotten, count, "nobody will ask for it");
}

fn tomorrow() -> SystemTime {
    SystemTime::now() + Duration::from_hours(25)
}

#[tokio::test(start_paused = true)]
async fn a_session_that_nobody_speaks_for_is_forgotten_in_time_and_counted() {
    let store = MemoryLevel::new();
    let scene = Scene::on(store.clone(), HostOptions::default()).await;
    let (mut peer, _) = scene.greet(hello(1, 1)).await;
    let count = scene.state().await.forgotten.unwrap();
    peer.say(&[put(1, "a")]).await;
    answer(&mut peer).await;
    drop(peer);
    // Nobody can read it, and it goes too.
    store.put(format!("{RESERVED}session!{}", "08".repeat(16)), [0xff]).await.unwrap();
    scene.host.shutdown().await.unwrap();
    // A later leader. At first nothing is forgotten: guests are still coming back.
    let scene = Scene::on(store, HostOptions { clock: tomorrow, ..HostOptions::default() }).await;
    tokio::time::sleep(Duration::from_secs(50)).await;
    assert_eq!(scene.records().await, 2);
    let (kept, _) = scene.greet(hello(2, 2)).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(scene.records().await, 1, "somebody speaks for it");
    drop(kept);
    tokio::time::sleep(Duration::from_hours(2)).await;
    let forgotten = Some(count + 2);
    assert_eq!((scene.records().await, scene.state().await.forgotten), (0, forgotten));
    let (_peer, welcome) = scene.greet(hello(3, 2)).await;
    assert_eq!(welcome.session, Some(SessionState { forgotten, ..SessionState::default() }));
}

#[tokio::test]
async fn damaged_records_are_told_and_not_guessed() {
    let scene = Scene::new(HostOptions::default()).await;
    let key = record_key();
    scene.store.put(&key, [0xff]).await.unwrap();
    let (_peer, welcome) = scene.greet(hello(1, 1)).await;
    assert_eq!(welcome.error.as_deref(), Some(Code::Corruption.as_str()));
    scene.store.put(&key, SessionRecord::default().encode_to_vec()).await.unwrap();
    scene.store.put(format!("{RESERVED}forgotten"), "many").await.unwrap();
    let (_peer, welcome) = scene.greet(hello(2, 1)).await;
    assert_eq!(welcome.session.unwrap().forgotten, Some(u64::MAX), "like no other");
}

#[tokio::test]
async fn a_store_that_cannot_be_asked_refuses_no_session() {
    let scene = Scene::new(HostOptions::default()).await;
    scene.store.close().await.unwrap();
    let mut peer = Peer::connect(&scene.transport).await;
    peer.say(&[hello(1, 1), Request::GetMany(GetMany::default())]).await;
    assert_eq!(peer.next().await, None, "it asks again, here or elsewhere");
}

#[tokio::test]
async fn what_a_synced_write_in_doubt_is_told_is_synced_first() {
    let scene = Scene::new(HostOptions::default()).await;
    let (mut peer, _) = scene.greet(hello(1, 1)).await;
    peer.say(&[put(1, "a")]).await;
    answer(&mut peer).await;
    drop(peer);
    let Request::Hello(plain) = hello(2, 2) else { unreachable!() };
    let durable = Request::Hello(Hello { durable: Some(true), ..plain });
    let mut writes = scene.store.events();
    let (peer, welcome) = scene.greet(durable.clone()).await;
    assert_eq!(welcome.session.unwrap().applied, Some(1));
    drop(peer);
    let Some(Event::Write(batch)) = soon(futures::StreamExt::next(&mut writes)).await else { panic!("no write") };
    assert_eq!(batch.operations().map(Operation::key).collect::<Vec<_>>(), [record_key().as_bytes()]);
    // Where nothing can be written, that is said.
    let scene = Scene::on(scene.store.clone(), HostOptions { read_only: true, ..HostOptions::default() }).await;
    let (_peer, welcome) = scene.greet(durable).await;
    let state = welcome.session.unwrap();
    assert_eq!((state.applied, state.volatile), (Some(1), Some(true)));
}

#[tokio::test]
async fn without_sessions_nothing_is_recorded() {
    let scene = Scene::new(HostOptions { sessions: false, ..HostOptions::default() }).await;
    let (mut peer, welcome) = scene.greet(hello(1, 1)).await;
    assert_eq!(welcome.session, None);
    peer.say(&[put(1, "a"), put(1, "b")]).await;
    answer(&mut peer).await;
    answer(&mut peer).await;
    assert_eq!(scene.guarded.all(KeyRange::all()).await.unwrap().len(), 2);
    assert_eq!(scene.records().await, 0);
}

#[tokio::test]
async fn a_write_under_way_ends_before_the_next_connection_is_welcomed() {
    let place = MemoryOpener::new();
    let LockAttempt::Acquired(locked) = place.try_lock().await.unwrap() else { panic!("it is free") };
    let store = locked.open().await.unwrap();
    let transport = MemoryTransport::new();
    let host = Host::start(transport.listen().await.unwrap(), HostOptions::default());
    host.serve(store);
    // Many times, because what is under way at the cut is a matter of luck.
    for attempt in 1..200_u64 {
        let mut peer = Peer::connect(&transport).await;
        let before = (attempt - 1) * 10 + 1;
        peer.say(&[hello(attempt, before), Request::GetMany(GetMany::default())]).await;
        let Some(Response::Welcome(welcome)) = peer.next().await else { panic!("no welcome") };
        let applied = welcome.session.unwrap().applied.unwrap_or(0);
        assert!(applied < before);
        let writes: Vec<_> = (0..10).map(|n| put(before + n, "k")).collect();
        peer.say(&writes).await;
        if attempt % 3 == 0 {
            tokio::task::yield_now().await;
        }
    }
    soon(host.shutdown()).await.unwrap();
}

#[tokio::test]
async fn conditions_that_make_no_sense_are_refused_one_by_one() {
    let scene = Scene::new(HostOptions::default()).await;
    let (mut peer, _) = scene.greet(hello(1, 1)).await;
    let with = |id: u32, conditions: Vec<BatchCondition>| {
        Request::Batch(message::Batch { id, conditions, number: Some(id.into()), ..message::Batch::default() })
    };
    let short = BatchCondition { digest: Some("short".into()), ..BatchCondition::default() };
    let absent = BatchCondition { key: Some("k".into()), ..BatchCondition::default() };
    let equals = BatchCondition { equals: Some("v".into()), ..absent.clone() };
    let reserved = BatchCondition { key: Some(RESERVED.into()), ..BatchCondition::default() };
    peer.say(&[
        with(1, vec![short]),
        with(2, vec![absent.clone(), equals]),
        with(3, vec![reserved]),
        with(4, vec![absent]),
    ])
    .await;
    let codes = [Some(Code::Remote), Some(Code::InvalidBatch), Some(Code::InvalidKey), None];
    for (id, code) in (1..).zip(codes) {
        let answer = answer(&mut peer).await;
        assert_eq!((answer.id, answer.error.as_deref()), (id, code.map(Code::as_str)));
        assert_eq!(answer.effect, None);
    }
    let batch = Batch::new().if_absent("k").put("k", "1");
    scene.guarded.write(batch.clone()).await.unwrap();
    assert_eq!(scene.guarded.write(batch).await.unwrap_err().failed_conditions(), [0]);
}
