//! The judgement at the end of a run: what users were told, held against what the disk's log says was done.
//!
//! What must be seen at every step (one store open, by who holds the lock; the listener inside the lock) the kernel
//! watches itself, and iterators are checked as they go.

mod conditions;
mod linear;
mod reads;
mod transactions;

use crate::{
    client::{clearer_of, writer_of},
    disk::{Entries, show},
    history::{Call, Operation},
    kernel::Kernel,
};
use bytes::Bytes;
use std::{collections::BTreeMap, sync::Arc};

/// Where a write was applied: the version it made, and its place in that step.
type Place = (usize, usize);

/// All that can be judged only at the end.
pub(crate) fn judge(kernel: &mut Kernel) {
    let verdict = applications(kernel).and_then(|places| {
        exactly_once(kernel, &places)?;
        if !kernel.plan.sessions {
            // Where a write may come twice, or a second time behind others, there is no order to speak of.
            return reads::there(kernel);
        }
        in_order(kernel, &places)?;
        conditions::check(kernel, &places)?;
        reads::check(kernel, &places)?;
        transactions::check_sums(kernel, &places)?;
        linear::check(kernel, &places)
    });
    if let Err(what) = verdict {
        kernel.violated(what);
    }
}

/// Every place at which each write was applied, as far as it carries a mark. Writes must be there whole.
fn applications(kernel: &Kernel) -> Result<Vec<Vec<Place>>, String> {
    let operations = &kernel.history.operations;
    let mut places = vec![Vec::new(); operations.len()];
    for (index, record) in kernel.disk.log().iter().enumerate() {
        let version = index + 1;
        if let Some(id) = record.clear.as_ref().and_then(|options| clearer_of(&options.range)) {
            if record.changes.iter().any(|(key, value)| value.is_none() && reserved(key)) {
                return Err(format!("version {version}: the clear o{id} deleted what rave-level keeps for itself"));
            }
            places.get_mut(id).ok_or_else(|| format!("version {version} is of nobody's clear"))?.push((version, 0));
            continue;
        }
        for (at, (key, value)) in record.changes.iter().enumerate() {
            let Some((id, number)) = value.as_ref().and_then(|value| writer_of(value)) else { continue };
            match operations.get(id).map(|operation| &operation.call) {
                Some(Call::Write { changes, .. }) => {
                    let start = at.checked_sub(number);
                    let whole = start.and_then(|start| record.changes.get(start..start + changes.len()));
                    if whole != Some(changes) {
                        return Err(format!("version {version} has only a part of o{id}"));
                    }
                    if changes.iter().position(|(_, value)| value.is_some()) == Some(number) {
                        places[id].push((version, at - number));
                    }
                }
                Some(Call::Count(count)) => {
                    let first = |(_, value): &(Bytes, Option<Bytes>)| {
                        value.as_ref().and_then(|value| writer_of(value)).is_some_and(|(writer, _)| writer == id)
                    };
                    if record.changes.iter().position(first) == Some(at) {
                        places[id].push((version, at));
                        transactions::check(kernel, id, count, (version, at))?;
                    }
                }
                _ => {
                    let value = show(key, value.as_ref());
                    return Err(format!("version {version} has a value that nobody wrote: {value}"));
                }
            }
        }
    }
    Ok(places)
}

/// Whether a key is hidden from users.
pub(crate) fn reserved(key: &[u8]) -> bool {
    (b"!rave-level!".as_slice()..b"!rave-level\"".as_slice()).contains(&key)
}

/// Whether a write's traces can be found: one delete looks like another.
fn marked(operation: &Operation) -> bool {
    match &operation.call {
        Call::Write { changes, .. } => changes.iter().any(|(_, value)| value.is_some()),
        Call::Clear(_) | Call::Count(_) => true,
        Call::Read(_) => false,
    }
}

fn exactly_once(kernel: &Kernel, places: &[Vec<Place>]) -> Result<(), String> {
    for (id, (operation, places)) in kernel.history.operations.iter().zip(places).enumerate() {
        let versions = || places.iter().map(|(version, _)| version.to_string()).collect::<Vec<_>>().join(", ");
        if places.len() > 1 && !kernel.plan.repeats() {
            return Err(format!("o{id} was applied {} times: versions {}", places.len(), versions()));
        }
        if operation.certainly_not() && !places.is_empty() {
            return Err(format!("o{id} failed with effect none and was applied: version {}", versions()));
        }
        if operation.acknowledged() && marked(operation) {
            let Some((version, _)) = places.first() else {
                return Err(format!("o{id} was acknowledged and is not there"));
            };
            if operation.ended.is_some_and(|ended| ended.version < *version) {
                return Err(format!("o{id} was acknowledged before anybody could see it, in version {version}"));
            }
        }
        if let Some((version, _)) = places.first()
            && *version <= operation.begun.version
        {
            return Err(format!("o{id} was applied before it was asked for, in version {version}"));
        }
    }
    Ok(())
}

/// Writes of one handle take effect in the order of their submission.
fn in_order(kernel: &Kernel, places: &[Vec<Place>]) -> Result<(), String> {
    let mut last: BTreeMap<usize, (usize, Place)> = BTreeMap::new();
    for (id, (operation, places)) in kernel.history.operations.iter().zip(places).enumerate() {
        let Some(place) = places.first().filter(|_| operation.ordered) else { continue };
        if let Some((earlier, before)) = last.insert(operation.pid, (id, *place))
            && before >= *place
        {
            let pid = operation.pid;
            let (one, other) = (before.0, place.0);
            return Err(format!(
                "P{pid} asked for o{earlier} before o{id}; they were applied in versions {one} and {other}"
            ));
        }
    }
    Ok(())
}

/// The state in which a write was applied: other writes may be in front of it in the same step.
fn state_before(kernel: &Kernel, (version, at): Place) -> Entries {
    let mut state = kernel.disk.state(version - 1).clone();
    let before = kernel.disk.log().get(version - 1).and_then(|record| record.changes.get(..at)).unwrap_or_default();
    for (key, value) in before {
        let entries = Arc::make_mut(&mut state);
        match value {
            Some(value) => entries.insert(key.clone(), value.clone()),
            None => entries.remove(key),
        };
    }
    state
}
