//! `repair`: make a damaged database usable again.

use crate::{
    cli::{Format, RepairArgs},
    commands::stats::{counted, entries},
    database,
    failure::Failure,
    output::Output,
};
use rave_level::leveldb::{RepairReport, RepairedFile};
use serde_json::json;
use std::path::Path;

/// `repair DB`
pub async fn run(args: RepairArgs) -> Result<(), Failure> {
    let path = &args.database.path()?;
    let report = database::alone(path, false).repair().await.map_err(database::advise)?;
    let mut output = Output::stdout();
    let text = match args.format.chosen() {
        Format::Json => json_of(&report, path).to_string(),
        Format::Text => text_of(&report, path),
    };
    output.buffer().extend_from_slice(text.as_bytes());
    output.buffer().push(b'\n');
    output.finish().await
}

/// Where the damaged file is kept; nowhere if it was missing.
fn original(path: &Path, file: &str) -> Option<String> {
    let kept = path.join(format!("{file}.damaged"));
    kept.exists().then(|| kept.display().to_string())
}

fn json_of(report: &RepairReport, path: &Path) -> serde_json::Value {
    let file = |of: &RepairedFile| {
        let damages: Vec<_> =
            of.damages.iter().map(|damage| json!({"offset": damage.offset, "what": damage.what})).collect();
        json!({
            "file": of.file,
            "entries_kept": of.entries_kept,
            "damages": damages,
            "more_damages": of.more_damages,
            "original": original(path, &of.file),
        })
    };
    json!({
        "files": report.files.iter().map(file).collect::<Vec<_>>(),
        "rebuilt": report.rebuilt,
        "tables": report.tables,
        "entries": report.entries,
    })
}

fn text_of(report: &RepairReport, path: &Path) -> String {
    let mut lines = Vec::new();
    for of in &report.files {
        lines.extend(of.damages.iter().map(|damage| format!("lost: {damage}")));
        if of.more_damages > 0 {
            lines.push(format!("lost: {}: {} more", of.file, counted(of.more_damages, "place")));
        }
        if of.entries_kept > 0 {
            lines.push(format!("kept: {}: {}", of.file, entries(of.entries_kept)));
        }
        lines.extend(original(path, &of.file).map(|kept| format!("original: {kept}")));
    }
    if report.rebuilt {
        let what = "all tables and logs that were there are put together; what was deleted long ago may be back";
        lines.push(format!("rebuilt: {what}"));
    }
    let outcome = if lines.is_empty() { "nothing was damaged" } else { "repaired" };
    lines.push(format!("{outcome}: {} in {}", entries(report.entries), counted(report.tables, "table")));
    lines.join("\n")
}
