//! What one operation costs a leader and a guest.

use super::{
    Extent,
    peer::{Cast, Language, Mix, Peer, casts},
    report::{Figure, Report, Unit, median},
    worker::Worker,
};
use anyhow::{Context, Result, ensure};
use std::path::Path;

const WORKLOADS: &[(&str, &str, Unit)] = &[
    ("put-1", "put, one at a time", Unit::Latency),
    ("get-1", "get, one at a time", Unit::Latency),
    ("put-64", "put, 64 in flight", Unit::Rate),
    ("get-64", "get, 64 in flight", Unit::Rate),
    ("batch-100", "batches of 100, one at a time", Unit::Rate),
    ("scan", "scan", Unit::Rate),
];

/// Milliseconds that the first round of a workload lasts at least: a compiler at run time needs a while.
pub(super) const WARM_UP: u64 = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Leader,
    Guest,
}

/// The two processes of one cast.
struct Group {
    mix: Mix,
    leader: Worker,
    guest: Worker,
}

impl Group {
    fn start(cast: &Cast<'_>, path: &Path, entries: u32) -> Result<Self> {
        let mut leader = cast.leader.open(path)?.ready(true)?;
        leader.tell(&format!("fill {entries}"))?;
        leader.answer("filled")?;
        let mut guest = cast.guests.open(path)?.ready(false)?;
        guest.tell(&format!("expect {entries}"))?;
        Ok(Self { mix: cast.mix, leader, guest })
    }

    fn worker(&mut self, role: Role) -> &mut Worker {
        match role {
            Role::Leader => &mut self.leader,
            Role::Guest => &mut self.guest,
        }
    }
}

pub fn measure(peers: &[Peer], extent: &Extent, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut groups = Vec::new();
    for cast in casts(peers) {
        let path = folder.path().join(format!("{:?}", cast.mix));
        groups.push(Group::start(&cast, &path, extent.entries).with_context(|| format!("{:?}", cast.mix))?);
    }
    let socket = folder.path().join("echo");
    let mut echo = None;
    if let Some(rust) = peers.iter().find(|peer| peer.language == Language::Rust) {
        echo =
            Some((rust.echo("echo-server", &socket)?.ready(true)?, rust.echo("echo-client", &socket)?.ready(false)?));
    }

    for role in [Role::Leader, Role::Guest] {
        // What a leader does itself passes no socket, so the language of its guests makes no difference to it.
        let mut groups: Vec<_> = groups.iter_mut().filter(|group| role == Role::Guest || !group.mix.mixed()).collect();
        for (workload, title, unit) in WORKLOADS {
            eprintln!("{role:?}: {title}");
            // The floor is measured in the same rounds as what is held against it.
            let mut floor = echo.as_mut().filter(|_| role == Role::Guest && *workload == "get-1");
            let mut floors = Vec::new();
            let mut times: Vec<Vec<f64>> = vec![Vec::new(); groups.len()];
            for round in 0..=extent.rounds {
                let millis = if round == 0 { extent.millis.max(WARM_UP) } else { extent.millis };
                for (group, times) in groups.iter_mut().zip(&mut times) {
                    let time = group.worker(role).run(workload, millis);
                    times.push(time.with_context(|| format!("{:?}", group.mix))?);
                }
                if let Some((_, client)) = &mut floor {
                    floors.push(client.run("echo", millis)?);
                }
            }
            let figure = Figure {
                name: format!("{role:?}: {title}").to_lowercase(),
                unit: *unit,
                nanos: groups.iter().zip(&times).map(|(group, times)| (group.mix, median(&times[1..]))).collect(),
            };
            if floor.is_some() {
                report.floor(median(&floors[1..]), figure.of(Mix::Rust));
            }
            report.add(figure);
        }
    }
    for Group { mix, guest, .. } in &mut groups {
        ensure!(!guest.leads(), "{mix:?}: the guest has become the leader");
    }
    Ok(())
}
