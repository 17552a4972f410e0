//! A host against peers that are silent, deaf, garbled, too many, or gone; and hosts that leave.

mod peer;

use bytes::{Bytes, BytesMut};
use peer::{Peer, soon};
use rave_core::{AbstractLevel, AbstractLevelExt, MemoryLevel};
use rave_host::{Host, HostOptions, HostWrite, WriteHook};
use rave_transport::{
    Connect, MemoryTransport, Transport,
    wire::{
        Limits, Request, Response,
        message::{self, Get, GetMany, Put, RangeOptions, SnapshotClose, SnapshotOpen},
    },
};
use std::{
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    time::Duration,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The whole way to the store and back.
async fn is_served(peer: &mut Peer) {
    peer.say(&[put(1, "served"), get(2, "served")]).await;
    assert!(matches!(peer.next().await, Some(Response::Callback(answer)) if answer.id == 1 && answer.error.is_none()));
    assert!(matches!(peer.next().await, Some(Response::Callback(answer)) if answer.value.is_some()));
}

fn get(id: u32, key: &'static str) -> Request {
    Request::Get(Get { id, key: Some(key.into()), snapshot: None })
}

fn put(id: u32, key: &'static str) -> Request {
    Request::Put(Put { id, key: Some(key.into()), value: Some("v".into()), ..Default::default() })
}

async fn start(options: HostOptions) -> (Host, MemoryTransport, MemoryLevel) {
    let (transport, store) = (MemoryTransport::new(), MemoryLevel::new());
    let host = Host::start(transport.listen().await.unwrap(), options);
    host.serve(Arc::new(store.clone()));
    (host, transport, store)
}

#[tokio::test]
async fn silent_and_half_spoken_peers_cost_nobody_anything() {
    let (_host, transport, _store) = start(HostOptions::default()).await;
    let _silent = Peer::connect(&transport).await;
    let mut truncated = Peer::connect(&transport).await;
    truncated.connection.writer.write_all(&[6, 0, 8]).await.unwrap();
    let mut peer = Peer::connect(&transport).await;
    is_served(&mut peer).await;
    drop(truncated);
    is_served(&mut peer).await;
}

#[tokio::test]
async fn broken_frames_end_their_connection_and_no_other() {
    let (host, transport, _store) = start(HostOptions::default()).await;
    let mut other = Peer::connect(&transport).await;
    let oversized = [vec![0xff; 9], vec![1]].concat();
    for bytes in [oversized, vec![0xff; 11], vec![0x80, 0x80, 0x80, 0x80, 0x20, 0], vec![2, 32, 0x07], vec![2, 7, 0xff]]
    {
        let mut peer = Peer::connect(&transport).await;
        // What came before is answered.
        let mut out = BytesMut::new();
        put(1, "a").encode(&mut out);
        out.extend_from_slice(&bytes);
        peer.connection.writer.write_all(&out).await.unwrap();
        assert!(matches!(peer.next().await, Some(Response::Callback(answer)) if answer.error.is_none()));
        assert!(peer.next().await.is_none(), "{bytes:?}");
        is_served(&mut other).await;
    }
    // Unknown tags are skipped; a request that is malformed and has an id is refused, and the connection goes on.
    other.connection.writer.write_all(&[2, 99, 1, 3, 0, 8, 9]).await.unwrap();
    assert!(matches!(other.next().await, Some(Response::Callback(answer)) if answer.id == 9 && answer.error.is_some()));
    is_served(&mut other).await;
    soon(async {
        while host.stats().guests != 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_reads_nothing_is_served_no_further_than_what_it_can_take() {
    let (host, transport, store) = start(HostOptions::default()).await;
    store.put("large", vec![0; 1 << 20]).await.unwrap();
    let mut deaf = Peer::connect(&transport).await;
    let mut asked = 0_u64;
    // It asks until the connection takes no more.
    let asking = async {
        loop {
            deaf.say(&(0..64).map(|id| get(id, "large")).collect::<Vec<_>>()).await;
            asked += 64;
        }
    };
    assert!(tokio::time::timeout(Duration::from_millis(300), asking).await.is_err());
    assert!(asked > 1000, "{asked}");
    // At most what came in one read is under way; the rest waits in the connection, not in the host.
    assert!(host.stats().operations <= 64, "{:?}", host.stats());
    is_served(&mut Peer::connect(&transport).await).await;

    // An iterator that nobody reads stops at its credit.
    for n in 0..2000 {
        store.put(format!("i{n:05}"), vec![0; 1000]).await.unwrap();
    }
    let mut peer = Peer::connect(&transport).await;
    let options = Some(RangeOptions { gte: Some("i".into()), ..Default::default() });
    peer.say(&[Request::Iterator(message::Iterator { id: 1, seq: 0, options, ..Default::default() })]).await;
    let mut frames = 0;
    let reading = async {
        while let Some(Response::IteratorData(_)) = peer.next().await {
            frames += 1;
        }
    };
    assert!(tokio::time::timeout(Duration::from_millis(300), reading).await.is_err());
    assert_eq!(frames, 2);
    is_served(&mut peer).await;
}

#[tokio::test]
async fn large_values_behind_small_ones_fit_their_frames() {
    let limits = Limits { max_frame: 1 << 20 };
    let (_host, transport, store) = start(HostOptions { limits, ..HostOptions::default() }).await;
    for n in 0..100 {
        store.put(format!("k{n:03}"), Bytes::from(vec![b'v'; if n < 50 { 1 } else { 200 << 10 }])).await.unwrap();
    }
    let mut peer = Peer::connect(&transport).await;
    let options = Some(RangeOptions::default());
    peer.say(&[Request::Iterator(message::Iterator { id: 1, seq: 0, options, ..Default::default() })]).await;
    let mut entries = 0;
    loop {
        match peer.next().await {
            Some(Response::IteratorData(data)) => {
                let bytes: usize = data.data.iter().map(Bytes::len).sum();
                assert!(bytes < limits.max_frame, "a frame of {bytes} bytes");
                entries += data.data.len() as u64 / 2;
                let ack = message::IteratorAck { id: 1, seq: 0, consumed: entries };
                peer.say(&[Request::IteratorAck(ack)]).await;
            }
            Some(Response::IteratorEnd(_)) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(entries, 100);
}

#[tokio::test]
async fn one_connection_too_many_is_turned_away_until_another_ends() {
    let (_host, transport, _store) = start(HostOptions { max_connections: 2, ..HostOptions::default() }).await;
    let (mut one, mut two) = (Peer::connect(&transport).await, Peer::connect(&transport).await);
    is_served(&mut one).await;
    is_served(&mut two).await;
    assert!(Peer::connect(&transport).await.next().await.is_none());
    drop(two);
    soon(async {
        loop {
            let mut peer = Peer::connect(&transport).await;
            if peer.connection.writer.write_all(&[3, 6, 8, 1]).await.is_ok() && peer.next().await.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    is_served(&mut one).await;
}

/// Lets the first write take as long as the test says.
#[derive(Debug)]
struct SlowFirst(Mutex<Option<(Sender<()>, Receiver<()>)>>);

impl WriteHook for SlowFirst {
    fn before(&self, _: HostWrite<'_>) -> rave_core::Result<()> {
        Ok(())
    }

    fn after(&self, _: HostWrite<'_>) {
        if let Some((begun, go_on)) = self.0.lock().unwrap().take() {
            begun.send(()).unwrap();
            go_on.recv().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_peer_that_has_gone_still_waited_for_is_not_done() {
    let ((begun, begins), (go_on, goes_on)) = (channel(), channel());
    let hook = Arc::new(SlowFirst(Mutex::new(Some((begun, goes_on)))));
    let (host, transport, store) = start(HostOptions { hook: Some(hook), ..HostOptions::default() }).await;
    let mut peer = Peer::connect(&transport).await;
    peer.say(&[put(1, "first"), put(2, "second")]).await;
    tokio::task::block_in_place(|| begins.recv()).unwrap();
    drop(peer);
    go_on.send(()).unwrap();
    soon(async {
        while host.stats().guests > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert!(store.get("first").await.unwrap().is_some());
    assert!(store.get("second").await.unwrap().is_none());
}

#[tokio::test]
async fn leaving_answers_what_was_received_and_says_so_last() {
    let (host, transport, store) = start(HostOptions::default()).await;
    let mut peer = Peer::connect(&transport).await;
    is_served(&mut peer).await;
    let mut deaf = Peer::connect(&transport).await;
    is_served(&mut deaf).await;
    peer.say(&(10..30).map(|id| put(id, "a")).collect::<Vec<_>>()).await;
    let leaving = tokio::spawn(host.shutdown());
    let mut answered = 0;
    loop {
        match peer.next().await {
            Some(Response::Callback(answer)) => {
                assert!(answer.error.is_none());
                answered += 1;
            }
            Some(Response::Leaving(_)) => break,
            other => panic!("{other:?}"),
        }
    }
    // Either all of it was received or none of it was: it came in one piece.
    assert!(answered == 0 || answered == 20, "{answered}");
    assert_eq!(store.get("a").await.unwrap().is_some(), answered == 20);
    assert!(peer.next().await.is_none());
    soon(leaving).await.unwrap().unwrap();
    assert!(matches!(transport.connect().await.unwrap(), Connect::NobodyHome));
    assert_eq!(store.status(), rave_core::Status::Open, "the store is left to its owner");
}

#[tokio::test]
async fn snapshots_have_a_bound_and_end_with_their_connection() {
    let (_host, transport, store) = start(HostOptions::default()).await;
    store.put("a", "old").await.unwrap();
    let take = |id, snapshot| Request::SnapshotOpen(SnapshotOpen { id, snapshot });
    let read = |id, snapshot| Request::Get(Get { id, key: Some("a".into()), snapshot: Some(snapshot) });
    let mut peer = Peer::connect(&transport).await;
    peer.say(&(1..=1025).map(|n| take(n, n.into())).collect::<Vec<_>>()).await;
    for n in 1..=1025 {
        let Some(Response::Callback(answer)) = peer.next().await else { panic!("no answer") };
        assert_eq!((answer.id, answer.error.is_none()), (n, n <= 1024), "{answer:?}");
    }
    store.put("a", "new").await.unwrap();
    // A number that is open, one that never was, one that is closed; and one that is open again.
    let close = Request::SnapshotClose(SnapshotClose { snapshot: 1 });
    peer.say(&[take(1, 7), read(2, 9999), read(3, 1), close.clone(), close, read(4, 1), take(5, 1), read(6, 1)]).await;
    let mut answers = Vec::new();
    for _ in 0..6 {
        let Some(Response::Callback(answer)) = peer.next().await else { panic!("no answer") };
        answers.push(answer.error.or_else(|| Some(String::from_utf8(answer.value?.to_vec()).unwrap())));
    }
    let expected = [
        Some("LEVEL_REMOTE_ERROR"),
        Some("LEVEL_SNAPSHOT_NOT_OPEN"),
        Some("old"),
        Some("LEVEL_SNAPSHOT_NOT_OPEN"),
        None,
        Some("new"),
    ];
    assert_eq!(answers.iter().map(Option::as_deref).collect::<Vec<_>>(), expected);
    // Another connection does not know them.
    let mut other = Peer::connect(&transport).await;
    other.say(&[read(1, 2)]).await;
    let Some(Response::Callback(answer)) = other.next().await else { panic!("no answer") };
    assert_eq!(answer.error.as_deref(), Some("LEVEL_SNAPSHOT_NOT_OPEN"));
}

#[tokio::test]
async fn leaving_does_not_wait_for_ever_for_peers_that_read_nothing() {
    let grace = Duration::from_millis(100);
    let (host, transport, store) = start(HostOptions { grace, ..HostOptions::default() }).await;
    store.put("large", vec![0; 1 << 20]).await.unwrap();
    let mut deaf = Peer::connect(&transport).await;
    deaf.say(&[get(1, "large")]).await;
    // It has received the request once the answer is under way.
    let mut some = [0; 1];
    soon(deaf.connection.reader.read_exact(&mut some)).await.unwrap();
    soon(host.shutdown()).await.unwrap();
    assert!(matches!(transport.connect().await.unwrap(), Connect::NobodyHome));
}

#[tokio::test]
async fn requests_wait_for_the_store_and_a_dropped_host_cuts_everything() {
    let transport = MemoryTransport::new();
    let host = Host::start(transport.listen().await.unwrap(), HostOptions::default());
    let mut early = Peer::connect(&transport).await;
    early.say(&[Request::GetMany(GetMany { id: 5, ..GetMany::default() })]).await;
    let waiting = tokio::time::timeout(Duration::from_millis(50), early.next()).await;
    assert!(waiting.is_err(), "nothing is answered before the store is open");
    host.serve(Arc::new(MemoryLevel::new()));
    assert!(matches!(early.next().await, Some(Response::GetManyCallback(answer)) if answer.id == 5));
    drop(host);
    assert!(early.next().await.is_none());
    soon(async {
        while !matches!(transport.connect().await.unwrap(), Connect::NobodyHome) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
