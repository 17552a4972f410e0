//! Leaders that are killed, or leave in good order, while all write and read.

use super::{
    PATIENCE, TICK, eventually,
    group::{Group, SIX},
    load::{Load, StopAtEnd},
    member::{Language, Leaving, Programs},
    stopped,
};
use anyhow::{Context as _, Result, ensure};
use std::{
    fmt,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

/// How a leader ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Killed,
    /// It closes, and the other language takes over.
    Left,
}

/// Who handed over to whom, and how often.
#[derive(Default)]
struct Changes([[usize; 2]; 2]);

impl Changes {
    fn count(&mut self, from: Language, to: Language) {
        self.0[from as usize][to as usize] += 1;
    }

    /// The language to which this one has handed over less often.
    fn due(&self, from: Language) -> Option<Language> {
        Language::BOTH.into_iter().min_by_key(|to| self.0[from as usize][*to as usize])
    }

    /// How often this language has led after another leader.
    fn led(&self, language: Language) -> usize {
        self.0.iter().map(|to| to[language as usize]).sum()
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (from, to)) in
            Language::BOTH.iter().flat_map(|from| Language::BOTH.map(|to| (*from, to))).enumerate()
        {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{from} to {to} {}", self.0[from as usize][to as usize])?;
        }
        Ok(())
    }
}

/// Six processes write and read while their leader ends again and again, and is replaced by a process of its language.
pub fn check(programs: &Programs, folder: &Path, ending: Ending, times: usize) -> Result<String> {
    let group = Group::start(programs, folder.join("db"), &SIX)?;
    let load = Load::new(group.len(), ending == Ending::Left);
    let samples = AtomicUsize::new(0);
    let mut changes = Changes::default();
    thread::scope(|scope| {
        let _stop = StopAtEnd(&load);
        let (load, group, samples) = (&load, &group, &samples);
        let mut threads: Vec<_> = (0..group.len()).map(|slot| scope.spawn(move || load.run(group, slot))).collect();
        threads.push(scope.spawn(move || watch(group, load, samples)));
        let outcome = load.all_go_on().and_then(|()| {
            (0..times).try_for_each(|time| {
                change(group, load, ending, time, &mut changes).with_context(|| format!("change {}", time + 1))
            })
        });
        load.stop();
        for thread in threads {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        outcome
    })?;
    for language in Language::BOTH {
        ensure!(changes.led(language) * 4 >= times, "{language} processes hardly ever led: {changes}");
    }
    // What is checked in the end is what is on disk.
    group.members().iter().try_for_each(|member| member.kill())?;
    programs.finish(&["verify"], &group.db)?;
    for options in [None, Some("classic-level-3"), Some("classic-level-1")] {
        let reader = match options {
            None => programs.start(Language::Rust, &group.db)?,
            Some(module) => programs.start_with(Language::JavaScript, &group.db, &["--module", module])?,
        };
        load.verify(&reader.scan()?).with_context(|| format!("read in the end by {}", options.unwrap_or("rave")))?;
        reader.leave(Leaving::Request)?;
    }
    programs.finish(&["verify"], &group.db)?;
    let (acknowledged, samples) = (load.acknowledged(), samples.into_inner());
    Ok(format!("{changes}; {acknowledged} writes are there, {samples} looks at the lock found one holder"))
}

/// Lets the leader end, and waits until everybody is served by the next one.
///
/// Rust processes look for the lock again within milliseconds, JavaScript processes only every 100, so that Rust would
/// lead nearly always. So only every third change is a race. In the others the language to which the leader's has handed
/// over less often gets its chance: the other processes are stopped until one of it leads. They too have operations on
/// their way then, and a leader to find.
fn change(group: &Group<'_>, load: &Load, ending: Ending, time: usize, changes: &mut Changes) -> Result<()> {
    let slot = group.leader()?;
    let leader = group.member(slot);
    if ending == Ending::Killed && time % 5 == 4 {
        // Now and then it is a guest, with its operations on their way to the leader.
        let guest = (slot + 1 + time % (group.len() - 1)) % group.len();
        group.member(guest).kill()?;
        group.replace(guest)?;
    }
    thread::sleep(Duration::from_millis(time as u64 * 7 % 23));
    let heir = match ending {
        Ending::Left => Some(leader.language.other()),
        Ending::Killed if time.is_multiple_of(3) => None,
        Ending::Killed => changes.due(leader.language),
    };
    let mut others = group.members();
    others.retain(|member| member.pid != leader.pid && heir.is_some_and(|heir| member.language != heir));
    stopped(&others, || {
        match ending {
            Ending::Killed => leader.kill()?,
            Ending::Left => leader.leave([Leaving::Request, Leaving::End][time / 2 % 2])?,
        }
        if heir.is_none() {
            // The new process takes part in the race.
            return group.replace(slot);
        }
        eventually("a process of the language whose turn it is leads", || {
            ensure!(!load.stopped(), "a process failed");
            Ok(group.members().iter().any(|member| member.leads()).then_some(()))
        })
    })?;
    if heir.is_some() {
        group.replace(slot)?;
    }
    let next = group.member(group.leader()?);
    ensure!(heir.is_none_or(|heir| next.language == heir), "{next} leads, and it was stopped");
    changes.count(leader.language, next.language);
    load.all_go_on()
}

/// Looks again and again who holds the lock: never two processes.
fn watch(group: &Group<'_>, load: &Load, samples: &AtomicUsize) -> Result<()> {
    let _stop = StopAtEnd(load);
    while !load.stopped() {
        if let Some(holders) = group.holders()? {
            // Read in pieces, the list can show one who lets go and one who takes over. Two who stay are two leaders.
            let deadline = Instant::now() + PATIENCE / 10;
            let mut now = holders.clone();
            while now.len() > 1 && now == holders {
                ensure!(Instant::now() < deadline, "two processes hold the lock: {holders:?}");
                now = group.holders()?.unwrap_or_default();
            }
            samples.fetch_add(usize::from(holders.len() == 1), Ordering::Relaxed);
        }
        thread::sleep(TICK);
    }
    Ok(())
}
