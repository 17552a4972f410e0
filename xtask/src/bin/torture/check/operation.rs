//! An operation as the checks see it: its two times, and what may have come of it.

use crate::{
    clock::{NEVER, Nanos, seconds},
    key::Key,
    record::{Call, Outcome},
};

/// Whether a write took effect, or a read has something to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Yes, between its two times.
    Done,
    /// At some time after it began, or not at all.
    Maybe,
    /// No.
    Never,
}

/// An operation that is over, one way or another.
#[derive(Clone, Debug)]
pub struct Operation {
    pub id: u64,
    pub call: Call,
    pub begun: Nanos,
    /// When its caller knew; [`NEVER`] if it was killed before.
    pub ended: Nanos,
    /// None if its process was killed before it ended.
    pub outcome: Option<Outcome>,
}

impl Operation {
    pub fn fate(&self) -> Fate {
        match &self.outcome {
            Some(Outcome::Failed { maybe: false, .. }) => Fate::Never,
            Some(Outcome::Failed { maybe: true, .. }) | None if self.call.writes() => Fate::Maybe,
            Some(Outcome::Failed { .. }) | None => Fate::Never,
            Some(_) => Fate::Done,
        }
    }

    /// Until when it may have taken effect.
    pub fn settled(&self) -> Nanos {
        if self.fate() == Fate::Maybe { NEVER } else { self.ended }
    }

    /// The process that did it, by its number.
    pub fn process(&self) -> u64 {
        self.id >> 32
    }

    /// The value that it writes to this key, if it writes one; 0 if it deletes it.
    pub fn written(&self, key: &Key) -> Option<u64> {
        match &self.call {
            Call::Write(batch) => batch.iter().rev().find(|(written, _)| written == key).map(|(_, value)| *value),
            Call::Add { increment, .. } if increment == key => Some(self.id),
            Call::Swap { key: swapped, value, .. } if swapped == key => Some(*value),
            Call::Clear { from, to } if (from..to).contains(&key) => Some(0),
            _ => None,
        }
    }

    /// A line for people about what it did to this key.
    pub fn line(&self, start: Nanos, key: &Key) -> String {
        let what = match (&self.call, &self.outcome) {
            (Call::Write(batch), _) => match self.written(key) {
                Some(0) => format!("{} deletes", self.call.name()),
                Some(value) => format!("{} writes {value} ({} operations)", self.call.name(), batch.len()),
                None => self.call.name().to_owned(),
            },
            (Call::Swap { expected, value, .. }, _) => format!("swaps {expected} for {value}"),
            (Call::Read(keys), Some(Outcome::Values(values))) => {
                let read = keys.iter().zip(values).find(|(read, _)| *read == key).map_or(0, |(_, value)| *value);
                format!("{} reads {read}", self.call.name())
            }
            (Call::Scan { .. }, Some(Outcome::Entries(entries))) => {
                let read = entries.iter().find(|(read, _)| read == key).map_or(0, |(_, value)| *value);
                format!("{} reads {read} (among {} entries)", self.call.name(), entries.len())
            }
            (call, Some(Outcome::Added { from })) => format!("{} adds one to {from}", call.name()),
            (call, _) => call.name().to_owned(),
        };
        let end = match &self.outcome {
            Some(Outcome::Failed { code, maybe }) => {
                format!("{code}, effect {}", if *maybe { "unknown" } else { "none" })
            }
            Some(Outcome::Refused) => "condition failed".to_owned(),
            Some(_) => "ok".to_owned(),
            None => "its process was killed".to_owned(),
        };
        let times = [seconds(start, self.begun), seconds(start, self.ended)];
        format!("{:>12} to {:>12} s  process {:>4}  {what}: {end}", times[0], times[1], self.process())
    }
}
