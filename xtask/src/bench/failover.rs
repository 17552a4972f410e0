//! How long guests wait when the leader is killed.
//!
//! The leader's process gets SIGKILL; at the same moment every guest is told to put. Measured is the time from the
//! signal until the line came that says the last of these puts was acknowledged.

use super::{
    Extent,
    peer::{Language, Peer},
    report::{Figure, Report, Unit, median},
    worker::Worker,
};
use anyhow::{Context, Result};
use std::{thread, time::Duration};

pub fn measure(peers: &[Peer], extent: &Extent, report: &mut Report) -> Result<()> {
    for guests in [1, 8] {
        let title = if guests == 1 { "one guest served again" } else { "eight guests all served again" };
        eprintln!("failover: {title}");
        let folder = tempfile::tempdir()?;
        let mut groups = Vec::new();
        for peer in peers {
            let path = folder.path().join(format!("{:?}", peer.language));
            let workers = (0..=guests).map(|_| peer.open(&path)).collect::<Result<Vec<_>>>()?;
            groups.push((peer, path, workers, Vec::new()));
        }
        for _ in 0..extent.kills {
            for (peer, path, workers, times) in &mut groups {
                times.push(kill_leader(workers).with_context(|| format!("{:?}", peer.language))?);
                // The dead one's place is taken by a new guest.
                workers.push(peer.open(path)?);
            }
        }
        let of = |language| groups.iter().find(|(peer, ..)| peer.language == language).map(|(.., times)| times);
        for (suffix, pick) in [("median", median as fn(&[f64]) -> f64), ("longest", longest)] {
            report.add(Figure {
                name: format!("failover: {title}, {suffix}"),
                unit: Unit::Failover,
                rust: of(Language::Rust).map(|times| pick(times)),
                javascript: of(Language::JavaScript).map(|times| pick(times)),
            });
        }
        if guests == 8 {
            report.eight_guests(of(Language::Rust).map(|times| median(times)));
        }
    }
    Ok(())
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
