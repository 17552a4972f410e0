//! The conformance suite on the facade: as leader, as guest, and while leaders come and go in the middle of each case.

use rave_core::conformance::Harness;
use rave_level::{AbstractLevel, Builder, MemoryOpener, RaveLevel, Role, transport::MemoryTransport};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

#[derive(Clone)]
struct Place {
    store: MemoryOpener,
    meeting_point: MemoryTransport,
}

impl Place {
    fn new() -> Self {
        Self { store: MemoryOpener::new(), meeting_point: MemoryTransport::new() }
    }

    async fn open(&self) -> RaveLevel {
        Builder::new(self.store.clone(), self.meeting_point.clone()).open().await.unwrap()
    }

    fn harness(&self, level: RaveLevel) -> Harness {
        let place = self.clone();
        Harness::new(level).reopening(move || {
            let place = place.clone();
            async move { Arc::new(place.open().await) as Arc<dyn AbstractLevel> }
        })
    }
}

async fn as_leader() -> Harness {
    let place = Place::new();
    let level = place.open().await;
    assert_eq!(level.role(), Role::Leader);
    place.harness(level)
}

async fn as_guest() -> Harness {
    let place = Place::new();
    let leader = place.open().await;
    let guest = place.open().await;
    assert!(matches!(guest.role(), Role::Guest { .. }));
    place.harness(guest).keeping(leader)
}

/// The level under test begins as a guest. Each disturbance takes the leader away, so that it is promoted, and brings a
/// new guest who will be the next leader's heir; later ones cut the connections of everybody.
async fn with_failovers() -> Harness {
    let place = Place::new();
    let leader = Arc::new(Mutex::new(Some(place.open().await)));
    let level = place.open().await;
    let again = place.clone();
    place.harness(level.clone()).disturbing(move || {
        let (leader, place, level) = (leader.clone(), again.clone(), level.clone());
        async move {
            let leader = leader.lock().unwrap().take();
            match leader {
                // Dropped without a close, as a process would drop it.
                Some(leader) => {
                    drop(leader);
                    place.meeting_point.faults().cut_all();
                    until(|| level.role() == Role::Leader).await;
                }
                None => place.meeting_point.faults().cut_all(),
            }
        }
    })
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

rave_core::conformance!(facade_as_leader, as_leader);
rave_core::conformance!(facade_as_guest, as_guest);
rave_core::conformance!(facade_as_guest_many_threads, as_guest, multi_thread);
rave_core::conformance!(facade_with_failovers, with_failovers);

#[cfg(all(unix, feature = "leveldb", feature = "ipc"))]
mod leveldb {
    //! The same with the default parts: real files and real sockets.

    use super::*;

    async fn open(path: &std::path::Path) -> RaveLevel {
        RaveLevel::open(path).await.unwrap()
    }

    fn harness(directory: tempfile::TempDir, level: RaveLevel) -> Harness {
        let path = directory.path().to_owned();
        let reopen = move || {
            let path = path.clone();
            async move { Arc::new(open(&path).await) as Arc<dyn AbstractLevel> }
        };
        Harness::new(level).keeping(directory).reopening(reopen)
    }

    async fn as_leader() -> Harness {
        let directory = tempfile::tempdir().unwrap();
        let level = open(directory.path()).await;
        harness(directory, level)
    }

    async fn as_guest() -> Harness {
        let directory = tempfile::tempdir().unwrap();
        let leader = open(directory.path()).await;
        let guest = open(directory.path()).await;
        assert!(matches!(guest.role(), Role::Guest { .. }));
        harness(directory, guest).keeping(leader)
    }

    async fn with_a_failover() -> Harness {
        let directory = tempfile::tempdir().unwrap();
        let leader = Arc::new(Mutex::new(Some(open(directory.path()).await)));
        let level = open(directory.path()).await;
        harness(directory, level.clone()).disturbing(move || {
            let (leader, level) = (leader.clone(), level.clone());
            async move {
                if let Some(leader) = leader.lock().unwrap().take() {
                    drop(leader);
                }
                until(|| level.role() == Role::Leader).await;
            }
        })
    }

    rave_core::conformance!(facade_on_leveldb_as_leader, as_leader);
    rave_core::conformance!(facade_on_leveldb_as_guest, as_guest);
    rave_core::conformance!(facade_on_leveldb_with_a_failover, with_a_failover);
}
