//! A host that shows its guests a sublevel as if it were the whole database: they find in it what they would find in a
//! database, and whatever they send, they neither change nor see a byte outside.

mod peer;

use bytes::{Bytes, BytesMut};
use fastrand::Rng;
use peer::Peer;
use rave_core::{
    AbstractLevel, AbstractLevelExt, Batch, Condition, Digester, Entry, KeyRange, MemoryLevel, RESERVED, Sublevel,
    SublevelOptions,
};
use rave_host::{Host, HostOptions, HostWrite, SublevelPath, WriteHook};
use rave_transport::{
    MemoryTransport, Transport,
    wire::{
        Request, Response,
        message::{
            self, BatchCondition, BatchOperation, Clear, Del, Get, GetMany, Hello, IteratorAck, IteratorClose,
            IteratorSeek, Put, RangeOptions, SnapshotClose, SnapshotOpen,
        },
    },
};
use std::{
    ops::Bound,
    sync::{Arc, Mutex},
};

/// What is in every value, and in many keys, outside of the sublevel that guests see.
const SECRET: &str = "secret";
/// A key outside that a guest knows of.
const RECORD: &str = "!rave-level!session!known";
/// The sublevel that guests see.
const PREFIX: &str = "!a!!b!";

/// A host, its store, and one guest made by hand.
struct Scene {
    _host: Host,
    store: MemoryLevel,
    peer: Peer,
}

impl Scene {
    async fn new(store: MemoryLevel, options: HostOptions) -> Self {
        let transport = MemoryTransport::new();
        let host = Host::start(transport.listen().await.unwrap(), options);
        host.serve(Arc::new(store.clone()));
        Self { _host: host, store, peer: Peer::connect(&transport).await }
    }

    async fn whole() -> Self {
        Self::new(MemoryLevel::new(), HostOptions::default()).await
    }

    /// Around the sublevel are keys as near to it as keys can be.
    async fn exposing() -> Self {
        let store = MemoryLevel::new();
        let around = [
            "",
            "!",
            "!a",
            "!a!",
            "!a!!",
            "!a!!b",
            "!a!!b ",
            "!a!!b\"",
            "!a!!c!",
            "!a!c",
            "!b!",
            "!b!!a!",
            "\"",
            "a",
            "b",
            "~",
            "!a!\"",
            "!A!!b!",
            "!a!!b\u{7f}",
        ];
        for key in around {
            for key in [key.to_owned(), format!("{key}{SECRET}")] {
                if !key.starts_with(PREFIX) {
                    store.put(key, SECRET).await.unwrap();
                }
            }
        }
        store.put([0xff], SECRET).await.unwrap();
        store.put([0xff, 0xff, b'!'], SECRET).await.unwrap();
        store.put(RECORD, SECRET).await.unwrap();
        let sublevel = Some(SublevelPath::new(&["a", "b"]).unwrap());
        Self::new(store, HostOptions { sublevel, ..HostOptions::default() }).await
    }

    async fn entries(&self) -> Vec<Entry> {
        self.store.all(KeyRange::all()).await.unwrap()
    }

    /// Everything that no guest may change, but the records of sessions.
    async fn outside(&self) -> Vec<Entry> {
        let record = |key: &[u8]| key.starts_with(RESERVED.as_bytes()) && key != RECORD.as_bytes();
        let mut entries = self.entries().await;
        entries.retain(|entry| !entry.key.starts_with(PREFIX.as_bytes()) && !record(&entry.key));
        entries
    }

    /// Asks and takes all answers, of which there are as many as such a request has.
    async fn ask(&mut self, request: &Request) -> Vec<Response> {
        self.peer.say(std::slice::from_ref(request)).await;
        let mut answers = Vec::new();
        if matches!(request, Request::IteratorClose(_) | Request::SnapshotClose(_) | Request::IteratorAck(_)) {
            return answers;
        }
        loop {
            let answer = self.peer.next().await.expect("the connection goes on");
            let data = match &answer {
                Response::IteratorData(data) => Some((data.id, data.seq)),
                Response::Welcome(_) => None,
                _ => {
                    answers.push(answer);
                    return answers;
                }
            };
            if let Some((id, seq)) = data {
                self.peer.say(&[Request::IteratorAck(IteratorAck { id, seq, consumed: 0 })]).await;
            }
            answers.push(answer);
        }
    }
}

/// Keys that try everything that prefixes, bounds and separators are made of.
fn key(rng: &mut Rng, reserved: bool) -> Bytes {
    let parts: [&[u8]; 17] = [
        b"",
        b"a",
        b"b",
        b"!",
        b"!a",
        b"!a!",
        b"!a!!b!",
        b"!b!",
        b"!!",
        b"\"",
        b"\0",
        b"\xff",
        b"\xff\xff",
        b"~",
        b" ",
        b"!rave-level",
        b"\x7f",
    ];
    let mut key = Vec::new();
    for _ in 0..rng.usize(0..3) {
        key.extend_from_slice(parts[rng.usize(..parts.len())]);
    }
    if reserved && rng.u8(..5) == 0 {
        let reserved = [RESERVED, "!rave-level!forgotten", RECORD, "!rave-level!session!"];
        key = reserved[rng.usize(..reserved.len())].into();
    }
    if !reserved && key.starts_with(RESERVED.as_bytes()) {
        key.clear();
    }
    key.into()
}

fn some(rng: &mut Rng, reserved: bool) -> Option<Bytes> {
    rng.bool().then(|| key(rng, reserved))
}

fn range(rng: &mut Rng, reserved: bool) -> RangeOptions {
    RangeOptions {
        keys: Some(rng.u8(..4) > 0),
        values: Some(rng.u8(..4) > 0),
        gt: some(rng, reserved).filter(|_| rng.bool()),
        gte: some(rng, reserved),
        lt: some(rng, reserved).filter(|_| rng.bool()),
        lte: some(rng, reserved),
        limit: Some(if rng.bool() { -1 } else { rng.i64(0..5) }),
        reverse: Some(rng.bool()),
        internal: Some(rng.bool()),
        ..RangeOptions::default()
    }
}

fn operation(rng: &mut Rng, reserved: bool) -> BatchOperation {
    let key = Some(key(rng, reserved));
    match rng.bool() {
        true => BatchOperation { kind: "put".into(), key, value: Some(rng.u8(..4).to_string().into()) },
        false => BatchOperation { kind: "del".into(), key, value: None },
    }
}

fn digest_of(entries: &[Entry], range: &KeyRange) -> rave_core::Digest {
    let mut digester = Digester::default();
    entries
        .iter()
        .filter(|entry| range.contains(&entry.key))
        .for_each(|entry| digester.entry(&entry.key, &entry.value));
    digester.finish()
}

/// A condition, about as often one that holds among `entries` as one that does not.
fn condition(rng: &mut Rng, entries: &[Entry], reserved: bool) -> BatchCondition {
    let key = key(rng, reserved);
    match rng.u8(..4) {
        0 => BatchCondition { key: Some(key), ..BatchCondition::default() },
        1 => {
            BatchCondition { key: Some(key), equals: Some(rng.u8(..4).to_string().into()), ..BatchCondition::default() }
        }
        _ => {
            let lower = if rng.bool() { Bound::Unbounded } else { Bound::Excluded(key) };
            let range = KeyRange::new(lower, some(rng, reserved).map_or(Bound::Unbounded, Bound::Included));
            let digest = if rng.u8(..4) > 0 { digest_of(entries, &range) } else { [7; 32].into() };
            let strip = if reserved { [0, 1, 6, 100, usize::MAX][rng.usize(..5)] } else { 0 };
            BatchCondition::from(&Condition::Unchanged { ranges: vec![range], strip, digest })
        }
    }
}

/// What a guest may ask, on what it takes for a database with these `entries`.
fn request(rng: &mut Rng, id: u32, entries: &[Entry], reserved: bool) -> Vec<Request> {
    let snapshot = rng.bool().then_some(1);
    match rng.u8(..10) {
        0 => vec![Request::Get(Get { id, key: Some(key(rng, reserved)), snapshot })],
        1 => {
            let keys = (0..rng.usize(1..6)).map(|_| key(rng, reserved)).collect();
            vec![Request::GetMany(GetMany { id, keys, snapshot, existence: Some(rng.bool()) })]
        }
        2 => {
            let (key, value) = (Some(key(rng, reserved)), Some(rng.u8(..4).to_string().into()));
            vec![Request::Put(Put { id, key, value, ..Put::default() })]
        }
        3 => vec![Request::Del(Del { id, key: Some(key(rng, reserved)), ..Del::default() })],
        4 | 5 => vec![Request::Batch(message::Batch {
            id,
            ops: (0..rng.usize(..6)).map(|_| operation(rng, reserved)).collect(),
            conditions: (0..rng.usize(..3)).map(|_| condition(rng, entries, reserved)).collect(),
            ..message::Batch::default()
        })],
        6 => vec![Request::Clear(Clear {
            id,
            options: Some(RangeOptions { snapshot, ..range(rng, reserved) }),
            ops: (0..rng.usize(..3)).map(|_| operation(rng, reserved)).collect(),
            ..Clear::default()
        })],
        7 => vec![
            Request::SnapshotClose(SnapshotClose { snapshot: 1 }),
            Request::SnapshotOpen(SnapshotOpen { id, snapshot: 1 }),
        ],
        _ => {
            let resumed = rng.bool();
            let open = Request::Iterator(message::Iterator {
                id,
                seq: 0,
                options: Some(RangeOptions { snapshot, ..range(rng, reserved) }),
                consumed: Some(0),
                bookmark: some(rng, reserved).filter(|_| resumed),
                seek: some(rng, reserved).filter(|_| resumed),
            });
            let target = Some(key(rng, reserved));
            let seek = Request::IteratorSeek(IteratorSeek { id, seq: 1, target, ..IteratorSeek::default() });
            vec![open, seek, Request::IteratorClose(IteratorClose { id })]
        }
    }
}

async fn inside(scene: &Scene) -> Vec<Entry> {
    let mut entries = scene.entries().await;
    entries.retain_mut(|entry| match entry.key.strip_prefix(PREFIX.as_bytes()) {
        Some(key) => {
            entry.key = Bytes::copy_from_slice(key);
            true
        }
        None => false,
    });
    entries
}

#[tokio::test]
async fn a_guest_of_a_sublevel_finds_in_it_what_it_would_find_in_a_database() {
    let mut asked = 0;
    for seed in 0..40 {
        let mut rng = Rng::with_seed(seed);
        let (mut whole, mut part) = (Scene::whole().await, Scene::exposing().await);
        let before = part.outside().await;
        for id in 0..150 {
            let entries = whole.entries().await;
            for request in request(&mut rng, id, &entries, false) {
                let (expected, found) = (whole.ask(&request).await, part.ask(&request).await);
                assert_eq!(expected, found, "seed {seed}: {request:?}");
                asked += 1;
            }
            assert_eq!(whole.entries().await, inside(&part).await, "seed {seed}, request {id}");
        }
        assert!(before == part.outside().await, "seed {seed}");
    }
    assert!(asked > 5000, "{asked}");
}

#[tokio::test]
async fn no_request_changes_or_shows_anything_outside() {
    for seed in 0..60 {
        let mut rng = Rng::with_seed(1000 + seed);
        let mut part = Scene::exposing().await;
        let before = part.outside().await;
        if rng.bool() {
            let hello = Hello { version: 1, session: Some([7; 16].to_vec().into()), ..Hello::default() };
            let hello = Hello { attempt: Some(1), next: Some(1), ..hello };
            part.peer.say(&[Request::Hello(hello), Request::GetMany(GetMany::default())]).await;
            assert!(matches!(part.peer.next().await, Some(Response::Welcome(_))));
            part.peer.next().await.unwrap();
        }
        for id in 0..150 {
            let entries = inside(&part).await;
            for mut request in request(&mut rng, id, &entries, true) {
                if let Request::Put(put) = &mut request {
                    put.number = Some(u64::from(id) + 1);
                }
                for answer in part.ask(&request).await {
                    let mut frame = BytesMut::new();
                    answer.encode(&mut frame);
                    let shown = frame.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
                    assert!(!shown, "seed {seed}: {request:?} gave {answer:?}");
                }
            }
            assert!(before == part.outside().await, "seed {seed}, request {id}");
        }
    }
}

#[tokio::test]
async fn a_hook_sees_the_keys_of_the_whole_database() {
    #[derive(Debug, Default)]
    struct Notes(Mutex<Vec<String>>);
    impl WriteHook for Notes {
        fn before(&self, write: HostWrite<'_>) -> rave_core::Result<()> {
            self.0.lock().unwrap().push(match write {
                HostWrite::Batch(batch) => {
                    batch.operations().map(|operation| String::from_utf8_lossy(operation.key()).into_owned()).collect()
                }
                HostWrite::Clear(options) => format!("{:?}", options.range.lower()),
            });
            Ok(())
        }
        fn after(&self, _: HostWrite<'_>) {}
    }
    let notes = Arc::new(Notes::default());
    let hook: Arc<dyn WriteHook> = notes.clone();
    let options = HostOptions { sublevel: Some("a/b".parse().unwrap()), hook: Some(hook), ..HostOptions::default() };
    let mut scene = Scene::new(MemoryLevel::new(), options).await;
    let (key, value) = (Some("k".into()), Some("v".into()));
    scene.ask(&Request::Put(Put { id: 1, key, value, ..Put::default() })).await;
    let options = Some(RangeOptions { gte: Some("k".into()), ..RangeOptions::default() });
    scene.ask(&Request::Clear(Clear { id: 2, options, ..Clear::default() })).await;
    assert_eq!(*notes.0.lock().unwrap(), ["!a!!b!k", "Included(b\"!a!!b!k\")"]);
    assert_eq!(scene.entries().await, []);
}

#[tokio::test]
async fn this_process_sees_all_and_its_sublevel_is_what_guests_see() {
    let transport = MemoryTransport::new();
    let options = HostOptions { sublevel: Some("a/b".parse().unwrap()), ..HostOptions::default() };
    let host = Host::start(transport.listen().await.unwrap(), options);
    let store: Arc<dyn AbstractLevel> = Arc::new(host.serve(Arc::new(MemoryLevel::new())));
    let sublevel = Sublevel::new(store.clone(), &["a", "b"], SublevelOptions::default()).unwrap();
    store.write(Batch::new().put("k", "root").put_in(&sublevel, "k", "part")).await.unwrap();
    let mut peer = Peer::connect(&transport).await;
    peer.say(&[Request::Get(Get { id: 1, key: Some("k".into()), ..Get::default() })]).await;
    let answer = peer.next().await;
    assert!(matches!(&answer, Some(Response::Callback(got)) if got.value.as_deref() == Some(b"part")), "{answer:?}");
    assert_eq!(store.get("k").await.unwrap().as_deref(), Some(&b"root"[..]));
}

#[test]
fn paths_that_cannot_be_shown_are_refused() {
    for path in ["", "/", "a/", "a//b", "a!", "ä", "rave-level", "rave-level/session"] {
        let error = path.parse::<SublevelPath>().unwrap_err();
        assert_eq!(error.code().as_str(), "LEVEL_INVALID_PREFIX", "{path:?}");
    }
    assert!("a/rave-level".parse::<SublevelPath>().is_ok(), "nothing is kept there");
    assert_eq!("a/b".parse::<SublevelPath>().unwrap().to_string(), "a/b");
}
