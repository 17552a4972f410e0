//! Sequences: one client writes 1, 2, 3, … to one key, several at once. Its writes take effect in this order, so that
//! nobody ever sees the value go back, and whoever looks behind an acknowledged write sees it or a later one.

use super::{
    operation::{Fate, Operation},
    violation::{Class, Violation},
};
use crate::{
    clock::Nanos,
    key::{Key, Kind},
    record::{Call, Outcome},
};
use std::collections::BTreeMap;

/// What was seen of a sequence, or is known of it, and how.
#[derive(Clone, Copy)]
struct Known<'a> {
    value: u64,
    operation: &'a Operation,
}

#[derive(Default)]
struct Sequence<'a> {
    writes: Vec<Known<'a>>,
    reads: Vec<Known<'a>>,
}

pub fn check_all(start: Nanos, operations: &[Operation], violations: &mut Vec<Violation>) {
    let mut sequences: BTreeMap<Key, Sequence<'_>> = BTreeMap::new();
    for operation in operations {
        if let Call::Write(batch) = &operation.call {
            for (key, value) in batch.iter().filter(|(key, _)| key.kind == Kind::Sequence) {
                sequences.entry(*key).or_default().writes.push(Known { value: *value, operation });
            }
        }
    }
    for operation in operations {
        match (&operation.call, &operation.outcome) {
            (Call::Read(keys), Some(Outcome::Values(values))) => {
                for (key, value) in keys.iter().zip(values).filter(|(key, _)| key.kind == Kind::Sequence) {
                    sequences.entry(*key).or_default().reads.push(Known { value: *value, operation });
                }
            }
            (Call::Scan { from, to, .. }, Some(Outcome::Entries(entries))) => {
                let found: BTreeMap<_, _> = entries.iter().copied().collect();
                for (key, sequence) in sequences.range_mut(from..to) {
                    let value = found.get(key).copied().unwrap_or(0);
                    sequence.reads.push(Known { value, operation });
                }
                for (key, value) in entries.iter().filter(|(key, _)| key.kind == Kind::Sequence) {
                    if !sequences.contains_key(key) {
                        sequences.entry(*key).or_default().reads.push(Known { value: *value, operation });
                    }
                }
            }
            _ => {}
        }
    }
    for (key, sequence) in &sequences {
        violations.extend(check(key, sequence, start));
    }
}

fn check(key: &Key, sequence: &Sequence<'_>, start: Nanos) -> Option<Violation> {
    let writes: BTreeMap<u64, &Operation> =
        sequence.writes.iter().map(|known| (known.value, known.operation)).collect();
    // What is known for certain, by when: the highest that was acknowledged or seen.
    let acknowledged = sequence.writes.iter().filter(|known| known.operation.fate() == Fate::Done);
    let mut certain: Vec<Known<'_>> = acknowledged.chain(&sequence.reads).copied().collect();
    certain.sort_by_key(|known| known.operation.ended);
    let mut reads = sequence.reads.clone();
    reads.sort_by_key(|read| read.operation.begun);
    let mut highest: Option<Known<'_>> = None;
    let mut certain = certain.into_iter().peekable();
    for read in reads {
        while let Some(known) = certain.next_if(|known| known.operation.ended < read.operation.begun) {
            if highest.is_none_or(|highest| highest.value < known.value) {
                highest = Some(known);
            }
        }
        let fault = |class, what: String, other: Option<&Operation>| {
            let mut operations = vec![read.operation];
            operations.extend(other);
            let near = |known: &&Known<'_>| {
                let (low, high) = (read.value, highest.map_or(read.value, |highest| highest.value));
                (low.min(high).saturating_sub(2)..=low.max(high) + 2).contains(&known.value)
            };
            operations.extend(sequence.writes.iter().filter(near).map(|known| known.operation));
            Some(Violation::about(class, what, key, start, &operations))
        };
        match (read.value, writes.get(&read.value)) {
            (0, _) => {}
            (value, None) => return fault(Class::Phantom, format!("read {value}, which nobody wrote"), None),
            (value, Some(write)) if write.fate() == Fate::Never => {
                return fault(Class::Phantom, format!("read {value}, whose write failed without effect"), None);
            }
            (value, Some(write)) if write.begun > read.operation.ended => {
                return fault(Class::Phantom, format!("read {value} before it was written"), None);
            }
            _ => {}
        }
        if let Some(highest) = highest
            && read.value < highest.value
        {
            let (value, newer) = (read.value, highest.value);
            let later = |other: &&Known<'_>| other.operation.begun > read.operation.ended && other.value >= newer;
            let was_seen =
                sequence.reads.iter().any(|other| other.value >= newer && other.operation.ended < read.operation.begun);
            let (class, what) = if sequence.reads.iter().any(|other| later(&other)) {
                (Class::Stale, format!("read {value}, though it was at least {newer} before and after"))
            } else if was_seen {
                (Class::Doubled, format!("read {value} after {newer} had been there: an old write came back"))
            } else if value == 0 {
                (Class::Lost, format!("read nothing, though {newer} was acknowledged"))
            } else {
                (Class::Order, format!("read {value}, though {newer}, written later, was acknowledged"))
            };
            return fault(class, what, Some(highest.operation));
        }
    }
    None
}
