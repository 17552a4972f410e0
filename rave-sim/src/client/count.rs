//! Transactions that count: each counter goes up by one for each of them that is committed, and by no other.

use super::end;
use crate::{
    history::{Call, Count, Outcome, failed},
    kernel::{Kernel, Sim},
    trace::Pid,
};
use rave_core::{AbstractLevelExt, Bytes, Code, Error, KeyRange, Result, Transaction};
use rave_level::RaveLevel;

/// Clears do not reach these.
const COUNTERS: [&[u8]; 3] = [b"n0", b"n1", b"n2"];
/// Where sums are written down.
const SUM: &[u8] = b"sum";

/// What a counter says; 0 if it does not exist.
pub(crate) fn counted(value: Option<&Bytes>) -> usize {
    value.and_then(|value| super::writer_of(value)).map_or(0, |(_, count)| count)
}

/// The counters, for adding them up.
pub(crate) fn counters() -> KeyRange {
    KeyRange::prefix("n")
}

/// A transaction, or one that only looks. False if the handle is closed.
pub(super) async fn count(sim: &Sim, pid: Pid, level: &RaveLevel) -> bool {
    let chosen = sim.with(|kernel| match kernel.rng.u8(0..6) {
        0 => None,
        1 => Some(Count::Sum),
        _ => Some(Count::Add(some(kernel))),
    });
    let Some(count) = chosen else { return look(sim, pid, level).await };
    let id = sim.with(|kernel| kernel.begin(pid, Call::Count(count.clone()), false));
    let result = level.transaction(|tx| commit(tx, count.clone(), id)).await;
    end(sim, pid, id, result.map_or_else(|error| conflict(&error), Outcome::Counted))
}

/// One or two counters.
fn some(kernel: &mut Kernel) -> Vec<Bytes> {
    let first = kernel.rng.usize(0..COUNTERS.len());
    let number = kernel.rng.usize(1..=2);
    (first..first + number).map(|place| Bytes::from_static(COUNTERS[place % COUNTERS.len()])).collect()
}

async fn commit(tx: Transaction, count: Count, id: usize) -> Result<Vec<usize>> {
    match count {
        Count::Add(counters) => {
            let mut counts = Vec::new();
            for counter in counters {
                let count = counted(tx.get(&counter).await?.as_ref()) + 1;
                tx.put(&counter, format!("o{id}/{count}")).await?;
                counts.push(count);
            }
            Ok(counts)
        }
        Count::Sum => {
            let sum = tx.all(counters()).await?.iter().map(|entry| counted(Some(&entry.value))).sum();
            tx.put(SUM, format!("o{id}/{sum}")).await?;
            Ok(vec![sum])
        }
    }
}

/// Reads counters one after the other: all from one state, or the transaction would have begun anew.
async fn look(sim: &Sim, pid: Pid, level: &RaveLevel) -> bool {
    let (id, keys) = sim.with(|kernel| {
        let keys = some(kernel);
        (kernel.begin(pid, Call::Read(keys.clone()), false), keys)
    });
    let keys = &keys;
    let body = |tx: Transaction| async move {
        let mut values = Vec::new();
        for key in keys {
            values.push(tx.get(key).await?);
        }
        Ok::<_, Error>(values)
    };
    let result = level.transaction(body).await;
    end(sim, pid, id, result.map_or_else(|error| conflict(&error), Outcome::Values))
}

/// A conflict at every attempt is no refusal: which conditions failed is the transaction's own affair.
fn conflict(error: &Error) -> Outcome {
    match error.code() {
        Code::ConditionFailed => Outcome::Failed { code: error.code(), effect: error.effect() },
        _ => failed(error),
    }
}
