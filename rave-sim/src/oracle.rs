//! The judgement at the end of a run: what users were told, held against what the disk's log says was done.
//!
//! What must be seen at every step (one store open, by who holds the lock; the listener inside the lock) the kernel
//! watches itself, and iterators are checked as they go.

mod linear;

use crate::{
    client::{clearer_of, writer_of},
    disk::show,
    history::{Call, Operation, Outcome},
    kernel::Kernel,
};
use std::collections::BTreeMap;

/// Where a write was applied: the version it made, and its place in that step.
type Place = (usize, usize);

/// All that can be judged only at the end.
pub(crate) fn judge(kernel: &mut Kernel) {
    let verdict = applications(kernel).and_then(|places| {
        exactly_once(kernel, &places)?;
        in_order(kernel, &places)?;
        reads(kernel, &places)?;
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
            let Some(Operation { call: Call::Write(changes), .. }) = operations.get(id) else {
                return Err(format!("version {version} has a value that nobody wrote: {}", show(key, value.as_ref())));
            };
            let whole = at.checked_sub(number).and_then(|start| record.changes.get(start..start + changes.len()));
            if whole != Some(changes) {
                return Err(format!("version {version} has only a part of o{id}"));
            }
            if changes.iter().position(|(_, value)| value.is_some()) == Some(number) {
                places[id].push((version, at));
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
        Call::Write(changes) => changes.iter().any(|(_, value)| value.is_some()),
        Call::Clear(_) => true,
        Call::Read(_) => false,
    }
}

fn exactly_once(kernel: &Kernel, places: &[Vec<Place>]) -> Result<(), String> {
    for (id, (operation, places)) in kernel.history.operations.iter().zip(places).enumerate() {
        let versions = || places.iter().map(|(version, _)| version.to_string()).collect::<Vec<_>>().join(", ");
        if places.len() > 1 {
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
        let Some(place) = places.first() else { continue };
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

/// Each read saw one state of those that were there between its beginning and its end, and saw what its handle had asked
/// for before it. It saw nothing that its handle asked for later, unless its leader was lost meanwhile: then it may have
/// been answered by the next leader, and the one that was lost had applied what came later.
fn reads(kernel: &Kernel, places: &[Vec<Place>]) -> Result<(), String> {
    // From the back: the first version that later writes of each handle made.
    let mut later: BTreeMap<usize, usize> = BTreeMap::new();
    let mut ceilings = vec![usize::MAX; places.len()];
    for (id, operation) in kernel.history.operations.iter().enumerate().rev() {
        if let Some((version, _)) = places[id].first() {
            later.insert(operation.pid, *version);
        }
        ceilings[id] = later.get(&operation.pid).map_or(usize::MAX, |version| version - 1);
    }
    let mut floors: BTreeMap<usize, usize> = BTreeMap::new();
    for (id, operation) in kernel.history.operations.iter().enumerate() {
        if let Some((version, _)) = places[id].first().filter(|_| operation.acknowledged()) {
            floors.insert(operation.pid, *version);
        }
        let (Call::Read(keys), Outcome::Values(values), Some(ended)) =
            (&operation.call, &operation.outcome, operation.ended)
        else {
            continue;
        };
        if keys.len() != values.len() {
            return Err(format!("o{id} asked for {} keys and got {} values", keys.len(), values.len()));
        }
        let matches = |version: usize| {
            let state = kernel.disk.state(version);
            keys.iter().zip(values).all(|(key, value)| state.get(key) == value.as_ref())
        };
        let (first, last) = (operation.begun.version, ended.version);
        if !(first..=last).any(matches) {
            return Err(format!("o{id} saw a state that was not there in versions {first} to {last}"));
        }
        let same_leader = operation.begun.epoch == ended.epoch;
        let ceiling = if same_leader { ceilings[id] } else { usize::MAX };
        let floor = floors.get(&operation.pid).copied().unwrap_or(0);
        if !(first.max(floor)..=last.min(ceiling)).any(matches) {
            return Err(format!(
                "o{id} of P{} was not in its turn: it saw no state from version {floor} on{}",
                operation.pid,
                if ceiling < usize::MAX { format!(" and up to version {ceiling}") } else { String::new() }
            ));
        }
    }
    Ok(())
}
