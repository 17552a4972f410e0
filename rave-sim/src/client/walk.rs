//! An iterator used at random, each of its answers held against every state that the database had meanwhile.
//!
//! Its contract: keys are strictly monotonic and inside the range; each entry was there at some moment since it was
//! opened; no key is missed that was there throughout. While the leader and the connection stay the same, all entries are
//! from one state, one that was there while it was being opened.

use super::{KEYS, key};
use crate::{
    disk::{Entries, in_range, show},
    history::{Outcome, failed},
    kernel::{Kernel, Sim},
    oracle::reserved,
    trace::Pid,
};
use rave_core::{AbstractLevel, Bytes, Code, Entry, IteratorOptions, KeyRange, LevelIterator, Result};
use rave_level::RaveLevel;

/// What is known of an iterator under way.
struct Walk {
    pid: Pid,
    number: u64,
    options: IteratorOptions,
    /// The version visible when it was asked for.
    first: usize,
    /// The versions that it may show if nothing has happened to its leader.
    one_of: Option<Vec<usize>>,
    epoch: u32,
    /// What is left: behind the last key, or from the last seek's target on. `None` if that lay outside.
    rest: Option<KeyRange>,
    delivered: u64,
    /// How far a seek has moved it: the version at which keys must have been there, at the latest.
    ended: bool,
}

/// Opens an iterator and uses it. False if the handle is closed.
pub(super) async fn walk(sim: &Sim, pid: Pid, level: &RaveLevel) -> bool {
    let mut walk = sim.with(|kernel| {
        let options = options(kernel);
        let number = kernel.trace.len();
        kernel.note(pid, "iterates", number, || format!("i{number}: {options:?}"));
        let (first, epoch, rest) = (kernel.disk.visible(), kernel.epoch(pid), Some(options.range.clone()));
        Walk { pid, number, options, first, one_of: None, epoch, rest, delivered: 0, ended: false }
    });
    let mut iterator = match level.iterator_opts(walk.options.clone()).await {
        Ok(iterator) => iterator,
        Err(error) => return over(sim, &walk, &error),
    };
    sim.with(|kernel| walk.one_of = Some((walk.first..=kernel.disk.visible()).collect()));
    let steps = sim.with(|kernel| kernel.rng.usize(1..12));
    for _ in 0..steps {
        if walk.ended && sim.with(|kernel| kernel.rng.u8(0..3) > 0) {
            break;
        }
        if let Err(error) = step(sim, &mut walk, iterator.as_mut()).await {
            return over(sim, &walk, &error);
        }
        if sim.with(|kernel| kernel.violation.is_some()) {
            return false;
        }
    }
    match sim.with(|kernel| kernel.rng.bool()) {
        true => match iterator.close().await {
            Ok(()) => true,
            Err(error) => over(sim, &walk, &error),
        },
        false => true,
    }
}

async fn step(sim: &Sim, walk: &mut Walk, iterator: &mut dyn LevelIterator) -> Result<()> {
    let pid = walk.pid;
    match sim.with(|kernel| kernel.rng.u8(0..10)) {
        0 => {
            let target = sim.with(|kernel| {
                let target = key(kernel);
                kernel.note(pid, "seeks", walk.number, || format!("i{} to {}", walk.number, show(&target, None)));
                target
            });
            iterator.seek(target.clone()).await?;
            walk.rest = walk.options.range.from_target(&target, walk.options.reverse);
            walk.ended = false;
        }
        1 => sim.pause(pid, |kernel| kernel.plan.think.draw(&mut kernel.rng)).await,
        _ => {
            let size = sim.with(|kernel| if kernel.rng.bool() { 1 } else { kernel.rng.usize(1..6) });
            let entries = iterator.next_many(size).await?;
            sim.with(|kernel| walk.got(kernel, size, &entries));
        }
    }
    Ok(())
}

fn options(kernel: &mut Kernel) -> IteratorOptions {
    let range = match kernel.rng.u8(0..4) {
        0 => KeyRange::all(),
        1 => KeyRange::all().gt(key(kernel)),
        2 => KeyRange::all().lte(key(kernel)),
        _ => {
            let (low, high) = (kernel.rng.usize(0..KEYS.len()), kernel.rng.usize(0..KEYS.len()));
            KeyRange::all().gte(KEYS[low.min(high)]).lt(KEYS[low.max(high)])
        }
    };
    let limit = (kernel.rng.u8(0..4) == 0).then(|| kernel.rng.u64(0..6));
    IteratorOptions { range, reverse: kernel.rng.bool(), limit, ..IteratorOptions::default() }
}

/// An iterator ended with an error. False if the handle is closed.
fn over(sim: &Sim, walk: &Walk, error: &rave_core::Error) -> bool {
    let Outcome::Failed { code, .. } = failed(error) else { return true };
    sim.with(|kernel| {
        if !kernel.alive(walk.pid) {
            return false;
        }
        let (pid, number) = (walk.pid, walk.number);
        kernel.note(pid, "stops iterating", number, || format!("i{number}: {code}"));
        let explained = match code {
            Code::DatabaseNotOpen => kernel.processes[pid].leaving,
            Code::Aborted => kernel.plan.deadline.is_some(),
            Code::ConnectionLost => kernel.plan.gives_up(),
            _ => false,
        };
        if !explained {
            kernel.violated(format!("P{pid}: iterator i{number} failed with {code}, which nothing explains"));
        }
        !(code == Code::DatabaseNotOpen && kernel.processes[pid].leaving)
    })
}

impl Walk {
    /// `entries` were delivered, asked for `size`.
    fn got(&mut self, kernel: &mut Kernel, size: usize, entries: &[Entry]) {
        if !kernel.alive(self.pid) {
            return;
        }
        let number = self.number;
        kernel.note(self.pid, "iterated", number, || {
            let keys: Vec<_> = entries.iter().map(|entry| show(&entry.key, Some(&entry.value))).collect();
            format!("i{number}: {}", keys.join(", "))
        });
        if kernel.epoch(self.pid) != self.epoch {
            self.one_of = None;
        }
        if let Err(what) = self.check(kernel, size, entries) {
            kernel.violated(format!("P{}: iterator i{number} of {:?} {what}", self.pid, self.options));
        }
    }

    fn check(&mut self, kernel: &Kernel, size: usize, entries: &[Entry]) -> std::result::Result<(), String> {
        if entries.len() > size {
            return Err(format!("gave {} entries instead of {size}", entries.len()));
        }
        if self.ended && !entries.is_empty() {
            return Err("went on behind its end".to_owned());
        }
        for entry in entries {
            let Some(rest) = self.rest.clone().filter(|rest| rest.contains(&entry.key)) else {
                return Err(format!("gave {}, which is not what was left", show(&entry.key, None)));
            };
            if reserved(&entry.key) {
                return Err("showed what rave-level keeps for itself".to_owned());
            }
            self.was_there(kernel, entry)?;
            let gap = match self.options.reverse {
                false => KeyRange::new(rest.lower().cloned(), std::ops::Bound::Excluded(entry.key.clone())),
                true => KeyRange::new(std::ops::Bound::Excluded(entry.key.clone()), rest.upper().cloned()),
            };
            self.none_missed(kernel, &gap)?;
            self.rest = Some(self.options.range.behind(&entry.key, self.options.reverse));
            self.delivered += 1;
        }
        if self.options.limit.is_some_and(|limit| self.delivered > limit) {
            return Err("gave more than its limit".to_owned());
        }
        if entries.is_empty() {
            self.ended = true;
            if self.options.limit.is_none_or(|limit| self.delivered < limit)
                && let Some(rest) = self.rest.clone()
            {
                self.none_missed(kernel, &rest)?;
            }
        }
        Ok(())
    }

    fn was_there(&mut self, kernel: &Kernel, entry: &Entry) -> std::result::Result<(), String> {
        let has = |version: &usize| kernel.disk.state(*version).get(&entry.key) == Some(&entry.value);
        let there = match &mut self.one_of {
            Some(versions) => {
                versions.retain(has);
                !versions.is_empty()
            }
            None => (self.first..=kernel.disk.visible()).any(|version| has(&version)),
        };
        if there { Ok(()) } else { Err(format!("gave {}, which was not there", show(&entry.key, Some(&entry.value)))) }
    }

    /// Nothing in `gap` was there throughout.
    fn none_missed(&mut self, kernel: &Kernel, gap: &KeyRange) -> std::result::Result<(), String> {
        if let Some(versions) = &mut self.one_of {
            versions.retain(|version| visible(kernel.disk.state(*version), gap).next().is_none());
            return match versions.is_empty() {
                true => Err("shows no one state that was there while it was being opened".to_owned()),
                false => Ok(()),
            };
        }
        let throughout = |key: &Bytes| {
            (self.first..=kernel.disk.visible()).all(|version| kernel.disk.state(version).contains_key(key))
        };
        match visible(kernel.disk.state(self.first), gap).find(|key| throughout(key)) {
            Some(key) => Err(format!("missed {}", show(key, None))),
            None => Ok(()),
        }
    }
}

/// The keys of a range that users may see.
fn visible<'a>(state: &'a Entries, range: &KeyRange) -> impl Iterator<Item = &'a Bytes> {
    in_range(state, range).map(|(key, _)| key).filter(|key| !reserved(key))
}
