//! Some processes of both languages on one database: who leads, who holds the lock, who takes a dead one's place.

use super::{
    eventually,
    member::{Language, Member, Programs, lock},
};
use anyhow::{Result, ensure};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::{Arc, Mutex},
};

/// Six processes, and the order in which they start.
pub const SIX: [Language; 6] =
    [Language::Rust, Language::JavaScript, Language::Rust, Language::JavaScript, Language::Rust, Language::JavaScript];

pub struct Group<'a> {
    programs: &'a Programs,
    pub db: PathBuf,
    slots: Vec<Mutex<Arc<Member>>>,
}

impl<'a> Group<'a> {
    /// Starts these processes, all at once.
    pub fn start(programs: &'a Programs, db: PathBuf, languages: &[Language]) -> Result<Self> {
        let start = |language: &Language| Ok(Mutex::new(Arc::new(programs.start(*language, &db)?)));
        let slots = languages.iter().map(start).collect::<Result<_>>()?;
        Ok(Self { programs, db, slots })
    }

    /// Starts more processes, all at once.
    pub fn join(&mut self, languages: &[Language]) -> Result<()> {
        let more = Self::start(self.programs, self.db.clone(), languages)?;
        self.slots.extend(more.slots);
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn member(&self, slot: usize) -> Arc<Member> {
        lock(&self.slots[slot]).clone()
    }

    pub fn members(&self) -> Vec<Arc<Member>> {
        (0..self.len()).map(|slot| self.member(slot)).collect()
    }

    /// Puts a new process of the same language in the place of one that has ended.
    pub fn replace(&self, slot: usize) -> Result<()> {
        let fresh = self.programs.start(self.member(slot).language, &self.db)?;
        *lock(&self.slots[slot]) = Arc::new(fresh);
        Ok(())
    }

    /// The slot of the process that leads, once one does; an error if two say so, or if it does not hold the lock.
    pub fn leader(&self) -> Result<usize> {
        let slot = eventually("a process leads", || {
            let leaders: Vec<_> = (0..self.len()).filter(|slot| self.member(*slot).leads()).collect();
            ensure!(leaders.len() < 2, "two processes lead: {}", self.names(&leaders));
            Ok(leaders.first().copied())
        })?;
        let leader = self.member(slot);
        // The list of locks comes in pieces, so that a line can be missed while others come and go.
        eventually(&format!("{leader}, which leads, holds the lock"), || {
            Ok(self.holders()?.is_none_or(|holders| holders.iter().eq([&leader.pid])).then_some(()))
        })?;
        Ok(slot)
    }

    fn names(&self, slots: &[usize]) -> String {
        slots.iter().map(|slot| self.member(*slot).to_string()).collect::<Vec<_>>().join(", ")
    }

    /// The processes of the group that hold the database's lock; `None` where the system does not tell.
    pub fn holders(&self) -> Result<Option<BTreeSet<u32>>> {
        let Ok(locks) = fs::read_to_string("/proc/locks") else { return Ok(None) };
        let Ok(file) = fs::metadata(self.db.join("LOCK")) else { return Ok(Some(BTreeSet::new())) };
        let ours: BTreeSet<_> = self.members().iter().map(|member| member.pid).collect();
        let holding = locks.lines().filter_map(|line| holder(line, file.ino()));
        Ok(Some(holding.filter(|pid| ours.contains(pid)).collect()))
    }
}

/// Who holds a lock on the file with this number, by a line such as `3: POSIX  ADVISORY  WRITE 4711 08:01:1234 0 EOF`.
/// A line with `->` is of one who waits. The half of our lock that belongs to the open file names no process, the other
/// half does.
fn holder(line: &str, inode: u64) -> Option<u32> {
    let fields: Vec<_> = line.split_whitespace().skip(1).collect();
    let [family, _, _, pid, file, ..] = fields.as_slice() else { return None };
    let same = file.rsplit(':').next()?.parse() == Ok(inode);
    (same && *family != "->").then_some(())?;
    pid.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_are_told_from_who_waits_and_from_other_files() {
        assert_eq!(holder("1: POSIX  ADVISORY  WRITE 5 08:01:77 0 EOF", 77), Some(5));
        assert_eq!(holder("2: FLOCK  ADVISORY  WRITE 6 fe:00:77 0 EOF", 77), Some(6));
        assert_eq!(holder("2: -> FLOCK  ADVISORY  WRITE 6 fe:00:77 0 EOF", 77), None);
        assert_eq!(holder("3: OFDLCK ADVISORY  WRITE -1 08:01:77 0 EOF", 77), None);
        assert_eq!(holder("1: POSIX  ADVISORY  WRITE 5 08:01:777 0 EOF", 77), None);
        assert_eq!(holder("damaged", 77), None);
    }
}
