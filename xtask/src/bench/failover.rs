//! How long guests wait when the leader is killed.
//!
//! The leader's process gets SIGKILL; at the same moment every guest is told to put. Measured is the time from the
//! signal until the line came that says the last of these puts was acknowledged. Where guests speak another language than
//! the leader, one of theirs takes over, so their group begins anew for each kill.

use super::{
    Extent,
    peer::{Cast, Mix, Peer, casts},
    report::{Figure, Report, Unit, median},
    worker::Worker,
};
use anyhow::{Context, Result};
use std::{path::PathBuf, thread, time::Duration};

pub fn measure(peers: &[Peer], extent: &Extent, report: &mut Report) -> Result<()> {
    for guests in [1, 8] {
        let title = if guests == 1 { "one guest served again" } else { "eight guests all served again" };
        eprintln!("failover: {title}");
        let folder = tempfile::tempdir()?;
        let mut groups = Vec::new();
        for cast in casts(peers) {
            let path = folder.path().join(format!("{:?}", cast.mix));
            groups.push(Group { cast, path, workers: Vec::new(), times: Vec::new() });
        }
        for _ in 0..extent.kills {
            for group in &mut groups {
                group.fill(guests)?;
                let time = kill_leader(&mut group.workers).with_context(|| format!("{:?}", group.cast.mix))?;
                group.times.push(time);
            }
        }
        for (suffix, pick) in [("median", median as fn(&[f64]) -> f64), ("longest", longest)] {
            let figure = Figure {
                name: format!("failover: {title}, {suffix}"),
                unit: Unit::Failover,
                nanos: groups.iter().map(|group| (group.cast.mix, pick(&group.times))).collect(),
            };
            if guests == 8 && suffix == "median" {
                report.eight_guests(figure.of(Mix::Rust));
            }
            report.add(figure);
        }
    }
    Ok(())
}

/// The processes of one cast, and how long its kills took.
struct Group<'a> {
    cast: Cast<'a>,
    path: PathBuf,
    workers: Vec<Worker>,
    times: Vec<f64>,
}

impl Group<'_> {
    /// Starts what is missing: after a kill a guest, because one of the guests leads now.
    fn fill(&mut self, guests: usize) -> Result<()> {
        let Self { cast, path, workers, .. } = self;
        if cast.mix.mixed() {
            workers.clear();
        }
        if workers.is_empty() {
            workers.push(cast.open_leader(path)?);
        }
        while workers.len() <= guests {
            workers.push(cast.open_guest(path)?);
        }
        Ok(())
    }
}

fn longest(times: &[f64]) -> f64 {
    times.iter().copied().fold(0.0, f64::max)
}

/// Kills the leader among `workers`; the nanoseconds until all others were served.
fn kill_leader(workers: &mut Vec<Worker>) -> Result<f64> {
    // All are served, and what starting them has cost is over.
    for worker in &mut *workers {
        worker.tell("put")?;
        worker.answer("ack")?;
    }
    thread::sleep(Duration::from_millis(100));
    let leader = workers.iter_mut().position(|worker| worker.leads()).context("nobody leads")?;
    let mut leader = workers.swap_remove(leader);
    let killed = leader.kill()?;
    for worker in &mut *workers {
        worker.tell("put")?;
    }
    let mut last = killed;
    for worker in &mut *workers {
        last = last.max(worker.answer("ack")?.0);
    }
    Ok(last.duration_since(killed).as_nanos() as f64)
}
