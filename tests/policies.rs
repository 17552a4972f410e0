//! What guests may have of a host: a sublevel that is all they know, reading only, a place, and a rate; as handles see it.

mod support;

use async_trait::async_trait;
use futures::{FutureExt, StreamExt};
use rave_core::conformance::Harness;
use rave_level::{
    AbstractLevel, AbstractLevelExt, Batch, Builder, Code, Effect, Event, EventStream, KeyRange, MemoryLevel,
    MemoryOpener, PeerIdentity, Result,
    remote::{Host, HostOptions, Rate, Server},
    transport::{Connect, Connection, Listener, MemoryTransport, Transport},
};
use std::{num::NonZeroU32, sync::Arc, time::Duration};
use support::{PATIENCE, Place, leads, soon, until};

fn exposing(path: &str) -> HostOptions {
    HostOptions { sublevel: Some(path.parse().unwrap()), ..HostOptions::default() }
}

/// Something on either side of the sublevel, which must be there in the end as it was in the beginning.
struct Untouched(MemoryLevel);

const AROUND: [&str; 6] = ["!a", "!a!", "!a!!b\"", "!a!!c!k", "a", "~"];

impl Untouched {
    async fn around(store: &MemoryLevel) -> Self {
        for key in AROUND {
            store.put(key, "outside").await.unwrap();
        }
        Self(store.clone())
    }
}

impl Drop for Untouched {
    fn drop(&mut self) {
        let all = self.0.all(KeyRange::all()).now_or_never();
        // A case that closes the store itself has its say elsewhere.
        if let Some(Ok(mut entries)) = all {
            entries.retain(|entry| !entry.key.starts_with(b"!a!!b!") && !entry.key.starts_with(b"!rave-level!"));
            let keys: Vec<_> = entries.iter().map(|entry| String::from_utf8_lossy(&entry.key).into_owned()).collect();
            assert!(std::thread::panicking() || keys == AROUND, "{keys:?}");
        }
    }
}

async fn guest_of_a_sublevel() -> Harness {
    let (transport, store) = (MemoryTransport::new(), MemoryLevel::new());
    let untouched = Untouched::around(&store).await;
    let host = Host::start(transport.listen().await.unwrap(), exposing("a/b"));
    host.serve(Arc::new(store));
    let guest = Builder::guest(transport).open().await.unwrap();
    Harness::new(guest).keeping(untouched).keeping(host).without_reopening()
}

/// Guests of this transport may only read.
#[derive(Clone, Debug)]
struct ForReading(MemoryTransport);

struct Readers(Box<dyn Listener>);

#[async_trait]
impl Transport for ForReading {
    async fn connect(&self) -> Result<Connect> {
        self.0.connect().await
    }
    async fn listen(&self) -> Result<Box<dyn Listener>> {
        Ok(Box::new(Readers(self.0.listen().await?)))
    }
    fn address(&self) -> String {
        self.0.address()
    }
}

#[async_trait]
impl Listener for Readers {
    async fn accept(&mut self) -> Result<Connection> {
        let mut connection = self.0.accept().await?;
        connection.peer.read_only = true;
        Ok(connection)
    }
    async fn close(self: Box<Self>) -> Result<()> {
        self.0.close().await
    }
}

async fn guest_that_may_only_read() -> Harness {
    let transport = ForReading(MemoryTransport::new());
    let host = Host::start(transport.listen().await.unwrap(), HostOptions::default());
    host.serve(Arc::new(MemoryLevel::new()));
    let guest = Builder::guest(transport).open().await.unwrap();
    assert!(guest.manifest().read_only, "or the suite would not look for refusals");
    Harness::new(guest).keeping(host)
}

rave_core::conformance!(guest_of_a_sublevel, guest_of_a_sublevel);
rave_core::conformance!(guest_of_a_sublevel_many_threads, guest_of_a_sublevel, multi_thread);
rave_core::conformance!(guest_that_may_only_read, guest_that_may_only_read);

async fn serve(store: &MemoryOpener, transport: &dyn Transport, options: HostOptions) -> Server {
    soon("the host starts", Server::start(store, transport, options)).await.unwrap()
}

#[tokio::test]
async fn who_may_only_read_may_read_in_transactions() {
    let transport = ForReading(MemoryTransport::new());
    let server = serve(&MemoryOpener::new(), &transport, HostOptions::default()).await;
    server.store().put("a", "1").await.unwrap();
    let guest = soon("opening", Builder::guest(transport).open()).await.unwrap();
    let read = guest.transaction(|tx| async move { tx.get("a").await });
    assert_eq!(soon("reading", read).await.unwrap().as_deref(), Some(&b"1"[..]));
    let error = guest.write(Batch::new().put("a", "2").if_equals("a", "1")).await.unwrap_err();
    assert_eq!((error.code(), error.effect()), (Code::ReadOnly, Effect::None));
    let error = guest.write(Batch::new().if_equals("a", "2")).await.unwrap_err();
    assert_eq!(error.code(), Code::ConditionFailed);
    guest.close().await.unwrap();
    server.shutdown().await.unwrap();
}

/// Increments a counter that some would see incremented twice, while hosts come and go.
#[tokio::test(flavor = "multi_thread")]
async fn writes_to_a_sublevel_are_applied_exactly_once_whatever_becomes_of_hosts() {
    const WRITES: u32 = 400;
    let (store, transport) = (MemoryOpener::new(), MemoryTransport::new());
    let mut server = serve(&store, &transport, exposing("a")).await;
    let guest = soon("opening", Builder::guest(transport.clone()).open()).await.unwrap();
    assert!(guest.manifest().exactly_once);
    guest.put("n", "0").await.unwrap();
    let writer = guest.clone();
    let writing = tokio::spawn(async move {
        for number in 0..WRITES {
            // A second try of one that was applied would be refused.
            let batch = Batch::new().put("n", (number + 1).to_string()).if_equals("n", number.to_string());
            writer.write(batch).await.unwrap_or_else(|error| panic!("write {number}: {error}"));
            if number % 16 == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    });
    let mut rounds = 0;
    while !writing.is_finished() {
        tokio::time::sleep(Duration::from_millis(3)).await;
        transport.faults().cut_all();
        if rounds % 4 == 0 {
            soon("the host ends", server.shutdown()).await.unwrap();
            server = serve(&store, &transport, exposing("a")).await;
        }
        rounds += 1;
    }
    writing.await.unwrap();
    assert!(rounds > 4, "{rounds}");
    let count = WRITES.to_string();
    assert_eq!(guest.get("n").await.unwrap().as_deref(), Some(count.as_bytes()));
    // Neither the guest nor what it takes for the database knows of its record, which is at the root of the whole.
    let all = rave_level::IteratorOptions { internal: true, ..KeyRange::all().into() };
    assert_eq!(guest.all(all.clone()).await.unwrap().len(), 1);
    let keys: Vec<_> = server.store().all(all).await.unwrap().into_iter().map(|entry| entry.key).collect();
    assert!(keys.iter().any(|key| key.starts_with(b"!rave-level!session!")), "{keys:?}");
    assert!(keys.iter().all(|key| *key == "!a!n" || key.starts_with(b"!rave-level!")), "{keys:?}");
    guest.close().await.unwrap();
    server.shutdown().await.unwrap();
}

#[tokio::test]
async fn sublevels_and_transactions_inside_a_sublevel_are_those_of_a_database() {
    let transport = MemoryTransport::new();
    let server = serve(&MemoryOpener::new(), &transport, exposing("a")).await;
    let guest = soon("opening", Builder::guest(transport).open()).await.unwrap();
    let inner = guest.sublevel("inner").unwrap();
    let moved = guest.transaction(|tx| async move {
        tx.put("k", "1").await?;
        let inner = tx.sublevel("inner")?;
        inner.put("k", "2").await?;
        tx.all(KeyRange::all()).await
    });
    assert_eq!(soon("a transaction", moved).await.unwrap().len(), 2);
    assert_eq!(inner.get("k").await.unwrap().as_deref(), Some(&b"2"[..]));
    assert_eq!(server.store().get("!a!!inner!k").await.unwrap().as_deref(), Some(&b"2"[..]));
    guest.clear(KeyRange::all()).await.unwrap();
    assert_eq!(guest.all(KeyRange::all()).await.unwrap(), []);
    // Where rave-level keeps its records in a database, there is nothing in a part of one.
    guest.put("!rave-level!mine", "1").await.unwrap();
    assert_eq!(guest.get("!rave-level!mine").await.unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(guest.all(KeyRange::all()).await.unwrap().len(), 1);
    guest.close().await.unwrap();
    server.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_guest_that_is_turned_away_can_say_why_and_gets_the_next_place() {
    let transport = MemoryTransport::new();
    let options = HostOptions { max_connections: 1, ..HostOptions::default() };
    let server = serve(&MemoryOpener::new(), &transport, options).await;
    let first = soon("opening", Builder::guest(transport.clone()).open()).await.unwrap();
    let impatient = Builder::guest(transport.clone()).open_timeout(Duration::from_millis(300)).open();
    let error = soon("being turned away", impatient).await.unwrap_err();
    assert!(error.message().contains("turned this process away"), "{error}");
    assert!(error.message().contains("serves 1 connections at once"), "{error}");
    let patient = tokio::spawn(Builder::guest(transport).open_timeout(PATIENCE).open());
    first.close().await.unwrap();
    let second = soon("a place", patient).await.unwrap().unwrap();
    second.put("a", "1").await.unwrap();
    second.close().await.unwrap();
    server.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_member_that_a_leader_turns_away_waits_and_leads_when_it_can() {
    let place = Place::new();
    let leader = soon("opening", place.builder().max_guests(0).open()).await.unwrap();
    let error = soon("opening", place.builder().open_timeout(Duration::from_millis(300)).open()).await.unwrap_err();
    assert_eq!(error.code(), Code::Locked);
    assert!(error.message().contains("turned this process away"), "{error}");
    let waiting = tokio::spawn(place.builder().open_timeout(PATIENCE).open());
    leader.close().await.unwrap();
    let next = soon("the place of the leader", waiting).await.unwrap().unwrap();
    assert!(leads(&next));
    next.close().await.unwrap();
}

/// The next event about a guest.
async fn next(events: &mut EventStream) -> (bool, PeerIdentity) {
    loop {
        match soon("an event", events.next()).await.expect("more events") {
            Event::GuestConnected { peer } => return (true, peer),
            Event::GuestDisconnected { peer, .. } => return (false, peer),
            _ => {}
        }
    }
}

#[tokio::test]
async fn leaders_and_servers_tell_who_comes_and_goes() {
    let place = Place::new();
    let leader = place.open().await;
    let mut events = leader.events();
    let guest = place.open().await;
    let (connected, peer) = next(&mut events).await;
    assert!(connected && peer.pid == Some(std::process::id()));
    guest.close().await.unwrap();
    assert!(!next(&mut events).await.0);
    leader.close().await.unwrap();

    let transport = MemoryTransport::new();
    let server = serve(&MemoryOpener::new(), &transport, HostOptions::default()).await;
    // The server itself has looked whether somebody listens there already: before it did.
    let mut events = server.events();
    let guest = soon("opening", Builder::guest(transport).open()).await.unwrap();
    assert!(next(&mut events).await.0);
    server.shutdown().await.unwrap();
    assert!(!next(&mut events).await.0);
    drop(guest);
}

#[tokio::test]
async fn a_leader_slows_down_a_guest_that_asks_for_too_much_and_not_itself() {
    let place = Place::new();
    let rate = Rate { requests: NonZeroU32::new(200), burst: Duration::from_millis(50), ..Rate::default() };
    let leader = soon("opening", place.builder().guest_rate(rate).open()).await.unwrap();
    let guest = place.open().await;
    let flood = tokio::spawn(async move {
        futures::future::try_join_all((0..600).map(|n| guest.put(format!("{n:03}"), "1"))).await.unwrap();
        guest
    });
    until("some of it comes", || leader.get("000").now_or_never().is_some_and(|got| got.unwrap().is_some())).await;
    for n in 0..50 {
        leader.put("own", n.to_string()).await.unwrap();
    }
    assert!(!flood.is_finished(), "600 requests take about 3 seconds");
    let guest = soon("all of it comes", flood).await.unwrap();
    assert_eq!(leader.all(KeyRange::all()).await.unwrap().len(), 601);
    guest.close().await.unwrap();
    leader.close().await.unwrap();
}
