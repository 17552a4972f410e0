//! An explicit snapshot, read key by key while others write.
//!
//! Whatever is read, and however late, is one read of the moment at which the snapshot was taken; or the snapshot is gone,
//! which only the loss of its leader explains.

use super::{end, key};
use crate::{
    history::{Call, Outcome, failed},
    kernel::Sim,
    trace::Pid,
};
use rave_core::{AbstractLevel, Bytes, Code, IteratorOptions, KeyRange, ReadOptions, Result, Snapshot};
use rave_level::{RaveLevel, RetryPolicy};

/// Takes a snapshot and reads some keys of it. False if the handle is closed.
pub(super) async fn look(sim: &Sim, pid: Pid, level: &RaveLevel) -> bool {
    let (id, keys) = sim.with(|kernel| {
        let keys: Vec<Bytes> = (0..kernel.rng.usize(1..=4)).map(|_| key(kernel)).collect();
        (kernel.begin(pid, Call::Read(keys.clone()), true), keys)
    });
    let snapshot = match level.snapshot().await {
        Ok(snapshot) => snapshot,
        Err(error) => return end(sim, pid, id, failed(&error)),
    };
    let taken = sim.with(|kernel| kernel.moment(pid));
    let mut values = Vec::new();
    for key in keys {
        sim.pause(pid, |kernel| kernel.plan.think.draw(&mut kernel.rng)).await;
        match read(sim, level, key, snapshot.clone()).await {
            Ok(value) => values.push(value),
            Err(error) if error.code() == Code::SnapshotNotOpen => {
                // A lost leader shows in the next connection, and so once anything is answered again.
                let patient = level.retrying(RetryPolicy::Always).with_timeout(None);
                let answered = patient.get_opts(Bytes::new(), ReadOptions::default()).await.is_ok();
                sim.with(|kernel| {
                    if answered && kernel.alive(pid) && kernel.epoch(pid) == taken.epoch {
                        kernel.violated(format!("P{pid}: the snapshot of o{id} is gone, and its leader is not"));
                    }
                });
                return true;
            }
            Err(error) => return end(sim, pid, id, failed(&error)),
        }
    }
    sim.with(|kernel| {
        if kernel.alive(pid) {
            kernel.end_at(id, taken, Outcome::Values(values));
        }
        kernel.alive(pid)
    })
}

/// One key, by a get or an iterator.
async fn read(sim: &Sim, level: &RaveLevel, key: Bytes, snapshot: Snapshot) -> Result<Option<Bytes>> {
    let snapshot = Some(snapshot);
    if sim.with(|kernel| kernel.rng.bool()) {
        return level.get_opts(key, ReadOptions { snapshot }).await;
    }
    let range = KeyRange::all().gte(key.clone()).lte(key);
    let mut iterator = level.iterator_opts(IteratorOptions { range, snapshot, ..IteratorOptions::default() }).await?;
    Ok(iterator.next().await?.map(|entry| entry.value))
}
