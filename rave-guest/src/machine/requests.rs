//! Operations as requests, and callbacks as replies.

use super::{Leader, Operation, Reply};
use bytes::{Bytes, BytesMut};
use rave_core::{Code, Effect, Error, KeyRange, Result};
use rave_transport::wire::{
    Request,
    message::{self, BatchOperation, Callback, GetManyCallback, RangeOptions, StatusReply},
};
use std::ops::Bound;

/// What legacy peers say for a missing key.
const NOT_FOUND: &str = "LEVEL_NOT_FOUND";

/// Where a write stands in the session of its handle.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Numbering {
    /// Its number.
    pub(super) number: Option<u64>,
    /// All writes below this number are answered.
    pub(super) settled: Option<u64>,
}

pub(super) fn encode(
    operation: &Operation,
    id: u32,
    numbering: Numbering,
    leader: &Leader,
    out: &mut BytesMut,
) -> Result<()> {
    let Numbering { number, settled } = numbering;
    let snapshot = operation.snapshot();
    let sync = |sync: bool| {
        if sync && leader.legacy {
            return Err(Error::not_supported("a synced write through a leader of the legacy protocol"));
        }
        Ok(sync.then_some(true))
    };
    let request = match operation {
        Operation::Get { key, .. } => Request::Get(message::Get { id, key: Some(key.clone()), snapshot }),
        Operation::GetMany { keys, .. } => {
            Request::GetMany(message::GetMany { id, keys: keys.clone(), snapshot, existence: None })
        }
        // A leader that does not know the question answers with the values. One of the legacy protocol that closes can die of a
        // getMany, so it gets none for a single key.
        Operation::HasMany { keys, .. } => match keys.as_slice() {
            [key] if leader.legacy => Request::Get(message::Get { id, key: Some(key.clone()), snapshot }),
            _ => Request::GetMany(message::GetMany { id, keys: keys.clone(), snapshot, existence: Some(true) }),
        },
        Operation::Snapshot(_) if !leader.manifest.explicit_snapshots => {
            return Err(Error::not_supported("an explicit snapshot through this leader"));
        }
        Operation::Snapshot(snapshot) => Request::SnapshotOpen(message::SnapshotOpen { id, snapshot: *snapshot }),
        Operation::Write { batch, sync: synced } => {
            let sync = sync(*synced)?;
            let mut operations = batch.operations();
            let conditions = batch.conditions();
            if conditions.len() > 0 && !leader.manifest.conditions {
                return Err(Error::not_supported("a condition on a batch, through this leader,"));
            }
            match (operations.len() + conditions.len(), operations.next()) {
                (1, Some(rave_core::Operation::Put { key, value })) => {
                    let (key, value) = (Some(key.clone()), Some(value.clone()));
                    Request::Put(message::Put { id, key, value, sync, number, settled })
                }
                (1, Some(rave_core::Operation::Del { key })) => {
                    Request::Del(message::Del { id, key: Some(key.clone()), sync, number, settled })
                }
                _ => {
                    let ops = batch.operations().map(batch_operation).collect();
                    let conditions = conditions.map(Into::into).collect();
                    Request::Batch(message::Batch { id, ops, sync, number, settled, conditions })
                }
            }
        }
        Operation::Clear { options, .. } => {
            let sync = sync(options.sync)?;
            // Iterators' two fields are not sent: the reference implementation leaves them out here.
            let range = RangeOptions {
                keys: None,
                values: None,
                snapshot,
                ..range_options(&options.range, options.reverse, options.limit, leader.legacy)?
            };
            if !options.and_write.is_empty() && !leader.manifest.atomic_clear {
                return Err(Error::not_supported("writing along with a clear, through this leader,"));
            }
            let ops = options.and_write.operations().map(batch_operation).collect();
            Request::Clear(message::Clear { id, options: Some(range), sync, number, settled, ops })
        }
        Operation::Status if leader.legacy => {
            return Err(Error::not_supported("asking a leader of the legacy protocol how it fares"));
        }
        Operation::Status => Request::Status(message::StatusRequest { id }),
    };
    request.encode(out);
    Ok(())
}

fn batch_operation(operation: &rave_core::Operation) -> BatchOperation {
    match operation {
        rave_core::Operation::Put { key, value } => {
            BatchOperation { kind: "put".to_owned(), key: Some(key.clone()), value: Some(value.clone()) }
        }
        rave_core::Operation::Del { key } => {
            BatchOperation { kind: "del".to_owned(), key: Some(key.clone()), value: None }
        }
    }
}

/// A range as the wire has it, with keys and values.
pub(super) fn range_options(range: &KeyRange, reverse: bool, limit: Option<u64>, legacy: bool) -> Result<RangeOptions> {
    let (gte, gt) = match range.lower() {
        Bound::Included(key) => (Some(key.clone()), None),
        Bound::Excluded(key) => (None, Some(key.clone())),
        Bound::Unbounded => (None, None),
    };
    let (lte, lt) = match range.upper() {
        Bound::Included(key) => (Some(key.clone()), None),
        Bound::Excluded(key) => (None, Some(key.clone())),
        Bound::Unbounded => (None, None),
    };
    let (short, long) = match limit {
        None => (-1, None),
        Some(limit) => match i32::try_from(limit) {
            Ok(limit) => (i64::from(limit), None),
            Err(_) if legacy => {
                return Err(Error::not_supported("a limit of 2^31 or more through a leader of the legacy protocol"));
            }
            Err(_) => (-1, Some(limit)),
        },
    };
    Ok(RangeOptions {
        keys: Some(true),
        values: Some(true),
        gt,
        gte,
        lt,
        lte,
        limit: Some(short),
        reverse: Some(reverse),
        long_limit: long,
        internal: None,
        snapshot: None,
    })
}

pub(super) fn callback(operation: &Operation, answer: Callback, legacy: bool) -> Result<Reply> {
    if let Some(code) = answer.error {
        match operation {
            Operation::Get { .. } if code == NOT_FOUND => return Ok(Reply::Value(None)),
            Operation::HasMany { keys, .. } if code == NOT_FOUND && keys.len() == 1 => {
                return Ok(Reply::Existing(vec![false]));
            }
            _ => {}
        }
        if Code::from_name(&code) == Some(Code::ConditionFailed) {
            return Err(condition_failed(operation, &answer.failed));
        }
        let error = error_of(Some(&code), answer.message.unwrap_or_default());
        let unknown = match answer.effect {
            Some(effect) => effect != 0,
            // A legacy leader never says; a native one leaves it out for "none".
            None => legacy && !refuses(error.code()),
        };
        let effect = if unknown && operation.is_write() { Effect::Unknown } else { Effect::None };
        return Err(error.with_effect(effect));
    }
    match (operation, answer.value) {
        (Operation::Get { .. }, Some(value)) => Ok(Reply::Value(Some(unpinned(value)))),
        (Operation::HasMany { keys, .. }, Some(_)) if keys.len() == 1 => Ok(Reply::Existing(vec![true])),
        (Operation::Write { .. } | Operation::Clear { .. } | Operation::Snapshot(_), None) => Ok(Reply::Done),
        // Neither the value nor the absence of a key, or the answer to something else.
        _ => Err(unexpected(operation)),
    }
}

pub(super) fn get_many(operation: &Operation, answer: GetManyCallback) -> Result<Reply> {
    if let Some(code) = answer.error {
        return Err(error_of(Some(&code), answer.message.unwrap_or_default()));
    }
    let values = answer.values;
    match operation {
        Operation::GetMany { keys, .. } if keys.len() == values.len() => {
            Ok(Reply::Values(values.into_iter().map(|value| value.value.map(unpinned)).collect()))
        }
        Operation::HasMany { keys, .. } if keys.len() == answer.existing.len() => Ok(Reply::Existing(answer.existing)),
        Operation::HasMany { keys, .. } if keys.len() == values.len() => {
            Ok(Reply::Existing(values.iter().map(|value| value.value.is_some()).collect()))
        }
        _ => Err(unexpected(operation)),
    }
}

pub(super) fn status(operation: &Operation, answer: StatusReply) -> Result<Reply> {
    match operation {
        Operation::Status => Ok(Reply::Status(Box::new(answer))),
        _ => Err(unexpected(operation)),
    }
}

/// Values of at most so many bytes are copied out of the receive buffer.
///
/// A slice keeps its whole buffer, 64 KiB or more, for as long as the user keeps the value, and while it lives the buffer
/// cannot be used again. Measured with values of 100 bytes: a copy costs some 12 ns, less than it costs to replace a
/// buffer that is held for each value that is kept.
const COPIED: usize = 8 << 10;

fn unpinned(value: Bytes) -> Bytes {
    if value.len() <= COPIED { Bytes::copy_from_slice(&value) } else { value }
}

/// The conditions of `operation` at these indices do not hold, says a leader.
pub(super) fn condition_failed(operation: &Operation, failed: &[u32]) -> Error {
    let conditions = match operation {
        Operation::Write { batch, .. } => batch.conditions().len(),
        _ => 0,
    };
    let failed: Vec<usize> = failed.iter().map(|index| *index as usize).collect();
    if failed.is_empty() || !failed.is_sorted() || failed.last().is_some_and(|last| *last >= conditions) {
        return unexpected(operation);
    }
    Error::condition_failed(failed)
}

/// Whether a leader that answers a write with `code` has certainly not begun to apply it.
fn refuses(code: Code) -> bool {
    matches!(
        code,
        Code::DatabaseNotOpen
            | Code::Hook
            | Code::InvalidKey
            | Code::InvalidPrefix
            | Code::InvalidValue
            | Code::NotSupported
            | Code::ReadOnly
    )
}

fn unexpected(operation: &Operation) -> Error {
    let effect = if operation.is_write() { Effect::Unknown } else { Effect::None };
    Error::new(Code::Remote, "the leader's answer does not fit the request").with_effect(effect)
}

pub(super) fn error_of(code: Option<&str>, message: String) -> Error {
    let name = code.unwrap_or("");
    let known = Code::from_name(name);
    let text = match (message.is_empty(), known) {
        (false, Some(_)) => format!("the leader says: {message}"),
        (false, None) => format!("the leader says: {message} ({name})"),
        (true, _) => format!("the leader reports {name}"),
    };
    Error::new(known.unwrap_or(Code::Remote), text)
}
