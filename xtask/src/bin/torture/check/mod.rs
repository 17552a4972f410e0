//! The judge: gathers what all processes tell, and checks each generation of keys once it is over.
//!
//! | part | checks |
//! | --- | --- |
//! | `keys` | registers and pairs: each key's history is linearizable (`linear`, `zones`) |
//! | `sequences` | writes of one client, several at once: none lost, repeated, stale or out of order |
//! | `sets` | iterators; that what was acknowledged is there and nothing else; parts of a batch; counters |
//!
//! A generation is over when no process can begin an operation on it any more and none has one on its way. Some time
//! later, with several leaders in between, one process reads all of it: the audit. That read is part of the history,
//! and with it the generation is checked.

mod keys;
mod linear;
mod operation;
mod sequences;
mod sets;
#[cfg(test)]
mod tests;
mod violation;
mod zones;

pub use operation::{Fate, Operation};
pub use violation::{Class, Violation};

use crate::{
    clock::{self, NEVER, Nanos},
    record::{Call, Outcome, Record},
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    time::Duration,
};

/// How long a generation rests before its audit.
const REST: Nanos = 12_000_000_000;

/// How much longer than its deadline an operation may take before that is a fault: the machine is busy, and processes
/// are frozen.
const SLACK: Nanos = 30_000_000_000;

/// What the judge hears.
pub enum Message {
    /// A process was started.
    Started { process: u64, at: Nanos },
    /// It told this.
    Told { process: u64, record: Record },
    /// It has told everything.
    Ended { process: u64 },
    /// No operation will begin any more; what is left is audited now.
    LastCall,
    /// All is told.
    Close,
}

/// How often something was done, and what came of it.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Count {
    /// Acknowledged, or answered.
    pub done: u64,
    /// Conditions that did not hold.
    pub refused: u64,
    /// Failed with effect unknown.
    pub unknown: u64,
    /// Failed without effect.
    pub failed: u64,
    /// On its way in a process that was killed.
    pub cut: u64,
}

/// What the judge and the conductor both look at.
#[derive(Debug, Default)]
pub struct Docket {
    /// Generations that wait for their audit.
    pub due: BTreeSet<u64>,
    /// How many generations have not been checked, once no more will come.
    pub left: Option<usize>,
    /// The latest generation that was checked.
    pub checked: Option<u64>,
    pub generations: u64,
    pub violations: Vec<Violation>,
    pub undecided: u64,
    pub counts: BTreeMap<&'static str, Count>,
    /// Acknowledged operations that change something.
    pub acknowledged_writes: u64,
    /// What happened that may happen, and how often.
    pub notes: BTreeMap<String, u64>,
    /// Codes of failed operations.
    pub failures: BTreeMap<String, u64>,
    /// Processes that rest.
    pub resting: BTreeSet<u64>,
}

/// A docket in several threads.
#[derive(Clone, Default)]
pub struct SharedDocket(Arc<Mutex<Docket>>);

impl SharedDocket {
    pub fn lock(&self) -> MutexGuard<'_, Docket> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a violation.
    pub fn accuse(&self, class: Class, what: impl Into<String>) {
        self.lock().violations.push(Violation::new(class, what));
    }
}

/// A process that has not told everything yet.
struct Source {
    /// Up to here everything is told.
    told: Nanos,
    /// What it began and has not ended.
    open: HashMap<u64, Operation>,
}

pub struct Judge {
    docket: SharedDocket,
    start: Nanos,
    /// How long an operation may take.
    deadline: Nanos,
    sources: BTreeMap<u64, Source>,
    histories: BTreeMap<u64, Vec<Operation>>,
    last_call: bool,
}

impl Judge {
    pub fn new(docket: SharedDocket, start: Nanos, deadline: Duration) -> Self {
        let deadline = u64::try_from(deadline.as_nanos()).unwrap_or(NEVER);
        Self { docket, start, deadline, sources: BTreeMap::new(), histories: BTreeMap::new(), last_call: false }
    }

    /// Listens until all is told.
    pub fn run(mut self, messages: &mpsc::Receiver<Message>) {
        let mut looked = 0;
        loop {
            match messages.recv_timeout(Duration::from_millis(50)) {
                Ok(Message::Close) | Err(mpsc::RecvTimeoutError::Disconnected) => return,
                Ok(message) => self.hear(message),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            let now = clock::now();
            if now - looked > 100_000_000 {
                looked = now;
                self.look_for_audits(now);
            }
        }
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Started { process, at } => {
                self.sources.insert(process, Source { told: at, open: HashMap::new() });
            }
            Message::Told { process, record } => self.told(process, record),
            Message::Ended { process } => {
                let open = self.sources.remove(&process).map(|source| source.open).unwrap_or_default();
                open.into_values().for_each(|operation| self.over(operation));
            }
            Message::LastCall => self.last_call = true,
            Message::Close => {}
        }
    }

    fn told(&mut self, process: u64, record: Record) {
        let Some(source) = self.sources.get_mut(&process) else { return };
        match record {
            Record::Begin { id, at, call } => {
                source.told = at;
                source.open.insert(id, Operation { id, call, begun: at, ended: NEVER, outcome: None });
            }
            Record::End { id, at, outcome } => {
                source.told = at;
                if let Some(mut operation) = source.open.remove(&id) {
                    operation.ended = at;
                    operation.outcome = Some(outcome);
                    self.over(operation);
                }
            }
            Record::Role { at, .. } | Record::Alive { at } => source.told = at,
            Record::Wrong { at, what } => {
                let at = clock::seconds(self.start, at);
                self.docket.accuse(Class::Process, format!("process {process} at {at} s: {what}"));
            }
            Record::Note { what } => *self.docket.lock().notes.entry(without_numbers(&what)).or_default() += 1,
            Record::Resting => {
                self.docket.lock().resting.insert(process);
            }
        }
    }

    /// An operation has ended, or never will.
    fn over(&mut self, operation: Operation) {
        self.count(&operation);
        if operation.ended != NEVER && operation.ended - operation.begun > self.deadline + SLACK {
            let class = Class::Stuck;
            let what = format!(
                "an operation took long: {:?} {}",
                operation.call,
                operation.line(self.start, &crate::key::of_generation(0).0)
            );
            self.docket.accuse(class, what);
        }
        let generation = operation.call.generation();
        let audited = matches!(
            (&operation.call, &operation.outcome),
            (Call::Scan { audit: true, .. }, Some(Outcome::Entries(_)))
        );
        if !audited {
            self.histories.entry(generation).or_default().push(operation);
            return;
        }
        // Two may have been asked for the same, when the first was thought to be dead.
        let Some(mut history) = self.histories.remove(&generation) else { return };
        history.push(operation);
        let mut violations = Vec::new();
        let undecided = check(generation, self.start, &history, &mut violations);
        let mut docket = self.docket.lock();
        docket.violations.extend(violations);
        docket.undecided += undecided;
        docket.generations += 1;
        docket.due.remove(&generation);
        docket.checked = docket.checked.max(Some(generation));
    }

    fn count(&self, operation: &Operation) {
        let mut docket = self.docket.lock();
        let done = operation.fate() == Fate::Done && operation.outcome != Some(Outcome::Refused);
        if done && operation.call.writes() {
            docket.acknowledged_writes += 1;
        }
        if let Some(Outcome::Failed { code, .. }) = &operation.outcome {
            *docket.failures.entry(code.clone()).or_default() += 1;
        }
        let count = docket.counts.entry(operation.call.name()).or_default();
        match &operation.outcome {
            None => count.cut += 1,
            Some(Outcome::Refused) => count.refused += 1,
            Some(Outcome::Failed { maybe: true, .. }) => count.unknown += 1,
            Some(Outcome::Failed { .. }) => count.failed += 1,
            Some(_) => count.done += 1,
        }
    }

    fn look_for_audits(&mut self, now: Nanos) {
        let due = self.histories.keys().filter(|generation| {
            let end = clock::end_of(**generation);
            let rested = self.last_call || now > end + REST;
            rested && self.sources.values().all(|source| source.is_past(**generation))
        });
        let due: Vec<_> = due.copied().collect();
        let mut docket = self.docket.lock();
        docket.due.extend(due);
        docket.left = self.last_call.then_some(self.histories.len());
    }
}

impl Source {
    /// Whether it will tell no more of operations on this generation.
    fn is_past(&self, generation: u64) -> bool {
        let concerns = |operation: &Operation| {
            operation.call.generation() <= generation && !matches!(operation.call, Call::Scan { audit: true, .. })
        };
        self.told > clock::end_of(generation) && !self.open.values().any(concerns)
    }
}

/// A text with all numbers alike, so that what happened again is told once.
fn without_numbers(text: &str) -> String {
    let mut short: Vec<char> = text.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).collect();
    short.dedup_by(|next, before| *next == '#' && *before == '#');
    short.into_iter().collect()
}

/// Checks the whole history of a generation; how many keys could not be decided.
fn check(generation: u64, start: Nanos, history: &[Operation], violations: &mut Vec<Violation>) -> u64 {
    let undecided = keys::check_all(generation, start, history, violations);
    sequences::check_all(start, history, violations);
    sets::iterators(start, history, violations);
    sets::pairs(start, history, violations);
    sets::counters(start, history, violations);
    undecided
}
