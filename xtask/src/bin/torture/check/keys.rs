//! Registers and pairs: each key's history is linearizable. A fault is told with a guess at its kind.

use super::{
    linear::{Effect, Step, Verdict, check, first_fault},
    operation::{Fate, Operation},
    violation::{Class, Violation},
};
use crate::{
    clock::{NEVER, Nanos},
    key::{Key, Kind},
    record::{Call, Outcome},
    workload::{PAIRS, REGISTERS},
};
use std::collections::{BTreeMap, HashMap};

/// The most operations told of around a fault.
const AROUND: usize = 12;

/// Reads told of for each value that matters.
const WITNESSES: usize = 3;

/// Checks all of them; how many could not be decided.
pub fn check_all(generation: u64, start: Nanos, operations: &[Operation], violations: &mut Vec<Violation>) -> u64 {
    let mut undecided = 0;
    for (key, steps) in steps(generation, operations) {
        match check(&steps) {
            Verdict::Linearizable => {}
            Verdict::Not => violations.push(explain(&key, start, &steps, operations)),
            Verdict::Undecided => undecided += 1,
        }
    }
    undecided
}

/// Everything that concerns each of the keys.
fn steps(generation: u64, operations: &[Operation]) -> BTreeMap<Key, Vec<Step>> {
    let registers = (0..REGISTERS).map(|name| Key::new(generation, Kind::Register, name));
    let pairs = (0..PAIRS).flat_map(|name| [0, 1].map(|part| Key::new(generation, Kind::Pair, name).part(part)));
    let mut steps: BTreeMap<Key, Vec<Step>> = registers.chain(pairs).map(|key| (key, Vec::new())).collect();
    for (index, operation) in operations.iter().enumerate() {
        let fate = operation.fate();
        if fate == Fate::Never {
            continue;
        }
        let (begun, ended) = (operation.begun, operation.settled());
        let step = |effect| Step { begun, ended, effect, operation: index };
        match (&operation.call, &operation.outcome) {
            (Call::Write(batch), _) => {
                // Of several writes to one key in a batch only the last can be seen.
                let last: BTreeMap<_, _> = batch.iter().copied().collect();
                for (key, value) in last {
                    if let Some(steps) = steps.get_mut(&key) {
                        steps.push(step(Effect::Write(value)));
                    }
                }
            }
            (Call::Clear { from, to }, _) => {
                steps.range_mut(from..to).for_each(|(_, steps)| steps.push(step(Effect::Write(0))));
            }
            (Call::Swap { key, expected, value }, outcome) => {
                let effect = match (outcome, fate) {
                    (Some(Outcome::Refused), _) => Effect::Differs(*expected),
                    (_, Fate::Done) => Effect::Swap(*expected, *value),
                    _ => Effect::MaybeSwap(*expected, *value),
                };
                if let Some(steps) = steps.get_mut(key) {
                    steps.push(step(effect));
                }
            }
            (Call::Read(keys), Some(Outcome::Values(values))) => {
                for (key, value) in keys.iter().zip(values) {
                    if let Some(steps) = steps.get_mut(key) {
                        steps.push(step(Effect::Read(*value)));
                    }
                }
            }
            (Call::Scan { from, to, .. }, Some(Outcome::Entries(entries))) => {
                let found: HashMap<_, _> = entries.iter().copied().collect();
                for (key, steps) in steps.range_mut(from..to) {
                    steps.push(step(Effect::Read(found.get(key).copied().unwrap_or(0))));
                }
            }
            _ => {}
        }
    }
    steps
}

fn explain(key: &Key, start: Nanos, steps: &[Step], operations: &[Operation]) -> Violation {
    let Some(culprit) = first_fault(steps) else {
        return Violation::about(Class::Linearizability, "no order explains its history", key, start, &[]);
    };
    let operation = &operations[culprit];
    let Some(step) = steps.iter().find(|step| step.operation == culprit) else {
        return Violation::about(Class::Linearizability, "no order explains its history", key, start, &[operation]);
    };
    let Guess { class, what, values } = match step.effect {
        Effect::Read(value) | Effect::Swap(value, _) => judge(key, step, value, steps, operations),
        _ => Guess::new(Class::Linearizability, "no order of the operations explains what was read", [0; 2]),
    };
    // What happened just before it and at the same time, and who wrote and who first saw what was read.
    let mut around: Vec<_> = steps.iter().filter(|other| other.begun <= step.ended).collect();
    around.sort_by_key(|other| (other.ended.min(step.ended), other.begun));
    let mut shown: Vec<&Operation> =
        around.iter().rev().take(AROUND).map(|other| &operations[other.operation]).collect();
    let first_after = steps.iter().filter(|other| other.begun > step.ended).min_by_key(|other| other.begun);
    shown.extend(first_after.map(|other| &operations[other.operation]));
    for value in values.into_iter().filter(|value| *value != 0) {
        shown.extend(operations.iter().filter(|other| other.written(key) == Some(value)));
        let mut saw: Vec<_> = steps.iter().filter(|other| other.effect == Effect::Read(value)).collect();
        saw.sort_by_key(|other| other.ended);
        shown.extend(saw.iter().take(WITNESSES).map(|other| &operations[other.operation]));
    }
    let at = crate::clock::seconds(start, operation.begun);
    Violation::about(class, format!("{what} (process {}, {at} s)", operation.process()), key, start, &shown)
}

/// What may be wrong, and the values that it is about: the one read, and the one that is newer.
struct Guess {
    class: Class,
    what: String,
    values: [u64; 2],
}

impl Guess {
    fn new(class: Class, what: impl Into<String>, values: [u64; 2]) -> Self {
        Self { class, what: what.into(), values }
    }
}

/// A guess at what is wrong with a read that cannot be explained, from who wrote what it read.
fn judge(key: &Key, read: &Step, value: u64, steps: &[Step], operations: &[Operation]) -> Guess {
    let name = if value == 0 { "nothing".to_owned() } else { value.to_string() };
    let writes_it = |operation: &&Operation| value != 0 && operation.written(key) == Some(value);
    match operations.iter().find(writes_it) {
        None if value != 0 => {
            return Guess::new(Class::Phantom, format!("read {value}, which nobody wrote"), [value, 0]);
        }
        Some(writer) if writer.fate() == Fate::Never => {
            let what = format!("read {value}, whose write failed without effect");
            return Guess::new(Class::Phantom, what, [value, 0]);
        }
        Some(writer) if writer.begun > read.ended => {
            return Guess::new(Class::Phantom, format!("read {value} before it was written"), [value, 0]);
        }
        _ => {}
    }
    // Others that had been written or read for certain before the read began.
    let before = |step: &&Step| step.ended < read.begun;
    let other = |step: &&Step| match step.effect {
        Effect::Read(seen) => seen != value,
        effect => effect.value_written().is_some_and(|written| written != value),
    };
    let newest = steps.iter().filter(before).filter(other).max_by_key(|step| step.begun);
    let newer = newest.and_then(|step| match step.effect {
        Effect::Read(seen) => Some(seen),
        effect => effect.value_written(),
    });
    let sees = |step: &&Step, wanted: Option<u64>| matches!(step.effect, Effect::Read(seen) if Some(seen) == wanted);
    let seen_later = steps.iter().any(|step| step.begun > read.ended && sees(&step, newer));
    let seen_before = steps.iter().filter(before).any(|step| sees(&step, newer));
    let deleted = steps.iter().any(|step| step.effect.value_written() == Some(0) && step.ended != NEVER);
    let named = newer.map_or_else(|| "something else".to_owned(), |newer| newer.to_string());
    let (class, what) = if seen_later {
        (Class::Stale, format!("read {name}, though it was {named} before and after"))
    } else if seen_before && (value != 0 || deleted) {
        (Class::Doubled, format!("read {name} again after it had become {named}"))
    } else {
        (Class::Lost, format!("read {name}, though {named} was acknowledged"))
    };
    Guess::new(class, what, [value, newer.unwrap_or(0)])
}
