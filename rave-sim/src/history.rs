//! What users did and what they were told: the evidence that the oracles judge.

use crate::{kernel::Kernel, trace::Pid};
use bytes::Bytes;
use rave_core::{ClearOptions, Code, Effect, Error, Result};

/// What a user asked for.
#[derive(Debug)]
pub(crate) enum Call {
    /// The values of these keys, from one state.
    Read(Vec<Bytes>),
    /// Puts and deletes as one atomic step. Each put's value names this call, so that its traces on the disk can be found.
    Write {
        changes: Vec<(Bytes, Option<Bytes>)>,
        /// Values that keys must have for it.
        conditions: Vec<(Bytes, Option<Bytes>)>,
    },
    /// A transaction that counts. Its puts name it too, with the count for the number of the put.
    Count(Count),
    /// Its upper bound names this call.
    Clear(ClearOptions),
}

/// What a transaction does.
#[derive(Clone, Debug)]
pub(crate) enum Count {
    /// Adds one to each of these counters.
    Add(Vec<Bytes>),
    /// Adds up all counters, and writes down the sum.
    Sum,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Nobody knows: its process was killed, or its future was dropped.
    Pending,
    Values(Vec<Option<Bytes>>),
    Done,
    /// The counts that a transaction has written.
    Counted(Vec<usize>),
    /// These conditions did not hold.
    Refused(Vec<usize>),
    Failed {
        code: Code,
        effect: Effect,
    },
}

/// A point of time as the oracles see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// Counts beginnings and ends of calls.
    pub(crate) order: u64,
    /// The version of the database that readers saw.
    pub(crate) version: usize,
    /// Which leader the handle had, over which connection.
    pub(crate) epoch: u32,
}

/// One call.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) pid: Pid,
    pub(crate) call: Call,
    /// It takes effect in the order of submission. A transaction does not: it commits in the end.
    pub(crate) ordered: bool,
    pub(crate) begun: Moment,
    pub(crate) ended: Option<Moment>,
    pub(crate) outcome: Outcome,
}

impl Operation {
    /// A write that was acknowledged.
    pub(crate) fn acknowledged(&self) -> bool {
        !matches!(self.call, Call::Read(_)) && matches!(self.outcome, Outcome::Done | Outcome::Counted(_))
    }

    /// A write whose writer was told that it was certainly not applied.
    pub(crate) fn certainly_not(&self) -> bool {
        matches!(self.outcome, Outcome::Failed { effect: Effect::None, .. } | Outcome::Refused(_))
    }
}

/// Everything that users did in a run. An operation's id is its place here; those of one handle are in the order of
/// their submission.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) operations: Vec<Operation>,
    order: u64,
}

impl Kernel {
    pub(crate) fn moment(&mut self, pid: Pid) -> Moment {
        self.history.order += 1;
        Moment { order: self.history.order, version: self.disk.visible(), epoch: self.epoch(pid) }
    }

    /// The id of the next call, for its values to name.
    pub(crate) fn next_operation(&self) -> usize {
        self.history.operations.len()
    }

    pub(crate) fn begin(&mut self, pid: Pid, call: Call, ordered: bool) -> usize {
        let id = self.next_operation();
        self.note(pid, "asks", id as u64, || format!("o{id}: {}", described(&call)));
        let begun = self.moment(pid);
        self.history.operations.push(Operation { pid, call, ordered, begun, ended: None, outcome: Outcome::Pending });
        id
    }

    pub(crate) fn end(&mut self, id: usize, outcome: Outcome) {
        let ended = self.moment(self.history.operations[id].pid);
        self.end_at(id, ended, outcome);
    }

    /// What came of a call is known only later: it was over at `ended`.
    pub(crate) fn end_at(&mut self, id: usize, ended: Moment, outcome: Outcome) {
        let pid = self.history.operations[id].pid;
        self.note(pid, "gets", id as u64, || format!("o{id}: {}", told(&outcome)));
        let operation = &mut self.history.operations[id];
        operation.ended = Some(ended);
        operation.outcome = outcome;
    }
}

/// The outcome of a write.
pub(crate) fn written(result: Result<()>) -> Outcome {
    result.map_or_else(|error| failed(&error), |()| Outcome::Done)
}

pub(crate) fn failed(error: &Error) -> Outcome {
    if error.code() == Code::ConditionFailed && error.effect() == Effect::None {
        return Outcome::Refused(error.failed_conditions().to_vec());
    }
    Outcome::Failed { code: error.code(), effect: error.effect() }
}

fn described(call: &Call) -> String {
    let name = |key: &Bytes| crate::disk::show(key, Some(&Bytes::new())).trim_end_matches('=').to_owned();
    match call {
        Call::Read(keys) => format!("get {}", keys.iter().map(name).collect::<Vec<_>>().join(", ")),
        Call::Write { changes, conditions } => {
            let show = |changes: &[(Bytes, Option<Bytes>)]| {
                let show = |(key, value): &(Bytes, Option<Bytes>)| crate::disk::show(key, value.as_ref());
                changes.iter().map(show).collect::<Vec<_>>().join(", ")
            };
            let condition = if conditions.is_empty() { String::new() } else { format!(" if {}", show(conditions)) };
            format!("write {}{condition}", show(changes))
        }
        Call::Count(count) => format!("transaction {count:?}"),
        Call::Clear(options) => format!("clear {options:?}"),
    }
}

fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Values(values) => {
            let text = |value: &Option<Bytes>| match value {
                Some(value) => crate::disk::show(b"", Some(value)).trim_start_matches('=').to_owned(),
                None => "-".to_owned(),
            };
            values.iter().map(text).collect::<Vec<_>>().join(", ")
        }
        Outcome::Failed { code, effect } => format!("{code}, effect {}", effect.as_str()),
        outcome => format!("{outcome:?}"),
    }
}
