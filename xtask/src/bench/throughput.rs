//! What one operation costs a leader and a guest.

use super::{
    Extent,
    peer::{Language, Peer},
    report::{Figure, Report, Unit, median},
    worker::Worker,
};
use anyhow::Result;

const WORKLOADS: &[(&str, &str, Unit)] = &[
    ("put-1", "put, one at a time", Unit::Latency),
    ("get-1", "get, one at a time", Unit::Latency),
    ("put-64", "put, 64 in flight", Unit::Rate),
    ("get-64", "get, 64 in flight", Unit::Rate),
    ("batch-100", "batches of 100, one at a time", Unit::Rate),
    ("scan", "scan", Unit::Rate),
];

/// The two processes of one peer.
struct Group {
    language: Language,
    leader: Worker,
    guest: Worker,
}

pub fn measure(peers: &[Peer], extent: &Extent, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut groups = Vec::new();
    for peer in peers {
        let path = folder.path().join(format!("{:?}", peer.language));
        let mut leader = peer.open(&path)?;
        leader.tell(&format!("fill {}", extent.entries))?;
        leader.answer("filled")?;
        let mut guest = peer.open(&path)?;
        guest.tell(&format!("expect {}", extent.entries))?;
        groups.push(Group { language: peer.language, leader, guest });
    }
    let socket = folder.path().join("echo");
    let echo = peers.iter().find(|peer| peer.language == Language::Rust);
    let mut echo = echo
        .map(|peer| Ok::<_, anyhow::Error>((peer.echo("echo-server", &socket)?, peer.echo("echo-client", &socket)?)));
    let mut echo = echo.take().transpose()?;
    let mut floors = Vec::new();

    for (role, of) in
        [("leader", (|group| &mut group.leader) as fn(&mut Group) -> &mut Worker), ("guest", |group| &mut group.guest)]
    {
        for (workload, title, unit) in WORKLOADS {
            eprintln!("{role}: {title}");
            let mut times: Vec<Vec<f64>> = vec![Vec::new(); groups.len()];
            for round in 0..=extent.rounds {
                for (group, times) in groups.iter_mut().zip(&mut times) {
                    let time = of(group).run(workload, extent.millis)?;
                    // The first round warms up.
                    if round > 0 {
                        times.push(time);
                    }
                }
                if *workload == "get-1"
                    && role == "guest"
                    && let Some((_, client)) = &mut echo
                {
                    let time = client.run("echo", extent.millis)?;
                    if round > 0 {
                        floors.push(time);
                    }
                }
            }
            let of = |language| groups.iter().position(|group| group.language == language).map(|i| median(&times[i]));
            report.add(Figure {
                name: format!("{role}: {title}"),
                unit: *unit,
                rust: of(Language::Rust),
                javascript: of(Language::JavaScript),
            });
            if *workload == "get-1" && role == "guest" {
                report.floor(median(&floors), of(Language::Rust));
            }
        }
    }
    Ok(())
}
