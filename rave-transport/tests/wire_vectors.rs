//! The bytes that many-level writes and reads, both ways.

use bytes::{Bytes, BytesMut};
use rave_transport::wire::{FrameDecoder, Limits, Request, Response, message::*};

fn bytes(text: &str) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(text.as_bytes()))
}

fn unhex(text: &str) -> BytesMut {
    BytesMut::from(hex::decode(text.replace(' ', "")).unwrap().as_slice())
}

fn frame(text: &str) -> Bytes {
    let mut buffer = unhex(text);
    let frame = FrameDecoder::new(Limits::default()).decode(&mut buffer).unwrap().unwrap();
    assert!(buffer.is_empty(), "{text} is one frame");
    frame
}

#[test]
fn requests_are_written_and_read_as_by_many_level() {
    let put = |key, value| BatchOperation { kind: "put".into(), key: bytes(key), value: bytes(value) };
    let del = |key| BatchOperation { kind: "del".into(), key: bytes(key), value: None };
    let all = RangeOptions { limit: Some(-1), reverse: Some(false), ..Default::default() };
    let whole = RangeOptions { keys: Some(true), values: Some(true), ..all.clone() };
    for (request, text) in [
        (Request::Get(Get { id: 1, key: bytes("a"), snapshot: None }), "06 00 0801 120161"),
        (Request::Get(Get { id: 2, key: bytes(""), snapshot: None }), "05 00 0802 1200"),
        (Request::Put(Put { id: 3, key: bytes("a"), value: bytes(""), ..Put::default() }), "08 01 0803 120161 1a00"),
        (
            Request::Batch(Batch { id: 6, ops: vec![put("a", "1"), del("b")], ..Batch::default() }),
            "1a 03 0806 120b 0a03707574 120161 1a0131 1208 0a0364656c 120162",
        ),
        (Request::Clear(Clear { id: 8, options: Some(all), ..Clear::default() }), "09 05 0808 1204 3801 4000"),
        (
            Request::Iterator(Iterator { id: 1, options: Some(whole), consumed: Some(0), ..Default::default() }),
            "11 04 0801 1000 1a08 0801 1001 3801 4000 2000",
        ),
        (
            Request::IteratorSeek(IteratorSeek { id: 1, seq: 1, target: bytes("x"), consumed: None }),
            "08 09 0801 1001 1a0178",
        ),
    ] {
        let mut out = BytesMut::new();
        request.encode(&mut out);
        assert_eq!(hex::encode(&out), text.replace(' ', ""), "{request:?}");
        assert_eq!(Request::decode(frame(text)).unwrap(), request, "{text}");
    }
}

#[test]
fn an_unfinished_range_is_completed_when_written() {
    for (request, text) in [
        (Request::Clear(Clear { id: 8, ..Default::default() }), "09 05 0808 1204 3801 4000"),
        (
            Request::Clear(Clear { id: 8, options: Some(RangeOptions::default()), ..Clear::default() }),
            "09 05 0808 1204 3801 4000",
        ),
        (Request::Iterator(Iterator { id: 1, ..Default::default() }), "11 04 0801 1000 1a08 0801 1001 3801 4000 2000"),
    ] {
        let mut out = BytesMut::new();
        request.encode(&mut out);
        assert_eq!(hex::encode(&out), text.replace(' ', ""), "{request:?}");
    }
}

#[test]
fn responses_are_written_and_read_as_by_many_level() {
    let value = |value: Option<&str>| MaybeValue { value: value.and_then(bytes) };
    for (response, text) in [
        (Response::Callback(Callback { id: 1, ..Default::default() }), "03 00 0801"),
        (Response::Callback(Callback { id: 3, value: bytes(""), ..Default::default() }), "05 00 0803 1a00"),
        (
            Response::Callback(Callback { id: 4, error: Some("LEVEL_NOT_FOUND".into()), ..Default::default() }),
            "14 00 0804 120f 4c4556454c5f4e4f545f464f554e44",
        ),
        (
            Response::GetManyCallback(GetManyCallback {
                id: 5,
                values: vec![value(Some("")), value(None), value(Some("1"))],
                ..Default::default()
            }),
            "0e 02 0805 1a020a00 1a00 1a030a0131",
        ),
        (
            Response::IteratorData(IteratorData {
                id: 1,
                seq: 0,
                data: vec![Bytes::from_static(b"a"), Bytes::from_static(b"1")],
            }),
            "0b 01 0801 1000 1a0161 1a0131",
        ),
        (Response::IteratorEnd(IteratorEnd { id: 1, seq: 0 }), "05 04 0801 1000"),
    ] {
        let mut out = BytesMut::new();
        response.encode(&mut out);
        assert_eq!(hex::encode(&out), text.replace(' ', ""), "{response:?}");
        assert_eq!(Response::decode(frame(text)).unwrap(), response, "{text}");
    }
}
