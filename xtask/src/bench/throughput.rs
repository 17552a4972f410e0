//! What one operation costs a leader and a guest.

use super::{
    Extent,
    peer::{Language, Peer},
    report::{Figure, Report, Unit, median},
    worker::Worker,
};
use anyhow::Result;
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
const WARM_UP: u64 = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Leader,
    Guest,
}

/// The two processes of one peer.
struct Group {
    language: Language,
    leader: Worker,
    guest: Worker,
}

impl Group {
    fn start(peer: &Peer, path: &Path, entries: u32) -> Result<Self> {
        let mut leader = peer.open(path)?;
        leader.tell(&format!("fill {entries}"))?;
        leader.answer("filled")?;
        let mut guest = peer.open(path)?;
        guest.tell(&format!("expect {entries}"))?;
        Ok(Self { language: peer.language, leader, guest })
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
    for peer in peers {
        groups.push(Group::start(peer, &folder.path().join(format!("{:?}", peer.language)), extent.entries)?);
    }
    let socket = folder.path().join("echo");
    let mut echo = None;
    if let Some(rust) = peers.iter().find(|peer| peer.language == Language::Rust) {
        echo = Some((rust.echo("echo-server", &socket)?, rust.echo("echo-client", &socket)?));
    }

    for role in [Role::Leader, Role::Guest] {
        for (workload, title, unit) in WORKLOADS {
            eprintln!("{role:?}: {title}");
            // The floor is measured in the same rounds as what is held against it.
            let mut floor = echo.as_mut().filter(|_| role == Role::Guest && *workload == "get-1");
            let mut floors = Vec::new();
            let mut times: Vec<Vec<f64>> = vec![Vec::new(); groups.len()];
            for round in 0..=extent.rounds {
                let millis = if round == 0 { extent.millis.max(WARM_UP) } else { extent.millis };
                for (group, times) in groups.iter_mut().zip(&mut times) {
                    times.push(group.worker(role).run(workload, millis)?);
                }
                if let Some((_, client)) = &mut floor {
                    floors.push(client.run("echo", millis)?);
                }
            }
            let of = |language| {
                let index = groups.iter().position(|group| group.language == language)?;
                Some(median(&times[index][1..]))
            };
            report.add(Figure {
                name: format!("{role:?}: {title}").to_lowercase(),
                unit: *unit,
                rust: of(Language::Rust),
                javascript: of(Language::JavaScript),
            });
            if floor.is_some() {
                report.floor(median(&floors[1..]), of(Language::Rust));
            }
        }
    }
    Ok(())
}
