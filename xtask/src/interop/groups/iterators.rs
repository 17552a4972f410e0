//! Iterators that are open while a leader of one language is followed by one of the other.
//!
//! Rust guests must get every key once and in order, whoever hosts. A JavaScript guest keeps what it has read ahead when
//! the leader dies and asks for it again, so that it sees keys twice; it must not miss any. And a JavaScript *host* goes
//! on with a reverse iterator at a wrong place, which JavaScript guests take as it comes; such keys are only counted.

use super::{
    group::Group,
    member::{Language, Member, Programs, entries, of_users},
};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::{collections::BTreeSet, path::Path};

/// Keys in the database.
const ENTRIES: usize = 3000;
/// About how many entries are read between two changes of the leader.
const PAGE: usize = 170;
/// How often the leader changes.
const CHANGES: usize = 6;

/// All texts over four characters, of any length, by number. Some are neighbours: a step from one to the next must not
/// leap over the longer keys in between.
fn key(mut number: usize) -> String {
    let mut key = String::new();
    number += 1;
    while number > 0 {
        number -= 1;
        key.push(['\0', 'A', 'B', '~'][number % 4]);
        number /= 4;
    }
    key
}

/// An open iterator and what it has given so far.
struct Scan<'a> {
    member: &'a Member,
    number: Value,
    reverse: bool,
    keys: Vec<String>,
    done: bool,
}

impl<'a> Scan<'a> {
    fn open(member: &'a Member, reverse: bool) -> Result<Self> {
        let number = member.ask(json!({"op": "iter_open", "reverse": reverse}))?["iter"].clone();
        Ok(Self { member, number, reverse, keys: Vec::new(), done: false })
    }

    fn read(&mut self, count: usize) -> Result<()> {
        if !self.done {
            let reply = self.member.ask(json!({"op": "iter_next", "iter": self.number, "count": count}))?;
            self.keys.extend(of_users(entries(&reply)?).into_iter().map(|(key, _)| key));
            self.done = reply["done"] == true;
        }
        Ok(())
    }

    /// Reads to the end. How many keys are missing, and how many came twice, where that may be.
    fn finish(mut self, expected: &BTreeSet<String>, on_javascript_host: bool) -> Result<[usize; 2]> {
        while !self.done {
            self.read(1000)?;
        }
        self.member.ask(json!({"op": "iter_close", "iter": self.number}))?;
        let direction = if self.reverse { "reverse" } else { "forward" };
        if self.member.language == Language::Rust {
            let right = match self.reverse {
                false => self.keys.iter().eq(expected),
                true => self.keys.iter().eq(expected.iter().rev()),
            };
            ensure!(right, "{}, {direction}: {}", self.member, difference(&self.keys, expected));
            return Ok([0; 2]);
        }
        let found: BTreeSet<_> = self.keys.iter().cloned().collect();
        ensure!(found.is_subset(expected), "{}, {direction}: keys that nobody wrote", self.member);
        let missing = expected.len() - found.len();
        let may_miss = self.reverse && on_javascript_host;
        ensure!(missing == 0 || may_miss, "{}, {direction}: {}", self.member, difference(&self.keys, expected));
        Ok([missing, self.keys.len() - found.len()])
    }
}

/// What is wrong, in a few words.
fn difference(keys: &[String], expected: &BTreeSet<String>) -> String {
    let found: BTreeSet<_> = keys.iter().cloned().collect();
    let missing: Vec<_> = expected.difference(&found).take(3).collect();
    let (count, twice) = (expected.len() - found.len(), keys.len() - found.len());
    format!("{count} keys are missing, such as {missing:?}, and {twice} came twice")
}

/// Lets leaders of both languages die in turn under open iterators of both. In the end a guest with open iterators leads
/// itself: one of the language `last`.
pub fn check(programs: &Programs, folder: &Path, last: Language) -> Result<String> {
    let mut group = Group::start(programs, folder.join("db"), &[Language::Rust])?;
    let value = "v".repeat(200);
    let ops: Vec<_> = (0..ENTRIES).map(|n| json!({"type": "put", "key": key(n), "value": value})).collect();
    group.member(group.leader()?).ask(json!({"op": "batch", "ops": ops}))?;
    let expected: BTreeSet<_> = (0..ENTRIES).map(key).collect();

    let guests = Language::BOTH.map(|language| programs.start(language, &group.db));
    let guests = guests.into_iter().collect::<Result<Vec<_>>>()?;
    // These live through all changes.
    let mut long = Vec::new();
    for reverse in [false, true] {
        long.push(Scan::open(&guests[Language::Rust as usize], reverse)?);
    }
    let mut told = [0; 2];
    for change in 0..=CHANGES {
        let mut short = Vec::new();
        for member in &guests {
            for reverse in [false, true] {
                short.push(Scan::open(member, reverse)?);
            }
        }
        long.iter_mut().chain(&mut short).try_for_each(|scan| scan.read(PAGE + change))?;
        let leader = group.member(group.leader()?);
        let heir = match change {
            CHANGES => last,
            _ => leader.language.other(),
        };
        let mut stopped: Vec<_> = guests.iter().collect();
        if change == CHANGES {
            stopped.retain(|guest| guest.language != heir);
        } else {
            group.join(&[heir])?;
            // It has found the leader, and waits to take its place.
            group.member(group.len() - 1).get("")?;
        }
        super::stopped(&stopped, || {
            leader.kill()?;
            match change {
                CHANGES => guests[heir as usize].wait_until_leader(),
                _ => group.member(group.len() - 1).wait_until_leader(),
            }
        })?;
        for scan in short {
            let counts = scan.finish(&expected, heir == Language::JavaScript);
            let counts = counts.with_context(|| format!("change {change}, from {} to {heir}", leader.language))?;
            told = [told[0] + counts[0], told[1] + counts[1]];
        }
    }
    for scan in long {
        scan.finish(&expected, false).context("open through all changes")?;
    }
    Ok(format!("Rust guests get all once; Node guests miss {} on Node hosts, and get {} twice", told[0], told[1]))
}
