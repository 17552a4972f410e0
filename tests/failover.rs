//! What users of a shared database see while leaders come and go.

mod support;

use futures::{StreamExt, future::join_all, poll};
use rave_level::{
    AbstractLevel, AbstractLevelExt, Builder, Code, Effect, Error, Event, EventStream, IteratorOptions, KeyRange,
    LevelIterator, MemoryLevel, RaveLevel, RetryPolicy, Role,
};
use std::{sync::Arc, time::Duration};
use support::{Fragile, Gate, Gated, Place, Process, follows, leads, soon, until, until_value};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waited_before_a_promotion_is_applied_before_what_comes_after() {
    for round in 0..25 {
        let place = Place::new();
        let store = Gated::new(place.store.clone());
        store.set(Gate::Slow);
        let builder = || Builder::new(store.clone(), place.meeting_point.clone());
        let leader = builder().open().await.unwrap();
        let guest = builder().open().await.unwrap();
        // The guest loses sight of the leader and cannot find it again, so its operations wait.
        place.meeting_point.faults().refuse(true);
        place.meeting_point.faults().cut_all();
        until("the guest notices", || guest.role() == Role::Electing).await;
        let keys: Vec<String> = (0..20).map(|key| format!("key {key}")).collect();
        let mut first: Vec<_> = keys.iter().map(|key| Box::pin(guest.put(key, "first"))).collect();
        for put in &mut first {
            assert!(poll!(put).is_pending());
        }
        // Its end makes the guest the leader, some time during what follows.
        drop(leader);
        let mut second = Vec::new();
        // Those of which the earlier write comes last are most in danger.
        for key in keys.iter().rev() {
            tokio::time::sleep(Duration::from_micros(fastrand::u64(0..100 * (round + 1)))).await;
            let (guest, key) = (guest.clone(), key.clone());
            second.push(tokio::spawn(async move { guest.put(key, "second").await }));
        }
        for result in soon("the earlier ones", join_all(first)).await {
            result.unwrap();
        }
        for result in soon("the later ones", join_all(second)).await {
            result.unwrap().unwrap();
        }
        until("the lead", || leads(&guest)).await;
        for (key, value) in keys.iter().zip(guest.get_many(keys.clone()).await.unwrap()) {
            assert_eq!(value.as_deref(), Some(&b"second"[..]), "round {round}, {key}");
        }
        guest.close().await.unwrap();
    }
}

#[tokio::test]
async fn what_waits_while_a_promotion_applies_older_writes_comes_after_them() {
    let place = Place::new();
    let store = Gated::new(place.store.clone());
    let builder = || Builder::new(store.clone(), place.meeting_point.clone());
    let leader = builder().open().await.unwrap();
    let guest = builder().open().await.unwrap();
    place.meeting_point.faults().refuse(true);
    place.meeting_point.faults().cut_all();
    until("the guest notices", || guest.role() == Role::Electing).await;
    let mut first = Box::pin(guest.put("x", "first"));
    assert!(poll!(&mut first).is_pending());
    store.set(Gate::BeforeWrites);
    leader.close().await.unwrap();
    store.until_waiting(1).await;
    // The promotion is in the middle of the first write.
    let mut second = Box::pin(guest.put("x", "second"));
    assert!(poll!(&mut second).is_pending());
    store.set(Gate::Open);
    soon("both", async { tokio::join!(first, second) }).await.0.unwrap();
    assert_eq!(guest.get("x").await.unwrap().as_deref(), Some(&b"second"[..]));
}

#[tokio::test]
async fn operations_in_flight_when_the_leader_dies_are_finished_by_the_next() {
    for gate in [Gate::BeforeWrites, Gate::AfterWrites] {
        let place = Place::new();
        let store = Gated::new(place.store.clone());
        let builder = || Builder::new(store.clone(), place.meeting_point.clone());
        let leader = Process::start(builder()).await;
        let guests = [builder().open().await.unwrap(), builder().open().await.unwrap()];
        guests[0].put("there", "1").await.unwrap();
        store.set(gate);
        let mut underway = Vec::new();
        for (number, guest) in guests.iter().enumerate() {
            for key in 0..10 {
                let guest = guest.clone();
                underway.push(tokio::spawn(async move {
                    guest.put(format!("{number} {key}"), "1").await?;
                    assert_eq!(guest.get("there").await?.as_deref(), Some(&b"1"[..]));
                    assert!(guest.has(format!("{number} {key}")).await?);
                    Ok::<_, Error>(())
                }));
            }
        }
        store.until_waiting(1).await;
        leader.kill().await;
        store.set(Gate::Open);
        for operation in underway {
            soon("an operation", operation).await.unwrap().unwrap();
        }
        assert_eq!(guests[0].all(KeyRange::all()).await.unwrap().len(), 21);
        until("a leader", || guests.iter().any(leads)).await;
    }
}

/// A guest with a write and a read whose answers were lost with the connection, and a write that was never sent.
async fn lost(policy: RetryPolicy) -> (RaveLevel, RaveLevel, [rave_level::Result<()>; 3]) {
    let place = Place::new();
    let leader = place.open().await;
    leader.put("there", "1").await.unwrap();
    let guest = place.builder().retry(policy).open().await.unwrap();
    let faults = place.meeting_point.faults();
    faults.stall(true);
    let mut write = Box::pin(guest.put("sent", "1"));
    let mut read = Box::pin(guest.get("there"));
    assert!(poll!(&mut write).is_pending() && poll!(&mut read).is_pending());
    faults.refuse(true);
    faults.cut_all();
    faults.stall(false);
    until("the guest notices", || guest.role() == Role::Electing).await;
    let mut unsent = Box::pin(guest.put("unsent", "1"));
    assert!(poll!(&mut unsent).is_pending());
    faults.refuse(false);
    let (write, read, unsent) = soon("all three", async { tokio::join!(write, read, unsent) }).await;
    let read = read.map(|value| assert_eq!(value.as_deref(), Some(&b"1"[..])));
    (leader, guest, [write, read, unsent])
}

fn failure(result: &rave_level::Result<()>) -> (Code, Effect) {
    let error = result.as_ref().unwrap_err();
    (error.code(), error.effect())
}

#[tokio::test]
async fn with_retry_always_a_lost_connection_goes_unnoticed() {
    let (leader, guest, results) = lost(RetryPolicy::Always).await;
    results.into_iter().for_each(|result| result.unwrap());
    assert!(leader.has("sent").await.unwrap() && guest.has("unsent").await.unwrap());
}

#[tokio::test]
async fn with_retry_safe_a_leader_that_keeps_sessions_tells_what_was_applied() {
    let (leader, guest, results) = lost(RetryPolicy::Safe).await;
    results.into_iter().for_each(|result| result.unwrap());
    assert!(leader.has("sent").await.unwrap() && guest.has("unsent").await.unwrap());
}

#[tokio::test]
async fn a_full_disk_costs_readers_no_leader() {
    let place = Place::new();
    let (leader, guest) = (place.open().await, place.open().await);
    guest.put("k", "1").await.unwrap();
    place.store.fail_writes(Some(Error::new(Code::Io, "the disk is full")));
    let mut events = guest.events();
    leader.close().await.unwrap();
    until("the guest leads", || leads(&guest)).await;
    assert_eq!(guest.get("k").await.unwrap().as_deref(), Some(&b"1"[..]));
    // Whoever writes is told, and that costs the lead; nothing else does.
    assert_eq!(failure(&guest.put("k", "2").await).0, Code::Io);
    place.store.fail_writes(None);
    until("it leads again", || leads(&guest)).await;
    guest.close().await.unwrap();
    let mut led = 0;
    while let Some(event) = events.next().await {
        led += usize::from(matches!(event, Event::Leader));
        if matches!(event, Event::Closed) {
            break;
        }
    }
    assert!((1..=2).contains(&led), "{led}");
}

#[tokio::test]
async fn with_retry_never_all_that_was_sent_fails() {
    let (_leader, guest, [write, read, unsent]) = lost(RetryPolicy::Never).await;
    assert_eq!(failure(&write), (Code::ConnectionLost, Effect::Unknown));
    assert_eq!(failure(&read), (Code::ConnectionLost, Effect::None));
    // It waited without a leader and was sent once.
    unsent.unwrap();
    assert!(guest.has("unsent").await.unwrap(), "the handle stays usable");
}

#[tokio::test]
async fn with_retry_never_an_iterator_ends_with_its_leader() {
    let place = Place::new();
    let leader = place.open().await;
    for key in 0..10 {
        leader.put(key.to_string(), "").await.unwrap();
    }
    let guest = place.builder().retry(RetryPolicy::Never).open().await.unwrap();
    // Its end has not been reached there, so it cannot have been received.
    for key in 0..50_000 {
        leader.put(format!("more {key:020}"), "").await.unwrap();
    }
    let mut iterator = guest.iterator(KeyRange::all()).await.unwrap();
    iterator.next().await.unwrap().unwrap();
    place.meeting_point.faults().cut_all();
    let error = soon("the error", async {
        loop {
            if let Err(error) = iterator.next_many(1000).await {
                return error;
            }
        }
    })
    .await;
    assert_eq!(error.code(), Code::ConnectionLost);
}

const KEYS: [&str; 12] = ["", "\0", "\0\0", "a", "aa", "aab", "aaz", "ab", "b", "ba", "c", "\u{7f}"];

async fn fill(db: &impl AbstractLevel) {
    for key in KEYS {
        db.put(key, format!("value of {key}")).await.unwrap();
    }
    for key in [&[0xff][..], &[0xff, 0], &[0xff, 0xff]] {
        db.put(key, "high").await.unwrap();
    }
}

#[derive(Clone, Copy, Debug)]
enum Move {
    Next,
    Seek(&'static str),
}
use Move::{Next, Seek};

/// Walks and tells every step's outcome, with `disturb` before each.
async fn walk(
    iterator: &mut dyn LevelIterator,
    moves: &[Move],
    mut disturb: impl AsyncFnMut(usize),
) -> Vec<Option<(Vec<u8>, Vec<u8>)>> {
    let mut seen = Vec::new();
    for (step, step_move) in moves.iter().enumerate() {
        disturb(step).await;
        match step_move {
            Next => {
                let entry = soon("the next entry", iterator.next()).await.unwrap();
                seen.push(entry.map(|entry| (entry.key.to_vec(), entry.value.to_vec())));
            }
            Seek(target) => soon("seeking", iterator.seek((*target).into())).await.unwrap(),
        }
    }
    seen
}

fn walks() -> Vec<(IteratorOptions, Vec<Move>)> {
    let through = vec![Next; KEYS.len() + 5];
    let seeking = [Next, Next, Seek("aaz"), Next, Next, Seek("aa"), Next, Seek("b"), Seek("ab"), Next, Next, Next];
    let past_the_end = [Next, Seek("zz"), Next, Next, Next, Next, Next, Seek("a"), Next, Next];
    let mut walks = Vec::new();
    for reverse in [false, true] {
        let options = IteratorOptions { reverse, ..IteratorOptions::default() };
        walks.push((options.clone(), through.clone()));
        walks.push((options.clone().limited(5), through.clone()));
        walks.push((options.clone().limited(7), seeking.to_vec()));
        walks.push((IteratorOptions { values: false, ..options.clone() }, through.clone()));
        walks.push((IteratorOptions { keys: false, ..options.clone() }, through.clone()));
        walks.push((IteratorOptions { keys: false, ..options.clone() }, seeking.to_vec()));
        walks.push((options.clone(), seeking.to_vec()));
        walks.push((options.clone(), past_the_end.to_vec()));
        let range = KeyRange::all().gt("aa").lte("c");
        walks.push((IteratorOptions { range: range.clone(), ..options.clone() }, through.clone()));
        walks.push((IteratorOptions { range, ..options }.limited(4), seeking.to_vec()));
    }
    walks
}

#[tokio::test]
async fn an_iterator_goes_on_behind_its_last_key_when_its_connection_is_lost_at_every_step() {
    let model = MemoryLevel::new();
    fill(&model).await;
    let place = Place::new();
    let leader = place.open().await;
    fill(&leader).await;
    let guest = place.open().await;
    for (options, moves) in walks() {
        let expected = walk(&mut *model.iterator(options.clone()).await.unwrap(), &moves, async |_| {}).await;
        let mut iterator = guest.iterator(options.clone()).await.unwrap();
        let seen = walk(&mut *iterator, &moves, async |_| place.meeting_point.faults().cut_all()).await;
        assert_eq!(seen, expected, "{options:?} {moves:?}");
    }
    assert!(leads(&leader));
}

#[tokio::test]
async fn an_iterator_goes_on_when_its_process_is_promoted_at_any_step() {
    let model = MemoryLevel::new();
    fill(&model).await;
    for (options, moves) in walks() {
        let expected = walk(&mut *model.iterator(options.clone()).await.unwrap(), &moves, async |_| {}).await;
        for when in 0..moves.len() {
            let place = Place::new();
            let leader = place.open().await;
            fill(&leader).await;
            let guest = place.open().await;
            let mut iterator = guest.iterator(options.clone()).await.unwrap();
            let mut leader = Some(leader);
            let seen = walk(&mut *iterator, &moves, async |step| {
                if step == when {
                    drop(leader.take());
                    until("the promotion", || leads(&guest)).await;
                }
            })
            .await;
            assert_eq!(seen, expected, "{options:?} {moves:?} promoted at {when}");
        }
    }
}

#[tokio::test]
async fn an_iterator_goes_on_when_its_process_loses_the_lead_at_any_step() {
    let model = MemoryLevel::new();
    fill(&model).await;
    for (options, moves) in walks() {
        let expected = walk(&mut *model.iterator(options.clone()).await.unwrap(), &moves, async |_| {}).await;
        for when in 0..moves.len() {
            let meeting_point = Fragile::default();
            let place = Place::new();
            let builder = || Builder::new(place.store.clone(), meeting_point.clone());
            let leader = builder().open().await.unwrap();
            fill(&leader).await;
            let _heir = builder().open().await.unwrap();
            let mut iterator = leader.iterator(options.clone()).await.unwrap();
            let seen = walk(&mut *iterator, &moves, async |step| {
                if step == when {
                    let mut events = leader.events();
                    meeting_point.break_listener();
                    // Some wait for the next leader, whoever that is, and some are in the middle of the change.
                    if when % 2 == 0 {
                        names(&mut events, 1).await;
                    }
                }
            })
            .await;
            assert_eq!(seen, expected, "{options:?} {moves:?} deposed at {when}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_guests_are_served_again_when_the_leader_dies() {
    for killed in [false, true] {
        let place = Place::new();
        let mut leader = Some(Process::start(place.builder()).await);
        let guests: Vec<_> = join_all((0..8).map(|_| place.open())).await;
        assert!(guests.iter().all(follows));
        let process = leader.take().unwrap();
        if killed {
            process.kill().await;
        } else {
            process.level.close().await.unwrap();
        }
        let puts = guests.iter().enumerate().map(|(number, guest)| guest.put(number.to_string(), "1"));
        for result in soon("all eight", join_all(puts)).await {
            result.unwrap();
        }
        until("one leader", || guests.iter().filter(|guest| leads(guest)).count() == 1).await;
        until("seven guests", || guests.iter().filter(|guest| follows(guest)).count() == 7).await;
        for guest in &guests {
            assert_eq!(guest.all(KeyRange::all()).await.unwrap().len(), 8);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_die_one_after_the_other_and_no_acknowledged_write_is_lost() {
    let place = Place::new();
    let survivor = place.open().await;
    let mut acknowledged = 0;
    for _ in 0..10 {
        // The survivor is a guest whenever somebody else was faster; either way it must get through.
        let process = Process::start(place.builder()).await;
        let writer = tokio::spawn({
            let survivor = survivor.clone();
            async move {
                for number in acknowledged..acknowledged + 100 {
                    survivor.put(format!("{number:05}"), "1").await.unwrap();
                }
            }
        });
        tokio::time::sleep(Duration::from_micros(fastrand::u64(0..3000))).await;
        place.meeting_point.faults().cut_all();
        process.kill().await;
        soon("the writer", writer).await.unwrap();
        acknowledged += 100;
        assert_eq!(survivor.all(KeyRange::all()).await.unwrap().len(), acknowledged);
    }
}

/// The names of the next `count` events that are not writes.
async fn names(events: &mut EventStream, count: usize) -> Vec<String> {
    let pid = Some(std::process::id());
    let mut names = Vec::new();
    while names.len() < count {
        names.push(match soon("an event", events.next()).await.unwrap() {
            Event::Write(_) | Event::Clear(_) => continue,
            Event::Following { leader_pid } => {
                assert_eq!(leader_pid, pid);
                "Following".to_owned()
            }
            Event::GuestConnected { peer } => {
                assert_eq!(peer.pid, pid);
                "GuestConnected".to_owned()
            }
            Event::GuestDisconnected { peer, .. } => {
                assert_eq!(peer.pid, pid);
                "GuestDisconnected".to_owned()
            }
            event => format!("{event:?}"),
        });
    }
    names
}

#[tokio::test]
async fn roles_and_events_tell_the_story() {
    let place = Place::new();
    let builder = place.builder();
    let mut of_leader = builder.events();
    let leader = builder.open().await.unwrap();
    assert_eq!(leader.role(), Role::Leader);
    assert_eq!(names(&mut of_leader, 3).await, ["Opening", "Open", "Leader"]);

    let builder = place.builder();
    let mut of_guest = builder.events();
    let guest = builder.open().await.unwrap();
    assert_eq!(guest.role(), Role::Guest { leader_pid: Some(std::process::id()) });
    assert_eq!(names(&mut of_guest, 2).await, ["Open", "Following"]);
    let status = guest.leader_status().await.unwrap();
    assert_eq!((status.pid, status.guests, status.store.as_str()), (Some(std::process::id()), 1, "memory"));

    leader.close().await.unwrap();
    let story = ["GuestConnected", "Closing", "GuestDisconnected", "Closed"];
    assert_eq!(names(&mut of_leader, story.len()).await, story);
    assert_eq!(leader.role(), Role::Electing);
    assert_eq!(names(&mut of_guest, 2).await, ["Opening", "Leader"]);
    assert_eq!(guest.role(), Role::Leader);
    assert_eq!(guest.leader_status().await.unwrap().guests, 0);

    let next = place.open().await;
    until("the next guest counts", || follows(&next)).await;
    assert_eq!(guest.leader_status().await.unwrap().guests, 1);
    drop(next);
    drop(guest);
    let story = ["GuestConnected", "GuestDisconnected", "Closed"];
    assert_eq!(names(&mut of_guest, story.len()).await, story);
    assert!(soon("the end of the events", of_guest.next()).await.is_none());
}

#[tokio::test]
async fn a_store_that_fails_is_reported_to_the_writer_and_costs_the_lead() {
    let place = Place::new();
    let leader = place.open().await;
    let mut events = leader.events();
    let guest = place.open().await;
    let broken = Error::new(Code::Io, "the disk is full").with_effect(Effect::Unknown);
    place.store.fail_writes(Some(broken));

    let error = leader.put("x", "leader").await.unwrap_err();
    assert_eq!((error.code(), error.effect()), (Code::Io, Effect::Unknown));
    assert!(error.to_string().contains("the disk is full"));
    assert_ne!(names(&mut events, 1).await, ["Leader"], "it went on leading");
    let error = soon("the guest's write", guest.put("x", "guest")).await.unwrap_err();
    assert_eq!((error.code(), error.effect()), (Code::Io, Effect::Unknown));
    assert!(error.to_string().contains("the disk is full"));
    // What can still be read can be read, by everybody.
    assert!(!soon("reading", leader.has("x")).await.unwrap() && !soon("reading", guest.has("x")).await.unwrap());

    place.store.fail_writes(None);
    let mut written = Vec::new();
    for (db, key) in [(&leader, "leader"), (&guest, "guest")] {
        // A lead lost shortly before may still cost one of them.
        soon("writing again", async {
            while db.put(key, "again").await.is_err() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        written.push(key);
    }
    for db in [&leader, &guest] {
        for key in &written {
            assert!(soon("reading", db.has(key)).await.unwrap());
        }
    }
    until("one leader", || leads(&leader) != leads(&guest)).await;
}

#[tokio::test]
async fn a_failed_write_of_a_guest_costs_the_leader_its_lead_too() {
    let place = Place::new();
    let leader = place.open().await;
    let mut events = leader.events();
    let guest = place.open().await;
    place.store.fail_writes(Some(Error::new(Code::Io, "the disk is full").with_effect(Effect::Unknown)));
    let error = soon("the write", guest.put("x", "1")).await.unwrap_err();
    assert_eq!((error.code(), error.effect()), (Code::Io, Effect::Unknown));
    place.store.fail_writes(None);
    assert_ne!(names(&mut events, 1).await, ["Closed"]);
    soon("writing", guest.put("x", "2")).await.unwrap();
    until_value(&leader, "x", "2").await;
}

#[tokio::test]
async fn a_listener_that_fails_costs_the_lead_and_nobody_an_operation() {
    let meeting_point = Fragile::default();
    let place = Place::new();
    let builder = || Builder::new(place.store.clone(), meeting_point.clone());
    let handles = [builder().open().await.unwrap(), builder().open().await.unwrap(), builder().open().await.unwrap()];
    let mut writers = Vec::new();
    for (number, db) in handles.iter().enumerate() {
        let db = db.clone();
        writers.push(tokio::spawn(async move {
            for key in 0..300 {
                db.put(format!("{number} {key}"), "1").await.unwrap();
                assert!(db.has(format!("{number} {key}")).await.unwrap());
            }
        }));
    }
    for _ in 0..5 {
        until("a leader", || handles.iter().any(leads)).await;
        let Some(leader) = handles.iter().find(|db| leads(db)) else { continue };
        let mut events = leader.events();
        meeting_point.break_listener();
        // It follows another now, or has opened the store once more.
        names(&mut events, 1).await;
    }
    for writer in writers {
        soon("a writer", writer).await.unwrap();
    }
    assert_eq!(handles[1].all(KeyRange::all()).await.unwrap().len(), 900);
}

#[tokio::test]
async fn while_a_new_leader_recovers_everybody_waits_and_nobody_gets_an_error() {
    let place = Place::new();
    let leader = place.open().await;
    let guests = [place.open().await, place.open().await];
    leader.put("x", "1").await.unwrap();
    let recovery = place.store.hold_opening();
    leader.close().await.unwrap();
    until("the new leader listens", || place.meeting_point.faults().is_listening()).await;
    let mut reads: Vec<_> = guests.iter().map(|guest| Box::pin(guest.get("x"))).collect();
    let newcomer = tokio::spawn(place.builder().open());
    until("the loser and the newcomer are connected", || place.meeting_point.faults().connections() == 2).await;
    for read in &mut reads {
        assert!(poll!(read).is_pending());
    }
    assert!(!newcomer.is_finished());
    drop(recovery);
    for read in soon("the reads", join_all(reads)).await {
        assert_eq!(read.unwrap().as_deref(), Some(&b"1"[..]));
    }
    let newcomer = soon("the newcomer", newcomer).await.unwrap().unwrap();
    assert!(follows(&newcomer) && newcomer.has("x").await.unwrap());
}

#[tokio::test]
async fn recovering_longer_than_the_open_timeout_is_no_reason_to_give_up() {
    let place = Place::new();
    let recovery = place.store.hold_opening();
    let opening = tokio::spawn(place.builder().open_timeout(Duration::from_millis(20)).open());
    until("it listens", || place.meeting_point.faults().is_listening()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!opening.is_finished());
    drop(recovery);
    assert!(leads(&soon("opening", opening).await.unwrap().unwrap()));
}

#[tokio::test]
async fn a_deadline_ends_an_operation_and_says_what_it_may_have_done() {
    let place = Place::new();
    let leader = place.open().await;
    leader.put("x", "1").await.unwrap();
    let guest = place.builder().operation_timeout(Duration::from_millis(50)).open().await.unwrap();
    let faults = place.meeting_point.faults();
    faults.stall(true);
    let error = soon("the write", guest.put("y", "1")).await.unwrap_err();
    assert_eq!((error.code(), error.effect()), (Code::Aborted, Effect::Unknown));
    let error = soon("the read", guest.get("x")).await.unwrap_err();
    assert_eq!((error.code(), error.effect()), (Code::Aborted, Effect::None));
    let error = soon("the clear", guest.clear(KeyRange::prefix("z"))).await.unwrap_err();
    assert_eq!((error.code(), error.effect()), (Code::Aborted, Effect::Unknown));
    assert_eq!(soon("the iterator", guest.iterator(KeyRange::all())).await.err().unwrap().code(), Code::Aborted);

    faults.refuse(true);
    faults.cut_all();
    faults.stall(false);
    until("the guest notices", || guest.role() == Role::Electing).await;
    // This one was never sent, so it is certain what it did.
    let error = soon("the write", guest.put("z", "1")).await.unwrap_err();
    assert_eq!((error.code(), error.effect()), (Code::Aborted, Effect::None));

    faults.refuse(false);
    until("the guest is back", || follows(&guest)).await;
    // On a busy machine one may still be late.
    soon("writing", async { while guest.put("x", "2").await.is_err() {} }).await;
    until_value(&leader, "x", "2").await;
    assert!(!leader.has("z").await.unwrap(), "what was given up for certain was applied");
}

#[tokio::test]
async fn futures_may_be_dropped_anywhere() {
    let place = Place::new();
    let leader = place.open().await;
    // Room for a few operations: what is dropped must give its room back.
    let guest = place.builder().max_pending_bytes(16 << 10).open().await.unwrap();
    for db in [&guest, &leader] {
        for round in 0..300 {
            let patience = Duration::from_micros(round % 50);
            let key = format!("{}", round % 10);
            let _ = tokio::time::timeout(patience, db.put(&key, vec![1; 2000])).await;
            let _ = tokio::time::timeout(patience, db.get(&key)).await;
            let _ = tokio::time::timeout(patience, db.get_many(vec![&key; 3])).await;
            let _ = tokio::time::timeout(patience, db.del(&key)).await;
            let _ = tokio::time::timeout(patience, db.all(KeyRange::all())).await;
            let _ = tokio::time::timeout(patience, db.clear(KeyRange::prefix(&key))).await;
            if round % 100 == 50 {
                place.meeting_point.faults().cut_all();
            }
        }
        soon("the write", db.put("x", "1")).await.unwrap();
        assert_eq!(soon("the read", db.get("x")).await.unwrap().as_deref(), Some(&b"1"[..]));
    }
    // An iterator whose call was dropped goes on without a gap.
    soon("clearing", guest.clear(KeyRange::all())).await.unwrap();
    let keys: Vec<String> = (0..200).map(|key| format!("{key:03}")).collect();
    for key in &keys {
        leader.put(key, "").await.unwrap();
    }
    let mut iterator = guest.iterator(KeyRange::all()).await.unwrap();
    let mut seen = Vec::new();
    soon("all entries", async {
        loop {
            if fastrand::u8(0..10) == 0 {
                place.meeting_point.faults().cut_all();
            }
            if fastrand::bool() {
                let mut dropped = Box::pin(iterator.next());
                if let std::task::Poll::Ready(entry) = poll!(&mut dropped) {
                    match entry.unwrap() {
                        Some(entry) => seen.push(entry.key),
                        None => break,
                    }
                }
                continue;
            }
            match iterator.next().await.unwrap() {
                Some(entry) => seen.push(entry.key),
                None => break,
            }
        }
    })
    .await;
    assert_eq!(seen, keys);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_survives_any_number_of_leaders_while_others_write() {
    let place = Place::new();
    let mut leader = Process::start(place.builder()).await;
    let keys: Vec<String> = (0..2000).map(|key| format!("{key:04}")).collect();
    for key in &keys {
        leader.level.put(key, "stays").await.unwrap();
    }
    for reverse in [false, true] {
        let reader = place.open().await;
        let writer = place.open().await;
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let writing = tokio::spawn({
            let stop = stop.clone();
            async move {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let key = format!("{:04} and more", fastrand::u32(0..2000));
                    if fastrand::bool() { writer.put(key, "").await } else { writer.del(key).await }.unwrap();
                }
            }
        });
        let mut iterator = reader.iterator(IteratorOptions { reverse, ..IteratorOptions::default() }).await.unwrap();
        let mut seen = Vec::new();
        let mut since = 0;
        loop {
            let page = soon("a page", iterator.next_many(50)).await.unwrap();
            if page.is_empty() {
                break;
            }
            since += page.len();
            seen.extend(page);
            if since > 500 {
                since = 0;
                let old = std::mem::replace(&mut leader, Process::start(place.builder()).await);
                old.kill().await;
                place.meeting_point.faults().cut_all();
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        soon("the writer", writing).await.unwrap();
        let sorted = seen.windows(2).all(|pair| (pair[0].key < pair[1].key) != reverse && pair[0].key != pair[1].key);
        assert!(sorted, "keys came twice or out of order");
        let mut stayed: Vec<_> = seen.iter().filter(|entry| entry.value == "stays").map(|entry| &entry.key).collect();
        if reverse {
            stayed.reverse();
        }
        assert!(
            stayed.iter().map(|key| &key[..]).eq(keys.iter().map(String::as_bytes)),
            "{} of {}",
            stayed.len(),
            keys.len()
        );
    }
}
