//! Operations that wait: for a leader that is stopped for a while or leaves, and for one that is yet to come.

use super::{
    group::Group,
    member::{Language, Leaving, Member, Programs},
    stopped,
};
use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Keys that each process writes.
const OPERATIONS: usize = 200;

/// What a process has asked for and was not answered yet.
struct Queue<'a> {
    member: &'a Member,
    name: String,
    ids: Vec<u64>,
    get: u64,
}

impl<'a> Queue<'a> {
    /// Sends some writes, all at once, and a read of what is there already.
    fn send(member: &'a Member, name: &str) -> Self {
        let name = format!("{name}-{}", member.pid);
        let mut ids = Vec::new();
        for n in 0..OPERATIONS {
            let key = format!("{name}-{n:03}");
            // Writes of one key take effect in the order in which they were sent only where a Rust process sends them: in
            // a JavaScript process that comes to lead, new operations overtake those that wait.
            if member.language == Language::Rust {
                // A large write takes longer, so that a host that works on several at once lets the next one overtake it.
                let old = "old".repeat(if n % 10 == 0 { 30_000 } else { 1 });
                ids.push(member.send(json!({"op": "put", "key": key, "value": old})));
            }
            ids.push(member.send(json!({"op": "put", "key": key, "value": n.to_string()})));
        }
        Self { member, ids, get: member.send(json!({"op": "get", "key": "before"})), name }
    }

    /// All are answered, and what was written is there.
    fn finish(self) -> Result<()> {
        for id in self.ids {
            self.member.outcome(id)?;
        }
        let reply = self.member.outcome(self.get)?.context("no answer")?;
        ensure!(reply["value"] == "1", "{}: a get that waited gave {reply}", self.member);
        for n in 0..OPERATIONS {
            let found = self.member.get(&format!("{}-{n:03}", self.name))?;
            let seen = found.as_ref().map(|value| value.get(..8).unwrap_or(value));
            ensure!(found == Some(n.to_string()), "{}: write {n} left {seen:?}", self.member);
        }
        Ok(())
    }
}

/// A leader of a language with a guest of each, which it has served.
fn served<'a>(
    programs: &'a Programs,
    db: PathBuf,
    language: Language,
) -> Result<(Group<'a>, Arc<Member>, Vec<Arc<Member>>)> {
    let mut group = Group::start(programs, db, &[language])?;
    let leader = group.member(group.leader()?);
    leader.put("before", "1")?;
    group.join(&Language::BOTH)?;
    let guests = group.members().split_off(1);
    for guest in &guests {
        ensure!(guest.get("before")?.as_deref() == Some("1"));
    }
    Ok((group, leader, guests))
}

/// A leader is stopped for a while: its guests wait, newcomers too, and all go on with it.
pub fn stopped_leader(programs: &Programs, folder: &Path) -> Result<String> {
    for language in Language::BOTH {
        let (group, leader, guests) = served(programs, folder.join(language.to_string()), language)?;
        let newcomers = stopped(std::slice::from_ref(&leader), || {
            let queues: Vec<_> = guests.iter().map(|guest| Queue::send(guest, "guest")).collect();
            let newcomers = Language::BOTH.map(|language| programs.start(language, &group.db));
            let newcomers = newcomers.into_iter().collect::<Result<Vec<_>>>()?;
            Ok((queues, newcomers))
        });
        let (queues, newcomers) = newcomers?;
        queues.into_iter().try_for_each(Queue::finish)?;
        newcomers.iter().try_for_each(|newcomer| Queue::send(newcomer, "newcomer").finish())?;
        ensure!(group.member(group.leader()?).pid == leader.pid, "another process leads");
        ensure!(!newcomers.iter().any(Member::leads), "a newcomer leads");
    }
    Ok("all went on with it, newcomers too".to_owned())
}

/// A leader leaves in good order while requests are on their way: a process of either language answers them.
pub fn leader_leaves(programs: &Programs, folder: &Path) -> Result<String> {
    for (language, heir) in Language::BOTH.into_iter().flat_map(|from| Language::BOTH.map(|to| (from, to))) {
        let db = folder.join(format!("{language}-{heir}"));
        let (leader, by) = match language {
            Language::Rust => (programs.serve(&db)?, Leaving::Signal),
            Language::JavaScript => (programs.start(language, &db)?, Leaving::Request),
        };
        leader.wait_until_leader()?;
        let group = Group::start(programs, db, &Language::BOTH)?;
        let guests = group.members();
        guests[0].put("before", "1")?;
        ensure!(guests[1].get("before")?.as_deref() == Some("1"));
        // Stopped, it finds both when it goes on: the requests, and that it is to leave.
        leader.signal(Signal::SIGSTOP)?;
        leader.tell_to_leave(by)?;
        let queues: Vec<_> = guests.iter().map(|guest| Queue::send(guest, "guest")).collect();
        let others: Vec<_> = guests.iter().filter(|guest| guest.language != heir).cloned().collect();
        stopped(&others, || {
            leader.signal(Signal::SIGCONT)?;
            leader.left()?;
            guests[heir as usize].wait_until_leader()
        })?;
        let finished = queues.into_iter().try_for_each(Queue::finish);
        finished.with_context(|| format!("a {language} process leads and leaves, a {heir} process takes over"))?;
    }
    Ok("all were answered by the next one, of either language".to_owned())
}

/// Nobody leads, because another program has the database: guests of both languages wait, until one of them leads.
pub fn nobody_leads(programs: &Programs, folder: &Path) -> Result<String> {
    for heir in Language::BOTH {
        let (group, leader, guests) = served(programs, folder.join(heir.to_string()), heir.other())?;
        let both: Vec<_> = guests.iter().map(|guest| &**guest).collect();
        let stranger = stopped(&both, || {
            leader.kill()?;
            let options = ["--module", "classic-level-3"];
            let stranger = programs.start_with(Language::JavaScript, &group.db, &options)?;
            stranger.get("before")?;
            Ok(stranger)
        })?;
        let queues: Vec<_> = both.iter().map(|guest| Queue::send(guest, "guest")).collect();
        // They look for a leader, again and again.
        std::thread::sleep(std::time::Duration::from_millis(300));
        ensure!(!guests.iter().any(|guest| guest.leads()), "a process leads without the lock");
        let others: Vec<_> = both.iter().copied().filter(|guest| guest.language != heir).collect();
        stopped(&others, || {
            stranger.leave(Leaving::Request)?;
            guests[heir as usize].wait_until_leader()
        })?;
        queues.into_iter().try_for_each(Queue::finish).with_context(|| format!("a {heir} process leads"))?;
    }
    Ok("all were answered by the next one, of either language".to_owned())
}
