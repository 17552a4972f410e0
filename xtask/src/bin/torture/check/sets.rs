//! Keys that are written once and never deleted, iterators over them, and what has to agree with what.

use super::{
    operation::{Fate, Operation},
    violation::{Class, Violation},
};
use crate::{
    clock::Nanos,
    key::{Key, Kind},
    record::{Call, Outcome},
};
use std::collections::{BTreeMap, HashMap};

/// Every iterator goes one way, stays in its range, has each key that was there all the time, and none that was not.
pub fn iterators(start: Nanos, operations: &[Operation], violations: &mut Vec<Violation>) {
    let mut written: BTreeMap<Key, &Operation> = BTreeMap::new();
    for operation in operations {
        match &operation.call {
            Call::Write(batch) => written
                .extend(batch.iter().filter(|(key, _)| key.kind == Kind::Marker).map(|(key, _)| (*key, operation))),
            Call::Add { increment, .. } => {
                written.insert(*increment, operation);
            }
            _ => {}
        }
    }
    for scan in operations {
        let (Call::Scan { from, to, reverse, .. }, Some(Outcome::Entries(entries))) = (&scan.call, &scan.outcome)
        else {
            continue;
        };
        violations.extend(direction(start, scan, entries, (*from, *to), *reverse));
        let found: HashMap<Key, u64> = entries.iter().copied().collect();
        for (key, write) in written.range(from..to) {
            let value = found.get(key).copied();
            let lost = value.is_none() && write.fate() == Fate::Done && write.ended < scan.begun;
            let (class, what) = match value {
                None if lost => (Class::Lost, "acknowledged, and an iterator that began later does not have it"),
                Some(value) if value != write.id => (Class::Phantom, "has a value that nobody wrote"),
                Some(_) if write.fate() == Fate::Never => (Class::Phantom, "its write failed without effect"),
                Some(_) if write.begun > scan.ended => (Class::Phantom, "was read before it was written"),
                _ => continue,
            };
            violations.push(Violation::about(class, what, key, start, &[write, scan]));
        }
        let once = |key: &Key| matches!(key.kind, Kind::Marker | Kind::Increment);
        for (key, _) in entries.iter().filter(|(key, _)| once(key) && !written.contains_key(key)) {
            violations.push(Violation::about(Class::Phantom, "nobody wrote it", key, start, &[scan]));
        }
    }
}

fn direction(
    start: Nanos,
    scan: &Operation,
    entries: &[(Key, u64)],
    (from, to): (Key, Key),
    reverse: bool,
) -> Option<Violation> {
    let outside = entries.iter().find(|(key, _)| !(from..to).contains(key));
    if let Some((key, _)) = outside {
        return Some(Violation::about(Class::Iterator, "an iterator left its range", key, start, &[scan]));
    }
    let wrong =
        entries.windows(2).find(|pair| if reverse { pair[0].0 <= pair[1].0 } else { pair[0].0 >= pair[1].0 })?;
    let what = format!("an iterator gave it behind {}", wrong[0].0);
    Some(Violation::about(Class::Iterator, what, &wrong[1].0, start, &[scan]))
}

/// What is written together is there together.
pub fn pairs(start: Nanos, operations: &[Operation], violations: &mut Vec<Violation>) {
    for operation in operations {
        let seen: Vec<(Key, u64)> = match (&operation.call, &operation.outcome) {
            (Call::Read(keys), Some(Outcome::Values(values))) => {
                keys.iter().copied().zip(values.iter().copied()).collect()
            }
            // While others write, an iterator that has changed its leader sees a later state from there on.
            (Call::Scan { audit: true, .. }, Some(Outcome::Entries(entries))) => entries.clone(),
            _ => continue,
        };
        let values: HashMap<Key, u64> = seen.iter().copied().collect();
        for (key, value) in seen.iter().filter(|(key, _)| key.kind == Kind::Pair) {
            let other = values.get(&key.part(1 - key.part)).copied().unwrap_or(0);
            if other != *value {
                let writers = operations.iter().filter(|write| {
                    [other, *value].iter().any(|value| *value != 0 && write.written(key) == Some(*value))
                });
                let shown: Vec<_> = writers.chain([operation]).collect();
                let what = format!("its value is {value}, and that of its other part is {other}");
                violations.push(Violation::about(Class::Torn, what, key, start, &shown));
                break;
            }
        }
    }
}

/// Each increase of a counter found it one higher than the one before, and in the end the counter is the number of
/// increases that left their key.
pub fn counters(start: Nanos, operations: &[Operation], violations: &mut Vec<Violation>) {
    let mut increases: BTreeMap<Key, Vec<(&Operation, u64)>> = BTreeMap::new();
    for operation in operations {
        if let (Call::Add { counter, .. }, Some(Outcome::Added { from })) = (&operation.call, &operation.outcome) {
            increases.entry(*counter).or_default().push((operation, *from));
        }
    }
    for (counter, increases) in &mut increases {
        increases.sort_by_key(|(_, from)| *from);
        for pair in increases.windows(2) {
            let [(first, from), (second, next)] = pair else { continue };
            let what = if from == next {
                format!("two transactions increased it from {from}")
            } else if second.ended < first.begun {
                format!("it was increased from {from} after it had been increased from {next}")
            } else {
                continue;
            };
            violations.push(Violation::about(Class::Counter, what, counter, start, &[first, second]));
        }
    }
    for audit in operations {
        let (Call::Scan { audit: true, .. }, Some(Outcome::Entries(entries))) = (&audit.call, &audit.outcome) else {
            continue;
        };
        let mut expected: BTreeMap<u64, u64> = BTreeMap::new();
        let mut found: BTreeMap<u64, (Key, u64)> = BTreeMap::new();
        for (key, value) in entries {
            match key.kind {
                Kind::Increment => *expected.entry(key.name).or_default() += 1,
                Kind::Counter => {
                    found.insert(key.name, (*key, *value));
                }
                _ => {}
            }
        }
        for (name, count) in &expected {
            let (key, value) =
                found.get(name).copied().unwrap_or((Key::new(audit.call.generation(), Kind::Counter, *name), 0));
            if value != *count {
                let what = format!("it is {value}, and {count} transactions increased it");
                violations.push(Violation::about(Class::Counter, what, &key, start, &[audit]));
            }
        }
        for (name, (key, value)) in found.iter().filter(|(name, _)| !expected.contains_key(name)) {
            let what = format!("it is {value}, and no transaction increased counter {name}");
            violations.push(Violation::about(Class::Counter, what, key, start, &[audit]));
        }
    }
}
