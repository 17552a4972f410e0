//! Leaving in good order, and not in good order.

mod support;

use futures::{future::join_all, poll};
use rave_level::{
    AbstractLevel, AbstractLevelExt, Builder, Code, Effect, KeyRange, RaveLevel, RetryPolicy, Role, Status,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use support::{Gate, Gated, PATIENCE, Place, Process, follows, leads, soon, until};

/// Guests that write and read without a pause until they are told to stop; they must not see any error but those allowed.
struct Traffic {
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<Vec<(String, bool)>>>,
}

impl Traffic {
    fn start(
        guests: &[RaveLevel],
        size: usize,
        may_fail: impl Fn(&rave_level::Error) -> bool + Send + Copy + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let task = |(number, guest): (usize, &RaveLevel)| {
            let (stop, guest) = (stop.clone(), guest.clone());
            tokio::spawn(async move {
                let mut written = Vec::new();
                for round in 0.. {
                    if stop.load(Relaxed) {
                        break;
                    }
                    // Many at once, so that some are on their way in either direction whenever the leader leaves.
                    let keys: Vec<String> = (0..32).map(|key| format!("{number} {round} {key}")).collect();
                    let puts = join_all(keys.iter().map(|key| guest.put(key, vec![b'x'; size])));
                    let gets = join_all(keys.iter().map(|key| guest.get(key)));
                    let (puts, gets) = tokio::join!(puts, gets);
                    for (key, result) in keys.into_iter().zip(puts) {
                        if let Err(error) = &result {
                            assert!(may_fail(error), "{error:?}");
                        }
                        written.push((key, result.is_ok()));
                    }
                    for error in gets.into_iter().filter_map(Result::err) {
                        assert!(may_fail(&error), "{error:?}");
                    }
                }
                written
            })
        };
        let tasks = guests.iter().enumerate().map(task).collect();
        Self { stop, tasks }
    }

    async fn stop(self) -> Vec<(String, bool)> {
        self.stop.store(true, Relaxed);
        let mut all = Vec::new();
        for task in self.tasks {
            all.extend(soon("a guest's traffic", task).await.unwrap());
        }
        all
    }
}

/// Larger than what the system buffers, if many are on their way: then the leader leaves in the middle of a frame.
const SIZE: usize = 20_000;

/// Leaders close one after the other while guests of this policy work. Returns what was written.
async fn handovers(
    builder: impl Fn() -> Builder,
    policy: RetryPolicy,
    size: usize,
    may_fail: impl Fn(&rave_level::Error) -> bool + Send + Copy + 'static,
) {
    let mut leader = builder().open().await.unwrap();
    let open = || async { builder().retry(policy).open().await.unwrap() };
    let guests = [open().await, open().await, open().await];
    let traffic = Traffic::start(&guests, size, may_fail);
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(1..20))).await;
        let heir = soon("a new handle", builder().open()).await.unwrap();
        soon("the handover", std::mem::replace(&mut leader, heir).close()).await.unwrap();
    }
    let written = traffic.stop().await;
    assert!(!written.is_empty());
    for (key, acknowledged) in written {
        let there = soon("looking", leader.has(&key)).await.unwrap();
        // Whatever failed here was certain not to be applied.
        assert_eq!(there, acknowledged, "{key}");
    }
    for db in guests.iter().chain([&leader]) {
        soon("closing", db.close()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_closes_hands_over_and_no_operation_fails() {
    let place = Place::new();
    // With `Safe`, a write that may have been applied would fail and not be repeated.
    handovers(|| place.builder(), RetryPolicy::Safe, SIZE, |_| false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_retry_never_a_handover_gives_back_what_it_did_not_apply() {
    let place = Place::new();
    let given_back = |error: &rave_level::Error| error.code() == Code::ConnectionLost && error.effect() == Effect::None;
    handovers(|| place.builder(), RetryPolicy::Never, SIZE, given_back).await;
}

#[cfg(all(unix, feature = "leveldb", feature = "ipc"))]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handover_over_sockets_fails_no_operation_either() {
    let directory = tempfile::tempdir().unwrap();
    handovers(|| RaveLevel::builder(directory.path()).unwrap(), RetryPolicy::Safe, SIZE, |_| false).await;
}

#[tokio::test]
async fn a_write_given_back_is_applied_once() {
    // Two guests take turns; a repeated older write would overwrite a newer one of the other.
    let place = Place::new();
    let mut leader = place.open().await;
    let guests = [place.open().await, place.open().await];
    for number in 0..50_u32 {
        let writer = &guests[number as usize % 2];
        let heir = place.open().await;
        let old = std::mem::replace(&mut leader, heir);
        let (closed, written) = tokio::join!(old.close(), writer.put("x", number.to_be_bytes()));
        closed.unwrap();
        written.unwrap();
        assert_eq!(soon("reading", guests[1].get("x")).await.unwrap().as_deref(), Some(&number.to_be_bytes()[..]));
    }
}

#[tokio::test]
async fn close_waits_for_operations_in_flight() {
    for as_leader in [true, false] {
        let place = Place::new();
        let store = Gated::new(place.store.clone());
        let builder = || Builder::new(store.clone(), place.meeting_point.clone());
        let leader = builder().open().await.unwrap();
        let guest = builder().open().await.unwrap();
        let db = if as_leader { &leader } else { &guest };
        store.set(Gate::BeforeWrites);
        let mut write = Box::pin(db.put("x", "1"));
        assert!(poll!(&mut write).is_pending());
        store.until_waiting(1).await;
        let mut close = Box::pin(db.close());
        assert!(poll!(&mut close).is_pending());
        assert_eq!(db.status(), Status::Closing);
        assert_eq!(db.put("y", "1").await.unwrap_err().code(), Code::DatabaseNotOpen);
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert!(poll!(&mut close).is_pending() && poll!(&mut write).is_pending());
        store.set(Gate::Open);
        let (written, closed) = soon("both", async { tokio::join!(write, close) }).await;
        written.unwrap();
        closed.unwrap();
        let other = if as_leader { &guest } else { &leader };
        assert!(other.has("x").await.unwrap() && !other.has("y").await.unwrap());
    }
}

#[tokio::test]
async fn close_waits_for_what_a_promotion_is_applying() {
    let place = Place::new();
    let store = Gated::new(place.store.clone());
    let builder = || Builder::new(store.clone(), place.meeting_point.clone());
    let leader = builder().open().await.unwrap();
    let guest = builder().open().await.unwrap();
    place.meeting_point.faults().refuse(true);
    place.meeting_point.faults().cut_all();
    until("the guest notices", || guest.role() == Role::Electing).await;
    let mut writes: Vec<_> = ["x", "y"].into_iter().map(|key| Box::pin(guest.put(key, "1"))).collect();
    for write in &mut writes {
        assert!(poll!(write).is_pending());
    }
    store.set(Gate::BeforeWrites);
    leader.close().await.unwrap();
    store.until_waiting(1).await;
    let mut close = Box::pin(guest.close());
    assert!(poll!(&mut close).is_pending());
    tokio::time::sleep(Duration::from_millis(30)).await;
    store.set(Gate::Open);
    let (written, closed) = soon("all", async { tokio::join!(join_all(writes), close) }).await;
    closed.unwrap();
    for result in written {
        result.unwrap();
    }
    let db = builder().open().await.unwrap();
    assert!(db.has("x").await.unwrap() && db.has("y").await.unwrap());
}

#[tokio::test]
async fn closing_is_idempotent_and_final() {
    let place = Place::new();
    let leader = place.open().await;
    let guest = place.open().await;
    for db in [&guest, &leader] {
        let mut iterator = db.iterator(KeyRange::all()).await.unwrap();
        let all = join_all((0..5).map(|_| db.close()));
        for result in soon("closing five times at once", all).await {
            result.unwrap();
        }
        soon("closing again", db.close()).await.unwrap();
        assert_eq!((db.status(), db.role()), (Status::Closed, Role::Electing));
        let codes = soon("operations after the end", async {
            [
                db.get("x").await.unwrap_err().code(),
                db.get_many(vec!["x"]).await.unwrap_err().code(),
                db.put("x", "1").await.unwrap_err().code(),
                db.write(rave_level::Batch::new()).await.unwrap_err().code(),
                db.clear(KeyRange::all()).await.unwrap_err().code(),
                db.iterator(KeyRange::all()).await.err().unwrap().code(),
                db.snapshot().await.unwrap_err().code(),
                db.leader_status().await.unwrap_err().code(),
                iterator.next().await.unwrap_err().code(),
            ]
        });
        assert_eq!(codes.await, [Code::DatabaseNotOpen; 9]);
    }
    assert!(place.is_deserted().await, "close returned before everything was released");
}

#[tokio::test]
async fn a_guest_that_closes_disturbs_nobody() {
    let place = Place::new();
    let leader = place.open().await;
    let stays = place.open().await;
    let guests = [stays.clone()];
    let traffic = Traffic::start(&guests, 500, |_| false);
    for closing in 0..20 {
        let guest = place.open().await;
        guest.put("x", "1").await.unwrap();
        if closing % 2 == 0 {
            soon("closing", guest.close()).await.unwrap();
        }
    }
    traffic.stop().await;
    assert!(leads(&leader) && follows(&stays));
    let start = Instant::now();
    while leader.leader_status().await.unwrap().guests != 1 {
        assert!(start.elapsed() < PATIENCE, "guests that left are still served");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn dropping_the_last_handle_releases_everything() {
    let place = Place::new();
    let leader = place.open().await;
    let clone = leader.clone();
    let sublevel = leader.sublevel("sub").unwrap();
    let iterator = leader.iterator(KeyRange::all()).await.unwrap();
    drop(leader);
    drop(clone);
    sublevel.put("still", "open").await.unwrap();
    drop(sublevel);
    // An iterator does not keep a database open.
    place.until_deserted().await;
    drop(iterator);

    let leader = place.open().await;
    let guest = place.open().await;
    drop(guest);
    until("the connection's end", || place.meeting_point.faults().connections() == 0).await;
    drop(leader);
    place.until_deserted().await;
}

#[tokio::test]
async fn dropping_the_handle_does_not_abandon_an_acknowledged_write() {
    let place = Place::new();
    for number in 0..20 {
        let db = place.open().await;
        db.put(number.to_string(), "1").await.unwrap();
        drop(db);
        place.until_deserted().await;
    }
    assert_eq!(place.open().await.all(KeyRange::all()).await.unwrap().len(), 20);
}

#[tokio::test]
async fn when_its_runtime_ends_operations_fail_and_everything_is_released() {
    let place = Place::new();
    let store = Gated::new(place.store.clone());
    let builder = || Builder::new(store.clone(), place.meeting_point.clone());
    let mut leader = Process::start(builder()).await;
    leader.level.put("x", "1").await.unwrap();
    let mut iterator = leader.level.iterator(KeyRange::all()).await.unwrap();
    leader.stop().await;
    // The handle is still there, and nothing of it hangs.
    let db = &leader.level;
    assert_eq!(soon("a read", db.get("x")).await.unwrap_err().code(), Code::DatabaseNotOpen);
    assert_eq!(soon("a write", db.put("x", "2")).await.unwrap_err().code(), Code::DatabaseNotOpen);
    assert_eq!(soon("an iterator", iterator.next()).await.unwrap_err().code(), Code::DatabaseNotOpen);
    assert!(soon("an iterator", db.iterator(KeyRange::all())).await.is_err());
    let _ = soon("closing", db.close()).await;
    assert_eq!((db.role(), db.status()), (Role::Electing, Status::Closed));
    drop(iterator);
    place.until_deserted().await;

    // A guest whose operations wait for their answers.
    let other = builder().open().await.unwrap();
    let mut guest = Process::start(builder()).await;
    store.set(Gate::BeforeWrites);
    let mut write = Box::pin(guest.level.put("y", "1"));
    assert!(poll!(&mut write).is_pending());
    store.until_waiting(1).await;
    let mut iterator = Box::pin(guest.level.get("x"));
    assert!(poll!(&mut iterator).is_pending());
    let level = guest.level.clone();
    let mut write = {
        drop(write);
        drop(iterator);
        let level = level.clone();
        tokio::spawn(async move { level.put("z", "1").await })
    };
    tokio::time::sleep(Duration::from_millis(5)).await;
    guest.stop().await;
    let error = soon("the write", &mut write).await.unwrap().unwrap_err();
    assert_eq!((error.code(), error.effect()), (Code::DatabaseNotOpen, Effect::Unknown));
    store.set(Gate::Open);
    assert!(soon("the leader", other.has("x")).await.unwrap());
}

#[tokio::test]
async fn closing_without_a_leader_is_bounded_and_tells_what_waits() {
    let place = Place::new();
    let leader = place.open().await;
    let guest = place.builder().close_timeout(Duration::from_millis(50)).open().await.unwrap();
    place.meeting_point.faults().refuse(true);
    place.meeting_point.faults().cut_all();
    until("the guest notices", || guest.role() == Role::Electing).await;
    let mut write = Box::pin(guest.put("x", "1"));
    let mut read = Box::pin(guest.get("x"));
    assert!(poll!(&mut write).is_pending() && poll!(&mut read).is_pending());
    soon("closing", guest.close()).await.unwrap();
    let error = soon("the write", write).await.unwrap_err();
    assert_eq!((error.code(), error.effect()), (Code::DatabaseNotOpen, Effect::None));
    let error = soon("the read", read).await.unwrap_err();
    assert_eq!((error.code(), error.effect()), (Code::DatabaseNotOpen, Effect::None));
    place.meeting_point.faults().refuse(false);
    assert!(!leader.has("x").await.unwrap());
}

#[tokio::test]
async fn a_guest_that_takes_no_answers_does_not_hold_up_the_leader_who_leaves() {
    let place = Place::new();
    let leader = place.builder().close_timeout(Duration::from_millis(100)).open().await.unwrap();
    let guest = place.open().await;
    leader.put("x", vec![1; 1 << 20]).await.unwrap();
    place.meeting_point.faults().stall(true);
    let mut reads: Vec<_> = (0..4).map(|_| Box::pin(guest.get("x"))).collect();
    for read in &mut reads {
        assert!(poll!(read).is_pending());
    }
    soon("closing", leader.close()).await.unwrap();
    place.meeting_point.faults().stall(false);
    for value in soon("the reads", join_all(reads)).await {
        assert_eq!(value.unwrap().unwrap().len(), 1 << 20);
    }
    assert!(leads(&guest));
}

#[tokio::test]
async fn what_is_closed_can_be_opened_anew() {
    let place = Place::new();
    for number in 0..10 {
        let db = place.open().await;
        assert!(leads(&db));
        assert_eq!(db.all(KeyRange::all()).await.unwrap().len(), number);
        db.put(number.to_string(), "1").await.unwrap();
        db.close().await.unwrap();
        assert!(place.is_deserted().await);
    }
}

#[cfg(all(unix, feature = "leveldb", feature = "ipc"))]
mod files {
    //! The same with real files and real sockets.

    use super::*;
    use rave_level::{FileLock, FileLockAttempt};
    use std::path::Path;

    fn is_deserted(directory: &Path) -> bool {
        !directory.join("rave-level.sock").exists()
            && matches!(FileLock::try_acquire(&directory.join("LOCK")).unwrap(), FileLockAttempt::Acquired(_))
    }

    #[tokio::test]
    async fn after_close_the_socket_is_gone_and_the_lock_is_free() {
        let directory = tempfile::tempdir().unwrap();
        for number in 0..3 {
            let leader = RaveLevel::open(directory.path()).await.unwrap();
            let guest = RaveLevel::open(directory.path()).await.unwrap();
            assert!(directory.path().join("rave-level.sock").exists());
            assert_eq!(leader.all(KeyRange::all()).await.unwrap().len(), number);
            guest.put(number.to_string(), "1").await.unwrap();
            guest.close().await.unwrap();
            leader.close().await.unwrap();
            assert!(is_deserted(directory.path()));
        }
    }

    #[tokio::test]
    async fn after_the_last_handle_is_dropped_too() {
        let directory = tempfile::tempdir().unwrap();
        let db = RaveLevel::open(directory.path()).await.unwrap();
        db.put("x", "1").await.unwrap();
        drop(db);
        until("release", || is_deserted(directory.path())).await;
        assert!(RaveLevel::open(directory.path()).await.unwrap().has("x").await.unwrap());
    }

    #[tokio::test]
    async fn and_after_its_runtime_ended_although_the_handle_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let mut process = Process::start(RaveLevel::builder(directory.path()).unwrap()).await;
        process.level.put("x", "1").await.unwrap();
        process.stop().await;
        assert!(soon("a read", process.level.get("x")).await.is_err());
        until("release", || is_deserted(directory.path())).await;
    }
}
