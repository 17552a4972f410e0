//! Explicit snapshots: they are the leader's, and end with the connection to it.

use super::*;
use rave_transport::wire::message::{SessionState, capability};

/// Connects to a leader that has snapshots, and that knows this of our session.
fn offered(guest: &mut Guest, session: Option<SessionState>) -> Vec<Request> {
    guest.connected(7);
    sent(guest);
    let capabilities = Some(capability::EXPLICIT_SNAPSHOTS);
    let welcome = Welcome { version: 1, pid: Some(42), capabilities, session, ..Default::default() };
    guest.receive(Response::Welcome(welcome)).unwrap();
    probed(guest);
    sent(guest)
}

/// A guest that has taken a snapshot, and what it is called.
fn with_snapshot() -> (Guest, u64) {
    let mut guest = guest(RetryPolicy::Always);
    offered(&mut guest, Some(SessionState { forgotten: Some(0), ..SessionState::default() }));
    let id = guest.name_snapshot();
    let number = guest.submit(Operation::Snapshot(id), 1);
    assert!(matches!(sent(&mut guest).as_slice(), [Request::SnapshotOpen(open)] if open.snapshot == id));
    ok(&mut guest, number);
    assert!(matches!(guest.completed().as_slice(), [(1, Ok(Reply::Done))]));
    (guest, id)
}

fn of(id: u64) -> Option<SnapshotRef> {
    Some(SnapshotRef { id, local: None })
}

fn read(id: u64) -> Operation {
    Operation::Get { key: "a".into(), snapshot: of(id) }
}

fn gone(token: u32) -> Vec<(u32, Code, Effect)> {
    vec![(token, Code::SnapshotNotOpen, Effect::None)]
}

#[test]
fn every_request_names_the_snapshot_that_it_reads() {
    let (mut guest, id) = with_snapshot();
    guest.submit(read(id), 2);
    guest.submit(Operation::GetMany { keys: vec!["a".into()], snapshot: of(id) }, 3);
    guest.submit(Operation::HasMany { keys: vec!["a".into()], snapshot: of(id) }, 4);
    guest.submit(Operation::Clear { options: ClearOptions::default(), snapshot: of(id) }, 5);
    let policy = guest.policy;
    guest.machine.open_iterator(IteratorOptions::default(), Some(id), policy);
    guest.submit(get("a"), 6);
    let named = sent(&mut guest).into_iter().map(|request| match request {
        Request::Get(get) => get.snapshot,
        Request::GetMany(get) => get.snapshot,
        Request::Clear(clear) => clear.options.unwrap().snapshot,
        Request::Iterator(open) => open.options.unwrap().snapshot,
        other => panic!("{other:?}"),
    });
    assert_eq!(named.collect::<Vec<_>>(), [Some(id), Some(id), Some(id), Some(id), Some(id), None]);
}

#[test]
fn whatever_reads_a_snapshot_ends_with_its_leader() {
    let (mut guest, id) = with_snapshot();
    let policy = guest.policy;
    guest.submit(read(id), 2);
    let iterator = guest.machine.open_iterator(IteratorOptions::default(), Some(id), policy);
    guest.submit(get("a"), 3);
    sent(&mut guest);
    guest.disconnected("cut");
    assert_eq!(failed(&mut guest), gone(2));
    assert!(matches!(guest.take(iterator, 1), Taken::Failed(error) if error.code() == Code::SnapshotNotOpen));
    // At once, without waiting for another leader.
    guest.submit(read(id), 4);
    assert_eq!(failed(&mut guest), gone(4));
    // What reads no snapshot is not concerned.
    assert!(matches!(offered(&mut guest, None).as_slice(), [Request::Get(get)] if get.snapshot.is_none()));
    guest.submit(read(id), 5);
    assert_eq!(failed(&mut guest), gone(5));
    assert!(sent(&mut guest).is_empty());
}

#[test]
fn an_iterator_that_has_all_delivers_it_and_then_cannot_go_back() {
    let (mut guest, id) = with_snapshot();
    let policy = guest.policy;
    let iterator = guest.machine.open_iterator(IteratorOptions::default(), Some(id), policy);
    sent(&mut guest);
    let data = vec!["a".into(), "1".into()];
    guest.receive(Response::IteratorData(IteratorData { id: iterator, seq: 0, data })).unwrap();
    guest.receive(Response::IteratorEnd(IteratorEnd { id: iterator, seq: 0 })).unwrap();
    guest.disconnected("cut");
    assert!(matches!(guest.take(iterator, 9), Taken::Entries(entries) if entries.len() == 1));
    assert!(matches!(guest.take(iterator, 9), Taken::End));
    guest.seek(iterator, "a".into());
    offered(&mut guest, None);
    assert!(matches!(guest.take(iterator, 9), Taken::Failed(error) if error.code() == Code::SnapshotNotOpen));
}

#[test]
fn a_clear_in_doubt_is_judged_by_what_is_recorded_of_it() {
    for applied in [true, false] {
        let (mut guest, id) = with_snapshot();
        let clear = guest.submit(Operation::Clear { options: ClearOptions::default(), snapshot: of(id) }, 2);
        sent(&mut guest);
        guest.disconnected("cut");
        assert!(guest.completed().is_empty(), "nobody knows yet");
        let applied = Some(if applied { clear } else { clear - 1 });
        let state = SessionState { applied, forgotten: Some(0), ..SessionState::default() };
        assert!(offered(&mut guest, Some(state)).is_empty());
        match guest.completed().as_slice() {
            [(2, Ok(Reply::Done))] => assert_eq!(applied, Some(clear)),
            [(2, Err(error))] => {
                assert_eq!((error.code(), error.effect()), (Code::SnapshotNotOpen, Effect::None));
                assert_eq!(applied, Some(clear - 1));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_nobody_needs_any_more_is_released() {
    let (mut guest, id) = with_snapshot();
    guest.close_snapshot(id);
    guest.close_snapshot(id);
    assert!(matches!(sent(&mut guest).as_slice(), [Request::SnapshotClose(close)] if close.snapshot == id));
    // One whose taker has gone away before the answer came.
    let id = guest.name_snapshot();
    let number = guest.submit(Operation::Snapshot(id), 2);
    sent(&mut guest);
    guest.abandon(number);
    guest.close_snapshot(id);
    assert!(sent(&mut guest).is_empty());
    ok(&mut guest, number);
    assert!(matches!(sent(&mut guest).as_slice(), [Request::SnapshotClose(close)] if close.snapshot == id));
}

#[test]
fn a_leader_without_snapshots_is_not_asked_for_one() {
    let mut guest = up(RetryPolicy::Always);
    let id = guest.name_snapshot();
    guest.submit(Operation::Snapshot(id), 1);
    assert!(sent(&mut guest).is_empty());
    assert_eq!(failed(&mut guest), [(1, Code::NotSupported, Effect::None)]);
}

#[test]
fn a_leader_that_does_not_know_the_question_answers_with_values() {
    let mut guest = guest(RetryPolicy::Always);
    legacy(&mut guest);
    let number = guest.submit(Operation::HasMany { keys: vec!["a".into(), "b".into()], snapshot: None }, 1);
    let values = [Some("".into()), None].map(|value| MaybeValue { value }).to_vec();
    let answer = GetManyCallback { id: number as u32, values, ..Default::default() };
    guest.receive(Response::GetManyCallback(answer)).unwrap();
    match guest.completed().as_slice() {
        [(1, Ok(Reply::Existing(existing)))] => assert_eq!(existing, &[true, false]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_snapshot_of_this_process_is_waited_with_until_its_store_is_gone() {
    let mut guest = guest(RetryPolicy::Always);
    let id = guest.name_snapshot();
    // Taken by a promotion that has more of the queue to apply.
    guest.keep_snapshot(id);
    guest.submit(read(id), 1);
    assert!(guest.completed().is_empty());
    assert_eq!(guest.drain().len(), 1);
    guest.submit(read(id), 2);
    guest.forget_snapshots();
    assert_eq!(failed(&mut guest), gone(2));
    // No leader knows it.
    guest.keep_snapshot(id);
    offered(&mut guest, None);
    guest.submit(read(id), 3);
    assert!(sent(&mut guest).is_empty());
    assert_eq!(failed(&mut guest), gone(3));
}

#[test]
fn an_iterator_over_a_lost_snapshot_fails_without_waiting_for_a_leader() {
    let (mut guest, id) = with_snapshot();
    let policy = guest.policy;
    guest.disconnected("cut");
    let iterator = guest.machine.open_iterator(IteratorOptions::default(), Some(id), policy);
    assert!(guest.iterator_opened(iterator));
    assert!(matches!(guest.take(iterator, 1), Taken::Failed(error) if error.code() == Code::SnapshotNotOpen));
    // One that waits for the end of a promotion waits no longer when the store of that is gone.
    let id = guest.name_snapshot();
    guest.keep_snapshot(id);
    let iterator = guest.machine.open_iterator(IteratorOptions::default(), Some(id), policy);
    assert!(!guest.iterator_opened(iterator));
    guest.woken();
    guest.forget_snapshots();
    assert_eq!(guest.woken(), [iterator]);
    assert!(matches!(guest.take(iterator, 1), Taken::Failed(error) if error.code() == Code::SnapshotNotOpen));
}

#[test]
fn an_iterator_at_its_limit_is_at_its_end_whatever_becomes_of_the_snapshot() {
    let (mut guest, id) = with_snapshot();
    let policy = guest.policy;
    let options = IteratorOptions { limit: Some(1), ..IteratorOptions::default() };
    let iterator = guest.machine.open_iterator(options, Some(id), policy);
    sent(&mut guest);
    let data = vec!["a".into(), "1".into()];
    guest.receive(Response::IteratorData(IteratorData { id: iterator, seq: 0, data })).unwrap();
    assert!(matches!(guest.take(iterator, 9), Taken::Entries(entries) if entries.len() == 1));
    // The leader has not yet said that this was all.
    guest.disconnected("cut");
    assert!(matches!(guest.take(iterator, 9), Taken::End));
}

#[test]
fn a_snapshot_is_released_behind_what_was_submitted_before() {
    let mut guest = Guest::new(RetryPolicy::Always, FRAME, 1);
    offered(&mut guest, None);
    let id = guest.name_snapshot();
    let number = guest.submit(Operation::Snapshot(id), 1);
    ok(&mut guest, number);
    // There is room for one at a time.
    let first = guest.submit(get("a"), 2);
    let second = guest.submit(read(id), 3);
    let policy = guest.policy;
    guest.machine.open_iterator(IteratorOptions::default(), Some(id), policy);
    guest.submit(get("b"), 4);
    sent(&mut guest);
    guest.close_snapshot(id);
    assert!(sent(&mut guest).is_empty());
    let absent = |id: u64| {
        Response::Callback(Callback { id: id as u32, error: Some("LEVEL_NOT_FOUND".into()), ..Callback::default() })
    };
    guest.completed();
    guest.receive(absent(first)).unwrap();
    assert!(matches!(guest.completed().as_slice(), [(2, Ok(_))]));
    let requests = sent(&mut guest);
    assert!(matches!(requests.as_slice(), [Request::Get(get), ..] if get.snapshot == Some(id)), "{requests:?}");
    guest.receive(absent(second)).unwrap();
    let requests = [requests, sent(&mut guest)].concat();
    let place = |wanted: fn(&Request) -> bool| requests.iter().position(wanted).expect("it goes out");
    let opened = place(|request| matches!(request, Request::Iterator(_)));
    assert!(opened < place(|request| matches!(request, Request::SnapshotClose(_))), "{requests:?}");
    assert!(matches!(guest.completed().as_slice(), [(3, Ok(_))]));
}

#[test]
fn a_legacy_leader_is_asked_for_a_single_key_by_a_get() {
    let mut guest = guest(RetryPolicy::Always);
    legacy(&mut guest);
    let there = guest.submit(Operation::HasMany { keys: vec!["a".into()], snapshot: None }, 1);
    let gone = guest.submit(Operation::HasMany { keys: vec!["b".into()], snapshot: None }, 2);
    assert!(matches!(sent(&mut guest).as_slice(), [Request::Get(_), Request::Get(_)]));
    gives(&mut guest, there, "");
    fails(&mut guest, gone, "LEVEL_NOT_FOUND", None);
    let existing: Vec<_> = guest.completed().into_iter().map(|(token, reply)| (token, reply.unwrap())).collect();
    assert_eq!(existing, [(1, Reply::Existing(vec![true])), (2, Reply::Existing(vec![false]))]);
}
