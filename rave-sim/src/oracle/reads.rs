//! Reads: each saw one state that was there, in its turn.

use super::Place;
use crate::{
    history::{Call, Outcome},
    kernel::Kernel,
};
use bytes::Bytes;
use std::collections::BTreeMap;

/// For each operation the versions that its handle had made by what it had asked for before, as far as that was
/// acknowledged: nothing older may be seen.
pub(super) fn floors(kernel: &Kernel, places: &[Vec<Place>]) -> Vec<usize> {
    let mut handles: BTreeMap<usize, usize> = BTreeMap::new();
    let operations = kernel.history.operations.iter().zip(places);
    let floor = operations.map(|(operation, places)| {
        let floor = handles.get(&operation.pid).copied().unwrap_or(0);
        if let Some((version, _)) = places.first().filter(|_| operation.acknowledged() && operation.ordered) {
            handles.insert(operation.pid, *version);
        }
        floor
    });
    floor.collect()
}

/// For each operation the first version that its handle made by what it asked for later, less one.
fn ceilings(kernel: &Kernel, places: &[Vec<Place>]) -> Vec<usize> {
    let mut handles: BTreeMap<usize, usize> = BTreeMap::new();
    let mut ceilings = vec![usize::MAX; places.len()];
    for (id, operation) in kernel.history.operations.iter().enumerate().rev() {
        ceilings[id] = handles.get(&operation.pid).map_or(usize::MAX, |version| version - 1);
        if let Some((version, _)) = places[id].first().filter(|_| operation.ordered) {
            handles.insert(operation.pid, *version);
        }
    }
    ceilings
}

/// Each read saw one state that was there, and saw what its handle had asked
/// for before it. It saw nothing that its handle asked for later, unless its leader was lost meanwhile: then it may have
/// been answered by the next leader, and the one that was lost had applied what came later.
pub(super) fn check(kernel: &Kernel, places: &[Vec<Place>]) -> Result<(), String> {
    there(kernel)?;
    let (floors, ceilings) = (floors(kernel, places), ceilings(kernel, places));
    for (id, operation) in kernel.history.operations.iter().enumerate() {
        let (Call::Read(keys), Outcome::Values(values), Some(ended)) =
            (&operation.call, &operation.outcome, operation.ended)
        else {
            continue;
        };
        let matches = |version: usize| fits(kernel, version, keys, values);
        let (first, last) = (operation.begun.version, ended.version);
        let same_leader = operation.begun.epoch == ended.epoch && operation.ordered;
        let (floor, ceiling) = (floors[id], if same_leader { ceilings[id] } else { usize::MAX });
        if !(first.max(floor)..=last.min(ceiling)).any(matches) {
            let below = if ceiling < usize::MAX { format!(" and up to version {ceiling}") } else { String::new() };
            return Err(format!(
                "o{id} of P{} was not in its turn: it saw no state from version {floor} on{below}",
                operation.pid
            ));
        }
    }
    Ok(())
}

/// Each read saw one state of those that were there between its beginning and its end.
pub(super) fn there(kernel: &Kernel) -> Result<(), String> {
    for (id, operation) in kernel.history.operations.iter().enumerate() {
        let (Call::Read(keys), Outcome::Values(values), Some(ended)) =
            (&operation.call, &operation.outcome, operation.ended)
        else {
            continue;
        };
        if keys.len() != values.len() {
            return Err(format!("o{id} asked for {} keys and got {} values", keys.len(), values.len()));
        }
        let (first, last) = (operation.begun.version, ended.version);
        if !(first..=last).any(|version| fits(kernel, version, keys, values)) {
            return Err(format!("o{id} saw a state that was not there in versions {first} to {last}"));
        }
    }
    Ok(())
}

fn fits(kernel: &Kernel, version: usize, keys: &[Bytes], values: &[Option<Bytes>]) -> bool {
    let state = kernel.disk.state(version);
    keys.iter().zip(values).all(|(key, value)| state.get(key) == value.as_ref())
}
