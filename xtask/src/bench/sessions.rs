//! What it costs that a guest's writes are applied exactly once.

use super::{
    Extent,
    peer::Peer,
    report::{Report, median},
    throughput::WARM_UP,
    worker::Worker,
};
use anyhow::{Result, ensure};

const WORKLOADS: &[(&str, &str)] =
    &[("put-1", "put, one at a time"), ("put-64", "put, 64 in flight"), ("batch-100", "batches of 100, one at a time")];

/// The workload whose cost has a bound.
const BOUNDED: &str = "put-64";

/// Two groups of a leader and a guest take turns: one whose leader keeps sessions, one whose leader does not.
pub fn measure(peer: &Peer, extent: &Extent, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let group = |name: &str, open: &dyn Fn(&std::path::Path) -> Result<Worker>| -> Result<[Worker; 2]> {
        let path = folder.path().join(name);
        let mut leader = open(&path)?.ready(true)?;
        leader.tell(&format!("fill {}", extent.entries))?;
        leader.answer("filled")?;
        let mut guest = open(&path)?.ready(false)?;
        guest.tell(&format!("expect {}", extent.entries))?;
        Ok([leader, guest])
    };
    let [_leader, mut with] = group("with", &|path| peer.open(path))?;
    let [_other_leader, mut without] = group("without", &|path| peer.open_without_sessions(path))?;
    for (workload, title) in WORKLOADS {
        eprintln!("Sessions: {title}");
        let (mut times_with, mut times_without) = (Vec::new(), Vec::new());
        for round in 0..=extent.rounds {
            let millis = if round == 0 { extent.millis.max(WARM_UP) } else { extent.millis };
            times_with.push(with.run(workload, millis)?);
            times_without.push(without.run(workload, millis)?);
        }
        report.sessions(title, median(&times_with[1..]), median(&times_without[1..]), *workload == BOUNDED);
    }
    ensure!(!with.leads() && !without.leads(), "a guest has become the leader");
    Ok(())
}
