//! Between messages and the vocabulary of stores: what a request asks for, and how an error is told.

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
        effect: (error.effect() == Effect::Unknown).then_some(1),
    })
}

pub(super) fn iterator_error(id: u32, seq: u32, error: &Error) -> Response {
    let code = Some(error.code().as_str().to_owned());
    Response::IteratorError(IteratorError { id, seq, error: code, message: Some(error.full_message()) })
}

pub(super) fn get_many_error(id: u32, error: &Error) -> Response {
    let code = Some(error.code().as_str().to_owned());
    Response::GetManyCallback(GetManyCallback { id, error: code, message: Some(error.full_message()), values: vec![] })
}

/// Bytes of an entry in a frame, at most about.
pub(super) fn size_of(entry: &Entry) -> usize {
    entry.key.len() + entry.value.len() + 12
}

/// `values`, if there are as many as were asked for.
pub(crate) fn counted(values: Vec<Option<Bytes>>, wanted: usize) -> Result<Vec<Option<Bytes>>> {
    if values.len() == wanted {
        return Ok(values);
    }
    Err(Error::new(Code::Corruption, format!("the store gave {} values for {wanted} keys", values.len())))
}

/// Whether a write asks to be synced; `None` if it is no write that can be merged.
pub(super) fn sync_of(request: &Request) -> Option<bool> {
    match request {
        Request::Put(message::Put { sync, .. })
        | Request::Del(message::Del { sync, .. })
        | Request::Batch(message::Batch { sync, .. }) => Some(sync.unwrap_or(false)),
        _ => None,
    }
}

pub(super) fn write_of(request: Request) -> Option<(u32, Batch, bool)> {
    let put = |key: Option<Bytes>, value: Option<Bytes>| Operation::Put {
        key: key.unwrap_or_default(),
        value: value.unwrap_or_default(),
    };
    let del = |key: Option<Bytes>| Operation::Del { key: key.unwrap_or_default() };
    Some(match request {
        Request::Put(p) => (p.id, [put(p.key, p.value)].into_iter().collect(), p.sync.unwrap_or(false)),
        Request::Del(d) => (d.id, [del(d.key)].into_iter().collect(), d.sync.unwrap_or(false)),
        Request::Batch(b) => {
            let operations = b.ops.into_iter().map(|op| match op.kind.as_str() {
                "del" => del(op.key),
                _ => put(op.key, op.value),
            });
            (b.id, operations.collect(), b.sync.unwrap_or(false))
        }
        _ => return None,
    })
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
