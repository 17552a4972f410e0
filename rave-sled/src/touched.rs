//! Which keys have writes that would not survive this process yet.

use crate::command::Command;
use bytes::Bytes;
use rave_core::{Batch, ClearOptions, KeyRange, Operation};
use std::collections::{BTreeMap, btree_map::Entry};

/// Keys and ranges of writes that are not flushed. What is read of them must not be told before they are: if the process
/// were killed, it would never have been so.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    /// With the number of times that each was added.
    keys: BTreeMap<Bytes, usize>,
    ranges: Vec<KeyRange>,
}

impl Touched {
    /// Adds what a batch writes.
    pub(crate) fn add_batch(&mut self, batch: &Batch) {
        for key in batch.operations().map(Operation::key) {
            *self.keys.entry(key.clone()).or_default() += 1;
        }
    }

    /// Adds what a clear may delete, and what it writes.
    pub(crate) fn add_clear(&mut self, options: &ClearOptions) {
        self.ranges.push(options.range.clone());
        self.add_batch(&options.and_write);
    }

    /// Takes back what was added for a command.
    pub(crate) fn remove(&mut self, command: &Command) {
        let batch = match command {
            Command::Write { batch, .. } => batch,
            Command::Clear { options, .. } => {
                if let Some(index) = self.ranges.iter().position(|range| *range == options.range) {
                    self.ranges.swap_remove(index);
                }
                &options.and_write
            }
            Command::Read(_) => return,
        };
        for key in batch.operations().map(Operation::key) {
            if let Entry::Occupied(mut entry) = self.keys.entry(key.clone()) {
                *entry.get_mut() -= 1;
                if *entry.get() == 0 {
                    entry.remove();
                }
            }
        }
    }

    /// Whether there is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.ranges.is_empty()
    }

    /// Whether `key` is one of them.
    pub(crate) fn has_key(&self, key: &Bytes) -> bool {
        self.keys.contains_key(key) || self.ranges.iter().any(|range| range.contains(key))
    }

    /// Whether any key of `range` is one of them.
    pub(crate) fn meets(&self, range: &KeyRange) -> bool {
        // The map panics if it is asked for an empty range.
        !range.is_empty()
            && (self.keys.range::<Bytes, _>((range.lower(), range.upper())).next().is_some()
                || self.ranges.iter().any(|other| !other.intersection(range).is_empty()))
    }

    /// All is flushed.
    pub(crate) fn clear(&mut self) {
        self.keys.clear();
        self.ranges.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(batch: Batch) -> Command {
        Command::Write { batch, reply: tokio::sync::oneshot::channel().0 }
    }

    #[test]
    fn what_is_taken_back_is_touched_by_others_still() {
        let mut touched = Touched::default();
        let (one, two) = (Batch::new().put("a", "1").put("a", "2").del("b"), Batch::new().put("a", "3"));
        touched.add_batch(&one);
        touched.add_batch(&two);
        touched.remove(&write(one));
        assert!(touched.has_key(&"a".into()) && !touched.has_key(&"b".into()));
        assert!(touched.meets(&KeyRange::prefix("a")) && !touched.meets(&KeyRange::all().gt("a")));
        touched.remove(&write(two));
        assert!(touched.is_empty());
        let clear = ClearOptions { and_write: Batch::new().put("z", ""), ..KeyRange::prefix("c").into() };
        touched.add_clear(&clear);
        touched.add_clear(&clear);
        let command = Command::Clear { options: clear.clone(), reply: tokio::sync::oneshot::channel().0 };
        touched.remove(&command);
        assert!(touched.has_key(&"cc".into()) && touched.has_key(&"z".into()) && touched.meets(&KeyRange::all()));
        assert!(!touched.meets(&KeyRange::all().lt("c")) && !touched.meets(&KeyRange::all().lt("")));
        touched.remove(&command);
        assert!(touched.is_empty());
    }
}
