//! What every process of a group does all the time: it writes its own keys and reads the others', and each answer is
//! held against what was acknowledged before.
//!
//! What is asserted has to hold whoever leads, also where a write may be applied twice. So a key is never written twice
//! at the same time: the values of a key are 1, 2, 3, …, and each is sent when the one before it was acknowledged. Several
//! keys are written at once. A process that takes another's place has keys of its own.

use super::{
    PATIENCE, eventually,
    group::Group,
    member::{Member, entries, lock},
};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Instant,
};

/// Keys that are put at once.
const MANY: usize = 12;
/// Two keys that are put in one batch.
const PAIR: usize = MANY;
/// A key that is deleted every third time, and one that is cleared, as a range.
const DELETED: usize = PAIR + 2;
const CLEARED: usize = DELETED + 1;
/// A key that is written several times in a round.
const BUSY: usize = CLEARED + 1;
const KEYS: usize = BUSY + 1;

#[derive(Default)]
struct Key {
    sent: AtomicU64,
    acknowledged: AtomicU64,
    /// The latest value that anybody has read.
    seen: AtomicU64,
}

/// The keys of one process, and what is known of them.
struct Diary {
    number: usize,
    keys: [Key; KEYS],
}

impl Diary {
    fn name(&self, key: usize) -> String {
        format!("p{:05}-{key:02}", self.number)
    }

    fn names(&self) -> Vec<String> {
        (0..KEYS).map(|key| self.name(key)).collect()
    }

    /// What a read that begins now must give at least.
    fn floors(&self) -> [u64; KEYS] {
        std::array::from_fn(|key| self.keys[key].acknowledged.load(SeqCst).max(self.keys[key].seen.load(SeqCst)))
    }

    /// The next write of a key, as an operation of a batch.
    fn next(&self, key: usize) -> Value {
        let value = self.keys[key].sent.fetch_add(1, SeqCst) + 1;
        match deleted(key, value) {
            true => json!({"type": "del", "key": self.name(key)}),
            false => json!({"type": "put", "key": self.name(key), "value": value.to_string()}),
        }
    }

    /// The next write of a key, as a request of its own.
    fn request(&self, key: usize) -> Value {
        let operation = self.next(key);
        let (key, value) = (&operation["key"], &operation["value"]);
        match operation["type"] == "put" {
            true => json!({"op": "put", "key": key, "value": value}),
            false => json!({"op": "clear", "gte": key, "lte": key}),
        }
    }

    fn acknowledge(&self, key: usize) {
        self.keys[key].acknowledged.store(self.keys[key].sent.load(SeqCst), SeqCst);
    }

    /// Holds what was read against what was known when the read began.
    fn judge(&self, key: usize, found: Option<&str>, floor: u64) -> Result<()> {
        let sent = self.keys[key].sent.load(SeqCst);
        let right = match found {
            Some(text) => {
                let value = text.parse().with_context(|| format!("{} is {text:?}", self.name(key)))?;
                self.keys[key].seen.fetch_max(value, SeqCst);
                (floor.max(1)..=sent).contains(&value) && !deleted(key, value)
            }
            None => floor == 0 || (floor..=sent).any(|value| deleted(key, value)),
        };
        let name = self.name(key);
        ensure!(right, "{name} is {found:?}; {floor} was acknowledged or read before, {sent} was sent");
        Ok(())
    }
}

/// Whether this write is a deletion.
fn deleted(key: usize, value: u64) -> bool {
    [DELETED, CLEARED].contains(&key) && value.is_multiple_of(3)
}

/// What the processes do, by slot.
pub struct Load {
    /// Of all processes there were.
    diaries: Mutex<Vec<Arc<Diary>>>,
    /// Of those that are there.
    present: Vec<Mutex<Option<Arc<Diary>>>>,
    rounds: Vec<AtomicUsize>,
    stopped: AtomicBool,
    reads: AtomicUsize,
    /// No reads of several entries. A JavaScript leader that closes while it begins one dies of it.
    pub single: bool,
}

impl Load {
    pub fn new(slots: usize, single: bool) -> Self {
        Self {
            diaries: Mutex::default(),
            present: (0..slots).map(|_| Mutex::default()).collect(),
            rounds: (0..slots).map(|_| AtomicUsize::new(0)).collect(),
            stopped: AtomicBool::new(false),
            reads: AtomicUsize::new(0),
            single,
        }
    }

    /// Writes and reads through the processes of a slot until told to stop.
    pub fn run(&self, group: &Group<'_>, slot: usize) -> Result<()> {
        let _stop = StopAtEnd(self);
        loop {
            let member = group.member(slot);
            let diary = {
                let mut diaries = lock(&self.diaries);
                let diary = Arc::new(Diary { number: diaries.len(), keys: Default::default() });
                diaries.push(diary.clone());
                diary
            };
            *lock(&self.present[slot]) = Some(diary.clone());
            while self.round(&member, &diary, slot).with_context(|| member.to_string())? {
                self.rounds[slot].fetch_add(1, SeqCst);
                if self.stopped() {
                    return Ok(());
                }
            }
            eventually(&format!("another process takes the place of {member}"), || {
                Ok((self.stopped() || !Arc::ptr_eq(&member, &group.member(slot))).then_some(()))
            })?;
            if self.stopped() {
                return Ok(());
            }
        }
    }

    /// Some writes and a read; false if the process ended.
    fn round(&self, member: &Member, diary: &Diary, slot: usize) -> Result<bool> {
        let mut waiting = Vec::new();
        for key in (0..MANY).chain([CLEARED]) {
            waiting.push((member.send(diary.request(key)), vec![key]));
        }
        for keys in [vec![PAIR, PAIR + 1], vec![DELETED]] {
            let ops: Vec<_> = keys.iter().map(|key| diary.next(*key)).collect();
            waiting.push((member.send(json!({"op": "batch", "ops": ops})), keys));
        }
        let mut alive = true;
        for (id, keys) in waiting {
            match member.outcome(id)? {
                Some(_) => keys.iter().for_each(|key| diary.acknowledge(*key)),
                // Others may have been answered before.
                None => alive = false,
            }
        }
        for _ in 0..3 {
            if alive {
                alive = member.outcome(member.send(diary.request(BUSY)))?.is_some();
                if alive {
                    diary.acknowledge(BUSY);
                }
            }
        }
        Ok(alive && self.read(member, slot)?)
    }

    /// Reads the keys of another process.
    fn read(&self, member: &Member, slot: usize) -> Result<bool> {
        let number = self.reads.fetch_add(1, SeqCst);
        let other = (slot + 1 + number % (self.present.len() - 1)) % self.present.len();
        let Some(diary) = lock(&self.present[other]).clone() else { return Ok(true) };
        let floors = diary.floors();
        let names = diary.names();
        let request = match number % 3 {
            0 if !self.single => json!({"op": "get_many", "keys": names}),
            1 if !self.single => json!({"op": "scan", "gte": names[0], "lte": names[KEYS - 1]}),
            _ => json!({"op": "get", "key": names[BUSY]}),
        };
        let Some(reply) = member.outcome(member.send(request))? else { return Ok(false) };
        if let Some(values) = reply["values"].as_array() {
            ensure!(values.len() == KEYS, "{} values", values.len());
            for (key, value) in values.iter().enumerate() {
                diary.judge(key, value.as_str(), floors[key])?;
            }
        } else if reply["entries"].is_array() {
            // A JavaScript guest may give an entry twice, if the leader dies meanwhile.
            let found = entries(&reply)?;
            for (key, name) in names.iter().enumerate() {
                let values: Vec<_> = found.iter().filter(|(found, _)| found == name).collect();
                if values.is_empty() {
                    diary.judge(key, None, floors[key])?;
                }
                values.iter().try_for_each(|(_, value)| diary.judge(key, Some(value), floors[key]))?;
            }
        } else {
            diary.judge(BUSY, reply["value"].as_str(), floors[BUSY])?;
        }
        Ok(true)
    }

    /// Waits until each process has done a whole round from now on.
    pub fn all_go_on(&self) -> Result<()> {
        let before: Vec<_> = self.rounds.iter().map(|rounds| rounds.load(SeqCst)).collect();
        let deadline = Instant::now() + PATIENCE;
        // The round that is under way may have had all its answers before.
        while let Some(slot) = (0..before.len()).find(|slot| self.rounds[*slot].load(SeqCst) < before[*slot] + 2) {
            if self.stopped() {
                bail!("a process failed");
            }
            ensure!(Instant::now() < deadline, "the process in place {slot} does not go on");
            std::thread::sleep(super::TICK);
        }
        Ok(())
    }

    pub fn stopped(&self) -> bool {
        self.stopped.load(SeqCst)
    }

    pub fn stop(&self) {
        self.stopped.store(true, SeqCst);
    }

    /// Writes that were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        let diaries = lock(&self.diaries);
        diaries.iter().flat_map(|diary| &diary.keys).map(|key| key.acknowledged.load(SeqCst)).sum()
    }

    /// Holds everything that a database contains against what was acknowledged.
    pub fn verify(&self, entries: &[(String, String)]) -> Result<()> {
        let mut found: BTreeMap<_, _> = entries.iter().map(|(key, value)| (key.clone(), value.as_str())).collect();
        ensure!(found.len() == entries.len(), "a key is there twice");
        for diary in &*lock(&self.diaries) {
            let floors = diary.floors();
            let values: Vec<_> = diary.names().iter().map(|name| found.remove(name)).collect();
            for (key, value) in values.iter().enumerate() {
                diary.judge(key, *value, floors[key])?;
            }
            let (one, two) = (diary.name(PAIR), diary.name(PAIR + 1));
            ensure!(values[PAIR] == values[PAIR + 1], "{one} and {two} of one batch: {:?}", &values[PAIR..PAIR + 2]);
        }
        ensure!(found.is_empty(), "nobody wrote {found:?}");
        Ok(())
    }
}

/// Tells the others to stop when one has ended, however it ended.
pub struct StopAtEnd<'a>(pub &'a Load);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Key 0 and the deleted key were sent up to 5 and acknowledged up to 3.
    fn diary() -> Diary {
        let diary = Diary { number: 7, keys: Default::default() };
        for key in [0, DELETED] {
            for value in 1..=5 {
                diary.next(key);
                if value == 3 {
                    diary.acknowledge(key);
                }
            }
        }
        diary
    }

    #[test]
    fn an_acknowledged_write_must_not_be_lost() {
        let diary = diary();
        assert_eq!(diary.floors()[0], 3);
        assert!(diary.judge(0, Some("3"), 3).is_ok());
        assert!(diary.judge(0, Some("5"), 3).is_ok());
        for wrong in [None, Some("2"), Some("6"), Some("x")] {
            assert!(diary.judge(0, wrong, 3).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_was_read_once_must_stay() {
        let diary = diary();
        diary.judge(0, Some("4"), 3).unwrap();
        assert_eq!(diary.floors()[0], 4);
    }

    #[test]
    fn a_deleted_key_comes_back_only_with_a_later_value() {
        let diary = diary();
        assert!(diary.judge(DELETED, None, 3).is_ok());
        assert!(diary.judge(DELETED, Some("4"), 3).is_ok());
        assert!(diary.judge(DELETED, Some("3"), 3).is_err());
        assert!(diary.judge(DELETED, None, 4).is_err());
    }

    #[test]
    fn the_end_is_held_against_all_processes() {
        let load = Load::new(1, false);
        lock(&load.diaries).push(Arc::new(diary()));
        let entry = |key: usize, value: &str| (diary().name(key), value.to_owned());
        let (first, deleted) = (entry(0, "3"), entry(DELETED, "5"));
        assert!(load.verify(&[first.clone(), deleted.clone()]).is_ok());
        assert!(load.verify(std::slice::from_ref(&deleted)).is_err());
        assert!(load.verify(&[first.clone(), entry(PAIR, "1")]).is_err());
        assert!(load.verify(&[first, ("stranger".into(), "1".into())]).is_err());
    }
}
