//! Histories made by hand, right ones and wrong ones, and what is found in them.

use super::{Class, Judge, Message, Operation, SharedDocket, Violation, check};
use crate::{
    clock::{self, NEVER, Nanos},
    key::{Key, Kind, of_generation, of_kind},
    record::{Call, Outcome, Record},
    workload::HOT_REGISTERS,
};
use std::time::Duration;

const GENERATION: u64 = 3;

fn key(kind: Kind, name: u64) -> Key {
    Key::new(GENERATION, kind, name)
}

/// A register that only the search decides.
fn cold() -> Key {
    key(Kind::Register, HOT_REGISTERS)
}

#[derive(Default)]
struct History(Vec<Operation>);

impl History {
    fn add(mut self, (begun, ended): (Nanos, Nanos), call: Call, outcome: Option<Outcome>) -> Self {
        let id = (1 << 32) + self.0.len() as u64 + 1;
        self.0.push(Operation { id, call, begun, ended, outcome });
        self
    }

    fn write(self, times: (Nanos, Nanos), batch: &[(Key, u64)]) -> Self {
        self.add(times, Call::Write(batch.to_vec()), Some(Outcome::Done))
    }

    /// A write that its process did not outlive.
    fn cut(self, begun: Nanos, batch: &[(Key, u64)]) -> Self {
        self.add((begun, NEVER), Call::Write(batch.to_vec()), None)
    }

    fn failed(self, times: (Nanos, Nanos), batch: &[(Key, u64)], maybe: bool) -> Self {
        let outcome = Outcome::Failed { code: "LEVEL_ABORTED".to_owned(), maybe };
        self.add(times, Call::Write(batch.to_vec()), Some(outcome))
    }

    fn read(self, begun: Nanos, key: Key, value: u64) -> Self {
        self.add((begun, begun + 1), Call::Read(vec![key]), Some(Outcome::Values(vec![value])))
    }

    fn clear(self, times: (Nanos, Nanos)) -> Self {
        let (from, to) = of_kind(GENERATION, Kind::Register);
        self.add(times, Call::Clear { from, to }, Some(Outcome::Done))
    }

    fn scan(self, begun: Nanos, kind: Kind, reverse: bool, entries: &[(Key, u64)]) -> Self {
        let (from, to) = of_kind(GENERATION, kind);
        let call = Call::Scan { from, to, reverse, audit: false };
        self.add((begun, begun + 1), call, Some(Outcome::Entries(entries.to_vec())))
    }

    fn audit(self, begun: Nanos, entries: &[(Key, u64)]) -> Self {
        let (from, to) = of_generation(GENERATION);
        let call = Call::Scan { from, to, reverse: false, audit: true };
        self.add((begun, begun + 1), call, Some(Outcome::Entries(entries.to_vec())))
    }

    fn increase(self, times: (Nanos, Nanos), from: u64) -> Self {
        let id = (1 << 32) + self.0.len() as u64 + 1;
        let call = Call::Add { counter: key(Kind::Counter, 0), increment: key(Kind::Increment, 0).part(id) };
        self.add(times, call, Some(Outcome::Added { from }))
    }

    fn violations(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        assert_eq!(check(GENERATION, 0, &self.0, &mut violations), 0, "undecided");
        violations
    }

    #[track_caller]
    fn right(self) -> Self {
        let violations = self.violations();
        assert!(violations.is_empty(), "{violations:?}");
        self
    }

    #[track_caller]
    fn wrong(self, class: Class) {
        let violations = self.violations();
        assert!(violations.iter().any(|violation| violation.class == class), "{class} is not among {violations:?}");
    }
}

fn history() -> History {
    History::default()
}

#[test]
fn a_lost_write_is_found() {
    for register in [key(Kind::Register, 0), cold()] {
        let base = || history().write((1, 2), &[(register, 7)]);
        base().read(3, register, 7).right();
        base().read(3, register, 0).wrong(Class::Lost);
        base().audit(3, &[]).wrong(Class::Lost);
    }
    let marker = key(Kind::Marker, 1).part(1);
    let id = (1 << 32) + 1;
    history().write((1, 2), &[(marker, id)]).audit(3, &[(marker, id)]).right();
    history().write((1, 2), &[(marker, id)]).audit(3, &[]).wrong(Class::Lost);
    history().cut(1, &[(marker, id)]).audit(3, &[]).right();
}

#[test]
fn a_doubled_write_is_found() {
    for register in [key(Kind::Register, 0), cold()] {
        let seen = || history().write((1, 20), &[(register, 7)]).read(3, register, 7);
        let overwritten = seen().write((5, 6), &[(register, 8)]).read(7, register, 8).right();
        overwritten.read(21, register, 7).wrong(Class::Doubled);
    }
    // A clear that took effect, and once more after a later write.
    let cleared = history().write((1, 2), &[(cold(), 7)]).clear((3, 20)).read(5, cold(), 0);
    let later = cleared.write((7, 8), &[(cold(), 9)]).read(10, cold(), 9).right();
    later.read(22, cold(), 0).wrong(Class::Doubled);
    let sequence = key(Kind::Sequence, 1);
    let numbers = history().write((1, 9), &[(sequence, 1)]).write((1, 9), &[(sequence, 2)]);
    numbers.read(3, sequence, 2).right().read(12, sequence, 1).wrong(Class::Doubled);
}

#[test]
fn a_stale_read_is_found() {
    for register in [key(Kind::Register, 0), cold()] {
        let writes = history().write((1, 2), &[(register, 7)]).write((3, 4), &[(register, 8)]);
        let seen = writes.read(5, register, 8).right();
        seen.read(7, register, 7).read(9, register, 8).wrong(Class::Stale);
    }
    let sequence = key(Kind::Sequence, 1);
    let numbers = history().write((1, 2), &[(sequence, 1)]).write((3, 4), &[(sequence, 2)]);
    numbers.read(5, sequence, 1).read(7, sequence, 2).wrong(Class::Stale);
}

#[test]
fn a_wrong_order_is_found() {
    let sequence = key(Kind::Sequence, 1);
    let numbers = || history().write((1, 9), &[(sequence, 1)]).write((1, 9), &[(sequence, 2)]);
    numbers().read(10, sequence, 2).right();
    numbers().read(10, sequence, 1).wrong(Class::Order);
    numbers().read(5, sequence, 1).right();
}

#[test]
fn what_failed_without_effect_must_not_be_there() {
    for register in [key(Kind::Register, 0), cold(), key(Kind::Sequence, 1)] {
        history().failed((1, 2), &[(register, 7)], true).read(3, register, 7).right();
        history().failed((1, 2), &[(register, 7)], false).read(3, register, 0).right();
        history().failed((1, 2), &[(register, 7)], false).read(3, register, 7).wrong(Class::Phantom);
        history().read(3, register, 7).wrong(Class::Phantom);
    }
    let marker = key(Kind::Marker, 1).part(1);
    let id = (1 << 32) + 1;
    history().failed((1, 2), &[(marker, id)], false).audit(3, &[(marker, id)]).wrong(Class::Phantom);
    history().audit(3, &[(marker, id)]).wrong(Class::Phantom);
}

#[test]
fn a_torn_batch_is_found() {
    let pair = key(Kind::Pair, 1);
    let call = Call::Read(vec![pair, pair.part(1)]);
    let write = || history().write((1, 9), &[(pair, 7), (pair.part(1), 7)]);
    write().add((3, 4), call.clone(), Some(Outcome::Values(vec![7, 7]))).right();
    write().add((3, 4), call.clone(), Some(Outcome::Values(vec![0, 0]))).right();
    write().add((3, 4), call, Some(Outcome::Values(vec![7, 0]))).wrong(Class::Torn);
    write().audit(10, &[(pair, 7)]).wrong(Class::Torn);
}

#[test]
fn a_wrong_iterator_is_found() {
    let markers: Vec<Key> = (1..=3).map(|part| key(Kind::Marker, 1).part(part)).collect();
    let id = |number: u64| (1 << 32) + number;
    let base =
        || (1..).zip(&markers).fold(history(), |history, (n, marker)| history.write((n, n), &[(*marker, id(n))]));
    let entries: Vec<_> = markers.iter().copied().zip((1..).map(id)).collect();
    let back: Vec<_> = entries.iter().rev().copied().collect();
    base().scan(5, Kind::Marker, false, &entries).scan(7, Kind::Marker, true, &back).right();
    base().scan(5, Kind::Marker, true, &entries).wrong(Class::Iterator);
    base().scan(5, Kind::Marker, false, &[entries[0], entries[0], entries[1], entries[2]]).wrong(Class::Iterator);
    base().scan(5, Kind::Marker, false, &[entries[0], entries[2]]).wrong(Class::Lost);
    base().scan(5, Kind::Register, false, &entries).wrong(Class::Iterator);
    // What is written while it runs may be there or not.
    let late = markers[2].part(9);
    base().write((4, 8), &[(late, id(4))]).scan(5, Kind::Marker, false, &entries).right();
}

#[test]
fn a_wrong_counter_is_found() {
    let counter = key(Kind::Counter, 0);
    let increment = |number: u64| (key(Kind::Increment, 0).part((1 << 32) + number), (1 << 32) + number);
    let base = || history().increase((1, 2), 0).increase((3, 4), 1);
    base().audit(5, &[(counter, 2), increment(1), increment(2)]).right();
    base().audit(5, &[(counter, 3), increment(1), increment(2)]).wrong(Class::Counter);
    base().audit(5, &[increment(1), increment(2)]).wrong(Class::Counter);
    base().increase((5, 6), 1).wrong(Class::Counter);
    history().increase((1, 2), 1).increase((3, 4), 0).wrong(Class::Counter);
    base().audit(5, &[(counter, 1), increment(1)]).wrong(Class::Lost);
}

#[test]
fn swaps_belong_to_the_history() {
    let swap = |expected, value| Call::Swap { key: cold(), expected, value };
    let base = || history().write((1, 2), &[(cold(), 7)]).add((3, 4), swap(7, 8), Some(Outcome::Done));
    base().read(5, cold(), 8).right();
    base().add((5, 6), swap(7, 9), Some(Outcome::Refused)).right();
    assert!(!base().add((5, 6), swap(7, 9), Some(Outcome::Done)).violations().is_empty());
    assert!(!base().add((5, 6), swap(8, 9), Some(Outcome::Refused)).violations().is_empty());
}

/// A generation is audited when all that concerns it has been told, and not before.
#[test]
fn a_generation_is_over_when_nobody_can_add_to_it() {
    let docket = SharedDocket::default();
    let mut judge = Judge::new(docket.clone(), 0, Duration::from_secs(1));
    let (during, after) = (clock::end_of(GENERATION) - 10, clock::end_of(GENERATION) + 10);
    let late = clock::end_of(GENERATION + 20);
    let told = |process, record| Message::Told { process, record };
    for process in [1, 2] {
        judge.hear(Message::Started { process, at: during });
    }
    let (id, call) = ((1 << 32) + 1, Call::Write(vec![(cold(), 5)]));
    judge.hear(told(1, Record::Begin { id, at: during, call: call.clone() }));
    judge.hear(told(2, Record::Begin { id: (2 << 32) + 1, at: during, call }));
    judge.hear(told(1, Record::End { id, at: during + 1, outcome: Outcome::Done }));
    judge.hear(told(1, Record::Alive { at: after }));
    judge.hear(told(2, Record::Alive { at: after }));
    judge.look_for_audits(late);
    assert!(docket.lock().due.is_empty(), "process 2 has not ended its operation");
    judge.hear(Message::Ended { process: 2 });
    judge.look_for_audits(after);
    assert!(docket.lock().due.is_empty(), "it has not rested");
    judge.look_for_audits(late);
    assert!(docket.lock().due.contains(&GENERATION));

    let (from, to) = of_generation(GENERATION);
    let audit = (1 << 32) + 2;
    let call = Call::Scan { from, to, reverse: false, audit: true };
    judge.hear(told(1, Record::Begin { id: audit, at: late, call }));
    judge.hear(told(1, Record::End { id: audit, at: late + 1, outcome: Outcome::Entries(Vec::new()) }));
    let docket = docket.lock();
    assert_eq!((docket.generations, docket.checked, docket.due.len()), (1, Some(GENERATION), 0));
    assert_eq!(docket.violations.len(), 1, "the acknowledged write is lost: {:?}", docket.violations);
}
