//! What a host grants its guests: who may write, how many there may be, how large a request may be, and who is told of it.

mod peer;

use async_trait::async_trait;
use bytes::BytesMut;
use futures::{FutureExt, StreamExt};
use peer::{Peer, soon};
use rave_core::{AbstractLevelExt, Event, EventStream, KeyRange, MemoryLevel, PeerIdentity, Result};
use rave_host::{Host, HostOptions, Rate};
use rave_transport::{
    Connection, Listener, MemoryTransport, Transport,
    wire::{
        Limits, Request, Response,
        message::{
            self, BatchCondition, BatchOperation, Callback, Clear, Del, Get, GetMany, Hello, Put, RangeOptions,
            Welcome, capability,
        },
    },
};
use std::{num::NonZeroU32, sync::Arc, time::Duration};
use tokio::io::AsyncWriteExt;

/// Guests with these names, in the order in which they come; of whom those that begin with `ro` may only read.
struct Named(Box<dyn Listener>, Vec<&'static str>);

#[async_trait]
impl Listener for Named {
    async fn accept(&mut self) -> Result<Connection> {
        let mut connection = self.0.accept().await?;
        if !self.1.is_empty() {
            let name = self.1.remove(0);
            connection.peer.read_only = name.starts_with("ro");
            connection.peer.name = Some(name.into());
        }
        Ok(connection)
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.0.close().await
    }
}

struct Scene {
    host: Host,
    transport: MemoryTransport,
    store: MemoryLevel,
    events: EventStream,
}

impl Scene {
    async fn new(options: HostOptions, names: &[&'static str]) -> Self {
        let (transport, store, events) = (MemoryTransport::new(), MemoryLevel::new(), options.events.subscribe());
        let listener = Named(transport.listen().await.unwrap(), names.to_vec());
        let host = Host::start(Box::new(listener), options);
        host.serve(Arc::new(store.clone()));
        Self { host, transport, store, events }
    }

    async fn greet(&self) -> (Peer, Welcome) {
        let mut peer = Peer::connect(&self.transport).await;
        let session: [u8; 16] = std::array::from_fn(|_| fastrand::u8(..));
        let hello = Hello { version: 1, session: Some(session.to_vec().into()), ..Hello::default() };
        let hello = Request::Hello(Hello { attempt: Some(1), next: Some(1), ..hello });
        peer.say(&[hello, Request::GetMany(GetMany::default())]).await;
        let Some(Response::Welcome(welcome)) = peer.next().await else { panic!("no welcome") };
        assert!(matches!(peer.next().await, Some(Response::GetManyCallback(_))), "the greeting comes to its end");
        (peer, welcome)
    }

    async fn guests(&self, count: u64) {
        soon(async {
            while self.host.stats().guests != count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }

    /// The next event, in words.
    async fn event(&mut self) -> String {
        let told = |peer: PeerIdentity| peer.name.map_or_else(String::new, |name| name.to_string());
        match soon(self.events.next()).await {
            Some(Event::GuestConnected { peer }) => format!("+{}", told(peer)),
            Some(Event::GuestDisconnected { peer, reason }) => {
                format!("-{}: {}", told(peer), reason.as_deref().unwrap_or("left"))
            }
            other => panic!("{other:?}"),
        }
    }
}

fn put(id: u32, key: &'static str) -> Request {
    let number = Some(u64::from(id));
    Request::Put(Put { id, key: Some(key.into()), value: Some("v".into()), number, ..Put::default() })
}

async fn answer(peer: &mut Peer) -> Callback {
    match peer.next().await {
        Some(Response::Callback(callback)) => callback,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_peer_that_may_only_read_is_refused_every_write_and_others_are_not() {
    let scene = Scene::new(HostOptions::default(), &["ro", "rw"]).await;
    let (mut reader, welcome) = scene.greet().await;
    assert!(welcome.capabilities.unwrap() & capability::READ_ONLY != 0);
    let operation = BatchOperation { kind: "put".into(), key: Some("b".into()), value: Some("v".into()) };
    let batch = message::Batch { id: 3, ops: vec![operation.clone()], number: Some(3), ..Default::default() };
    let absent = |key: &'static str| BatchCondition { key: Some(key.into()), ..BatchCondition::default() };
    let conditional = message::Batch { id: 4, conditions: vec![absent("x")], number: Some(4), ..batch.clone() };
    let options = Some(RangeOptions::default());
    let writes = [
        put(1, "a"),
        Request::Del(Del { id: 2, key: Some("a".into()), number: Some(2), ..Del::default() }),
        Request::Batch(batch),
        Request::Batch(conditional),
        Request::Clear(Clear { id: 5, options: options.clone(), number: Some(5), ..Clear::default() }),
        Request::Clear(Clear { id: 6, options, ops: vec![operation], number: Some(6), ..Clear::default() }),
    ];
    for write in &writes {
        reader.say(std::slice::from_ref(write)).await;
        let refusal = answer(&mut reader).await;
        assert_eq!((refusal.error.as_deref(), refusal.effect), (Some("LEVEL_READONLY"), None), "{write:?}");
    }
    reader.say(&writes).await;
    for _ in &writes {
        assert_eq!(answer(&mut reader).await.error.as_deref(), Some("LEVEL_READONLY"));
    }
    // Nothing was written, not even a record.
    assert_eq!(scene.store.all(KeyRange::all()).await.unwrap(), []);

    let (mut writer, welcome) = scene.greet().await;
    assert_eq!(welcome.capabilities.unwrap() & capability::READ_ONLY, 0);
    writer.say(&[put(1, "a")]).await;
    assert_eq!(answer(&mut writer).await.error, None);
    // Reading and asking whether conditions hold is no writing.
    let check = |id, key| Request::Batch(message::Batch { id, conditions: vec![absent(key)], ..Default::default() });
    let get = Request::Get(Get { id: 9, key: Some("a".into()), ..Get::default() });
    reader.say(&[get, check(10, "b"), check(11, "a")]).await;
    assert_eq!(answer(&mut reader).await.value.as_deref(), Some(&b"v"[..]));
    assert_eq!(answer(&mut reader).await.error, None);
    assert_eq!(answer(&mut reader).await.error.as_deref(), Some("LEVEL_CONDITION_FAILED"));
}

#[tokio::test]
async fn one_guest_too_many_is_told_so_and_finds_a_place_when_one_is_free() {
    let mut scene = Scene::new(HostOptions { max_connections: 1, ..HostOptions::default() }, &["first"]).await;
    let (first, _) = scene.greet().await;
    let (mut second, refusal) = scene.greet().await;
    assert_eq!(refusal.error.as_deref(), Some("LEVEL_LOCKED"));
    assert!(refusal.message.unwrap().contains("serves 1 connections at once"));
    assert!(second.next().await.is_none());
    // One that does not greet is told nothing, and one that says nothing is in nobody's way.
    let mut legacy = Peer::connect(&scene.transport).await;
    legacy.say(&[put(1, "a")]).await;
    assert!(legacy.next().await.is_none());
    let _silent: Vec<Peer> = {
        let mut silent = Vec::new();
        for _ in 0..100 {
            silent.push(Peer::connect(&scene.transport).await);
        }
        silent
    };
    drop(first);
    scene.guests(0).await;
    let (_third, welcome) = scene.greet().await;
    assert_eq!(welcome.error, None);
    assert_eq!(scene.store.get("a").await.unwrap(), None);
    assert_eq!(scene.event().await, "+first");
    assert_eq!(scene.event().await, "-first: left");
    assert_eq!(scene.event().await, "+");
}

#[tokio::test]
async fn a_request_too_large_is_answered_before_its_connection_ends() {
    let options = HostOptions { limits: Limits { max_frame: 64 << 10 }, ..HostOptions::default() };
    let mut scene = Scene::new(options, &["large"]).await;
    let (mut peer, welcome) = scene.greet().await;
    assert_eq!(welcome.max_frame, Some(64 << 10));
    let large = Put { id: 2, key: Some("b".into()), value: Some(vec![0; 10 << 20].into()), ..Put::default() };
    let mut out = BytesMut::new();
    put(1, "a").encode(&mut out);
    Request::Put(large).encode(&mut out);
    put(3, "c").encode(&mut out);
    let Peer { connection, input } = peer;
    let Connection { reader, mut writer, peer: identity } = connection;
    let sending = tokio::spawn(async move {
        let _ = writer.write_all(&out).await;
        writer
    });
    peer = Peer { connection: Connection { reader, writer: Box::new(tokio::io::sink()), peer: identity }, input };
    // A refusal may come before the answers to what was asked before.
    let mut answers = [answer(&mut peer).await, answer(&mut peer).await];
    answers.sort_by_key(|answer| answer.id);
    let [written, refusal] = answers;
    assert_eq!((written.id, written.error), (1, None));
    assert_eq!((refusal.id, refusal.error.as_deref()), (2, Some("LEVEL_REMOTE_ERROR")));
    assert!(refusal.message.unwrap().contains("at most 65536 are accepted"));
    assert!(peer.next().await.is_none());
    drop(soon(sending).await);
    assert_eq!((scene.store.get("b").await.unwrap(), scene.store.get("c").await.unwrap()), (None, None));
    assert_eq!(scene.event().await, "+large");
    assert!(scene.event().await.contains("at most 65536 are accepted"));
}

#[tokio::test]
async fn guests_come_and_go_in_pairs_however_they_go() {
    let mut scene = Scene::new(HostOptions::default(), &["left", "broke", "stayed", "cut"]).await;
    drop(scene.greet().await);
    assert_eq!((scene.event().await, scene.event().await), ("+left".into(), "-left: left".into()));
    let (mut broken, _) = scene.greet().await;
    broken.connection.writer.write_all(&[0xff; 11]).await.unwrap();
    assert!(broken.next().await.is_none());
    drop(broken);
    assert_eq!(scene.event().await, "+broke");
    assert_eq!(scene.event().await, "-broke: a frame length that is no number");

    let (_stayed, _) = scene.greet().await;
    assert_eq!(scene.event().await, "+stayed");
    let Scene { host, transport, store, events } = scene;
    host.shutdown().await.unwrap();
    let mut events = events;
    let last = soon(events.next()).await;
    assert!(
        matches!(&last, Some(Event::GuestDisconnected { reason: Some(reason), .. }) if &**reason == "the host stopped serving")
    );
    assert!(!matches!(events.next().now_or_never(), Some(Some(_))));
    drop((transport, store));

    // Dropping the host aborts its tasks.
    let mut scene = Scene::new(HostOptions::default(), &["cut"]).await;
    let (_cut, _) = scene.greet().await;
    assert_eq!(scene.event().await, "+cut");
    let Scene { host, transport: _transport, store: _store, mut events } = scene;
    drop(host);
    let last = soon(events.next()).await;
    assert!(
        matches!(&last, Some(Event::GuestDisconnected { reason: Some(reason), .. }) if &**reason == "the host cut it off")
    );
}

#[tokio::test]
async fn as_many_guests_are_told_to_go_as_to_come() {
    let mut scene = Scene::new(HostOptions { max_connections: 8, ..HostOptions::default() }, &[]).await;
    let mut rng = fastrand::Rng::with_seed(3);
    let mut peers = Vec::new();
    for _ in 0..300 {
        match rng.u8(..3) {
            0 if !peers.is_empty() => drop(peers.swap_remove(rng.usize(..peers.len()))),
            1 => scene.transport.faults().cut_after(rng.u64(..100)),
            _ => {
                let mut peer = Peer::connect(&scene.transport).await;
                let mut out = BytesMut::new();
                put(1, "a").encode(&mut out);
                let _ = peer.connection.writer.write_all(&out).await;
                peers.push(peer);
            }
        }
        tokio::task::yield_now().await;
    }
    drop(peers);
    // They are accepted in their order, so when one more is served all have been.
    soon(async {
        let mut served = false;
        while !served {
            let mut last = Peer::connect(&scene.transport).await;
            let mut out = BytesMut::new();
            put(1, "a").encode(&mut out);
            let _ = last.connection.writer.write_all(&out).await;
            served = last.next().await.is_some();
        }
    })
    .await;
    scene.guests(0).await;
    let (mut came, mut went) = (0, 0);
    while let Some(Some(event)) = tokio::task::unconstrained(scene.events.next()).now_or_never() {
        match event {
            Event::GuestConnected { .. } => came += 1,
            Event::GuestDisconnected { .. } => went += 1,
            other => panic!("{other:?}"),
        }
        assert!(went <= came);
    }
    assert!(came == went && came > 20, "{came} came, {went} went");
}

#[tokio::test(start_paused = true)]
async fn a_greedy_guest_waits_and_its_neighbour_does_not() {
    let rate = Rate { requests: NonZeroU32::new(100), ..Rate::default() };
    let scene = Scene::new(HostOptions { rate, ..HostOptions::default() }, &["greedy", "modest"]).await;
    let (mut greedy, _) = scene.greet().await;
    let modest = Peer::connect(&scene.transport).await;
    let start = tokio::time::Instant::now();
    greedy.say(&(1..=1000).map(|id| put(id, "a")).collect::<Vec<_>>()).await;
    let mut modest = modest;
    modest.say(&[put(1, "b")]).await;
    assert_eq!(answer(&mut modest).await.error, None);
    assert_eq!(start.elapsed(), Duration::ZERO);
    for _ in 0..1000 {
        assert_eq!(answer(&mut greedy).await.error, None, "nothing is refused");
    }
    assert!((8.5..9.5).contains(&start.elapsed().as_secs_f64()), "{:?}", start.elapsed());
    assert_eq!(scene.store.get("a").await.unwrap().as_deref(), Some(&b"v"[..]));
}
