//! What becomes of writes that were under way when leaders that keep sessions were lost.

use super::*;
use rave_transport::wire::{MAX_UNSETTLED_WRITES, message::SessionState};

/// Connects to a leader that keeps sessions and knows this of ours; what is sent then.
fn resumed(guest: &mut Guest, state: SessionState) -> Vec<Request> {
    guest.connected(7);
    sent(guest);
    let welcome = Welcome { version: 1, pid: Some(42), session: Some(state), ..Default::default() };
    guest.receive(Response::Welcome(welcome)).unwrap();
    probed(guest);
    sent(guest)
}

fn state(applied: Option<u64>) -> SessionState {
    SessionState { applied, forgotten: Some(0), ..SessionState::default() }
}

fn values(requests: &[Request]) -> Vec<Bytes> {
    let value = |request: &Request| match request {
        Request::Put(put) => put.value.clone().unwrap(),
        other => panic!("{other:?} is no put"),
    };
    requests.iter().map(value).collect()
}

#[test]
fn operations_that_a_closing_store_gives_back_keep_their_order() {
    let mut guest = guest(RetryPolicy::Always);
    resumed(&mut guest, state(None));
    guest.submit(put("k", "1"), 1);
    sent(&mut guest);
    guest.disconnected("cut");
    guest.submit(put("k", "2"), 2);
    // Promoted; the store closes before it does anything.
    guest.resume(Some(&state(None)));
    let session = guest.session();
    for drained in guest.drain() {
        guest.resubmit(drained);
    }
    assert_ne!(guest.session(), session, "the old one has got further");
    assert_eq!(values(&resumed(&mut guest, state(None))), ["1", "2"]);
}

#[test]
fn operations_that_a_closing_store_gives_back_stay_in_doubt() {
    let mut guest = up(RetryPolicy::Always);
    guest.submit(put("k", "1"), 1);
    sent(&mut guest);
    guest.disconnected("cut");
    guest.resume(None);
    let mut number = 0;
    for drained in guest.drain() {
        assert!(drained.uncertain);
        number = guest.resubmit(drained);
    }
    assert_eq!(guest.abandon(number), Some((1, Effect::Unknown)));
}

#[test]
fn what_a_legacy_leader_may_have_done_stays_in_doubt_behind_one_with_sessions() {
    let mut guest = guest(RetryPolicy::Always);
    legacy(&mut guest);
    let number = guest.submit(put("k", "1"), 1);
    sent(&mut guest);
    guest.disconnected("cut");
    // A leader with sessions gets it and dies before it does anything.
    assert_eq!(resumed(&mut guest, state(None)).len(), 1);
    guest.disconnected("cut");
    // The next one has not applied it. The legacy one may have.
    resumed(&mut guest, state(None));
    fails(&mut guest, number, "LEVEL_READONLY", None);
    assert_eq!(failed(&mut guest), [(1, Code::ReadOnly, Effect::Unknown)]);
}

#[test]
fn a_refusal_that_a_later_leader_tells_need_not_be_remembered() {
    let mut guest = guest(RetryPolicy::Always);
    resumed(&mut guest, state(None));
    let first = guest.submit(put("k", "1"), 1);
    guest.submit(put("k", "2"), 2);
    sent(&mut guest);
    guest.disconnected("cut");
    let error = Some(Code::ReadOnly.to_string());
    let refused = vec![message::Refusal { number: first, error, ..Default::default() }];
    resumed(&mut guest, SessionState { refused, ..state(Some(first + 1)) });
    let completed: Vec<_> = guest.completed().into_iter().map(|(token, result)| (token, result.is_ok())).collect();
    assert_eq!(completed, [(1, false), (2, true)]);
    guest.submit(put("k", "3"), 3);
    match sent(&mut guest).as_slice() {
        [Request::Put(put)] => assert_eq!(put.settled, Some(first + 2)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_a_refusal_of_the_session_costs_the_session() {
    for (code, lost) in
        [(Code::DatabaseNotOpen, false), (Code::Io, false), (Code::Session, true), (Code::Corruption, true)]
    {
        let mut guest = guest(RetryPolicy::Always);
        resumed(&mut guest, state(None));
        guest.submit(put("k", "1"), 1);
        sent(&mut guest);
        guest.disconnected("cut");
        let session = guest.session();
        guest.connected(7);
        let welcome = Welcome { version: 1, error: Some(code.to_string()), ..Default::default() };
        guest.receive(Response::Welcome(welcome)).unwrap();
        probed(&mut guest);
        assert!(guest.is_stuck());
        guest.disconnected("the leader closed it");
        let expected = if lost { vec![(1, Code::Session, Effect::Unknown)] } else { vec![] };
        assert_eq!(failed(&mut guest), expected, "{code}");
        assert_eq!(guest.session() != session, lost);
        assert_eq!(resumed(&mut guest, state(None)).len(), usize::from(!lost));
    }
}

#[test]
fn a_session_that_may_have_been_forgotten_leaves_writes_in_doubt() {
    for (forgotten, lost) in [(0, false), (1, true)] {
        for policy in [RetryPolicy::Always, RetryPolicy::Safe] {
            let mut guest = guest(policy);
            resumed(&mut guest, state(None));
            guest.submit(put("k", "1"), 1);
            sent(&mut guest);
            guest.disconnected("cut");
            let again = resumed(&mut guest, SessionState { forgotten: Some(forgotten), ..state(None) });
            assert_eq!(again.len(), usize::from(!lost));
            let expected = if lost { vec![(1, Code::Session, Effect::Unknown)] } else { vec![] };
            assert_eq!(failed(&mut guest), expected);
        }
    }
}

#[test]
fn a_count_that_only_now_begins_is_no_sign_of_forgetting() {
    let count = 77 << 32;
    let told = |forgotten, begun| SessionState { forgotten: Some(forgotten), begun, ..state(None) };
    // It was begun for somebody else after our greeting, or for us; then something was forgotten, or all was deleted.
    for (first, lost) in [(told(0, None), count + 1), (told(0, Some(count)), 0), (told(0, Some(count)), count + 1)] {
        let mut guest = guest(RetryPolicy::Always);
        resumed(&mut guest, first);
        guest.submit(put("k", "1"), 1);
        sent(&mut guest);
        guest.disconnected("cut");
        assert_eq!(resumed(&mut guest, told(count, None)).len(), 1, "it is sent again");
        guest.disconnected("cut");
        assert!(resumed(&mut guest, told(lost, None)).is_empty());
        assert_eq!(failed(&mut guest), [(1, Code::Session, Effect::Unknown)]);
    }
}

#[test]
fn a_synced_write_in_doubt_is_told_in_the_greeting() {
    for (sync, durable) in [(false, None), (true, Some(true))] {
        let mut guest = guest(RetryPolicy::Always);
        resumed(&mut guest, state(None));
        guest.submit(Operation::Write { batch: Batch::new().put("k", "1"), sync }, 1);
        sent(&mut guest);
        assert!(!guest.has_synced_in_doubt());
        guest.disconnected("cut");
        guest.connected(7);
        let Some(Request::Hello(hello)) = sent(&mut guest).into_iter().next() else { panic!("no hello") };
        assert_eq!(hello.durable, durable);
        // Where nothing can be written, it was applied, but not as it was asked for.
        let state = SessionState { volatile: durable, ..state(Some(9)) };
        guest.receive(Response::Welcome(Welcome { version: 1, session: Some(state), ..Default::default() })).unwrap();
        probed(&mut guest);
        match guest.completed().as_slice() {
            [(1, Ok(_))] => assert!(!sync),
            [(1, Err(error))] => assert!(sync && error.effect() == Effect::Unknown),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn no_more_writes_go_out_unanswered_than_a_leader_remembers() {
    let mut guest = Guest::new(RetryPolicy::Always, FRAME, usize::MAX);
    resumed(&mut guest, state(None));
    let numbers: Vec<u64> = (0..5000).map(|n| guest.submit(put("k", "v"), n)).collect();
    assert_eq!(sent(&mut guest).len(), MAX_UNSETTLED_WRITES);
    guest.submit(get("k"), 5000);
    assert!(sent(&mut guest).is_empty(), "a read does not overtake them");
    ok(&mut guest, numbers[0]);
    fails(&mut guest, numbers[1], "LEVEL_READONLY", None);
    match sent(&mut guest).as_slice() {
        [Request::Put(first), Request::Put(second)] => {
            assert_eq!(
                (first.settled, second.settled),
                (None, Some(numbers[2])),
                "answers are told once there is need"
            );
        }
        other => panic!("{} requests", other.len()),
    }
}
