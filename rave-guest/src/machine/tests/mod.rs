//! The guest's machine against answers made by hand: what is sent, in which order, and what becomes of it.

mod sessions;

use super::*;
use rave_core::Code;
use rave_core::{Batch, Bytes, ClearOptions, IteratorOptions, Position};
use rave_transport::wire::{
    FrameDecoder, Limits,
    message::{Callback, GetManyCallback, IteratorData, IteratorEnd, IteratorError, Leaving, MaybeValue, StatusReply},
};

const FRAME: usize = 1 << 20;
const WINDOW: usize = 1 << 20;

/// A machine all of whose operations have one policy.
struct Guest {
    machine: Machine<u32>,
    policy: RetryPolicy,
}

impl std::ops::Deref for Guest {
    type Target = Machine<u32>;

    fn deref(&self) -> &Self::Target {
        &self.machine
    }
}

impl std::ops::DerefMut for Guest {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.machine
    }
}

impl Guest {
    fn new(policy: RetryPolicy, max_frame: usize, window: usize) -> Self {
        Self { machine: Machine::new([1; 16], max_frame, window), policy }
    }

    fn submit(&mut self, operation: Operation, token: u32) -> u64 {
        self.machine.submit(operation, self.policy, token)
    }

    fn open_iterator(&mut self, options: IteratorOptions) -> u32 {
        self.machine.open_iterator(options, self.policy)
    }

    fn connected(&mut self, pid: u32) {
        self.machine.connected(pid, [2; 16]);
    }

    fn is_stuck(&self) -> bool {
        self.machine.is_stuck().is_some()
    }
}

fn guest(policy: RetryPolicy) -> Guest {
    Guest::new(policy, FRAME, WINDOW)
}

fn up(policy: RetryPolicy) -> Guest {
    let mut guest = guest(policy);
    native(&mut guest);
    guest
}

fn native(guest: &mut Guest) -> Vec<Request> {
    guest.connected(7);
    let hello = sent(guest);
    assert!(matches!(hello.as_slice(), [Request::Hello(_), Request::GetMany(probe)] if probe.id == PROBE));
    welcomed(guest);
    probed(guest);
    assert!(!guest.leader().unwrap().legacy);
    sent(guest)
}

fn legacy(guest: &mut Guest) -> Vec<Request> {
    guest.connected(7);
    sent(guest);
    probed(guest);
    assert!(guest.leader().unwrap().legacy);
    sent(guest)
}

fn welcomed(guest: &mut Guest) {
    let welcome =
        Welcome { version: 1, pid: Some(42), store: Some("s".to_owned()), capabilities: Some(1), ..Default::default() };
    guest.receive(Response::Welcome(welcome)).unwrap();
}

fn probed(guest: &mut Guest) {
    guest.receive(Response::GetManyCallback(GetManyCallback { id: PROBE, ..Default::default() })).unwrap();
}

fn sent(guest: &mut Guest) -> Vec<Request> {
    let mut decoder = FrameDecoder::new(Limits::default());
    let mut requests = Vec::new();
    while let Some(frame) = decoder.decode(guest.output()).unwrap() {
        requests.push(Request::decode(frame).unwrap());
    }
    requests
}

fn get(key: &'static str) -> Operation {
    Operation::Get(Bytes::from_static(key.as_bytes()))
}

fn put(key: &str, value: &str) -> Operation {
    Operation::Write { batch: Batch::new().put(key, value), sync: false }
}

fn gives(guest: &mut Guest, number: u64, value: &'static str) {
    let answer = Callback { id: number as u32, value: Some(value.into()), ..Default::default() };
    guest.receive(Response::Callback(answer)).unwrap();
}

fn ok(guest: &mut Guest, number: u64) {
    guest.receive(Response::Callback(Callback { id: number as u32, ..Default::default() })).unwrap();
}

fn fails(guest: &mut Guest, number: u64, code: &str, effect: Option<u32>) {
    let error = Some(code.to_owned());
    guest.receive(Response::Callback(Callback { id: number as u32, error, effect, ..Default::default() })).unwrap();
}

/// Tokens with code and effect of what failed.
fn failed(guest: &mut Guest) -> Vec<(u32, Code, Effect)> {
    guest
        .completed()
        .into_iter()
        .map(|(token, result)| {
            let error = result.expect_err("an error");
            (token, error.code(), error.effect())
        })
        .collect()
}

fn ids(requests: &[Request]) -> Vec<u32> {
    requests
        .iter()
        .map(|request| match request {
            Request::Get(m) => m.id,
            Request::Put(m) => m.id,
            Request::Del(m) => m.id,
            Request::Batch(m) => m.id,
            Request::GetMany(m) => m.id,
            Request::Clear(m) => m.id,
            Request::Status(m) => m.id,
            other => panic!("{other:?} is no operation"),
        })
        .collect()
}

fn leaves(guest: &mut Guest) {
    guest.receive(Response::Leaving(Leaving {})).unwrap();
}

#[test]
fn operations_wait_for_the_greeting_and_go_out_in_order() {
    let mut guest = guest(RetryPolicy::Always);
    guest.submit(put("a", "1"), 1);
    guest.connected(7);
    guest.submit(get("a"), 2);
    assert_eq!(sent(&mut guest).len(), 2, "nothing goes out before the leader has answered");
    welcomed(&mut guest);
    probed(&mut guest);
    guest.submit(put("b", "1"), 3);
    assert_eq!(ids(&sent(&mut guest)), [1, 2, 3]);
    fails(&mut guest, 2, "LEVEL_NOT_FOUND", None);
    ok(&mut guest, 1);
    ok(&mut guest, 1);
    let completed: Vec<_> = guest.completed().into_iter().map(|(token, result)| (token, result.unwrap())).collect();
    assert_eq!(completed, [(2, Reply::Value(None)), (1, Reply::Done)]);
    assert!(!guest.is_idle());
    ok(&mut guest, 3);
    assert!(guest.is_idle());
}

#[test]
fn what_was_under_way_is_sent_again_before_anything_newer() {
    let mut guest = up(RetryPolicy::Always);
    guest.submit(put("a", "1"), 1);
    guest.submit(put("b", "1"), 2);
    guest.submit(put("c", "1"), 3);
    sent(&mut guest);
    ok(&mut guest, 2);
    guest.disconnected("cut");
    guest.submit(put("d", "1"), 4);
    assert_eq!(ids(&native(&mut guest)), [1, 3, 4]);
    assert_eq!(guest.completed().len(), 1);
}

#[test]
fn the_window_bounds_what_is_on_the_wire_and_keeps_the_order() {
    let mut guest: Guest = Guest::new(RetryPolicy::Always, FRAME, 2000);
    native(&mut guest);
    let large = "v".repeat(1500);
    guest.submit(put("a", &large), 1);
    guest.submit(put("b", &large), 2);
    guest.submit(get("c"), 3);
    assert_eq!(ids(&sent(&mut guest)), [1], "the small one must not overtake");
    ok(&mut guest, 1);
    assert_eq!(ids(&sent(&mut guest)), [2, 3]);
    // One that is larger than the window goes alone.
    guest.submit(put("d", &"v".repeat(5000)), 4);
    assert!(sent(&mut guest).is_empty());
    ok(&mut guest, 2);
    ok(&mut guest, 3);
    assert_eq!(ids(&sent(&mut guest)), [4]);
    // A new connection starts with an empty window and the oldest operation.
    guest.submit(get("e"), 5);
    guest.disconnected("cut");
    assert_eq!(ids(&native(&mut guest)), [4]);
    ok(&mut guest, 4);
    assert_eq!(ids(&sent(&mut guest)), [5]);
}

#[test]
fn an_abandoned_request_fills_the_window_until_its_answer_and_is_never_sent_again() {
    let mut guest: Guest = Guest::new(RetryPolicy::Always, FRAME, 2000);
    native(&mut guest);
    let first = guest.submit(put("a", &"v".repeat(1500)), 1);
    let second = guest.submit(put("b", &"v".repeat(1500)), 2);
    let read = guest.submit(get("c"), 3);
    sent(&mut guest);
    assert_eq!(guest.abandon(first), Some((1, Effect::Unknown)));
    assert_eq!(guest.abandon(first), None);
    assert_eq!(guest.abandon(second), Some((2, Effect::None)), "it was not sent");
    assert_eq!(ids(&sent(&mut guest)), [3], "there is room for what was behind it");
    assert_eq!(guest.abandon(read), Some((3, Effect::None)));
    assert!(guest.is_idle());
    guest.submit(put("d", &"v".repeat(1500)), 4);
    assert!(sent(&mut guest).is_empty());
    ok(&mut guest, first);
    assert_eq!(ids(&sent(&mut guest)), [4]);
    assert!(guest.completed().is_empty());

    guest.abandon(4);
    guest.disconnected("cut");
    assert!(native(&mut guest).is_empty());
}

#[test]
fn policies_decide_what_a_lost_connection_means() {
    for (policy, expected) in [
        (RetryPolicy::Always, vec![]),
        (
            RetryPolicy::Safe,
            vec![(1, Code::ConnectionLost, Effect::Unknown), (3, Code::ConnectionLost, Effect::Unknown)],
        ),
        (
            RetryPolicy::Never,
            vec![
                (1, Code::ConnectionLost, Effect::Unknown),
                (2, Code::ConnectionLost, Effect::None),
                (3, Code::ConnectionLost, Effect::Unknown),
            ],
        ),
    ] {
        let mut guest = up(policy);
        guest.submit(put("a", "1"), 1);
        guest.submit(get("a"), 2);
        guest.submit(Operation::Clear(ClearOptions::default()), 3);
        guest.disconnected("cut");
        assert_eq!(failed(&mut guest), expected, "{policy:?}");
        // What was not sent is sent to the next leader, also after an attempt that led nowhere.
        guest.submit(put("b", "1"), 4);
        guest.connected(7);
        guest.disconnected("refused");
        assert!(guest.completed().is_empty(), "{policy:?}");
        let again = ids(&native(&mut guest));
        match policy {
            RetryPolicy::Always => assert_eq!(again, [1, 2, 3, 4]),
            RetryPolicy::Safe => assert_eq!(again, [2, 4]),
            RetryPolicy::Never => assert_eq!(again, [4]),
        }
    }
}

#[test]
fn a_leader_that_left_gives_back_what_it_did_not_answer() {
    for policy in [RetryPolicy::Always, RetryPolicy::Safe, RetryPolicy::Never] {
        let mut guest = up(policy);
        guest.submit(put("a", "1"), 1);
        sent(&mut guest);
        leaves(&mut guest);
        guest.submit(put("b", "1"), 2);
        assert!(sent(&mut guest).is_empty(), "nothing is sent to a leader that leaves");
        guest.disconnected("it left");
        if policy == RetryPolicy::Never {
            let lost = Code::ConnectionLost;
            assert_eq!(failed(&mut guest), [(1, lost, Effect::None), (2, lost, Effect::None)]);
        } else {
            assert!(guest.completed().is_empty());
            assert_eq!(guest.abandon(1), Some((1, Effect::None)), "it was given back");
            assert_eq!(ids(&native(&mut guest)), [2]);
        }
    }
}

#[test]
fn an_operation_that_may_have_been_applied_stays_so() {
    let mut guest = up(RetryPolicy::Always);
    let number = guest.submit(put("a", "1"), 1);
    guest.disconnected("cut");
    assert_eq!(guest.abandon(number), Some((1, Effect::Unknown)));
    guest.submit(Operation::Write { batch: Batch::new().put("a", "1"), sync: true }, 2);
    native(&mut guest);
    guest.disconnected("cut");
    // The next leader cannot take it, but the last one may have applied it.
    legacy(&mut guest);
    assert_eq!(failed(&mut guest), [(2, Code::NotSupported, Effect::Unknown)]);
    // Nor can the next leader give back what the last one may have applied.
    let number = guest.submit(put("a", "1"), 3);
    guest.disconnected("cut");
    native(&mut guest);
    leaves(&mut guest);
    guest.disconnected("it left");
    assert_eq!(guest.abandon(number), Some((3, Effect::Unknown)));
    assert!(guest.is_idle());
}

#[test]
fn a_refusal_does_not_undo_what_an_earlier_leader_may_have_done() {
    let mut guest = up(RetryPolicy::Always);
    let (first, second) = (guest.submit(put("a", "1"), 1), guest.submit(get("a"), 2));
    guest.submit(put("b", "1"), 3);
    sent(&mut guest);
    guest.disconnected("cut");
    native(&mut guest);
    let fresh = guest.submit(put("c", "1"), 4);
    fails(&mut guest, first, "LEVEL_READONLY", None);
    fails(&mut guest, second, "LEVEL_IO_ERROR", None);
    fails(&mut guest, fresh, "LEVEL_READONLY", None);
    let none = |token, code| (token, code, Effect::None);
    assert_eq!(failed(&mut guest), [(1, Code::ReadOnly, Effect::Unknown), none(2, Code::Io), none(4, Code::ReadOnly)]);
    guest.disconnected("cut");
    guest.submit(put("d", "1"), 5);
    let uncertain: Vec<_> = guest.drain().into_iter().map(|drained| (drained.token, drained.uncertain)).collect();
    assert_eq!(uncertain, [(3, true), (5, false)]);
}

#[test]
fn everything_can_be_taken_out_or_failed() {
    let mut guest = up(RetryPolicy::Always);
    guest.submit(put("a", "1"), 1);
    guest.submit(get("a"), 2);
    let abandoned = guest.submit(put("b", "1"), 3);
    guest.abandon(abandoned);
    guest.disconnected("cut");
    guest.submit(get("c"), 4);
    let tokens: Vec<u32> = guest.drain().into_iter().map(|drained| drained.token).collect();
    assert_eq!(tokens, [1, 2, 4]);
    assert!(guest.is_idle());

    native(&mut guest);
    guest.submit(put("a", "1"), 5);
    guest.submit(get("a"), 6);
    guest.fail_all(&Error::not_open());
    let closed = Code::DatabaseNotOpen;
    assert_eq!(failed(&mut guest), [(5, closed, Effect::Unknown), (6, closed, Effect::None)]);
    ok(&mut guest, 5);
    assert!(guest.completed().is_empty() && guest.is_idle());
}

#[test]
fn ids_wrap_around_without_meeting_the_probe_or_each_other() {
    let mut guest = up(RetryPolicy::Always);
    guest.next = u64::from(u32::MAX) - 1;
    for token in 0..5 {
        guest.submit(get("a"), token);
    }
    assert_eq!(ids(&sent(&mut guest)), [u32::MAX - 1, u32::MAX, 1, 2, 3]);
    for id in [2_u32, u32::MAX, 0, 1, 3, u32::MAX - 1] {
        guest.receive(Response::Callback(Callback { id, ..Default::default() })).unwrap();
    }
    let tokens: Vec<u32> = guest.completed().into_iter().map(|(token, _)| token).collect();
    assert_eq!(tokens, [3, 1, 2, 4, 0]);
    // Across a reconnect too.
    guest.next = u64::from(u32::MAX) * 2 + 1;
    guest.submit(put("a", "1"), 10);
    guest.submit(put("b", "1"), 11);
    guest.disconnected("cut");
    assert_eq!(ids(&native(&mut guest)), [u32::MAX, 1]);
    ok(&mut guest, 1);
    assert_eq!(guest.completed()[0].0, 11);
}

#[test]
fn requests_that_do_not_fit_a_frame_fail_alone() {
    let mut guest: Guest = Guest::new(RetryPolicy::Always, 100, WINDOW);
    native(&mut guest);
    guest.submit(put("a", "1"), 1);
    guest.submit(put("b", &"v".repeat(200)), 2);
    guest.submit(put("c", "1"), 3);
    assert_eq!(ids(&sent(&mut guest)), [1, 3]);
    assert_eq!(failed(&mut guest), [(2, Code::InvalidValue, Effect::None)]);
}

#[test]
fn answers_that_do_not_fit_are_errors_of_that_operation_alone() {
    let mut guest = up(RetryPolicy::Always);
    let many = guest.submit(Operation::GetMany(vec!["a".into(), "b".into()]), 1);
    let read = guest.submit(get("a"), 2);
    let write = guest.submit(put("a", "1"), 3);
    let other = guest.submit(get("b"), 4);
    let one = vec![MaybeValue { value: None }];
    let short = |id| Response::GetManyCallback(GetManyCallback { id, values: one.clone(), ..Default::default() });
    guest.receive(short(many as u32)).unwrap();
    guest.receive(short(write as u32)).unwrap();
    guest.receive(short(999)).unwrap();
    guest.receive(Response::Status(StatusReply { id: 999, ..Default::default() })).unwrap();
    guest.receive(Response::Unknown(99)).unwrap();
    fails(&mut guest, read, "SOMETHING_NEW", Some(1));
    let remote = Code::Remote;
    let expected = [(1, remote, Effect::None), (3, remote, Effect::Unknown), (2, remote, Effect::None)];
    assert_eq!(failed(&mut guest), expected, "a read has no effect, whatever the leader says");
    gives(&mut guest, other, "");
    assert_eq!(guest.completed().pop().unwrap().1.unwrap(), Reply::Value(Some(Bytes::new())));
    // No value is not the empty one, and neither a value nor a status is the success of a write.
    let (read, write) = (guest.submit(get("a"), 5), guest.submit(put("a", "1"), 6));
    ok(&mut guest, read);
    gives(&mut guest, write, "1");
    assert_eq!(failed(&mut guest), [(5, remote, Effect::None), (6, remote, Effect::Unknown)]);
    let write = guest.submit(put("a", "1"), 7);
    guest.receive(Response::Status(StatusReply { id: write as u32, ..Default::default() })).unwrap();
    assert_eq!(failed(&mut guest), [(7, remote, Effect::Unknown)]);
}

#[test]
fn small_values_do_not_keep_the_receive_buffer() {
    let mut guest = up(RetryPolicy::Always);
    for (size, kept) in [(100, false), (100 << 10, true)] {
        let number = guest.submit(get("a"), 1);
        let buffer = Bytes::from(vec![7; 200 << 10]);
        let answer = Callback { id: number as u32, value: Some(buffer.slice(..size)), ..Default::default() };
        guest.receive(Response::Callback(answer)).unwrap();
        let Some((_, Ok(Reply::Value(Some(value))))) = guest.completed().pop() else { panic!("no value") };
        assert_eq!(value.len(), size);
        assert_eq!(value.as_ptr() == buffer.as_ptr(), kept);
    }
}

#[test]
fn a_legacy_leader_is_not_asked_for_what_it_would_ignore() {
    let mut guest = guest(RetryPolicy::Always);
    guest.submit(Operation::Write { batch: Batch::new().put("a", "1"), sync: true }, 1);
    guest.submit(Operation::Status, 2);
    let large = ClearOptions { limit: Some(1 << 31), ..ClearOptions::default() };
    guest.submit(Operation::Clear(large), 3);
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

#[test]
fn a_request_that_the_leader_would_not_take_is_not_sent() {
    let mut guest = guest(RetryPolicy::Always);
    guest.connected(7);
    let hello = sent(&mut guest);
    assert!(matches!(&hello[0], Request::Hello(hello) if hello.max_frame == Some(FRAME as u64)));
    guest.receive(Response::Welcome(Welcome { version: 1, max_frame: Some(100), ..Default::default() })).unwrap();
    probed(&mut guest);
    guest.submit(put("a", &"v".repeat(100)), 1);
    guest.submit(put("a", "v"), 2);
    assert_eq!(failed(&mut guest), [(1, Code::InvalidValue, Effect::None)]);
    assert_eq!(ids(&sent(&mut guest)), [2]);
}

#[test]
fn an_iterator_sees_the_writes_submitted_before_it() {
    // A native leader has to get them first.
    let mut guest = Guest::new(RetryPolicy::Always, FRAME, 300);
    native(&mut guest);
    guest.submit(put("a", "1"), 1);
    guest.submit(put("b", "1"), 2);
    guest.open_iterator(IteratorOptions::default());
    assert_eq!(ids(&sent(&mut guest)), [1]);
    ok(&mut guest, 1);
    assert!(matches!(sent(&mut guest).as_slice(), [Request::Put(_), Request::Iterator(_)]));

    // A legacy leader has to have answered them.
    guest.disconnected("cut");
    let mut guest = super::tests::guest(RetryPolicy::Always);
    legacy(&mut guest);
    guest.submit(put("a", "1"), 1);
    guest.submit(get("a"), 2);
    let id = guest.open_iterator(IteratorOptions::default());
    guest.submit(put("b", "1"), 3);
    guest.seek(id, Bytes::from_static(b"k"));
    assert_eq!(ids(&sent(&mut guest)), [1]);
    ok(&mut guest, 1);
    let both = sent(&mut guest);
    assert!(matches!(&both[..], [Request::Get(_), Request::Iterator(open)] if open.seek.is_some() && open.seq == 1));
    ok(&mut guest, 2);
    assert_eq!(ids(&sent(&mut guest)), [3]);

    // Nobody waits for what is abandoned.
    guest.submit(put("c", "1"), 4);
    guest.open_iterator(IteratorOptions::default());
    guest.abandon(4).unwrap();
    assert!(sent(&mut guest).is_empty());
    ok(&mut guest, 3);
    assert!(matches!(sent(&mut guest).as_slice(), [Request::Iterator(_)]));
}

fn data(id: u32, seq: u32, keys: &[&'static str]) -> Response {
    let data = keys.iter().flat_map(|key| [Bytes::from_static(key.as_bytes()), Bytes::from_static(b"v")]).collect();
    Response::IteratorData(IteratorData { id, seq, data })
}

fn end(id: u32, seq: u32) -> Response {
    Response::IteratorEnd(IteratorEnd { id, seq })
}

fn take(guest: &mut Guest, id: u32, size: usize) -> Vec<String> {
    match guest.take(id, size) {
        Taken::Entries(entries) => entries.iter().map(|e| String::from_utf8(e.key.to_vec()).unwrap()).collect(),
        other => panic!("{other:?} instead of entries"),
    }
}

fn opened(requests: &[Request]) -> &message::Iterator {
    match requests {
        [.., Request::Iterator(open)] => open,
        other => panic!("{other:?} opens no iterator"),
    }
}

#[test]
fn frames_are_acknowledged_when_their_last_entry_is_consumed() {
    let mut guest = up(RetryPolicy::Always);
    let id = guest.open_iterator(IteratorOptions::default());
    assert_eq!(opened(&sent(&mut guest)).consumed, Some(0));
    assert!(!guest.iterator_opened(id) && matches!(guest.take(id, 1), Taken::Wait));
    guest.receive(data(id, 0, &["a", "b"])).unwrap();
    guest.receive(data(id, 0, &["c", "d"])).unwrap();
    assert!(guest.iterator_opened(id));
    assert_eq!(guest.woken(), [id, id]);
    assert_eq!(take(&mut guest, id, 1), ["a"]);
    assert!(sent(&mut guest).is_empty());
    assert_eq!(take(&mut guest, id, 2), ["b", "c"]);
    let acks = sent(&mut guest);
    assert!(matches!(acks.as_slice(), [Request::IteratorAck(ack)] if ack.consumed == 2), "{acks:?}");
    guest.receive(data(id, 0, &["e"])).unwrap();
    assert_eq!(take(&mut guest, id, 10), ["d", "e"]);
    let acks = sent(&mut guest);
    assert!(
        matches!(acks.as_slice(), [Request::IteratorAck(one), Request::IteratorAck(two)] if one.consumed == 4 && two.consumed == 5)
    );
    guest.receive(end(id, 0)).unwrap();
    assert!(matches!(guest.take(id, 1), Taken::End) && matches!(guest.take(id, 1), Taken::End));
    guest.close_iterator(id);
    assert!(matches!(sent(&mut guest).as_slice(), [Request::IteratorClose(close)] if close.id == id));
    assert!(matches!(guest.take(id, 1), Taken::Failed(error) if error.code() == Code::IteratorNotOpen));
}

#[test]
fn a_seek_drops_what_was_read_ahead_and_what_still_comes() {
    let mut guest = up(RetryPolicy::Always);
    let id = guest.open_iterator(IteratorOptions::default().limited(3));
    sent(&mut guest);
    guest.receive(data(id, 0, &["a", "b", "c"])).unwrap();
    assert_eq!(take(&mut guest, id, 1), ["a"]);
    guest.seek(id, "x".into());
    let requests = sent(&mut guest);
    assert!(
        matches!(requests.as_slice(), [Request::IteratorSeek(seek)] if seek.seq == 1 && seek.consumed == Some(1)),
        "only what the user got counts: {requests:?}"
    );
    guest.receive(data(id, 0, &["d"])).unwrap();
    guest.receive(end(id, 0)).unwrap();
    assert!(matches!(guest.take(id, 1), Taken::Wait));
    guest.receive(data(id, 1, &["x", "y", "z"])).unwrap();
    assert_eq!(take(&mut guest, id, 10), ["x", "y"], "the limit holds, whatever the leader sends");
    assert!(matches!(guest.take(id, 1), Taken::End));
    guest.seek(id, "a".into());
    assert!(matches!(guest.take(id, 1), Taken::End), "a limit that is reached stays so");
}

#[test]
fn a_resumed_iterator_goes_on_behind_what_the_user_got() {
    for reverse in [false, true] {
        let mut guest = up(RetryPolicy::Always);
        let options = IteratorOptions { reverse, limit: Some(10), keys: false, ..IteratorOptions::default() };
        let id = guest.open_iterator(options);
        guest.receive(data(id, 0, &["k1", "k2", "k3"])).unwrap();
        assert_eq!(take(&mut guest, id, 2), ["", ""], "keys were not asked for");
        guest.disconnected("cut");
        assert!(matches!(guest.take(id, 1), Taken::Wait));
        let requests = native(&mut guest);
        let open = opened(&requests);
        assert_eq!(open.bookmark.as_deref(), Some(&b"k2"[..]));
        assert_eq!((open.consumed, open.options.as_ref().unwrap().limit), (Some(2), Some(10)));
        assert_eq!(open.options.as_ref().unwrap().reverse, Some(reverse));
        let seq = open.seq;
        guest.receive(data(id, 0, &["stale"])).unwrap();
        assert!(matches!(guest.take(id, 1), Taken::Wait));
        guest.receive(data(id, seq, &["k3"])).unwrap();
        guest.receive(end(id, seq)).unwrap();
        // What has arrived up to the end needs no leader.
        guest.disconnected("cut");
        assert!(native(&mut guest).is_empty());
        assert_eq!(take(&mut guest, id, 5).len(), 1);
        assert!(matches!(guest.take(id, 1), Taken::End));
        // A seek opens it again.
        guest.seek(id, "k".into());
        let requests = sent(&mut guest);
        let open = opened(&requests);
        assert_eq!((open.seek.as_deref(), &open.bookmark, open.consumed), (Some(&b"k"[..]), &None, Some(3)));
    }
}

#[test]
fn a_seek_that_was_not_answered_is_resumed_too() {
    let mut guest = up(RetryPolicy::Safe);
    let id = guest.open_iterator(IteratorOptions::default());
    guest.receive(data(id, 0, &["a"])).unwrap();
    take(&mut guest, id, 1);
    guest.seek(id, "m".into());
    guest.disconnected("cut");
    let requests = native(&mut guest);
    let open = opened(&requests);
    assert_eq!((open.seek.as_deref(), &open.bookmark), (Some(&b"m"[..]), &None));
}

#[test]
fn iterators_fail_with_the_connection_where_nothing_is_retried() {
    let mut guest = up(RetryPolicy::Never);
    let cut = guest.open_iterator(IteratorOptions::default());
    let whole = guest.open_iterator(IteratorOptions::default());
    guest.receive(data(whole, 0, &["a"])).unwrap();
    guest.receive(end(whole, 0)).unwrap();
    guest.woken();
    guest.disconnected("cut");
    assert_eq!(guest.woken(), [cut]);
    assert!(matches!(guest.take(cut, 1), Taken::Failed(error) if error.code() == Code::ConnectionLost));
    assert_eq!(take(&mut guest, whole, 5), ["a"]);
    assert!(native(&mut guest).is_empty());
}

#[test]
fn a_legacy_leader_gets_the_rest_of_the_range_instead_of_a_bookmark() {
    for (reverse, gt, lt) in [(false, Some(&b"b"[..]), Some(&b"z"[..])), (true, None, Some(&b"b"[..]))] {
        let mut guest = guest(RetryPolicy::Always);
        legacy(&mut guest);
        let range = rave_core::KeyRange::all().lt("z");
        let id = guest.open_iterator(IteratorOptions { range, reverse, limit: Some(5), ..Default::default() });
        sent(&mut guest);
        guest.receive(data(id, 0, &["a", "b", "c"])).unwrap();
        take(&mut guest, id, 2);
        guest.disconnected("cut");
        let requests = legacy(&mut guest);
        let open = opened(&requests);
        let options = open.options.as_ref().unwrap();
        assert_eq!((options.gt.as_deref(), options.lt.as_deref()), (gt, lt));
        // What it reads ahead is the limit less what was consumed, by all acknowledgements, since the user opened it.
        assert_eq!((options.limit, &open.bookmark, open.consumed), (Some(5), &None, Some(2)));
        let seq = open.seq;
        guest.receive(data(id, seq, &["d"])).unwrap();
        take(&mut guest, id, 1);
        let acks = sent(&mut guest);
        assert!(matches!(acks.as_slice(), [Request::IteratorAck(ack)] if ack.consumed == 3), "{acks:?}");
        // The narrowed one cannot seek where it was cut off.
        guest.seek(id, "a".into());
        let requests = sent(&mut guest);
        assert!(matches!(requests.as_slice(), [Request::IteratorClose(_), Request::Iterator(_)]), "{requests:?}");
        let open = opened(&requests);
        let options = open.options.as_ref().unwrap();
        assert_eq!((&options.gt, options.lt.as_deref(), options.limit), (&None, Some(&b"z"[..]), Some(5)));
        assert_eq!((open.seek.as_deref(), open.consumed), (Some(&b"a"[..]), Some(3)));
        // As it is whole now, it can be moved as it is.
        guest.seek(id, "b".into());
        let requests = sent(&mut guest);
        assert!(matches!(requests.as_slice(), [Request::IteratorSeek(_)]), "{requests:?}");
    }
}

#[test]
fn a_limit_that_a_legacy_leader_cannot_know_holds_here() {
    let mut guest = guest(RetryPolicy::Always);
    legacy(&mut guest);
    let id = guest.open_iterator(IteratorOptions::default().limited((1 << 31) + 1));
    let requests = sent(&mut guest);
    let open = opened(&requests);
    let options = open.options.as_ref().unwrap();
    assert_eq!((options.limit, options.long_limit), (Some(-1), None));
    let position = Position { delivered: 1 << 31, bookmark: Some("a".into()), seek: None };
    guest.reposition(id, position, false);
    let requests = sent(&mut guest);
    guest.receive(data(id, opened(&requests).seq, &["b", "c"])).unwrap();
    assert_eq!(take(&mut guest, id, 5), ["b"]);
    assert!(matches!(guest.take(id, 1), Taken::End));
}

#[test]
fn a_seek_outside_the_range_needs_no_leader() {
    let mut guest = up(RetryPolicy::Always);
    let range = rave_core::KeyRange::all().gte("b").lt("d");
    let id = guest.open_iterator(IteratorOptions { range, ..Default::default() });
    sent(&mut guest);
    for outside in ["a", "d"] {
        guest.seek(id, outside.into());
        assert!(matches!(guest.take(id, 1), Taken::End));
        guest.receive(data(id, 0, &["b"])).unwrap();
        assert!(matches!(guest.take(id, 1), Taken::End), "what was read ahead is stale");
    }
    assert!(sent(&mut guest).is_empty());
    guest.seek(id, "b".into());
    let requests = sent(&mut guest);
    assert!(matches!(requests.as_slice(), [Request::IteratorSeek(seek)] if seek.seq == 3), "{requests:?}");
    guest.receive(data(id, 3, &["b"])).unwrap();
    assert_eq!(take(&mut guest, id, 1), ["b"]);
    // Nor does it after a change of leaders.
    guest.seek(id, "x".into());
    guest.disconnected("cut");
    assert!(native(&mut guest).is_empty());
    assert!(matches!(guest.take(id, 1), Taken::End));
}

#[test]
fn hostile_entries_end_the_connection() {
    let mut guest = up(RetryPolicy::Always);
    let id = guest.open_iterator(IteratorOptions::default());
    let half = vec![Bytes::from("a"), Bytes::from("1"), Bytes::from("b")];
    assert!(guest.receive(Response::IteratorData(IteratorData { id, seq: 0, data: half })).is_err());
    assert!(guest.receive(Response::IteratorData(IteratorData { id, seq: 0, data: vec![] })).is_err());
    // Unknown iterators and seqs are none of our business.
    guest.receive(data(id + 1, 0, &["a"])).unwrap();
    guest.receive(data(id, 5, &["a"])).unwrap();
    guest.receive(end(id, 5)).unwrap();
    assert!(matches!(guest.take(id, 1), Taken::Wait));
    // Without credit, nobody may send.
    let flood = (0..100).find(|_| guest.receive(data(id, 0, &["a"])).is_err());
    assert!(flood.is_some_and(|frames| frames < 10), "{flood:?}");
}

#[test]
fn an_error_from_before_a_seek_is_none_after_it() {
    let mut guest = up(RetryPolicy::Always);
    let id = guest.open_iterator(IteratorOptions::default());
    guest.seek(id, "m".into());
    let error = Some("LEVEL_CORRUPTION".to_owned());
    guest.receive(Response::IteratorError(IteratorError { id, seq: 0, error, message: None })).unwrap();
    guest.receive(data(id, 1, &["m"])).unwrap();
    assert!(matches!(guest.take(id, 1), Taken::Entries(entries) if entries.len() == 1));
}

#[test]
fn an_error_of_an_iterator_stays() {
    let mut guest = up(RetryPolicy::Always);
    let id = guest.open_iterator(IteratorOptions::default());
    let error = Some("LEVEL_CORRUPTION".to_owned());
    let message = Some("torn".to_owned());
    guest.receive(Response::IteratorError(IteratorError { id, seq: 3, error: error.clone(), message: None })).unwrap();
    assert!(matches!(guest.take(id, 1), Taken::Wait));
    guest.receive(Response::IteratorError(IteratorError { id, seq: 0, error, message })).unwrap();
    assert!(guest.iterator_opened(id));
    for _ in 0..2 {
        assert!(matches!(guest.take(id, 1), Taken::Failed(error) if error.code() == Code::Corruption));
    }
    guest.disconnected("cut");
    assert!(native(&mut guest).is_empty(), "it is not opened again");
}

#[test]
fn an_iterator_can_go_on_elsewhere_and_come_back() {
    let mut guest = up(RetryPolicy::Always);
    let id = guest.open_iterator(IteratorOptions::default());
    guest.receive(data(id, 0, &["a", "b"])).unwrap();
    take(&mut guest, id, 1);
    guest.disconnected("cut");
    let position = guest.position_to_resume(id).unwrap().unwrap();
    assert_eq!((position.delivered, position.bookmark.as_deref()), (1, Some(&b"a"[..])));
    guest.depart(id);
    // While it is away no leader hears of it.
    assert!(native(&mut guest).is_empty());
    guest.disconnected("cut");
    assert!(native(&mut guest).is_empty());
    guest.reposition(id, Position { delivered: 5, bookmark: Some("e".into()), seek: None }, false);
    let requests = sent(&mut guest);
    let open = opened(&requests);
    assert_eq!((open.consumed, open.bookmark.as_deref()), (Some(5), Some(&b"e"[..])));
    // A leader that has it open must not take its next opening for one more of the same.
    guest.depart(id);
    assert!(matches!(sent(&mut guest).as_slice(), [Request::IteratorClose(_)]));
    guest.reposition(id, Position::default(), true);
    assert!(sent(&mut guest).is_empty());
    assert!(matches!(guest.take(id, 1), Taken::End));
    assert!(guest.position_to_resume(id).unwrap().is_none());
    assert_eq!(guest.position_to_resume(99).unwrap_err().code(), Code::IteratorNotOpen);
}
