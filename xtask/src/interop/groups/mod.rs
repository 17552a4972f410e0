//! Groups: Rust and Node processes open one directory, and it does not matter who leads.
//!
//! A Rust process is `rave exec`, a Node process is `member.mjs` with the module `rave-level`; both speak the same lines.
//! `RAVE_INTEROP_KILLS` sets how many leaders are killed, for whoever looks for what is rare.

mod contents;
mod group;
mod iterators;
mod killing;
mod load;
mod member;
mod opening;
mod socket;
mod waiting;

use super::{Context, Tally};
use anyhow::{Result, bail};
use killing::Ending;
use member::{Language, Member, Programs};
use nix::sys::signal::Signal;
use std::{
    ops::Deref,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// How long anything may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often what is waited for is looked at.
const TICK: Duration = Duration::from_millis(2);

/// Runs all checks whose description was asked for.
pub fn check(context: &Context<'_>, tally: &mut Tally<'_>) -> Result<()> {
    let programs = Programs::build(context.javascript)?;
    let number = |quick, full| if context.quick { quick } else { full };
    let mut run = |description: &str, check: &dyn Fn(&Path) -> Result<String>| {
        tally.check(description, || check(tempfile::Builder::new().prefix("rave").tempdir()?.path()));
    };
    let kills = std::env::var("RAVE_INTEROP_KILLS").ok().and_then(|kills| kills.parse().ok());
    let kills = kills.unwrap_or(number(20, 100));
    run(&format!("3 Rust and 3 Node processes write and read while {kills} leaders are killed"), &|folder| {
        killing::check(&programs, folder, Ending::Killed, kills)
    });
    let leaves = kills / 5;
    run(&format!("3 Rust and 3 Node processes write and read while {leaves} leaders close"), &|folder| {
        killing::check(&programs, folder, Ending::Left, leaves)
    });
    let rounds = number(3, 20);
    run("every order of opening", &|folder| opening::check(&programs, folder, rounds));
    for last in Language::BOTH {
        let description = format!("iterators stay open while the languages take turns to lead, at last a {last} guest");
        run(&description, &|folder| iterators::check(&programs, folder, last));
    }
    run("a leader of each language is stopped for a while", &|folder| waiting::stopped_leader(&programs, folder));
    run("a leader of each language leaves with requests on their way", &|folder| {
        waiting::leader_leaves(&programs, folder)
    });
    run("operations wait while nobody can lead", &|folder| waiting::nobody_leads(&programs, folder));
    for writer in Language::BOTH {
        let description = format!("what a {writer} leader and its guest wrote is read by {}", writer.other());
        run(&description, &|folder| contents::check(&programs, folder, writer));
    }
    run("the socket of a Rust leader is removed", &|folder| socket::removed(&programs, folder));
    run("the socket of a Node leader is removed", &|folder| socket::removed_for_good(&programs, folder));
    run("the socket of a Rust leader is removed by the process before", &|folder| {
        socket::removed_by_predecessor(&programs, folder)
    });
    Ok(())
}

/// Keeps processes stopped while `work` runs.
fn stopped<R>(members: &[impl Deref<Target = Member>], work: impl FnOnce() -> Result<R>) -> Result<R> {
    members.iter().try_for_each(|member| member.signal(Signal::SIGSTOP))?;
    let result = work();
    let continued: Result<()> = members.iter().try_for_each(|member| member.signal(Signal::SIGCONT));
    let result = result?;
    continued.map(|()| result)
}

/// Waits until `condition` gives something.
fn eventually<T>(what: &str, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("waited {PATIENCE:?} until {what}");
        }
        thread::sleep(TICK);
    }
}
