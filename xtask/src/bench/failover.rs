//! How long guests wait when the leader is killed.
//!
//! The leader's process gets SIGKILL; at the same moment every guest is told to put. Measured is the time from the
//! signal until the line came that says the last of these puts was acknowledged. Every kill has processes of its own:
//! where guests speak another language than the leader, one of theirs would lead the next time, and a compiler at run time
//! makes young and old processes hard to compare.

use super::{
    Extent,
    peer::{Cast, Mix, Peer, casts},
    report::{Figure, Report, Unit, median},
};
use anyhow::{Context, Result};
use std::{path::Path, thread, time::Duration};

pub fn measure(peers: &[Peer], extent: &Extent, report: &mut Report) -> Result<()> {
    for guests in [1, 8] {
        let title = if guests == 1 { "one guest served again" } else { "eight guests all served again" };
        eprintln!("failover: {title}");
        let folder = tempfile::tempdir()?;
        let mut groups: Vec<_> = casts(peers).map(|cast| (cast, Vec::new())).collect();
        for _ in 0..extent.kills {
            for (cast, times) in &mut groups {
                let path = folder.path().join(format!("{:?}", cast.mix));
                times.push(kill_leader(cast, &path, guests).with_context(|| format!("{:?}", cast.mix))?);
            }
        }
        for (suffix, pick) in [("median", median as fn(&[f64]) -> f64), ("longest", longest)] {
            let figure = Figure {
                name: format!("failover: {title}, {suffix}"),
                unit: Unit::Failover,
                nanos: groups.iter().map(|(cast, times)| (cast.mix, pick(times))).collect(),
            };
            if guests == 8 && suffix == "median" {
                report.eight_guests(figure.of(Mix::Rust));
            }
            report.add(figure);
        }
    }
    Ok(())
}

fn longest(times: &[f64]) -> f64 {
    times.iter().copied().fold(0.0, f64::max)
}

/// Starts a leader and guests, and kills the leader; the nanoseconds until all guests were served.
fn kill_leader(cast: &Cast<'_>, path: &Path, guests: usize) -> Result<f64> {
    let mut leader = cast.leader.open(path)?.ready(true)?;
    let guests = (0..guests).map(|_| cast.guests.open(path)).collect::<Result<Vec<_>>>()?;
    let mut guests = guests.into_iter().map(|guest| guest.ready(false)).collect::<Result<Vec<_>>>()?;
    // All are served, and what starting them has cost is over.
    for worker in guests.iter_mut().chain([&mut leader]) {
        worker.tell("put")?;
        worker.answer("ack")?;
    }
    thread::sleep(Duration::from_millis(100));
    let killed = leader.kill()?;
    for guest in &mut guests {
        guest.tell("put")?;
    }
    let mut last = killed;
    for guest in &mut guests {
        last = last.max(guest.answer("ack")?.0);
    }
    Ok(last.duration_since(killed).as_nanos() as f64)
}
