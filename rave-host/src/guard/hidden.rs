//! What users of a shared database neither see nor write: the keys that rave-level keeps for itself, from [`RESERVED`] on.

use crate::machine::convert::counted;
use bytes::Bytes;
use rave_core::{Batch, ClearOptions, Code, Condition, Error, Event, KeyRange, Operation, RESERVED, Result};
use std::{
    cmp::Ordering,
    ops::Bound,
    sync::{Arc, LazyLock},
};

static HIDDEN: LazyLock<KeyRange> = LazyLock::new(|| KeyRange::prefix(RESERVED));

/// What `ask` tells of `keys`, and nothing of those that are hidden.
pub(super) async fn of_visible<T: Default, R: Future<Output = Result<Vec<T>>>>(
    keys: Vec<Bytes>,
    ask: impl FnOnce(Vec<Bytes>) -> R,
) -> Result<Vec<T>> {
    if !keys.iter().any(|key| is_hidden(key)) {
        return ask(keys).await;
    }
    let hidden: Vec<bool> = keys.iter().map(|key| is_hidden(key)).collect();
    let visible: Vec<Bytes> = keys.into_iter().filter(|key| !is_hidden(key)).collect();
    let wanted = visible.len();
    let mut answers = counted(ask(visible).await?, wanted)?.into_iter();
    Ok(hidden
        .into_iter()
        .map(|hidden| if hidden { T::default() } else { answers.next().unwrap_or_default() })
        .collect())
}

/// Whether `key` is one of the hidden ones.
pub(super) fn is_hidden(key: &[u8]) -> bool {
    key.starts_with(RESERVED.as_bytes())
}

/// Whether some key of `range` is hidden.
pub(super) fn overlaps(range: &KeyRange) -> bool {
    !range.intersection(&HIDDEN).is_empty()
}

/// Where `key` lies, seen from the hidden keys; `Equal` if it is one of them.
pub(super) fn side(key: &[u8]) -> Ordering {
    if is_hidden(key) { Ordering::Equal } else { key.cmp(RESERVED.as_bytes()) }
}

/// Where an iterator in that direction leaves the hidden keys: the first key behind them, in reverse the last among them.
pub(super) fn far_end(reverse: bool) -> Bytes {
    match HIDDEN.upper() {
        Bound::Excluded(end) if !reverse => end.clone(),
        _ => Bytes::from_static(RESERVED.as_bytes()),
    }
}

/// Refuses a user's batch that names a hidden key, in an operation or in a condition.
///
/// Errors: `LEVEL_INVALID_KEY`, with effect `None`.
pub(super) fn refuse(batch: &Batch) -> Result<()> {
    let named = |condition: &Condition| match condition {
        Condition::Absent { key } | Condition::Equals { key, .. } => is_hidden(key),
        Condition::Unchanged { .. } => false,
    };
    if batch.operations().any(|operation| is_hidden(operation.key())) || batch.conditions().any(named) {
        let message = format!("keys that begin with {RESERVED} are reserved: rave-level keeps its own records there");
        return Err(Error::new(Code::InvalidKey, message));
    }
    Ok(())
}

/// The batch with conditions on what its user sees: ranges go around the hidden keys.
pub(super) fn conditions_around(batch: Batch) -> Batch {
    let concerned = |condition: &Condition| match condition {
        Condition::Unchanged { ranges, .. } => ranges.iter().any(overlaps),
        _ => false,
    };
    if !batch.conditions().any(concerned) {
        return batch;
    }
    batch.map_conditions(|condition| match condition {
        Condition::Unchanged { ranges, strip, digest } => {
            let parts = ranges.iter().flat_map(|range| range.without(&HIDDEN));
            Condition::Unchanged { ranges: parts.filter(|part| !part.is_empty()).collect(), strip, digest }
        }
        other => other,
    })
}

/// The clear that leaves the hidden keys.
pub(super) fn clear_around(mut options: ClearOptions) -> ClearOptions {
    if overlaps(&options.range) {
        options.except.push(HIDDEN.clone());
    }
    options
}

/// What users may know of an event of the store: nothing of hidden keys.
pub(super) fn visible(event: Event) -> Option<Event> {
    match event {
        Event::Write(batch) => match visible_writes(&batch) {
            None => Some(Event::Write(batch)),
            // A batch of conditions alone announces nothing, wherever it is written.
            Some(rest) => (!rest.writes_nothing()).then(|| Event::Write(Arc::new(rest))),
        },
        Event::Clear(options) => Some(match visible_clear(&options) {
            Some(rest) => Event::Clear(Arc::new(rest)),
            None => Event::Clear(options),
        }),
        other => Some(other),
    }
}

/// The batch without writes of hidden keys, if it has any.
fn visible_writes(batch: &Batch) -> Option<Batch> {
    let hidden = |operation: &&Operation| is_hidden(operation.key());
    batch.operations().any(|operation| hidden(&operation)).then(|| {
        let rest: Batch = batch.operations().filter(|operation| !hidden(operation)).cloned().collect();
        batch.conditions().cloned().fold(rest, Batch::require)
    })
}

/// The clear as its user asked for it, if more was asked of the store.
fn visible_clear(options: &ClearOptions) -> Option<ClearOptions> {
    let and_write = visible_writes(&options.and_write);
    if and_write.is_none() && !options.except.contains(&HIDDEN) {
        return None;
    }
    let mut rest = options.clone();
    rest.except.retain(|range| *range != *HIDDEN);
    rest.and_write = and_write.unwrap_or(rest.and_write);
    Some(rest)
}
