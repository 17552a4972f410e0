//! Conditional writes: applied only where all conditions held, refused only where just those named did not.

use super::{Place, reads::floors, state_before};
use crate::{
    disk::Entries,
    history::{Call, Outcome},
    kernel::Kernel,
};
use bytes::Bytes;

pub(super) fn check(kernel: &Kernel, places: &[Vec<Place>]) -> Result<(), String> {
    let floors = floors(kernel, places);
    for (id, operation) in kernel.history.operations.iter().enumerate() {
        let Call::Write { changes, conditions } = &operation.call else { continue };
        if conditions.is_empty() {
            continue;
        }
        if let Some(place) = places[id].first() {
            let failed = failed(&state_before(kernel, *place), conditions);
            if !failed.is_empty() {
                return Err(format!(
                    "o{id} was applied in version {}, where its conditions {failed:?} failed",
                    place.0
                ));
            }
            continue;
        }
        let Some(ended) = operation.ended else { continue };
        let expected: &[usize] = match &operation.outcome {
            Outcome::Refused(failed) if failed.is_empty() => return Err(format!("o{id} was refused for no condition")),
            Outcome::Refused(failed) => failed,
            Outcome::Done if changes.is_empty() => &[],
            _ => continue,
        };
        let (first, last) = (operation.begun.version.max(floors[id]), ended.version);
        if !(first..=last).any(|version| failed(kernel.disk.state(version), conditions) == expected) {
            return Err(format!(
                "o{id} was told that its conditions {expected:?} failed; that was not so in versions {first} to {last}"
            ));
        }
    }
    Ok(())
}

fn failed(state: &Entries, conditions: &[(Bytes, Option<Bytes>)]) -> Vec<usize> {
    let fails = |(key, value): &(Bytes, Option<Bytes>)| state.get(key) != value.as_ref();
    (0..conditions.len()).filter(|&index| fails(&conditions[index])).collect()
}
