//! Transactions: each saw what was there right before it, and the counts are exact.

use super::{Place, state_before};
use crate::{
    client::count::{counted, counters},
    disk::in_range,
    history::{Call, Count, Outcome},
    kernel::Kernel,
};
use bytes::Bytes;
use std::{collections::BTreeMap, sync::Arc};

/// Whether the transaction `id`, which begins at `place`, follows from the state right before it.
pub(super) fn check(kernel: &Kernel, id: usize, count: &Count, place: Place) -> Result<(), String> {
    let (before, after) = (state_before(kernel, place), kernel.disk.state(place.0));
    let version = place.0;
    match count {
        Count::Add(counters) => {
            for counter in counters {
                let (before, after) = (counted(before.get(counter)), counted(after.get(counter)));
                if after != before + 1 {
                    return Err(format!("o{id} counted from {before} to {after} in version {version}"));
                }
            }
        }
        Count::Sum => {
            let sum: usize = in_range(&Arc::clone(&before), &counters()).map(|(_, value)| counted(Some(value))).sum();
            let written = kernel.disk.log()[version - 1].changes[place.1].1.as_ref();
            if counted(written) != sum {
                return Err(format!("o{id} wrote the sum {} in version {version}; it was {sum}", counted(written)));
            }
        }
    }
    Ok(())
}

/// At the end each counter says how many transactions were committed; and who was told a count has written it.
pub(super) fn check_sums(kernel: &Kernel, places: &[Vec<Place>]) -> Result<(), String> {
    let mut sums: BTreeMap<&Bytes, usize> = BTreeMap::new();
    for (id, (operation, places)) in kernel.history.operations.iter().zip(places).enumerate() {
        let (Call::Count(count), Some((version, at))) = (&operation.call, places.first()) else { continue };
        let state = kernel.disk.state(*version);
        let written: Vec<usize> = match count {
            Count::Add(counters) => {
                counters.iter().for_each(|counter| *sums.entry(counter).or_default() += 1);
                counters.iter().map(|counter| counted(state.get(counter))).collect()
            }
            Count::Sum => vec![counted(kernel.disk.log()[version - 1].changes[*at].1.as_ref())],
        };
        if let Outcome::Counted(told) = &operation.outcome
            && *told != written
        {
            return Err(format!("o{id} was told {told:?} and wrote {written:?}"));
        }
    }
    let end = kernel.disk.state(kernel.disk.newest());
    for (counter, sum) in sums {
        let says = counted(end.get(counter));
        if says != sum {
            return Err(format!("counter {counter:?} says {says}; {sum} transactions have added to it"));
        }
    }
    Ok(())
}
