//! Whether one key's history is linearizable: whether there is an order of its operations, true to their times, that
//! explains everything that was read.

use super::zones;
use crate::clock::{NEVER, Nanos};
use std::{cell::Cell, collections::HashMap};
use todc_utils::{Action, History, WGLChecker, specifications::Specification};

/// What an operation did to the key, or saw of it. 0 stands for absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Write(u64),
    Read(u64),
    /// It had the first value, and got the second.
    Swap(u64, u64),
    /// It got the second value if it had the first. Of a swap that nobody knows the outcome of.
    MaybeSwap(u64, u64),
    /// It did not have this value.
    Differs(u64),
}

impl Effect {
    pub fn value_written(self) -> Option<u64> {
        match self {
            Self::Write(value) | Self::Swap(_, value) | Self::MaybeSwap(_, value) => Some(value),
            Self::Read(_) | Self::Differs(_) => None,
        }
    }

    /// Whether this says something about a value that was there.
    fn saw(self, value: u64) -> bool {
        match self {
            Self::Read(seen) | Self::Swap(seen, _) | Self::MaybeSwap(seen, _) => seen == value,
            // It is seen by what it is not.
            Self::Differs(_) => true,
            Self::Write(_) => false,
        }
    }
}

/// One operation on the key.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub begun: Nanos,
    /// [`NEVER`] if it may have taken effect at any time later, or not at all.
    pub ended: Nanos,
    pub effect: Effect,
    /// The operation, as the caller counts.
    pub operation: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Linearizable,
    Not,
    /// The search was given up.
    Undecided,
}

/// How many steps a search may take.
const BUDGET: u32 = 300_000;

thread_local! {
    /// The steps that the present search may still take: the checker itself knows no bound.
    static LEFT: Cell<u32> = const { Cell::new(0) };
}

/// A key with a value, or without one.
struct Cellar;

impl Specification for Cellar {
    type State = u64;
    type Operation = Effect;

    fn init() -> u64 {
        0
    }

    fn apply(effect: &Effect, state: &u64) -> (bool, u64) {
        let left = LEFT.get();
        if left == 0 {
            return (false, *state);
        }
        LEFT.set(left - 1);
        match *effect {
            Effect::Write(value) => (true, value),
            Effect::Read(value) => (value == *state, *state),
            Effect::Swap(expected, value) => (expected == *state, value),
            Effect::MaybeSwap(expected, value) => (true, if expected == *state { value } else { *state }),
            Effect::Differs(value) => (value != *state, *state),
        }
    }
}

/// Whether these are linearizable.
pub fn check(steps: &[Step]) -> Verdict {
    let mut steps = without_unseen(steps);
    match zones::linearizable(&steps) {
        Some(true) => return Verdict::Linearizable,
        Some(false) => return Verdict::Not,
        None => {}
    }
    tighten(&mut steps);
    search(&steps)
}

/// The verdict of a search for an order.
fn search(steps: &[Step]) -> Verdict {
    if steps.is_empty() {
        return Verdict::Linearizable;
    }
    LEFT.set(BUDGET);
    let linearizable = WGLChecker::<Cellar>::is_linearizable(History::from_actions(actions(steps)));
    match linearizable {
        true => Verdict::Linearizable,
        false if LEFT.get() == 0 => Verdict::Undecided,
        false => Verdict::Not,
    }
}

/// Beginnings and ends, in the order of their times.
///
/// The checker tries operations in the order of their beginnings. Where nothing ends between two beginnings, their
/// order says nothing, so it is chosen such that the first guess is mostly right: what was seen first comes first.
fn actions(steps: &[Step]) -> Vec<(usize, Action<Effect>)> {
    let mut moments: Vec<(Nanos, bool, usize)> = Vec::with_capacity(2 * steps.len());
    for (index, step) in steps.iter().enumerate() {
        moments.push((step.begun, false, index));
        moments.push((step.ended, true, index));
    }
    // What ends when another begins is taken to overlap it.
    moments.sort_unstable();
    let written: HashMap<u64, Nanos> =
        steps.iter().filter_map(|step| Some((step.effect.value_written()?, step.ended))).collect();
    let guess = |index: usize| {
        let step = &steps[index];
        match step.effect {
            Effect::Read(value) if value != 0 => (written.get(&value).copied().unwrap_or(step.ended), 1, step.ended),
            _ => (step.ended, 0, step.ended),
        }
    };
    for beginnings in moments.chunk_by_mut(|left, right| left.1 == right.1).filter(|moments| !moments[0].1) {
        beginnings.sort_by_key(|(_, _, index)| guess(*index));
    }
    let action = |(_, end, index): (Nanos, bool, usize)| {
        let effect = steps[index].effect;
        (index, if end { Action::Response(effect) } else { Action::Call(effect) })
    };
    moments.into_iter().map(action).collect()
}

/// Narrows the times of operations to what follows from what was seen: a value is written before anybody who saw it
/// knew so, and seen after its write began. This changes no verdict and makes the search much shorter.
fn tighten(steps: &mut [Step]) {
    let mut writers: HashMap<u64, Vec<usize>> = HashMap::new();
    let mut seers: HashMap<u64, Vec<usize>> = HashMap::new();
    for (index, step) in steps.iter().enumerate() {
        if let Some(value) = step.effect.value_written() {
            writers.entry(value).or_default().push(index);
        }
        if let Effect::Read(value) | Effect::Swap(value, _) = step.effect {
            seers.entry(value).or_default().push(index);
        }
    }
    for (value, writers) in writers.iter().filter(|(value, _)| **value != 0) {
        let (&[writer], Some(seers)) = (writers.as_slice(), seers.get(value)) else { continue };
        let first = seers.iter().map(|seer| steps[*seer].ended).min().unwrap_or(NEVER);
        let begun = steps[writer].begun;
        if first < begun {
            // It was seen before it was written: nothing explains that.
            continue;
        }
        let writer = &mut steps[writer];
        writer.ended = writer.ended.min(first);
        if let Effect::MaybeSwap(expected, value) = writer.effect {
            writer.effect = Effect::Swap(expected, value);
        }
        for seer in seers {
            steps[*seer].begun = steps[*seer].begun.max(begun);
        }
    }
}

/// Without those that may not have happened and whose value nobody saw: if there is an order with them, there is the
/// same without them. They would make the search much longer.
fn without_unseen(steps: &[Step]) -> Vec<Step> {
    let seen = |value| steps.iter().any(|step| step.effect.saw(value));
    let needed = |step: &&Step| step.ended != NEVER || step.effect.value_written().is_none_or(seen);
    steps.iter().filter(needed).copied().collect()
}

/// When these stop being linearizable: the earliest end of an operation such that what was known by then is not.
/// None if they are.
pub fn first_fault(steps: &[Step]) -> Option<usize> {
    let mut ends: Vec<_> = steps.iter().filter(|step| step.ended != NEVER).map(|step| step.ended).collect();
    ends.sort_unstable();
    ends.dedup();
    // Whatever is linearizable has been so at every time before.
    let fault = ends.partition_point(|end| check(&known_by(steps, *end)) != Verdict::Not);
    let end = ends.get(fault)?;
    steps.iter().find(|step| step.ended == *end).map(|step| step.operation)
}

/// What was known at a time: what had ended by then, and writes that may have happened by then.
fn known_by(steps: &[Step], time: Nanos) -> Vec<Step> {
    let begun = steps.iter().filter(|step| step.begun <= time);
    let known = begun.filter_map(|step| match step.effect {
        _ if step.ended <= time => Some(*step),
        Effect::Write(_) | Effect::MaybeSwap(..) => Some(Step { ended: NEVER, ..*step }),
        Effect::Swap(expected, value) => {
            Some(Step { ended: NEVER, effect: Effect::MaybeSwap(expected, value), ..*step })
        }
        Effect::Read(_) | Effect::Differs(_) => None,
    });
    known.collect()
}

#[cfg(test)]
mod tests {
    use super::{Effect::*, *};

    fn steps(history: &[(Nanos, Nanos, Effect)]) -> Vec<Step> {
        let step = |(operation, &(begun, ended, effect))| Step { begun, ended, effect, operation };
        history.iter().enumerate().map(step).collect()
    }

    fn verdict(history: &[(Nanos, Nanos, Effect)]) -> Verdict {
        check(&steps(history))
    }

    #[test]
    fn overlapping_writes_may_have_any_order() {
        let base = [(0, 10, Write(1)), (0, 10, Write(2))];
        for value in [1, 2] {
            assert_eq!(verdict(&[base[0], base[1], (11, 12, Read(value))]), Verdict::Linearizable);
        }
        assert_eq!(verdict(&[base[0], base[1], (11, 12, Read(0))]), Verdict::Not);
        assert_eq!(verdict(&[base[0], base[1], (11, 12, Read(1)), (13, 14, Read(2))]), Verdict::Not);
    }

    #[test]
    fn a_write_that_may_have_happened_may_be_seen_late_or_never() {
        let base = [(0, NEVER, Write(1)), (1, 2, Write(2)), (3, 4, Read(2))];
        assert_eq!(verdict(&base), Verdict::Linearizable);
        assert_eq!(verdict(&[base[0], base[1], base[2], (5, 6, Read(1))]), Verdict::Linearizable);
        assert_eq!(verdict(&[base[0], base[1], base[2], (5, 6, Read(1)), (7, 8, Read(2))]), Verdict::Not);
    }

    #[test]
    fn deletes_that_may_have_happened_count_once() {
        let base = [(0, 1, Write(1)), (2, NEVER, Write(0)), (3, 4, Read(0)), (5, 6, Write(2))];
        assert_eq!(verdict(&base), Verdict::Linearizable);
        assert_eq!(verdict(&[base[0], base[1], base[2], base[3], (7, 8, Read(0))]), Verdict::Not);
    }

    #[test]
    fn swaps_are_made_where_they_hold() {
        let base = [(0, 1, Write(1)), (2, 3, Swap(1, 2))];
        assert_eq!(verdict(&[base[0], base[1], (4, 5, Read(2))]), Verdict::Linearizable);
        assert_eq!(verdict(&[base[0], base[1], (4, 5, Swap(1, 3))]), Verdict::Not);
        assert_eq!(verdict(&[base[0], base[1], (4, 5, Differs(1))]), Verdict::Linearizable);
        assert_eq!(verdict(&[base[0], base[1], (4, 5, Differs(2))]), Verdict::Not);
        let maybe = [base[0], (2, NEVER, MaybeSwap(1, 2))];
        for value in [1, 2] {
            assert_eq!(verdict(&[maybe[0], maybe[1], (4, 5, Read(value))]), Verdict::Linearizable);
        }
        assert_eq!(verdict(&[maybe[0], maybe[1], (4, 5, Read(3))]), Verdict::Not);
        assert_eq!(verdict(&[maybe[0], maybe[1], (4, 5, Differs(1))]), Verdict::Linearizable);
    }

    #[test]
    fn the_first_fault_is_found() {
        let history = steps(&[
            (0, 1, Write(1)),
            (2, 3, Read(1)),
            (4, 5, Write(2)),
            (6, 7, Read(1)),
            (8, 9, Read(2)),
            (10, 11, Read(3)),
        ]);
        assert_eq!(first_fault(&history), Some(3));
        assert_eq!(first_fault(&history[..3]), None);
    }

    /// The quick verdict, and the one after narrowing, are those of the plain search.
    #[test]
    fn all_ways_to_a_verdict_agree() {
        let mut random = fastrand::Rng::with_seed(5);
        let mut verdicts = [0; 2];
        for round in 0..20_000 {
            let mut history = Vec::new();
            for value in 1..=random.u64(1..5) {
                let begun = random.u64(0..20);
                let effect = match random.u32(0..8) {
                    // Deletes are for the search alone.
                    0 if round % 2 == 0 => Write(0),
                    1 if round % 2 == 0 => Swap(random.u64(0..value), value),
                    2 if round % 2 == 0 => MaybeSwap(random.u64(0..value), value),
                    3 if round % 2 == 0 => Differs(random.u64(0..=value)),
                    _ => Write(value),
                };
                let never = matches!(effect, MaybeSwap(..)) || matches!(effect, Write(_)) && random.u32(0..4) == 0;
                history.push((begun, if never { NEVER } else { begun + random.u64(1..8) }, effect));
            }
            for _ in 0..random.u64(1..5) {
                let begun = random.u64(0..25);
                history.push((begun, begun + random.u64(1..5), Read(random.u64(0..5))));
            }
            let steps = steps(&history);
            let plain = search(&steps);
            assert_eq!(check(&steps), plain, "{steps:?}");
            if round % 2 == 1 {
                assert!(zones::linearizable(&steps).is_some());
            }
            verdicts[usize::from(plain == Verdict::Linearizable)] += 1;
        }
        assert!(verdicts.iter().all(|count| *count > 2000), "{verdicts:?}");
    }

    #[test]
    fn a_search_has_an_end() {
        // Each delete may be anywhere, and the last read cannot be explained.
        let mut history: Vec<_> = (0..60).map(|_| (0, NEVER, Write(0))).collect();
        for round in 0..60 {
            let time = 10 * round + 10;
            history.extend([(time, time + 1, Write(round + 1)), (time + 2, time + 3, Read(0))]);
        }
        history.push((10_000, 10_001, Read(1)));
        let begun = std::time::Instant::now();
        assert_ne!(verdict(&history), Verdict::Linearizable);
        assert!(begun.elapsed() < std::time::Duration::from_secs(60));
    }
}
