//! One history: each step is taken by the database and by the model, and what they answer is compared.

use crate::{
    generate::{Changes, Choice, Generator, Move, Settings, Step, Wanted, WantedOf},
    model::{Model, ModelCursor, Query},
    subject::{Answer, Subject},
};
use fastrand::Rng;
use rave_core::{Batch, Bytes, Condition, Digester, Entry, KeyRange, Operation};
use std::{
    collections::{BTreeSet, VecDeque},
    fmt::Debug,
};

/// Where an answer differed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Get,
    SnapshotGet,
    ForwardScan,
    ReverseScan,
    SnapshotScan,
    /// A condition was judged wrongly.
    Condition,
    /// An operation failed.
    Failure,
    /// An operation panicked.
    Panic,
}

/// A step at which the database and the model disagree.
#[derive(Debug)]
pub struct Difference {
    pub kind: Kind,
    pub what: String,
}

/// Iterators and snapshots that are kept at the same time, at most.
const KEPT: usize = 5;

/// Steps that are shown when one fails.
const SHOWN: usize = 25;

pub struct History<S: Subject> {
    pub settings: Settings,
    generator: Generator,
    subject: Option<S>,
    model: Model,
    snapshots: Vec<(S::Snapshot, Model)>,
    iterators: Vec<Open<S::Cursor>>,
    pub steps: usize,
    /// The most tables each level had.
    pub tables: Vec<usize>,
    pub last_steps: VecDeque<Step>,
}

struct Open<C> {
    cursor: C,
    model: ModelCursor,
    /// Whether it was opened on an explicit snapshot, or writes have happened since.
    old: bool,
}

fn failed<T>(answer: Answer<T>, attempt: impl Debug) -> Result<T, Difference> {
    answer.map_err(|error| Difference { kind: Kind::Failure, what: format!("{attempt:?} failed: {error}") })
}

fn short(value: &Option<Bytes>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(value) => format!("{} bytes, {:?}", value.len(), value.slice(..value.len().min(12))),
    }
}

fn texts(entries: &[Entry]) -> String {
    let texts: Vec<_> = entries.iter().map(|e| format!("{:?}: {}", e.key, short(&Some(e.value.clone())))).collect();
    format!("[{}]", texts.join(", "))
}

impl<S: Subject> History<S> {
    pub fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let settings = Settings::random(&mut random);
        let generator = Generator::new(random, &settings);
        Self {
            settings,
            generator,
            subject: None,
            model: Model::default(),
            snapshots: Vec::new(),
            iterators: Vec::new(),
            steps: 0,
            tables: Vec::new(),
            last_steps: VecDeque::new(),
        }
    }

    /// Takes so many steps and compares everything at the end. `on_difference` says whether to go on.
    pub fn run(&mut self, steps: usize, mut on_difference: impl FnMut(&Self, Difference) -> bool) {
        match failed(S::create(&self.settings), "creating the database") {
            Ok(subject) => self.subject = Some(subject),
            Err(difference) => {
                on_difference(self, difference);
                return;
            }
        }
        while self.steps <= steps {
            let step = if self.steps == steps { Step::CompareAll } else { self.generator.step() };
            self.steps += 1;
            if self.last_steps.len() == SHOWN {
                self.last_steps.pop_front();
            }
            self.last_steps.push_back(step.clone());
            if let Err(difference) = self.take(&step)
                && !on_difference(self, difference)
            {
                return;
            }
            if self.steps.is_multiple_of(64) {
                self.count_tables();
            }
        }
        self.count_tables();
    }

    fn subject(&mut self) -> &mut S {
        self.subject.as_mut().unwrap()
    }

    fn count_tables(&mut self) {
        let tables = self.subject().tables_by_level();
        self.tables.resize(self.tables.len().max(tables.len()), 0);
        for (most, now) in self.tables.iter_mut().zip(tables) {
            *most = now.max(*most);
        }
    }

    fn take(&mut self, step: &Step) -> Result<(), Difference> {
        match step {
            Step::Write { changes, sync } => {
                let operations = self.apply(changes);
                failed(self.subject().write(operations, *sync), "write")
            }
            Step::WriteTogether(batches) => {
                let batches = batches.iter().map(|changes| self.apply(changes)).collect();
                failed(self.subject().write_together(batches), "writes handed over together")
            }
            Step::WriteIf { conditions, changes, sync } => self.write_if(conditions, changes, *sync),
            Step::Clear { query, snapshot } => self.clear(query, *snapshot),
            Step::Get { key, snapshot } => self.get(key, *snapshot),
            Step::GetMany { keys, snapshot } => self.get_many(keys, *snapshot),
            Step::TakeSnapshot if self.snapshots.len() < KEPT => {
                let snapshot = failed(self.subject().snapshot(), "snapshot")?;
                self.snapshots.push((snapshot, self.model.clone()));
                Ok(())
            }
            Step::TakeSnapshot => Ok(()),
            Step::DropSnapshot(which) => {
                if let Some(index) = self.choose_snapshot(Some(*which)) {
                    self.snapshots.swap_remove(index);
                }
                Ok(())
            }
            Step::Iterate { query, snapshot, moves, keep } => self.iterate(query, *snapshot, moves, *keep),
            Step::Resume { which, moves, keep } => {
                if self.iterators.is_empty() {
                    return Ok(());
                }
                let index = which % self.iterators.len();
                let open = self.iterators.swap_remove(index);
                self.advance(open, moves, *keep)
            }
            Step::Compact { lower, upper } => {
                failed(self.subject().compact_range(lower.clone(), upper.clone()), "compact_range")
            }
            Step::Reopen(how) => {
                self.iterators.clear();
                self.snapshots.clear();
                failed(self.subject().reopen(*how), how)?;
                self.compare_all()
            }
            Step::CompareAll => self.compare_all(),
        }
    }

    /// Applies a batch to the model, and gives it in the form the database takes.
    fn apply(&mut self, changes: &Changes) -> Vec<Operation> {
        self.iterators.iter_mut().for_each(|open| open.old = true);
        let operations = changes.operations();
        for operation in &operations {
            match operation {
                Operation::Put { key, value } => self.model.put(key.clone(), value.clone()),
                Operation::Del { key } => self.model.del(key),
            }
        }
        operations
    }

    fn write_if(&mut self, wanted: &[Wanted], changes: &Changes, sync: bool) -> Result<(), Difference> {
        let (mut conditions, mut failing, mut keys) = (Vec::new(), Vec::new(), BTreeSet::new());
        for Wanted { of, wrong } in wanted {
            let condition = match of {
                // Two of one key might contradict each other.
                WantedOf::Key(key) if !keys.insert(key) => continue,
                WantedOf::Key(key) => match (self.model.get(key), wrong) {
                    (Some(value), false) => Condition::Equals { key: key.clone(), value },
                    (None, true) => Condition::Equals { key: key.clone(), value: Bytes::new() },
                    _ => Condition::Absent { key: key.clone() },
                },
                WantedOf::Range(query) => {
                    let mut digester = Digester::default();
                    let mut cursor = self.model.cursor(query.clone());
                    while let Some(entry) = cursor.next() {
                        digester.entry(&entry.key, &entry.value);
                    }
                    if *wrong {
                        digester.entry(b"", b"another");
                    }
                    Condition::unchanged(KeyRange::new(query.lower.clone(), query.upper.clone()), digester.finish())
                }
            };
            if *wrong {
                failing.push(conditions.len());
            }
            conditions.push(condition);
        }
        let operations = if failing.is_empty() { self.apply(changes) } else { changes.operations() };
        let batch = conditions.into_iter().fold(Batch::from_iter(operations), Batch::require);
        let found = failed(self.subject().write_if(batch, sync, &failing), "a conditional write")?;
        if found == failing {
            return Ok(());
        }
        Err(Difference { kind: Kind::Condition, what: format!("the conditions {failing:?} fail, not {found:?}") })
    }

    fn choose_snapshot(&self, choice: Option<Choice>) -> Option<usize> {
        choice.filter(|_| !self.snapshots.is_empty()).map(|choice| choice % self.snapshots.len())
    }

    fn clear(&mut self, query: &Query, choice: Option<Choice>) -> Result<(), Difference> {
        let chosen = self.choose_snapshot(choice).map(|index| &self.snapshots[index]);
        let doomed = chosen.map_or(&self.model, |(_, model)| model).keys(query);
        let snapshot = chosen.map(|(snapshot, _)| snapshot);
        let subject = self.subject.as_mut().unwrap();
        failed(subject.clear(query, snapshot, doomed.clone()), ("clear", query))?;
        doomed.iter().for_each(|key| self.model.del(key));
        self.iterators.iter_mut().for_each(|open| open.old = true);
        Ok(())
    }

    fn get(&mut self, key: &Bytes, choice: Option<Choice>) -> Result<(), Difference> {
        let chosen = self.choose_snapshot(choice).map(|index| &self.snapshots[index]);
        let expected = chosen.map_or(&self.model, |(_, model)| model).get(key);
        let found = self.subject.as_mut().unwrap().get(key, chosen.map(|(snapshot, _)| snapshot));
        let found = failed(found, ("get", key))?;
        if found == expected {
            return Ok(());
        }
        let kind = if chosen.is_some() { Kind::SnapshotGet } else { Kind::Get };
        Err(Difference { kind, what: format!("{key:?} is {}, not {}", short(&expected), short(&found)) })
    }

    fn get_many(&mut self, keys: &[Bytes], choice: Option<Choice>) -> Result<(), Difference> {
        let chosen = self.choose_snapshot(choice).map(|index| &self.snapshots[index]);
        let model = chosen.map_or(&self.model, |(_, model)| model);
        let expected: Vec<_> = keys.iter().map(|key| model.get(key)).collect();
        let found = self.subject.as_mut().unwrap().get_many(keys, chosen.map(|(snapshot, _)| snapshot));
        let found = failed(found, ("get_many", keys))?;
        if found == expected {
            return Ok(());
        }
        let kind = if chosen.is_some() { Kind::SnapshotGet } else { Kind::Get };
        let list = |values: &[Option<Bytes>]| values.iter().map(short).collect::<Vec<_>>().join(", ");
        Err(Difference { kind, what: format!("{keys:?} are [{}], not [{}]", list(&expected), list(&found)) })
    }

    fn iterate(&mut self, query: &Query, choice: Option<Choice>, moves: &[Move], keep: bool) -> Result<(), Difference> {
        let chosen = self.choose_snapshot(choice).map(|index| &self.snapshots[index]);
        let model = chosen.map_or(&self.model, |(_, model)| model).cursor(query.clone());
        let cursor = self.subject.as_mut().unwrap().cursor(query, chosen.map(|(snapshot, _)| snapshot));
        let cursor = failed(cursor, ("opening an iterator", query))?;
        let open = Open { cursor, model, old: chosen.is_some() };
        self.advance(open, moves, keep)
    }

    fn advance(&mut self, mut open: Open<S::Cursor>, moves: &[Move], keep: bool) -> Result<(), Difference> {
        for r#move in moves {
            self.advance_once(&mut open, r#move)?;
        }
        if keep {
            if self.iterators.len() == KEPT {
                self.iterators.remove(0);
            }
            self.iterators.push(open);
            return Ok(());
        }
        // A look at what remains, and at the end it must stay at the end.
        self.advance_once(&mut open, &Move::NextMany(50))
    }

    fn advance_once(&mut self, open: &mut Open<S::Cursor>, r#move: &Move) -> Result<(), Difference> {
        let subject = self.subject.as_mut().unwrap();
        let before = open.model.clone();
        let (found, expected): (Vec<Entry>, Vec<Entry>) = match r#move {
            Move::Next => {
                let found = failed(subject.next(&mut open.cursor), ("next", open.model.query()))?;
                (found.into_iter().collect(), open.model.next().into_iter().collect())
            }
            Move::NextMany(count) => {
                let found = failed(subject.next_many(&mut open.cursor, *count), ("next_many", open.model.query()))?;
                if found.len() > (*count).max(1) {
                    let what = format!("{} entries instead of at most {count}", found.len());
                    return Err(Difference { kind: Kind::Failure, what });
                }
                // An answer may be short, but empty only at the end.
                let model = &mut open.model;
                let expected = (0..found.len().max(1)).map_while(|_| model.next()).collect();
                (found, expected)
            }
            Move::Seek(target) => {
                failed(subject.seek(&mut open.cursor, target), ("seek", target))?;
                open.model.seek(target);
                return Ok(());
            }
            Move::Turn if S::TURNS && open.model.stands_on_an_entry() => {
                subject.turn(&mut open.cursor);
                open.model.turn();
                return Ok(());
            }
            Move::Turn => return Ok(()),
        };
        if found == expected {
            return Ok(());
        }
        let query = before.query();
        let kind = match (open.old, query.reverse) {
            (true, _) => Kind::SnapshotScan,
            (false, true) => Kind::ReverseScan,
            (false, false) => Kind::ForwardScan,
        };
        let what = format!("{:?} in {query:?} gives {}, not {}", r#move, texts(&expected), texts(&found));
        Err(Difference { kind, what })
    }

    fn compare_all(&mut self) -> Result<(), Difference> {
        let subject = self.subject.as_mut().unwrap();
        let present = std::iter::once((None, &self.model));
        let snapshots = self.snapshots.iter().map(|(snapshot, model)| (Some(snapshot), model));
        for (snapshot, model) in present.chain(snapshots) {
            for reverse in [false, true] {
                let query = Query::all(reverse);
                let mut cursor = failed(subject.cursor(&query, snapshot), "opening an iterator")?;
                let mut expected = model.cursor(query);
                let mut count = 0;
                loop {
                    let found = failed(subject.next_many(&mut cursor, 100), "next_many")?;
                    let wanted: Vec<Entry> = (0..found.len().max(1)).map_while(|_| expected.next()).collect();
                    if found != wanted {
                        let kind = match (snapshot.is_some(), reverse) {
                            (true, _) => Kind::SnapshotScan,
                            (false, true) => Kind::ReverseScan,
                            (false, false) => Kind::ForwardScan,
                        };
                        let first = found.iter().zip(&wanted).take_while(|(found, wanted)| found == wanted).count();
                        let (found, wanted) = (&found[first..], &wanted[first..]);
                        let (found, wanted) = (&found[..found.len().min(3)], &wanted[..wanted.len().min(3)]);
                        let what = format!(
                            "after {} of {} entries, reverse: {reverse}: {}…, not {}…",
                            count + first,
                            model.len(),
                            texts(wanted),
                            texts(found)
                        );
                        return Err(Difference { kind, what });
                    }
                    if found.is_empty() {
                        break;
                    }
                    count += found.len();
                }
            }
        }
        Ok(())
    }
}
