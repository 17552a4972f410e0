//! Many keys at once: as one state, and without holding more than an answer may have.

mod peer;

use async_trait::async_trait;
use peer::Peer;
use rave_core::{
    AbstractLevel, AbstractLevelExt, Batch, Bytes, ClearOptions, Code, Error, EventStream, IteratorOptions,
    LevelIterator, Manifest, MemoryLevel, ReadOptions, Result, Snapshot, Status, WriteOptions,
};
use rave_host::{Host, HostOptions};
use rave_transport::{
    MemoryTransport, Transport,
    wire::{Request, Response, message::GetMany},
};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// A store that tells of existence by the values, and loses snapshots as one does that is itself reached through a leader.
#[derive(Clone, Debug)]
struct Shared {
    inner: MemoryLevel,
    /// The most keys that were ever asked for at once.
    most: Arc<AtomicUsize>,
    /// Reads of snapshots until one is found lost, and how many are to be lost.
    loses: Arc<(AtomicUsize, AtomicUsize)>,
}

#[async_trait]
impl AbstractLevel for Shared {
    fn manifest(&self) -> Manifest {
        self.inner.manifest()
    }

    fn status(&self) -> Status {
        self.inner.status()
    }

    fn events(&self) -> EventStream {
        self.inner.events()
    }

    async fn get_opts(&self, key: Bytes, options: ReadOptions) -> Result<Option<Bytes>> {
        self.inner.get_opts(key, options).await
    }

    async fn get_many_opts(&self, keys: Vec<Bytes>, options: ReadOptions) -> Result<Vec<Option<Bytes>>> {
        self.most.fetch_max(keys.len(), Ordering::Relaxed);
        let (until, left) = &*self.loses;
        if options.snapshot.is_some() && left.load(Ordering::Relaxed) > 0 {
            if until.load(Ordering::Relaxed) == 0 {
                left.fetch_sub(1, Ordering::Relaxed);
                return Err(Error::new(Code::SnapshotNotOpen, "the snapshot is gone with its leader"));
            }
            until.fetch_sub(1, Ordering::Relaxed);
        }
        self.inner.get_many_opts(keys, options).await
    }

    async fn write_opts(&self, batch: Batch, options: WriteOptions) -> Result<()> {
        self.inner.write_opts(batch, options).await
    }

    async fn clear_opts(&self, options: ClearOptions) -> Result<()> {
        self.inner.clear_opts(options).await
    }

    async fn iterator_opts(&self, options: IteratorOptions) -> Result<Box<dyn LevelIterator>> {
        self.inner.iterator_opts(options).await
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        self.inner.snapshot().await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

/// Keys asked for at once, of which every other one exists.
const KEYS: usize = 1000;

fn key(n: usize) -> Bytes {
    format!("key {n}").into()
}

async fn start() -> (Host, Peer, Shared) {
    let (transport, inner) = (MemoryTransport::new(), MemoryLevel::new());
    let keys = (0..KEYS).step_by(2);
    inner.write(keys.fold(Batch::new(), |batch, n| batch.put(key(n), "value"))).await.unwrap();
    let store = Shared { inner, most: Arc::default(), loses: Arc::default() };
    let host = Host::start(transport.listen().await.unwrap(), HostOptions::default());
    host.serve(Arc::new(store.clone()));
    let peer = Peer::connect(&transport).await;
    (host, peer, store)
}

/// Which keys are there, by their values or without.
async fn ask(peer: &mut Peer, existence: Option<bool>) -> Result<Vec<bool>, String> {
    let keys = (0..KEYS).map(key).collect();
    peer.say(&[Request::GetMany(GetMany { id: 1, keys, snapshot: None, existence })]).await;
    let Some(Response::GetManyCallback(answer)) = peer.next().await else { panic!("no answer") };
    match (answer.error, existence) {
        (Some(error), _) => Err(error),
        (None, Some(true)) => Ok(answer.existing),
        (None, _) => Ok(answer.values.iter().map(|value| value.value.is_some()).collect()),
    }
}

#[tokio::test]
async fn whether_keys_exist_is_asked_part_by_part() {
    let (_host, mut peer, store) = start().await;
    let expected: Vec<bool> = (0..KEYS).map(|n| n % 2 == 0).collect();
    assert_eq!(ask(&mut peer, Some(true)).await.unwrap(), expected);
    let most = store.most.load(Ordering::Relaxed);
    assert!(most <= 64, "{most} values of unknown size at once");
}

#[tokio::test]
async fn a_view_that_the_store_loses_is_nothing_to_who_asked_for_none() {
    let (_host, mut peer, store) = start().await;
    let expected: Vec<bool> = (0..KEYS).map(|n| n % 2 == 0).collect();
    for existence in [None, Some(true)] {
        for until in [0, 1] {
            store.loses.0.store(until, Ordering::Relaxed);
            store.loses.1.store(2, Ordering::Relaxed);
            assert_eq!(ask(&mut peer, existence).await.as_ref(), Ok(&expected));
            assert_eq!(store.loses.1.load(Ordering::Relaxed), 0);
        }
    }
    // But not for ever.
    store.loses.1.store(usize::MAX, Ordering::Relaxed);
    assert_eq!(ask(&mut peer, None).await.unwrap_err(), "LEVEL_SNAPSHOT_NOT_OPEN");
}
