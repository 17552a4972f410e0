//! What leaders of the legacy protocol are told, in which order, and what may have become of it.

use super::*;

#[test]
fn a_legacy_leader_is_not_asked_for_what_it_would_ignore() {
    let mut guest = guest(RetryPolicy::Always);
    guest.submit(Operation::Write { batch: Batch::new().put("a", "1"), sync: true }, 1);
    guest.submit(Operation::Status, 2);
    let large = ClearOptions { limit: Some(1 << 31), ..ClearOptions::default() };
    guest.submit(Operation::Clear { options: large, snapshot: None }, 3);
    guest.submit(put("b", "1"), 4);
    assert_eq!(ids(&legacy(&mut guest)), [4]);
    let refused = Code::NotSupported;
    assert_eq!(
        failed(&mut guest).iter().map(|(_, code, effect)| (*code, *effect)).collect::<Vec<_>>(),
        [(refused, Effect::None); 3]
    );
    assert!(guest.leader().unwrap().manifest.legacy);
    // It does not say what a failed write may have done.
    fails(&mut guest, 4, "LEVEL_IO_ERROR", None);
    guest.submit(put("c", "1"), 5);
    fails(&mut guest, 5, "LEVEL_READONLY", None);
    assert_eq!(failed(&mut guest), [(4, Code::Io, Effect::Unknown), (5, Code::ReadOnly, Effect::None)]);
}

// Iterators.

/// Key and value of each put of a batch.
fn puts(request: &Request) -> Vec<(String, String)> {
    let Request::Batch(batch) = request else { panic!("{request:?} is no batch") };
    let text = |bytes: &Option<Bytes>| String::from_utf8(bytes.clone().unwrap().to_vec()).unwrap();
    batch.ops.iter().map(|op| (text(&op.key), text(&op.value))).collect()
}

#[test]
fn a_legacy_leader_gets_one_write_at_a_time_and_those_that_wait_as_one_batch() {
    let mut guest = guest(RetryPolicy::Always);
    legacy(&mut guest);
    guest.submit(get("a"), 1);
    guest.submit(put("x", "1"), 2);
    guest.submit(put("x", "2"), 3);
    guest.submit(put("y", "3"), 4);
    guest.submit(get("x"), 5);
    guest.submit(get("y"), 6);
    guest.submit(put("x", "4"), 7);
    assert_eq!(ids(&sent(&mut guest)), [1], "a write could overtake the read before it");
    ok(&mut guest, 1);
    let batch = sent(&mut guest);
    assert_eq!(ids(&batch), [2]);
    let expected = [("x", "1"), ("x", "2"), ("y", "3")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(puts(&batch[0]), expected);
    // Only the first number is on the wire.
    ok(&mut guest, 3);
    assert_eq!((sent(&mut guest).len(), guest.completed().len()), (0, 1));
    ok(&mut guest, 2);
    assert_eq!(ids(&sent(&mut guest)), [5, 6], "reads may go together");
    let tokens: Vec<_> = guest.completed().into_iter().map(|(token, result)| (token, result.unwrap())).collect();
    assert_eq!(tokens, [(2, Reply::Done), (3, Reply::Done), (4, Reply::Done)]);
    ok(&mut guest, 5);
    assert!(sent(&mut guest).is_empty());
    ok(&mut guest, 6);
    assert_eq!(ids(&sent(&mut guest)), [7]);
    ok(&mut guest, 7);
    assert!(guest.is_idle());
}

#[test]
fn a_batch_that_a_legacy_leader_refuses_is_tried_write_by_write() {
    let mut guest = guest(RetryPolicy::Always);
    legacy(&mut guest);
    (1..=4).for_each(|token| {
        guest.submit(if token == 1 { get("a") } else { put("k", "v") }, token);
    });
    guest.abandon(3).unwrap();
    sent(&mut guest);
    gives(&mut guest, 1, "v");
    assert_eq!(puts(&sent(&mut guest)[0]).len(), 2);
    guest.submit(put("k", "w"), 5);
    guest.abandon(4).unwrap();
    fails(&mut guest, 2, "LEVEL_INVALID_KEY", None);
    // What nobody waits for any more was not applied and is not sent again.
    let alone = sent(&mut guest);
    assert!(matches!(alone.as_slice(), [Request::Put(put)] if put.id == 2));
    fails(&mut guest, 2, "LEVEL_INVALID_KEY", None);
    assert_eq!(ids(&sent(&mut guest)), [5]);
    let outcomes: Vec<_> = guest.completed().into_iter().map(|(token, result)| (token, result.is_ok())).collect();
    assert_eq!(outcomes, [(1, true), (2, false)]);
    ok(&mut guest, 5);
    assert!(guest.is_idle());

    // What may have been applied is not tried again.
    guest.submit(get("a"), 6);
    guest.submit(put("k", "v"), 7);
    guest.submit(put("l", "v"), 8);
    sent(&mut guest);
    ok(&mut guest, 6);
    guest.completed();
    assert_eq!(puts(&sent(&mut guest)[0]).len(), 2);
    fails(&mut guest, 7, "LEVEL_IO_ERROR", None);
    let unknown = |token| (token, Code::Io, Effect::Unknown);
    assert_eq!(failed(&mut guest), [unknown(7), unknown(8)]);
    assert!(sent(&mut guest).is_empty() && guest.is_idle());
}

#[test]
fn writes_that_a_dying_legacy_leader_had_together_are_all_uncertain() {
    let mut guest = guest(RetryPolicy::Safe);
    legacy(&mut guest);
    guest.submit(get("a"), 1);
    guest.submit(put("k", "1"), 2);
    guest.submit(put("k", "2"), 3);
    guest.submit(get("a"), 4);
    ok(&mut guest, 1);
    sent(&mut guest);
    guest.completed();
    guest.submit(put("k", "3"), 5);
    guest.disconnected("cut");
    let lost = |token| (token, Code::ConnectionLost, Effect::Unknown);
    assert_eq!(failed(&mut guest), [lost(2), lost(3)]);
    assert_eq!(ids(&native(&mut guest)), [4, 5], "a native leader keeps the order by itself");
}

#[test]
fn merged_writes_fit_the_window_and_a_frame() {
    let mut guest = Guest::new(RetryPolicy::Always, FRAME, 600);
    legacy(&mut guest);
    guest.submit(get("a"), 1);
    (2..=8).for_each(|token| {
        guest.submit(put("k", "v"), token);
    });
    sent(&mut guest);
    let mut sizes = Vec::new();
    ok(&mut guest, 1);
    while let Some(request) = sent(&mut guest).pop() {
        let number = u64::from(ids(std::slice::from_ref(&request))[0]);
        sizes.push(if matches!(request, Request::Batch(_)) { puts(&request).len() } else { 1 });
        ok(&mut guest, number);
    }
    assert_eq!(sizes, [3, 3, 1]);
    assert!(guest.is_idle());
}

#[test]
fn a_legacy_leader_that_never_answers_a_write_does_not_hold_up_everything_for_ever() {
    let mut guest = guest(RetryPolicy::Always);
    legacy(&mut guest);
    let write = guest.submit(put("a", "1"), 1);
    let read = guest.submit(get("a"), 2);
    sent(&mut guest);
    // What waits behind it may give up without harm.
    guest.give_up(read).unwrap();
    assert!(!guest.is_stuck());
    guest.submit(get("b"), 3);
    assert_eq!(guest.give_up(write), Some((1, Effect::Unknown)));
    assert!(guest.is_stuck() && sent(&mut guest).is_empty());
    guest.disconnected("it does not answer");
    assert!(!guest.is_stuck());
    assert_eq!(ids(&legacy(&mut guest)), [3]);
    // A native leader answers the others meanwhile.
    let mut guest = up(RetryPolicy::Always);
    let write = guest.submit(put("a", "1"), 1);
    guest.give_up(write).unwrap();
    assert!(!guest.is_stuck());
}
