//! Round trips, and bytes that no honest peer sends.

mod messages;

use bytes::{BufMut as _, Bytes, BytesMut};
use fastrand::Rng;
use messages::{Messages, REQUESTS, RESPONSES, encoded};
use rave_transport::wire::{FrameDecoder, FrameError, Limits, Request, Response, message::*};

fn decoder() -> FrameDecoder {
    FrameDecoder::new(Limits::default())
}

fn malformed(request: &[u8]) -> (u8, Option<u32>, String) {
    match Request::decode(Bytes::copy_from_slice(request)) {
        Err(FrameError::Malformed { tag, id, reason, .. }) => (tag, id, reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_message_survives_the_way_in_pieces_of_any_size() {
    let mut messages = Messages { rng: Rng::with_seed(1), whole: false };
    for round in 0..300 {
        let requests: Vec<_> = (0..REQUESTS).map(|kind| messages.request(kind)).collect();
        let responses: Vec<_> = (0..RESPONSES).map(|kind| messages.response(kind)).collect();
        let mut stream = Vec::new();
        for request in &requests {
            stream.extend_from_slice(&encoded(|out| request.encode(out)));
            stream.extend(vec![0; round % 3]);
        }
        for response in &responses {
            stream.extend_from_slice(&encoded(|out| response.encode(out)));
        }
        let (mut decoder, mut buffer, mut frames) = (decoder(), BytesMut::new(), Vec::new());
        let mut rest = stream.as_slice();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(messages.rng.usize(1..=rest.len().min(40)));
            buffer.extend_from_slice(piece);
            rest = after;
            while let Some(frame) = decoder.decode(&mut buffer).unwrap() {
                frames.push(frame);
            }
        }
        assert!(buffer.is_empty());
        let (front, back) = frames.split_at(REQUESTS);
        let seen: Vec<_> = front.iter().map(|frame| Request::decode(frame.clone()).unwrap()).collect();
        assert_eq!(seen, requests);
        let seen: Vec<_> = back.iter().map(|frame| Response::decode(frame.clone()).unwrap()).collect();
        assert_eq!(seen, responses);
    }
}

#[test]
fn values_are_slices_of_the_received_buffer() {
    let value = Bytes::from(vec![7; 5000]);
    let put = Put { id: 1, key: Some(Bytes::from_static(b"k")), value: Some(value), ..Put::default() };
    let ops = vec![BatchOperation { kind: "put".into(), key: put.key.clone(), value: put.value.clone() }];
    for request in [Request::Put(put), Request::Batch(Batch { id: 1, ops, ..Batch::default() })] {
        let mut buffer = encoded(|out| request.encode(out));
        let range = buffer.as_ptr_range();
        let frame = decoder().decode(&mut buffer).unwrap().unwrap();
        let value = match Request::decode(frame).unwrap() {
            Request::Put(put) => put.value.unwrap(),
            Request::Batch(batch) => batch.ops[0].value.clone().unwrap(),
            other => panic!("{other:?}"),
        };
        assert!(range.contains(&value.as_ptr()) && value.len() == 5000);
    }
}

#[test]
fn cut_frames_are_errors_or_other_messages_and_never_panics() {
    let mut messages = Messages { rng: Rng::with_seed(2), whole: false };
    for kind in 0..REQUESTS * 20 {
        let request = messages.request(kind % REQUESTS);
        let whole = encoded(|out| request.encode(out));
        let frame = decoder().decode(&mut whole.clone()).unwrap().unwrap();
        for length in 0..whole.len() {
            assert_eq!(decoder().decode(&mut BytesMut::from(&whole[..length])), Ok(None));
        }
        for length in 0..frame.len() {
            assert_ne!(Request::decode(frame.slice(..length)), Ok(request.clone()), "cut to {length} bytes");
        }
    }
    for kind in 0..RESPONSES * 20 {
        let response = messages.response(kind % RESPONSES);
        let frame = decoder().decode(&mut encoded(|out| response.encode(out))).unwrap().unwrap();
        for length in 0..frame.len() {
            assert_ne!(Response::decode(frame.slice(..length)), Ok(response.clone()), "cut to {length} bytes");
        }
    }
}

#[test]
fn random_and_damaged_bytes_never_panic() {
    let mut messages = Messages { rng: Rng::with_seed(3), whole: false };
    for round in 0..20_000 {
        let mut bytes = match round % 3 {
            0 => (0..messages.rng.usize(0..60)).map(|_| messages.rng.u8(..)).collect(),
            1 => encoded(|out| messages.request(round % REQUESTS).encode(out)),
            _ => encoded(|out| messages.response(round % RESPONSES).encode(out)),
        };
        for _ in 0..messages.rng.usize(0..4) {
            if !bytes.is_empty() {
                let at = messages.rng.usize(0..bytes.len());
                bytes[at] = messages.rng.u8(..);
            }
        }
        let tagged: Bytes = [messages.rng.u8(0..10)].into_iter().chain(bytes.iter().copied()).collect();
        let _ = (Request::decode(tagged.clone()), Response::decode(tagged));
        let (mut decoder, mut left) = (decoder(), bytes.len() + 1);
        while let Ok(Some(frame)) = decoder.decode(&mut bytes) {
            let _ = (Request::decode(frame.clone()), Response::decode(frame));
            assert!(bytes.len() < left, "every frame takes bytes");
            left = bytes.len();
        }
    }
}

#[test]
fn lengths_are_judged_as_soon_as_they_are_known() {
    let mut decoder = FrameDecoder::new(Limits { max_frame: 1000 });
    let mut judge = |bytes: &[u8]| decoder.decode(&mut BytesMut::from(bytes));
    assert_eq!(judge(&[]), Ok(None));
    assert_eq!(judge(&[0, 0, 0]), Ok(None));
    assert_eq!(judge(&[0xe8, 7]), Ok(None));
    assert_eq!(judge(&[0xe9, 7]), Err(FrameError::TooLarge { length: 1001, limit: 1000 }));
    let largest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    assert_eq!(judge(&largest[..9]), Ok(None));
    assert_eq!(judge(&largest), Err(FrameError::TooLarge { length: u64::MAX, limit: 1000 }));
    assert_eq!(judge(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]), Err(FrameError::BadLength));
    assert_eq!(judge(&[0xff; 10]), Err(FrameError::BadLength));
    assert_eq!(judge(&[0x80; 4000]), Err(FrameError::BadLength));
    let padded = judge(&[0x82, 0x80, 0, 99, 1]);
    assert_eq!(padded, Ok(Some(Bytes::from_static(&[99, 1]))), "a length may be written long");
}

#[test]
fn an_announcement_costs_no_memory() {
    let mut decoder = decoder();
    let mut buffer = BytesMut::from([0x80, 0x80, 0x80, 0x40].as_slice());
    assert_eq!(decoder.decode(&mut buffer), Ok(None), "128 MiB are allowed");
    assert!(buffer.capacity() < 1 << 20);
    for _ in 0..100 {
        buffer.put_slice(&[1; 10_000]);
        assert_eq!(decoder.decode(&mut buffer), Ok(None));
        assert!(buffer.capacity() < 4 * buffer.len() + (1 << 18));
    }
}

#[test]
fn what_is_missing_or_wrong_is_named_with_the_request() {
    assert_eq!(malformed(&[]).1, None);
    assert_eq!(malformed(&[0]), (0, None, "field 1 is missing".into()));
    assert_eq!(malformed(&[0, 0x12, 1, b'a']), (0, None, "field 1 is missing".into()));
    assert_eq!(malformed(&[0, 8, 7]), (0, Some(7), "field 2 is missing".into()));
    assert_eq!(malformed(&[1, 8, 7, 0x12, 1, b'a']), (1, Some(7), "field 3 is missing".into()));
    assert_eq!(malformed(&[5, 8, 7]), (5, Some(7), "field 2 is missing".into()), "it must not clear everything");
    let operation = |operation: BatchOperation| {
        let batch = Request::Batch(Batch { id: 9, ops: vec![operation], ..Batch::default() });
        let frame = encoded(|out| batch.encode(out));
        malformed(&frame[1..])
    };
    let key = Some(Bytes::from_static(b"k"));
    for kind in ["", "PUT", "merge"] {
        let wrong = operation(BatchOperation { kind: kind.into(), key: key.clone(), value: key.clone() });
        assert_eq!((wrong.0, wrong.1), (3, Some(9)), "{kind}");
    }
    assert_eq!(operation(BatchOperation { kind: "put".into(), key: key.clone(), value: None }).1, Some(9));
    assert_eq!(operation(BatchOperation { kind: "del".into(), key: None, value: None }).1, Some(9));
    assert_eq!(malformed(&[0, 8, 7, 0x12, 9, b'a']).1, Some(7), "a cut field");
    assert_eq!(malformed(&[0, 8, 7, 0x10, 1]).1, Some(7), "a key that is a number");
}

#[test]
fn the_seek_of_a_broken_iterator_is_named_too() {
    let seq = |request: &[u8]| match Request::decode(Bytes::copy_from_slice(request)) {
        Err(FrameError::Malformed { id, seq, .. }) => (id, seq),
        other => panic!("{other:?}"),
    };
    assert_eq!(seq(&[9, 8, 7, 0x10, 3]), (Some(7), Some(3)), "a seek without a target");
    assert_eq!(seq(&[4, 0x10, 3]), (None, Some(3)));
    assert_eq!(seq(&[9, 8, 7]), (Some(7), None));
    assert_eq!(seq(&[1, 8, 7, 0x12, 1, b'a']), (Some(7), None), "a put has none");
}

#[test]
fn numbers_are_never_cut_to_fit() {
    let id_of_33_bits = [8, 0x85, 0x80, 0x80, 0x80, 0x10];
    let (_, id, reason) = malformed(&[&[0], &id_of_33_bits[..], &[0x12, 1, b'a']].concat());
    assert_eq!((id, reason.as_str()), (None, "field 1 does not fit 32 bits"));
    let (_, id, reason) = malformed(&[&[9, 8, 7, 0x10], &id_of_33_bits[1..], &[0x1a, 0]].concat());
    assert_eq!((id, reason.as_str()), (Some(7), "field 2 does not fit 32 bits"));
    let padded = Bytes::from_static(&[0, 8, 0x87, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0, 0x12, 1, b'a']);
    let get = Get { id: 7, key: Some(Bytes::from_static(b"a")), snapshot: None };
    assert_eq!(Request::decode(padded), Ok(Request::Get(get)), "ten bytes may say a small number");
    // JavaScript peers send any limit here, as zigzag.
    let limit = Bytes::from_static(&[5, 8, 7, 0x12, 6, 0x38, 0x86, 0x80, 0x80, 0x80, 0x20]);
    match Request::decode(limit) {
        Ok(Request::Clear(clear)) => assert_eq!(clear.options.unwrap().limit, Some((1 << 32) + 3)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn unknown_fields_and_tags_are_ignored() {
    for unknown in [
        &[0x58, 0xff, 0xff, 3][..],      // a number
        &[0x59, 1, 2, 3, 4, 5, 6, 7, 8], // eight bytes
        &[0x5a, 2, 9, 9],                // bytes
        &[0x5d, 1, 2, 3, 4],             // four bytes
        &[0x5b, 0x08, 1, 0x5c],          // a group
        &[0x82, 0x40, 1, 9],             // a field above 63
    ] {
        let mut frame = vec![0, 8, 7];
        frame.extend_from_slice(unknown);
        frame.extend_from_slice(&[0x12, 1, b'a']);
        let get = Get { id: 7, key: Some(Bytes::from_static(b"a")), snapshot: None };
        assert_eq!(Request::decode(frame.into()).unwrap(), Request::Get(get));
    }
    for tag in (10..32).chain(37..=255) {
        assert_eq!(Request::decode(Bytes::copy_from_slice(&[tag, 0xff])), Ok(Request::Unknown(tag)));
    }
    for tag in (5..32).chain(35..=255) {
        assert_eq!(Response::decode(Bytes::copy_from_slice(&[tag, 0xff])), Ok(Response::Unknown(tag)));
    }
    // Groups in groups must end the frame, not the stack.
    let mut deep = vec![0, 8, 7];
    deep.extend_from_slice(&[0x5b; 100_000]);
    assert_eq!(malformed(&deep).1, Some(7));
    let long_number = [0, 8, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1];
    assert_eq!(malformed(&long_number).1, None);
}
