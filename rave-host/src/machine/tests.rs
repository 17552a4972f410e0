//! The host's machine against requests made by hand: what becomes one piece of work, what is answered, and how much.

use super::*;
use rave_core::Operation;
use rave_transport::wire::message::{self, RangeOptions};
use rave_transport::wire::{
    FrameDecoder, Limits, PROTOCOL_VERSION,
    message::{
        BatchOperation, Del, Get, GetMany, Hello, IteratorAck, IteratorClose, IteratorSeek, Put, StatusRequest,
        capability,
    },
};

const FRAME: usize = 1 << 20;

fn host_with(merge_writes: bool, max_frame: usize) -> Machine {
    let manifest = Manifest { store: "s".into(), permanence: true, sync_writes: true, ..Manifest::default() };
    Machine::new(Config { pid: 42, manifest, merge_writes, max_frame, sessions: true })
}

fn host() -> Machine {
    host_with(true, FRAME)
}

fn sent(host: &mut Machine) -> Vec<Response> {
    let mut decoder = FrameDecoder::new(Limits::default());
    let mut responses = Vec::new();
    while let Some(frame) = decoder.decode(host.output()).unwrap() {
        responses.push(Response::decode(frame).unwrap());
    }
    responses
}

fn get(id: u32) -> Request {
    Request::Get(Get { id, key: Some(format!("k{id}").into()), snapshot: None })
}

fn put(id: u32) -> Request {
    Request::Put(Put { id, key: Some(format!("k{id}").into()), value: Some("v".into()), ..Default::default() })
}

fn synced(id: u32) -> Request {
    Request::Put(Put {
        id,
        key: Some(format!("k{id}").into()),
        value: Some("v".into()),
        sync: Some(true),
        ..Default::default()
    })
}

fn callbacks(host: &mut Machine) -> Vec<(u32, Option<String>)> {
    sent(host)
        .into_iter()
        .map(|response| match response {
            Response::Callback(callback) => (callback.id, callback.error),
            other => panic!("{other:?} is no callback"),
        })
        .collect()
}

fn write(host: &mut Machine) -> (Vec<Operation>, bool) {
    match host.next_work() {
        Some(Work::Write { batch, sync, .. }) => (batch.into_operations().collect(), sync),
        other => panic!("{other:?} instead of a write"),
    }
}

fn refused() -> Outcome {
    Outcome::Done(Err(Error::new(Code::InvalidKey, "no")))
}

fn open(id: u32, seq: u32, limit: i64) -> Request {
    let options = RangeOptions { limit: Some(limit), ..Default::default() };
    Request::Iterator(message::Iterator { id, seq, options: Some(options), ..Default::default() })
}

fn ack(id: u32, seq: u32, consumed: u64) -> Request {
    Request::IteratorAck(IteratorAck { id, seq, consumed })
}

fn entries(count: usize, size: usize) -> Outcome {
    let value = Bytes::from(vec![b'v'; size]);
    Outcome::Page(Ok((0..count).map(|n| Entry { key: format!("k{n:05}").into(), value: value.clone() }).collect()))
}

fn page(host: &mut Machine) -> usize {
    match host.next_work() {
        Some(Work::Page { page, .. } | Work::Open { page, .. }) => page,
        other => panic!("{other:?} instead of a page"),
    }
}

#[test]
fn neighbours_of_one_kind_become_one_piece_of_work() {
    let mut host = host();
    for request in [get(1), get(2), put(3), put(4), get(5), put(6)] {
        host.receive(request);
    }
    assert!(matches!(host.next_work(), Some(Work::GetMany(keys, None)) if keys == ["k1", "k2"]));
    host.complete(Outcome::GetMany(Ok(vec![Some("v".into()), None])));
    assert_eq!(write(&mut host).0.len(), 2);
    host.complete(Outcome::Done(Ok(())));
    assert!(matches!(host.next_work(), Some(Work::Get(key, None)) if key == "k5"));
    host.complete(Outcome::Get(Ok(Some(Bytes::new()))));
    assert_eq!(write(&mut host).0.len(), 1);
    host.complete(Outcome::Done(Ok(())));
    assert!(host.next_work().is_none());
    let ids: Vec<u32> = callbacks(&mut host).iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5, 6]);
    assert_eq!(host.served(), 6);
}

#[test]
fn merging_has_bounds() {
    let mut host = host();
    (0..100).for_each(|id| host.receive(get(id)));
    assert!(matches!(host.next_work(), Some(Work::GetMany(keys, None)) if keys.len() == MERGED_GETS));
    // Values that turn out large are fetched a few at a time.
    host.complete(Outcome::GetMany(Ok(vec![Some(vec![0; 512 << 10].into()); MERGED_GETS])));
    assert!(matches!(host.next_work(), Some(Work::GetMany(keys, None)) if keys.len() == 2));

    let mut host = host_with(true, FRAME);
    let value = Bytes::from(vec![0; 300 << 10]);
    for id in 0..10 {
        host.receive(Request::Put(Put { id, key: Some("k".into()), value: Some(value.clone()), ..Default::default() }));
    }
    assert_eq!(write(&mut host).0.len(), 4);

    let mut host = host_with(false, FRAME);
    (0..3).for_each(|id| host.receive(put(id)));
    assert_eq!(write(&mut host).0.len(), 1, "a hook judges each write by itself");
}

#[test]
fn a_write_does_not_fail_for_its_neighbours_sake() {
    let mut host = host();
    let ops = [("put", Some("v")), ("del", None)].map(|(kind, value)| BatchOperation {
        kind: kind.into(),
        key: Some("x".into()),
        value: value.map(Into::into),
    });
    host.receive(put(1));
    host.receive(Request::Batch(message::Batch { id: 2, ops: ops.to_vec(), ..Default::default() }));
    host.receive(Request::Del(Del { id: 3, key: Some("y".into()), ..Default::default() }));
    host.receive(get(4));
    assert_eq!(write(&mut host).0.len(), 4);
    host.complete(refused());
    assert!(sent(&mut host).is_empty());
    assert_eq!(write(&mut host).0.len(), 1);
    host.complete(Outcome::Done(Ok(())));
    assert_eq!(write(&mut host).0.len(), 2);
    host.complete(refused());
    let last = write(&mut host).0;
    assert!(matches!(last.as_slice(), [Operation::Del { key }] if key == "y"));
    host.complete(Outcome::Done(Ok(())));
    let refused = Some("LEVEL_INVALID_KEY".to_owned());
    assert_eq!(callbacks(&mut host), [(1, None), (2, refused), (3, None)]);
    assert!(matches!(host.next_work(), Some(Work::Get(..))), "what came later is done later");
}

#[test]
fn writes_that_may_have_been_applied_are_not_tried_again() {
    let mut host = host();
    host.receive(put(1));
    host.receive(put(2));
    write(&mut host);
    host.complete(Outcome::Done(Err(Error::new(Code::Io, "disk").with_effect(Effect::Unknown))));
    assert!(host.next_work().is_none());
    for response in sent(&mut host) {
        assert!(matches!(response, Response::Callback(callback) if callback.effect == Some(1)));
    }
}

#[test]
fn synced_writes_are_merged_only_with_their_like() {
    let mut host = host();
    for request in [put(1), synced(2), synced(3), put(4)] {
        host.receive(request);
    }
    let mut merged = Vec::new();
    while let Some(work) = host.next_work() {
        let Work::Write { batch, sync, .. } = work else { panic!("no write") };
        merged.push((batch.len(), sync));
        host.complete(Outcome::Done(Ok(())));
    }
    assert_eq!(merged, [(1, false), (2, true), (1, false)]);
}

#[test]
fn answers_fit_a_frame_or_are_errors() {
    let mut host = host_with(true, 1000);
    let large = || Some(Bytes::from(vec![0; 2000]));
    host.receive(get(1));
    host.receive(get(2));
    host.next_work();
    host.complete(Outcome::GetMany(Ok(vec![large(), Some("v".into())])));
    let refused = Some("LEVEL_NOT_SUPPORTED".to_owned());
    assert_eq!(callbacks(&mut host), [(1, refused.clone()), (2, None)]);
    host.receive(Request::GetMany(GetMany { id: 3, keys: vec!["a".into()], ..GetMany::default() }));
    host.next_work();
    host.complete(Outcome::GetMany(Ok(vec![large()])));
    assert!(matches!(sent(&mut host).as_slice(), [Response::GetManyCallback(answer)] if answer.error == refused));
    // A store that miscounts leaves nobody waiting.
    host.receive(get(4));
    host.receive(get(5));
    host.next_work();
    host.complete(Outcome::GetMany(Ok(vec![None])));
    assert_eq!(callbacks(&mut host).len(), 2);
}

#[test]
fn an_iterator_sends_two_frames_on_credit() {
    let mut host = host();
    host.receive(open(1, 0, -1));
    for _ in 0..2 {
        assert!(page(&mut host) > 0);
        host.complete(entries(3, 10));
    }
    assert!(host.next_work().is_none());
    assert_eq!(sent(&mut host).len(), 2);
    // What is not for this seq gives no credit; nor do unknown iterators.
    host.receive(ack(1, 9, 3));
    host.receive(ack(2, 0, 3));
    assert!(host.next_work().is_none());
    host.receive(ack(1, 0, 3));
    assert_eq!(page(&mut host), 2340, "pages are as large as the entries were small");
    host.complete(entries(0, 0));
    assert!(matches!(sent(&mut host).as_slice(), [Response::IteratorEnd(_)]));
    host.receive(ack(1, 0, 6));
    assert!(host.next_work().is_none());
}

#[test]
fn entries_that_became_large_are_sent_frame_by_frame() {
    let mut host = host();
    host.receive(open(1, 0, -1));
    page(&mut host);
    host.complete(entries(5, 100 << 10));
    assert!(host.next_work().is_none(), "two frames of what is held are out");
    let count = |responses: Vec<Response>| -> Vec<usize> {
        responses
            .into_iter()
            .map(|response| match response {
                Response::IteratorData(data) => data.data.len() / 2,
                other => panic!("{other:?} is no data"),
            })
            .collect()
    };
    assert_eq!(count(sent(&mut host)), [1, 1]);
    host.receive(ack(1, 0, 1));
    host.receive(ack(1, 0, 2));
    assert!(host.next_work().is_none());
    assert_eq!(count(sent(&mut host)), [1, 1]);
    // A seek forgets the rest.
    host.receive(Request::IteratorSeek(IteratorSeek { id: 1, seq: 1, target: Some("x".into()), consumed: None }));
    assert!(matches!(host.next_work(), Some(Work::Page { seek: Some(_), .. })));
    // One that fits no frame is an error, and not a frame that the guest must refuse again and again.
    host.complete(entries(1, 2 * FRAME));
    assert!(matches!(sent(&mut host).as_slice(), [Response::IteratorError(error)] if error.seq == 1));
    assert!(host.next_work().is_none());
}

#[test]
fn a_limit_counts_what_the_user_got_and_not_what_was_read_ahead() {
    let mut host = host();
    host.receive(open(1, 0, 3));
    assert_eq!(page(&mut host), 3);
    host.complete(entries(3, 10));
    assert!(host.next_work().is_none());
    assert!(matches!(sent(&mut host).as_slice(), [Response::IteratorData(_), Response::IteratorEnd(_)]));
    let target = Some(Bytes::from("x"));
    host.receive(Request::IteratorSeek(IteratorSeek { id: 1, seq: 1, target, consumed: Some(1) }));
    assert_eq!(page(&mut host), 2);
    // What comes for a seq that is over is dropped, and the new seek is done.
    let target = Some(Bytes::from("y"));
    host.receive(Request::IteratorSeek(IteratorSeek { id: 1, seq: 2, target, consumed: Some(3) }));
    host.complete(entries(2, 10));
    sent(&mut host);
    assert!(host.next_work().is_none());
    assert!(matches!(sent(&mut host).as_slice(), [Response::IteratorEnd(end)] if end.seq == 2));
}

#[test]
fn many_iterators_can_end_at_once() {
    let mut host = host();
    let seek = |id| Request::IteratorSeek(IteratorSeek { id, seq: 1, target: Some("x".into()), consumed: Some(1) });
    for id in 0..MAX_ITERATORS as u32 {
        host.receive(open(id, 0, 1));
        page(&mut host);
        host.complete(entries(1, 1));
    }
    sent(&mut host);
    host.receive(open(MAX_ITERATORS as u32, 0, 1));
    assert!(host.next_work().is_none());
    assert!(sent(&mut host).iter().any(|response| matches!(response, Response::IteratorError(_))));
    (0..MAX_ITERATORS as u32).for_each(|id| host.receive(seek(id)));
    assert!(host.next_work().is_none());
    assert_eq!(sent(&mut host).len(), MAX_ITERATORS);
    (0..10).for_each(|id| host.receive(Request::IteratorClose(IteratorClose { id })));
    assert!(matches!(host.next_work(), Some(Work::Close(ids)) if ids.len() == 10));
    host.complete(Outcome::Closed);
}

#[test]
fn iterators_and_requests_take_turns() {
    let mut host = host();
    host.receive(open(1, 0, -1));
    host.receive(open(2, 0, -1));
    (0..4).for_each(|id| host.receive(if id % 2 == 0 { put(id) } else { get(id) }));
    let mut order = Vec::new();
    while let Some(work) = host.next_work() {
        let (name, outcome) = match work {
            Work::Open { id, .. } => (format!("open {id}"), entries(1, 1)),
            Work::Page { id, .. } => (format!("page {id}"), entries(1, 1)),
            Work::Write { .. } => ("write".to_owned(), Outcome::Done(Ok(()))),
            Work::Get(..) => ("get".to_owned(), Outcome::Get(Ok(None))),
            other => panic!("{other:?}"),
        };
        order.push(name);
        host.complete(outcome);
    }
    assert_eq!(order, ["open 1", "page 1", "open 2", "page 2", "write", "get", "write", "get"]);
}

#[test]
fn the_resume_of_an_iterator_reaches_the_store() {
    let mut host = host();
    let options =
        RangeOptions { limit: Some(-1), long_limit: Some(1 << 40), reverse: Some(true), ..Default::default() };
    host.receive(Request::Iterator(message::Iterator {
        id: 1,
        seq: 4,
        options: Some(options),
        consumed: Some(7),
        bookmark: Some("b".into()),
        seek: None,
    }));
    let Some(Work::Open { options, position, .. }) = host.next_work() else { panic!("no opening") };
    assert!(options.reverse && options.limit.is_none());
    assert_eq!((position.delivered, position.bookmark.as_deref()), (7, Some(&b"b"[..])));
    host.complete(Outcome::Page(Err(Error::new(Code::Corruption, "torn"))));
    assert!(matches!(sent(&mut host).as_slice(), [Response::IteratorError(error)] if error.seq == 4));
    assert!(host.next_work().is_none());
}

#[test]
fn greetings_probes_and_status_are_answered_in_order() {
    let mut host = host();
    host.receive(Request::Hello(Hello { version: 99, ..Default::default() }));
    host.receive(Request::GetMany(GetMany::default()));
    host.receive(Request::Unknown(77));
    host.receive(Request::Status(StatusRequest { id: 5 }));
    assert!(matches!(host.next_work(), Some(Work::Status)));
    host.complete(Outcome::Status(StatusReply { guests: Some(3), ..Default::default() }));
    host.leave();
    let responses = sent(&mut host);
    let [Response::Welcome(welcome), Response::GetManyCallback(_), Response::Status(status), Response::Leaving(_)] =
        responses.as_slice()
    else {
        panic!("{responses:?}")
    };
    assert_eq!((welcome.version, welcome.pid), (PROTOCOL_VERSION, Some(42)));
    assert_eq!(welcome.capabilities, Some(capability::PERMANENCE | capability::SYNC_WRITES));
    assert_eq!((status.id, status.guests), (5, Some(3)));
}

#[test]
fn a_guest_gets_no_frame_that_it_would_not_take() {
    let mut host = host();
    host.receive(Request::Hello(Hello { version: 1, max_frame: Some(200), ..Default::default() }));
    host.receive(get(1));
    assert!(matches!(host.next_work(), Some(Work::Get(..))));
    assert!(
        matches!(sent(&mut host).as_slice(), [Response::Welcome(welcome)] if welcome.max_frame == Some(FRAME as u64))
    );
    host.complete(Outcome::Get(Ok(Some(vec![0; 200].into()))));
    assert_eq!(callbacks(&mut host), [(1, Some("LEVEL_NOT_SUPPORTED".to_owned()))]);
    host.receive(get(2));
    host.next_work();
    host.complete(Outcome::Get(Ok(Some(vec![0; 100].into()))));
    assert_eq!(callbacks(&mut host), [(2, None)]);
}

#[test]
fn malformed_requests_are_refused_where_their_sender_is_known() {
    let mut host = host();
    for tag in [0, 1, 2, 3, 5] {
        assert!(host.refuse(tag, 9, None, "short"));
    }
    assert!(callbacks(&mut host).iter().all(|(id, error)| *id == 9 && error.is_some()));
    assert!(host.refuse(4, 9, Some(0), "short"));
    assert!(host.refuse(6, 9, None, "short"));
    assert!(host.refuse(9, 9, Some(3), "short"));
    let responses = sent(&mut host);
    let [Response::IteratorError(open), Response::GetManyCallback(_), Response::IteratorError(seek)] =
        responses.as_slice()
    else {
        panic!("{responses:?}")
    };
    assert_eq!((open.seq, seek.seq), (0, 3), "a guest drops what belongs to another seek");
    for (tag, seq) in [(4, None), (9, None), (7, None), (8, Some(0)), (32, None), (33, None)] {
        assert!(!host.refuse(tag, 9, seq, "short"), "{tag}");
    }
}
