//! A socket file that is removed under a leader, and who removes it.

use super::{
    eventually,
    group::Group,
    member::{Language, Leaving, Member, Programs},
};
use anyhow::{Result, ensure};
use serde_json::json;
use std::{fs, path::Path, thread, time::Duration};

/// Somebody removes the socket file of a Rust leader: it makes another one.
pub fn removed(programs: &Programs, folder: &Path) -> Result<String> {
    let mut group = Group::start(programs, folder.join("db"), &[Language::Rust])?;
    let leader = group.member(group.leader()?);
    group.join(&Language::BOTH)?;
    serve(&group.members(), "before")?;
    for round in 0..3 {
        fs::remove_file(group.db.join("rave-level.sock"))?;
        group.join(&Language::BOTH)?;
        serve(&group.members(), &format!("round {round}"))?;
        ensure!(group.member(group.leader()?).pid == leader.pid, "another process leads");
    }
    Ok(format!("{} processes are served", group.len()))
}

/// Somebody removes the socket file of a Node leader, which does not notice: newcomers cannot reach it, and must not lead
/// beside it. The next leader serves them.
pub fn removed_for_good(programs: &Programs, folder: &Path) -> Result<String> {
    let mut group = Group::start(programs, folder.join("db"), &[Language::JavaScript])?;
    let leader = group.member(group.leader()?);
    group.join(&Language::BOTH)?;
    serve(&group.members(), "before")?;
    fs::remove_file(group.db.join("rave-level.sock"))?;
    group.join(&Language::BOTH)?;
    let newcomers = group.members().split_off(3);
    let ids = newcomers.iter().map(|it| it.send(json!({"op": "put", "key": "new", "value": it.pid.to_string()})));
    let ids: Vec<_> = ids.collect();
    // They look for a leader, again and again.
    thread::sleep(Duration::from_millis(500));
    serve(&group.members()[..3], "meanwhile")?;
    ensure!(group.leader()? == 0, "another process leads");
    leader.kill()?;
    for (newcomer, id) in newcomers.iter().zip(ids) {
        newcomer.outcome(id)?;
    }
    serve(&group.members()[1..], "after")?;
    group.leader()?;
    Ok("newcomers are served by the next one".to_owned())
}

/// A JavaScript process that is closed just when it has the lock gives that up, and removes the socket of the next
/// leader: what it asked for as the leader to be is done too late.
pub fn removed_by_predecessor(programs: &Programs, folder: &Path) -> Result<String> {
    let db = folder.join("db");
    let predecessor = programs.start_with(Language::JavaScript, &db, &["--hold-unlink"])?;
    predecessor.wait_for("unlink")?;
    let mut group = Group::start(programs, db, &[Language::Rust])?;
    predecessor.ask(json!({"op": "close"}))?;
    group.leader()?;
    let socket = group.db.join("rave-level.sock");
    ensure!(socket.exists(), "a leader without a socket");
    predecessor.leave(Leaving::End)?;
    group.join(&Language::BOTH)?;
    serve(&group.members(), "after")?;
    ensure!(group.leader()? == 0, "another process leads");
    eventually("there is a socket again", || Ok(socket.exists().then_some(())))?;
    Ok("newcomers are served".to_owned())
}

/// Each writes, and all read it.
fn serve(members: &[impl std::ops::Deref<Target = Member>], value: &str) -> Result<()> {
    for member in members {
        member.put(&member.pid.to_string(), value)?;
    }
    for member in members {
        for other in members {
            let found = member.get(&other.pid.to_string())?;
            ensure!(found.as_deref() == Some(value), "{}: {found:?} instead of {value:?}", **member);
        }
    }
    Ok(())
}
