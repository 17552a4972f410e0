//! Linearizability of each key's history, by an algorithm that knows nothing of the disk: Wing and Gong's, as extended by
//! Lowe.
//!
//! A write whose outcome nobody learned may take effect at any time after it was asked for, so its answer is put behind
//! everything else. Those that the log does not have never took effect and are left out.
//!
//! The search takes time exponential in the number of operations that overlap. Where those are many (a frozen leader has
//! made everybody wait) the key is left out: reads are held against the log's states there as everywhere.

use super::Place;
use crate::{
    client::writer_of,
    disk::show,
    history::{Call, Outcome},
    kernel::Kernel,
};
use bytes::Bytes;
use std::collections::BTreeMap;
use todc_utils::{Action, History, WGLChecker, specifications::Specification};

/// Operations of one key that may overlap.
const OVERLAP: usize = 12;

/// A register that can be empty. Values go by the put that wrote them; 0 is no value.
struct Register;

#[derive(Clone, Copy, Debug)]
enum Step {
    Read(u64),
    Write(u64),
    /// Was allowed to write the second only where it found the first.
    Swap(u64, u64),
}

impl Specification for Register {
    type State = u64;
    type Operation = Step;

    fn init() -> u64 {
        0
    }

    fn apply(operation: &Step, state: &u64) -> (bool, u64) {
        match operation {
            Step::Read(value) => (value == state, *state),
            Step::Write(value) => (true, *value),
            Step::Swap(expected, value) => (expected == state, *value),
        }
    }
}

fn number(value: Option<&Bytes>) -> u64 {
    match value.map(|value| writer_of(value)) {
        None => 0,
        Some(Some((id, number))) => (id as u64) << 8 | (number as u64 + 1),
        // The ballast, which nobody changes.
        Some(None) => u64::MAX,
    }
}

/// Whether operation `id` wrote this value.
fn names(value: &Bytes, id: usize) -> bool {
    writer_of(value).is_some_and(|(writer, _)| writer == id)
}

pub(super) fn check(kernel: &Kernel, places: &[Vec<Place>]) -> Result<(), String> {
    // For each key: what was done, and when it began and ended.
    let mut keys: BTreeMap<&Bytes, Vec<(Step, u64, u64)>> = BTreeMap::new();
    for (id, (operation, places)) in kernel.history.operations.iter().zip(places).enumerate() {
        let begun = operation.begun.order;
        let ended = operation.ended.map(|ended| ended.order);
        match (&operation.call, &operation.outcome, ended) {
            (Call::Read(asked), Outcome::Values(values), Some(ended)) => {
                for (key, value) in asked.iter().zip(values) {
                    keys.entry(key).or_default().push((Step::Read(number(value.as_ref())), begun, ended));
                }
            }
            (Call::Read(_), ..) => {}
            _ if operation.certainly_not() => {}
            (Call::Write { changes, conditions }, outcome, ended) => {
                let known = matches!(outcome, Outcome::Done);
                let marked = changes.iter().any(|(_, value)| value.is_some());
                if !known && (marked || changes.is_empty()) && places.is_empty() {
                    continue;
                }
                let mut parts: BTreeMap<&Bytes, Step> = BTreeMap::new();
                for (key, value) in conditions {
                    parts.insert(key, Step::Read(number(value.as_ref())));
                }
                for (key, value) in changes {
                    let value = number(value.as_ref());
                    let step = match parts.get(key) {
                        Some(Step::Read(expected) | Step::Swap(expected, _)) => Step::Swap(*expected, value),
                        Some(Step::Write(_)) | None => Step::Write(value),
                    };
                    parts.insert(key, step);
                }
                for (key, step) in parts {
                    let ended = ended.filter(|_| known).unwrap_or(u64::MAX);
                    keys.entry(key).or_default().push((step, begun, ended));
                }
            }
            (Call::Count(_), outcome, ended) => {
                let Some((version, _)) = places.first() else { continue };
                let known = matches!(outcome, Outcome::Counted(_));
                let log = kernel.disk.log();
                let written = log.get(version - 1).into_iter().flat_map(|record| &record.changes);
                for (key, value) in written.filter(|(_, value)| value.as_ref().is_some_and(|value| names(value, id))) {
                    let ended = ended.filter(|_| known).unwrap_or(u64::MAX);
                    keys.entry(key).or_default().push((Step::Write(number(value.as_ref())), begun, ended));
                }
            }
            (Call::Clear(_), outcome, ended) => {
                let record = places.first().and_then(|(version, _)| kernel.disk.log().get(version - 1));
                for (key, _) in record.iter().flat_map(|record| &record.changes).filter(|(_, value)| value.is_none()) {
                    let ended = ended.filter(|_| matches!(outcome, Outcome::Done)).unwrap_or(u64::MAX);
                    keys.entry(key).or_default().push((Step::Write(0), begun, ended));
                }
            }
        }
    }
    for (key, steps) in keys {
        if !linearizable(&steps) {
            return Err(format!("the history of key {} is not linearizable", show(key, Some(&Bytes::new()))));
        }
    }
    Ok(())
}

fn linearizable(steps: &[(Step, u64, u64)]) -> bool {
    if steps.is_empty() {
        return true;
    }
    let mut actions = Vec::with_capacity(steps.len() * 2);
    for (number, (step, begun, ended)) in steps.iter().enumerate() {
        actions.push((*begun, number, Action::Call(*step)));
        actions.push((*ended, number, Action::Response(*step)));
    }
    actions.sort_by_key(|(order, number, _)| (*order, *number));
    let mut open = 0_usize;
    for (_, _, action) in &actions {
        match action {
            Action::Call(_) => open += 1,
            Action::Response(_) => open -= 1,
        }
        if open > OVERLAP {
            return true;
        }
    }
    let actions = actions.into_iter().map(|(_, number, action)| (number, action)).collect();
    WGLChecker::<Register>::is_linearizable(History::from_actions(actions))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_read_is_found_and_an_uncertain_write_may_come_late() {
        let stale = [(Step::Write(1), 1, 2), (Step::Write(2), 3, 4), (Step::Read(1), 5, 6)];
        assert!(!linearizable(&stale));
        let late =
            [(Step::Write(1), 1, 2), (Step::Write(2), 0, u64::MAX), (Step::Read(1), 5, 6), (Step::Read(2), 7, 8)];
        assert!(linearizable(&late));
        let twice = [(Step::Write(1), 1, 2), (Step::Write(2), 3, 4), (Step::Read(2), 5, 6), (Step::Read(1), 7, 8)];
        assert!(!linearizable(&twice));
    }
}
