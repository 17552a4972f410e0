//! Iterators: what is asked for, acknowledged, dropped and resumed.

use super::*;

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
