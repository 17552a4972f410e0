//! Which request it is that is too large to be read, so that it can be answered.

use bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint};

/// The tag of the frame at the front of `input`, the id of its request or iterator and the seek, as far as it has come. They
/// are its first fields, whoever sends it.
pub(crate) fn names_of(mut input: &[u8]) -> Option<(u8, u32, Option<u32>)> {
    let _length = decode_varint(&mut input).ok()?;
    let tag = input.try_get_u8().ok()?;
    let id = number(&mut input, 1)?;
    Some((tag, id, number(&mut input, 2)))
}

/// The field at the front, if it is this one and a number.
fn number(input: &mut &[u8], wanted: u32) -> Option<u32> {
    match decode_key(input) {
        Ok((field, WireType::Varint)) if field == wanted => u32::try_from(decode_varint(input).ok()?).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::{Bytes, BytesMut};
    use rave_transport::wire::{
        Request,
        message::{Batch, BatchOperation, IteratorSeek, Put},
    };

    fn names(request: &Request, bytes: usize) -> Option<(u8, u32, Option<u32>)> {
        let mut frame = BytesMut::new();
        request.encode(&mut frame);
        names_of(frame.get(..bytes.min(frame.len())).unwrap())
    }

    #[test]
    fn requests_are_known_by_their_first_bytes() {
        let large = Bytes::from(vec![b'x'; 1 << 20]);
        let put = Put { id: 300, key: Some("k".into()), value: Some(large.clone()), ..Put::default() };
        assert_eq!(names(&Request::Put(put), 16), Some((1, 300, None)));
        let op = BatchOperation { kind: "put".into(), key: Some("k".into()), value: Some(large.clone()) };
        let batch = Batch { id: 7, ops: vec![op], ..Batch::default() };
        assert_eq!(names(&Request::Batch(batch), 16), Some((3, 7, None)));
        let seek = IteratorSeek { id: 9, seq: 4, target: Some(large), ..IteratorSeek::default() };
        let seek = Request::IteratorSeek(seek);
        assert_eq!(names(&seek, 16), Some((9, 9, Some(4))));
        for bytes in 0..6 {
            assert_eq!(names(&seek, bytes), None, "{bytes}");
        }
    }
}
