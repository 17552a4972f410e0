//! The guest's machine against answers made by hand: what is sent, in which order, and what becomes of it.

mod iterators;
mod legacy;
mod sessions;
mod snapshots;

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
        self.machine.open_iterator(options, None, self.policy)
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
    Operation::Get { key: Bytes::from_static(key.as_bytes()), snapshot: None }
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
        guest.submit(Operation::Clear { options: ClearOptions::default(), snapshot: None }, 3);
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
    let many = guest.submit(Operation::GetMany { keys: vec!["a".into(), "b".into()], snapshot: None }, 1);
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
