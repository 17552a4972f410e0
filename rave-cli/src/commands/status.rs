//! `status`: who leads and how it fares.

use crate::{
    cli::{Format, StatusArgs},
    database,
    failure::Failure,
    output::Output,
};
use comfy_table::{Table, presets};
use rave_level::{AbstractLevel, Code, LeaderStatus, Manifest, RaveLevel, Role};
use serde_json::json;
use std::time::Duration;

/// `status DB`
pub async fn run(args: StatusArgs) -> Result<(), Failure> {
    let handle = database::open(&args.place, &args.opening).await?;
    let asked = ask(&handle).await;
    let closed = handle.close().await;
    let (leader, role, manifest) = asked?;
    closed?;
    let mut output = Output::stdout();
    let text = match args.format.chosen() {
        Format::Json => json_of(leader.as_ref(), role, &manifest).to_string(),
        Format::Text => table_of(leader.as_ref(), role, &manifest).to_string(),
    };
    output.buffer().extend_from_slice(text.as_bytes());
    output.buffer().push(b'\n');
    output.finish().await
}

/// A leader of the legacy protocol does not tell how it fares.
async fn ask(handle: &RaveLevel) -> rave_level::Result<(Option<LeaderStatus>, Role, Manifest)> {
    let leader = match handle.leader_status().await {
        Ok(leader) => Some(leader),
        Err(error) if error.code() == Code::NotSupported && handle.manifest().legacy => None,
        Err(error) => return Err(error),
    };
    Ok((leader, handle.role(), handle.manifest()))
}

/// The leader's process, by its own account or the transport's.
fn leader_pid(leader: Option<&LeaderStatus>, role: Role) -> Option<u32> {
    leader.and_then(|leader| leader.pid).or(match role {
        Role::Guest { leader_pid } => leader_pid,
        Role::Leader | Role::Electing => None,
    })
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Leader => "leader",
        Role::Guest { .. } => "guest",
        Role::Electing => "electing",
    }
}

fn facts(manifest: &Manifest) -> [(&'static str, bool); 8] {
    [
        ("implicit_snapshots", manifest.implicit_snapshots),
        ("explicit_snapshots", manifest.explicit_snapshots),
        ("permanence", manifest.permanence),
        ("sync_writes", manifest.sync_writes),
        ("atomic_clear", manifest.atomic_clear),
        ("exactly_once", manifest.exactly_once),
        ("read_only", manifest.read_only),
        ("legacy", manifest.legacy),
    ]
}

fn json_of(leader: Option<&LeaderStatus>, role: Role, manifest: &Manifest) -> serde_json::Value {
    let facts: serde_json::Map<_, _> =
        facts(manifest).into_iter().map(|(name, holds)| (name.to_owned(), holds.into())).collect();
    json!({
        "role": role_name(role),
        "pid": std::process::id(),
        "leader_pid": leader_pid(leader, role),
        "guests": leader.map(|leader| leader.guests),
        "operations": leader.map(|leader| leader.operations),
        "leading_seconds": leader.map(|leader| leader.leading.as_secs_f64()),
        "store": leader.map_or(&*manifest.store, |leader| &leader.store),
        "manifest": facts,
    })
}

fn table_of(leader: Option<&LeaderStatus>, role: Role, manifest: &Manifest) -> Table {
    let facts: Vec<&str> = facts(manifest).into_iter().filter(|(_, holds)| *holds).map(|(name, _)| name).collect();
    let told = |tell: fn(&LeaderStatus) -> String| leader.map_or_else(|| "unknown".to_owned(), tell);
    let leading = |leader: &LeaderStatus| {
        format!("{:?}", Duration::from_millis(u64::try_from(leader.leading.as_millis()).unwrap_or(u64::MAX)))
    };
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).add_rows([
        ["role of this process".to_owned(), role_name(role).to_owned()],
        [
            "leader's pid".to_owned(),
            leader_pid(leader, role).map_or_else(|| "unknown".to_owned(), |pid| pid.to_string()),
        ],
        ["leading for".to_owned(), told(leading)],
        ["guests".to_owned(), told(|leader| leader.guests.to_string())],
        ["operations served".to_owned(), told(|leader| leader.operations.to_string())],
        ["store".to_owned(), leader.map_or_else(|| manifest.store.to_string(), |leader| leader.store.clone())],
        ["offers".to_owned(), facts.join(", ")],
    ]);
    table
}
