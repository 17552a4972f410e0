//! Every order of opening: one process leads, all are served.

use super::{
    group::{Group, SIX},
    member::{Language, Programs},
};
use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use std::path::Path;

/// Opens fresh directories with six processes: first a Rust process, first a Node process, all at once.
pub fn check(programs: &Programs, folder: &Path, rounds: usize) -> Result<String> {
    let mut led = [0; 2];
    for round in 0..rounds {
        let first = [Some(Language::Rust), Some(Language::JavaScript), None][round % 3];
        let leader = open(programs, folder, round, first)
            .with_context(|| format!("round {round}, first {}", first.map_or("all".to_owned(), |it| it.to_string())))?;
        if first.is_none() {
            led[leader as usize] += 1;
        }
    }
    Ok(format!("{rounds} rounds; when all came at once, Rust led {} times and Node {}", led[0], led[1]))
}

fn open(programs: &Programs, folder: &Path, round: usize, first: Option<Language>) -> Result<Language> {
    let db = folder.join(format!("db{round}"));
    let mut languages = SIX.to_vec();
    languages.rotate_left(round % SIX.len());
    let group = match first {
        Some(first) => {
            let mut group = Group::start(programs, db, &[first])?;
            ensure!(group.leader()? == 0);
            languages.remove(languages.iter().position(|language| *language == first).unwrap_or(0));
            group.join(&languages)?;
            group
        }
        None => Group::start(programs, db, &languages)?,
    };
    let members = group.members();
    let ids: Vec<_> = (0..members.len())
        .map(|slot| members[slot].send(json!({"op": "put", "key": slot.to_string(), "value": slot.to_string()})))
        .collect();
    for (member, id) in members.iter().zip(ids) {
        member.outcome(id)?;
    }
    let expected: Vec<_> = (0..members.len()).map(|slot| (slot.to_string(), slot.to_string())).collect();
    for member in &members {
        ensure!(member.scan()? == expected, "{member} does not see what all have written");
    }
    let leader = group.leader()?;
    ensure!(first.is_none() || leader == 0, "{} leads, and another one had opened before", members[leader]);
    Ok(members[leader].language)
}
