//! What users do: tasks that read, write, clear and iterate at random through one handle, and write down what they get.

pub(crate) mod count;
mod snapshot;
mod walk;

use crate::{
    history::{Call, Outcome, failed, written},
    kernel::{Kernel, Sim},
    plan::chance,
    trace::Pid,
};
use futures::future::{BoxFuture, join_all};
use rave_core::{
    AbstractLevel, AbstractLevelExt, Batch, Bytes, ClearOptions, Code, KeyRange, ReadOptions, WriteOptions,
};
use rave_level::RaveLevel;
use std::time::Duration;

/// Keys that are close to each other: prefixes, successors, and the highest byte.
const KEYS: [&[u8]; 8] = [b"a", b"a\0", b"ab", b"b", b"b\xff", b"c", b"d", b"e"];

/// Deletes leave no trace of who made them, so a batch may carry a mark: a put of this key.
const MARK: &[u8] = b"mark";

pub(crate) fn key(kernel: &mut Kernel) -> Bytes {
    let most = kernel.plan.keys.min(KEYS.len());
    Bytes::from_static(KEYS[kernel.rng.usize(0..most)])
}

/// A value that names operation `id` and put `number` of it, filled up with dots to some length.
fn value(kernel: &mut Kernel, id: usize, number: usize) -> Bytes {
    let mut text = format!("o{id}/{number}");
    let filling = match kernel.rng.u8(0..20) {
        0 => kernel.rng.usize(0..3000),
        1..6 => kernel.rng.usize(0..100),
        _ => 0,
    };
    text.extend(std::iter::repeat_n('.', filling));
    Bytes::from(text)
}

/// Which operation and which put of it wrote a value.
pub(crate) fn writer_of(value: &[u8]) -> Option<(usize, usize)> {
    let text = std::str::from_utf8(value).ok()?.trim_end_matches('.').strip_prefix('o')?;
    let (id, number) = text.split_once('/')?;
    Some((id.parse().ok()?, number.parse().ok()?))
}

/// Which operation a clear was: its exclusive upper bound is a key, a zero byte, and the name.
pub(crate) fn clearer_of(range: &KeyRange) -> Option<usize> {
    let std::ops::Bound::Excluded(bound) = range.upper() else { return None };
    let at = bound.iter().rposition(|byte| *byte == 0)?;
    std::str::from_utf8(bound.get(at + 1..)?).ok()?.strip_prefix('o')?.parse().ok()
}

/// One client: so many operations, one after the other, or a few at once.
pub(crate) async fn client(sim: Sim, pid: Pid, level: RaveLevel) {
    let operations = sim.with(|kernel| kernel.plan.operations);
    let mut done = 0;
    while done < operations {
        sim.pause(pid, |kernel| kernel.plan.think.draw(&mut kernel.rng)).await;
        let at_once = sim.with(|kernel| if kernel.rng.u8(0..3) == 0 { kernel.rng.usize(2..=5) } else { 1 });
        done += at_once;
        if !sim.with(|kernel| kernel.alive(pid)) {
            return;
        }
        let still_open = match sim.with(|kernel| kernel.rng.u8(0..16)) {
            0 | 1 => walk::walk(&sim, pid, &level).await,
            2 => snapshot::look(&sim, pid, &level).await,
            // All are submitted in this order, in the first poll.
            _ => join_all((0..at_once).map(|_| maybe_cancelled(&sim, pid, &level))).await.into_iter().all(|open| open),
        };
        if !still_open {
            return;
        }
    }
}

/// An operation, perhaps dropped in the middle. False if the handle is closed.
async fn maybe_cancelled(sim: &Sim, pid: Pid, level: &RaveLevel) -> bool {
    let patience = sim.with(|kernel| {
        let rate = kernel.plan.cancelled;
        (!kernel.calm && chance(&mut kernel.rng, rate)).then(|| kernel.rng.u64(0..2000))
    });
    let level = sim.with(|kernel| with_other_settings(kernel, level));
    let operation = operation(sim, pid, &level);
    match patience {
        None => operation.await,
        Some(micros) => tokio::select! {
            biased;
            open = operation => open,
            () = sim.pause(pid, |_| micros) => true,
        },
    }
}

/// The handle, now and then with settings for one operation.
fn with_other_settings(kernel: &mut Kernel, level: &RaveLevel) -> RaveLevel {
    let mut level = level.clone();
    if kernel.plan.policies.len() > 1
        && kernel.rng.u8(0..4) == 0
        && let Some(policy) = kernel.rng.choice(&kernel.plan.policies).copied()
    {
        level = level.retrying(policy);
    }
    if let Some(deadline) = kernel.plan.deadline.filter(|_| kernel.rng.u8(0..4) == 0) {
        level = level.with_timeout(Duration::from_micros(deadline.draw(&mut kernel.rng)));
    }
    level
}

fn operation<'a>(sim: &'a Sim, pid: Pid, level: &'a RaveLevel) -> BoxFuture<'a, bool> {
    match sim.with(|kernel| kernel.rng.u8(0..100)) {
        0..25 => Box::pin(get(sim, pid, level)),
        25..35 => Box::pin(get_many(sim, pid, level)),
        35..65 => Box::pin(write(sim, pid, level, 1)),
        65..73 => Box::pin(del(sim, pid, level)),
        73..85 => Box::pin(write(sim, pid, level, 4)),
        85..93 => Box::pin(count::count(sim, pid, level)),
        _ => Box::pin(clear(sim, pid, level)),
    }
}

/// Writes down what a call gave. False if the handle is closed.
fn end(sim: &Sim, pid: Pid, id: usize, outcome: Outcome) -> bool {
    sim.with(|kernel| {
        // The rest of the poll in which it died.
        if !kernel.alive(pid) {
            return false;
        }
        let closed = judge(kernel, pid, id, &outcome);
        kernel.end(id, outcome);
        !closed
    })
}

/// Whether an outcome says that the handle is closed. Errors that nothing in the run explains are violations.
fn judge(kernel: &mut Kernel, pid: Pid, id: usize, outcome: &Outcome) -> bool {
    let Outcome::Failed { code, .. } = outcome else { return false };
    let explained = match code {
        Code::DatabaseNotOpen if kernel.processes[pid].leaving => return true,
        Code::Aborted => kernel.plan.deadline.is_some(),
        Code::ConnectionLost => kernel.plan.gives_up(),
        Code::Io => kernel.plan.io_errors > 0,
        Code::Session => kernel.plan.retention.is_some(),
        // It was applied by the leader that was lost, and does not hold the second time.
        Code::ConditionFailed => !kernel.plan.sessions,
        // Others were faster at every attempt.
        Code::Conflict => true,
        _ => false,
    };
    if !explained {
        kernel.violated(format!("P{pid}: o{id} failed with {code}, which nothing explains"));
    }
    false
}

async fn get(sim: &Sim, pid: Pid, level: &RaveLevel) -> bool {
    let (id, key) = sim.with(|kernel| {
        let key = key(kernel);
        (kernel.begin(pid, Call::Read(vec![key.clone()]), true), key)
    });
    let result = level.get_opts(key, ReadOptions::default()).await;
    end(sim, pid, id, result.map_or_else(|error| failed(&error), |value| Outcome::Values(vec![value])))
}

async fn get_many(sim: &Sim, pid: Pid, level: &RaveLevel) -> bool {
    let (id, keys) = sim.with(|kernel| {
        let number = kernel.rng.usize(1..=4);
        let keys: Vec<Bytes> = (0..number).map(|_| key(kernel)).collect();
        (kernel.begin(pid, Call::Read(keys.clone()), true), keys)
    });
    let result = level.get_many_opts(keys, ReadOptions::default()).await;
    end(sim, pid, id, result.map_or_else(|error| failed(&error), Outcome::Values))
}

/// A write of up to `most` puts and deletes, at least one of them a put, perhaps only on conditions.
async fn write(sim: &Sim, pid: Pid, level: &RaveLevel, most: usize) -> bool {
    let (id, batch, sync) = sim.with(|kernel| {
        let id = kernel.next_operation();
        let number = kernel.rng.usize(1..=most);
        let conditions = if kernel.rng.u8(0..4) == 0 { conditions(kernel) } else { Vec::new() };
        let mut changes = Vec::new();
        for index in 0..number {
            let delete = number > 1 && kernel.rng.u8(0..3) == 0;
            changes.push((key(kernel), (!delete).then(|| value(kernel, id, index))));
        }
        if !conditions.is_empty() && kernel.rng.u8(0..8) == 0 {
            // It only checks.
            changes.clear();
        } else if changes.iter().all(|(_, value)| value.is_none()) {
            let mark = value(kernel, id, number);
            changes.push((Bytes::from_static(MARK), Some(mark)));
        }
        let batch = changes.iter().fold(Batch::new(), |batch, (key, value)| match value {
            Some(value) => batch.put(key, value),
            None => batch.del(key),
        });
        let batch = conditions.iter().fold(batch, |batch, (key, value)| match value {
            Some(value) => batch.if_equals(key, value),
            None => batch.if_absent(key),
        });
        (kernel.begin(pid, Call::Write { changes, conditions }, true), batch, kernel.rng.u8(0..10) == 0)
    });
    let result = level.write_opts(batch, WriteOptions { sync }).await;
    end(sim, pid, id, written(result))
}

/// Conditions that hold at the moment, or did once.
fn conditions(kernel: &mut Kernel) -> Vec<(Bytes, Option<Bytes>)> {
    let version = match kernel.rng.u8(0..4) {
        0 => kernel.rng.usize(0..=kernel.disk.visible()),
        _ => kernel.disk.visible(),
    };
    let mut keys: Vec<Bytes> = (0..kernel.rng.usize(1..=2)).map(|_| key(kernel)).collect();
    keys.sort();
    keys.dedup();
    let state = kernel.disk.state(version);
    keys.into_iter().map(|key| (key.clone(), state.get(&key).cloned())).collect()
}

async fn del(sim: &Sim, pid: Pid, level: &RaveLevel) -> bool {
    let (id, key) = sim.with(|kernel| {
        let key = key(kernel);
        let call = Call::Write { changes: vec![(key.clone(), None)], conditions: Vec::new() };
        (kernel.begin(pid, call, true), key)
    });
    end(sim, pid, id, written(level.del(key).await))
}

async fn clear(sim: &Sim, pid: Pid, level: &RaveLevel) -> bool {
    let (id, options) = sim.with(|kernel| {
        let id = kernel.next_operation();
        let (one, other) = (key(kernel), key(kernel));
        let (mut low, high) = if one < other { (one, other) } else { (other, one) };
        if kernel.rng.u8(0..4) == 0 {
            // From the lowest key on, and so over what is hidden.
            low = Bytes::new();
        }
        let upper = [high.as_ref(), b"\0", format!("o{id}").as_bytes()].concat();
        let limit = (kernel.rng.u8(0..3) == 0).then(|| kernel.rng.u64(1..4));
        let range = KeyRange::all().gte(low).lt(upper);
        let options = ClearOptions { range, reverse: kernel.rng.bool(), limit, ..ClearOptions::default() };
        (kernel.begin(pid, Call::Clear(options.clone()), true), options)
    });
    end(sim, pid, id, written(level.clear_opts(options).await))
}
