//! Between messages and the vocabulary of stores: what a request asks for, and how an error is told.

use super::session::failed_of;
use bytes::Bytes;
use rave_core::{Batch, Code, Effect, Entry, Error, KeyRange, Operation, Result};
use rave_transport::wire::{
    Request, Response,
    message::{self, Callback, GetManyCallback, IteratorError, RangeOptions},
};
use std::ops::Bound;

/// What legacy peers say for a missing key.
pub(super) const NOT_FOUND: &str = "LEVEL_NOT_FOUND";
/// Bytes a frame needs beside its payload, at most.
pub(super) const FRAME_OVERHEAD: usize = 64;

pub(super) fn too_large(size: usize, limit: usize) -> Error {
    let message = format!("the answer of {size} bytes does not fit a frame of {limit} bytes; ask for less at once");
    Error::new(Code::NotSupported, message)
}

pub(super) fn callback_error(id: u32, error: &Error) -> Response {
    Response::Callback(Callback {
        id,
        error: Some(error.code().as_str().to_owned()),
        value: None,
        message: Some(error.full_message()),
        effect: effect_of(error),
        failed: failed_of(error),
    })
}

pub(super) fn effect_of(error: &Error) -> Option<u32> {
    (error.effect() == Effect::Unknown).then_some(1)
}

pub(super) fn iterator_error(id: u32, seq: u32, error: &Error) -> Response {
    let code = Some(error.code().as_str().to_owned());
    Response::IteratorError(IteratorError { id, seq, error: code, message: Some(error.full_message()) })
}

pub(super) fn get_many_error(id: u32, error: &Error) -> Response {
    let code = Some(error.code().as_str().to_owned());
    let message = Some(error.full_message());
    Response::GetManyCallback(GetManyCallback { id, error: code, message, ..Default::default() })
}

/// Bytes of an entry in a frame, at most about.
pub(super) fn size_of(entry: &Entry) -> usize {
    entry.key.len() + entry.value.len() + 12
}

/// `values`, if there are as many as were asked for.
pub(crate) fn counted<T>(values: Vec<T>, wanted: usize) -> Result<Vec<T>> {
    if values.len() == wanted {
        return Ok(values);
    }
    Err(Error::new(Code::Corruption, format!("the store gave {} values for {wanted} keys", values.len())))
}

/// A write as a guest asks for it.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) id: u32,
    pub(super) batch: Batch,
    pub(super) sync: bool,
    /// Its number in the guest's session.
    pub(super) number: Option<u64>,
}

/// What tells whether a write can be done together with another one: whether it is synced, and its number. `None` if it
/// cannot be.
pub(super) fn merging_of(request: &Request) -> Option<(bool, Option<u64>)> {
    match request {
        Request::Put(message::Put { sync, number, .. }) | Request::Del(message::Del { sync, number, .. }) => {
            Some((sync.unwrap_or(false), *number))
        }
        Request::Batch(message::Batch { sync, number, conditions, .. }) if conditions.is_empty() => {
            Some((sync.unwrap_or(false), *number))
        }
        _ => None,
    }
}

/// All writes of the guest's session below this number are answered, says a write.
pub(super) fn settled_of(request: &Request) -> Option<u64> {
    match request {
        Request::Put(message::Put { settled, .. })
        | Request::Del(message::Del { settled, .. })
        | Request::Batch(message::Batch { settled, .. }) => *settled,
        _ => None,
    }
}

/// A request as a write, or its id and what is wrong with it.
pub(super) fn write_of(request: Request) -> Result<Write, (u32, Error)> {
    let put = |key: Option<Bytes>, value: Option<Bytes>| Operation::Put {
        key: key.unwrap_or_default(),
        value: value.unwrap_or_default(),
    };
    let del = |key: Option<Bytes>| Operation::Del { key: key.unwrap_or_default() };
    let (id, batch, sync, number) = match request {
        Request::Put(p) => (p.id, [put(p.key, p.value)].into_iter().collect(), p.sync, p.number),
        Request::Del(d) => (d.id, [del(d.key)].into_iter().collect(), d.sync, d.number),
        Request::Batch(b) => {
            let mut batch = operations_of(b.ops);
            for condition in b.conditions {
                let malformed =
                    |reason| (b.id, Error::new(Code::Remote, format!("the request was malformed: {reason}")));
                batch = batch.require(condition.try_into().map_err(malformed)?);
            }
            (b.id, batch, b.sync, b.number)
        }
        _ => return Err((0, Error::new(Code::Remote, "the request is no write"))),
    };
    Ok(Write { id, batch, sync: sync.unwrap_or(false), number })
}

pub(super) fn operations_of(operations: Vec<message::BatchOperation>) -> Batch {
    let operation = |op: message::BatchOperation| match op.kind.as_str() {
        "del" => Operation::Del { key: op.key.unwrap_or_default() },
        _ => Operation::Put { key: op.key.unwrap_or_default(), value: op.value.unwrap_or_default() },
    };
    operations.into_iter().map(operation).collect()
}

pub(super) fn range_of(options: &RangeOptions) -> KeyRange {
    let lower = match (&options.gte, &options.gt) {
        (Some(gte), _) => Bound::Included(gte.clone()),
        (None, Some(gt)) => Bound::Excluded(gt.clone()),
        (None, None) => Bound::Unbounded,
    };
    let upper = match (&options.lte, &options.lt) {
        (Some(lte), _) => Bound::Included(lte.clone()),
        (None, Some(lt)) => Bound::Excluded(lt.clone()),
        (None, None) => Bound::Unbounded,
    };
    KeyRange::new(lower, upper)
}

pub(super) fn limit_of(options: &RangeOptions) -> Option<u64> {
    // An absent limit is no limit: only JavaScript takes it for zero, and only by accident.
    options.long_limit.or_else(|| options.limit.and_then(|limit| u64::try_from(limit).ok()))
}
