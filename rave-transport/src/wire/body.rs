//! How a message's fields become a frame and the reverse, with the checks that protobuf decoding leaves out.
//!
//! Invariants: a message is written straight into the caller's buffer; reading copies no key and no value; a message
//! that lacks a field which its meaning needs is refused, never guessed.

use super::{FrameError, frame::put_length, message::*};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use prost::{
    Message,
    encoding::{DecodeContext, decode_key, decode_varint},
};
use rave_core::MAX_CONDITIONS;

/// What a message must have beyond what `prost` checks.
pub(super) trait Body: Message + Default {
    /// One bit per field number that must be present.
    const REQUIRED: u64;

    /// One bit per field number that tells which request, iterator or seek it speaks of: a number of 32 bits.
    const NAMES: u64;

    /// The request or iterator it speaks of, if it speaks of one.
    fn id(&self) -> Option<u32>;

    /// The seek of that iterator which it belongs to, if it speaks of one.
    fn seq(&self) -> Option<u32>;

    /// Asked after each field: whether what it added last is as it must be; what is wrong if not. Thus a frame of
    /// nothing but empty operations is given up at the first, before it costs many times its size.
    fn check(&self) -> Result<(), &'static str> {
        Ok(())
    }
}

/// Appends one frame.
pub(super) fn encode<M: Body>(tag: u8, message: &M, out: &mut BytesMut) {
    let length = message.encoded_len() + 1;
    out.reserve(length + 10);
    put_length(length as u64, out);
    out.put_u8(tag);
    message.encode_raw(out);
}

/// Reads the body behind the tag.
pub(super) fn decode<M: Body>(tag: u8, mut body: Bytes) -> Result<M, FrameError> {
    let mut message = M::default();
    let mut seen = 0_u64;
    while body.has_remaining() {
        match merge_next(&mut message, &mut body) {
            Ok(field) => seen |= bit(field),
            Err(reason) => return Err(malformed(tag, &message, seen, reason)),
        }
        message.check().map_err(|reason| malformed(tag, &message, seen, reason.to_owned()))?;
    }
    let missing = M::REQUIRED & !seen;
    if missing != 0 {
        let reason = format!("field {} is missing", missing.trailing_zeros());
        return Err(malformed(tag, &message, seen, reason));
    }
    Ok(message)
}

fn bit(field: u32) -> u64 {
    1_u64.checked_shl(field).unwrap_or(0)
}

/// Reads the field at the front, whose number is returned.
fn merge_next<M: Body>(message: &mut M, body: &mut Bytes) -> Result<u32, String> {
    let (field, wire_type) = decode_key(body).map_err(|error| error.to_string())?;
    // `prost` would cut a longer number down to 32 bits, and somebody else's request would be answered.
    if M::NAMES & bit(field) != 0 && decode_varint(&mut &**body).is_ok_and(|number| number > u32::MAX.into()) {
        return Err(format!("field {field} does not fit 32 bits"));
    }
    message.merge_field(field, wire_type, body, DecodeContext::default()).map_err(|error| error.to_string())?;
    Ok(field)
}

#[cold]
fn malformed<M: Body>(tag: u8, message: &M, seen: u64, reason: String) -> FrameError {
    let id = message.id().filter(|_| seen & 0b10 != 0);
    let seq = message.seq().filter(|_| seen & 0b100 != 0);
    FrameError::Malformed { tag, id, seq, reason }
}

macro_rules! bodies {
    ($($name:ident [$($field:literal),*] $id:ident $(, $check:expr)?;)*) => {
        $(impl Body for $name {
            const REQUIRED: u64 = 0 $(| 1 << $field)*;
            bodies!(@$id);
            $(fn check(&self) -> Result<(), &'static str> {
                ($check)(self)
            })?
        })*
    };
    (@id) => {
        bodies!(@names 0b10, |message: &Self| Some(message.id), |_: &Self| None);
    };
    (@seq) => {
        bodies!(@names 0b110, |message: &Self| Some(message.id), |message: &Self| Some(message.seq));
    };
    (@anonymous) => {
        bodies!(@names 0, |_: &Self| None, |_: &Self| None);
    };
    (@names $names:expr, $id:expr, $seq:expr) => {
        const NAMES: u64 = $names;

        fn id(&self) -> Option<u32> {
            $id(self)
        }

        fn seq(&self) -> Option<u32> {
            $seq(self)
        }
    };
}

bodies! {
    Get [1, 2] id;
    Put [1, 2, 3] id;
    Del [1, 2] id;
    Batch [1] id, check_batch;
    Clear [1, 2] id, |clear: &Clear| clear.ops.last().map_or(Ok(()), check_operation);
    Iterator [1, 2, 3] seq;
    IteratorClose [1] id;
    IteratorAck [1, 2, 3] seq;
    IteratorSeek [1, 2, 3] seq;
    GetMany [1] id;
    Hello [1] anonymous;
    StatusRequest [1] id;
    Goodbye [] anonymous;
    SnapshotOpen [1, 2] id;
    SnapshotClose [1] anonymous;
    Callback [1] id;
    IteratorData [1, 2] seq;
    IteratorError [1, 2, 3] seq;
    IteratorEnd [1, 2] seq;
    GetManyCallback [1] id;
    Welcome [1] anonymous;
    Leaving [] anonymous;
    StatusReply [1] id;
}

fn check_batch(batch: &Batch) -> Result<(), &'static str> {
    batch.ops.last().map_or(Ok(()), check_operation)?;
    match batch.conditions.last() {
        Some(condition) if condition.key.is_none() && condition.digest.is_none() => {
            Err("a condition has neither key nor digest")
        }
        Some(condition) if condition.bounds.len() > 2 * MAX_CONDITIONS => Err("a condition has too many ranges"),
        Some(_) if batch.conditions.len() > MAX_CONDITIONS => Err("there are more conditions than a batch may have"),
        _ => Ok(()),
    }
}

fn check_operation(operation: &BatchOperation) -> Result<(), &'static str> {
    if operation.key.is_none() {
        return Err("an operation has no key");
    }
    match operation.kind.as_str() {
        "put" if operation.value.is_none() => Err("a put has no value"),
        "put" | "del" => Ok(()),
        _ => Err("an operation is neither put nor del"),
    }
}
