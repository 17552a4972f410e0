//! `verify`: read everything there is, and say what is damaged.

use crate::{
    cli::{Format, VerifyArgs},
    commands::stats::{counted, entries},
    database,
    failure::Failure,
    output::Output,
};
use indicatif::{ProgressBar, ProgressStyle};
use rave_level::leveldb::VerifyReport;
use serde_json::json;
use std::{io::IsTerminal, ops::ControlFlow, time::Duration};
use tokio::sync::mpsc;

/// `verify DB`
pub async fn run(args: VerifyArgs) -> Result<(), Failure> {
    let format = args.format.chosen();
    let bar = progress();
    // Where nobody sees the bar: a line for each file. There are no more of them than files.
    let (line, mut lines) = mpsc::unbounded_channel();
    let line = (format == Format::Text && !std::io::stderr().is_terminal()).then_some(line);
    let mut output = Output::stdout();
    let path = args.database.path()?;
    let opener = database::alone(&path, true);
    let verify = async {
        let mut file = String::new();
        let verified = opener.verify(|progress| {
            bar.set_length(progress.bytes_total);
            bar.set_position(progress.bytes_done);
            if progress.file == file {
                return ControlFlow::Continue(());
            }
            progress.file.clone_into(&mut file);
            bar.set_message(file.clone());
            match &line {
                // Whoever read the lines has gone.
                Some(line) if line.send(format!("reading {file}\n")).is_err() => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        });
        let verified = verified.await;
        drop(line);
        verified
    };
    let print = async {
        // Taken along, so that a failure to print ends the reading.
        let mut lines = std::mem::replace(&mut lines, mpsc::unbounded_channel().1);
        while let Some(line) = lines.recv().await {
            output.buffer().extend_from_slice(line.as_bytes());
            output.hand_over().await?;
        }
        Ok::<_, Failure>(())
    };
    let (report, printed) = tokio::join!(verify, print);
    bar.finish_and_clear();
    printed?;
    let report = report.map_err(database::advise)?;
    let text = match format {
        Format::Json => json_of(&report).to_string(),
        Format::Text => text_of(&report),
    };
    output.buffer().extend_from_slice(text.as_bytes());
    output.buffer().push(b'\n');
    output.finish().await?;
    if report.is_sound() {
        return Ok(());
    }
    let places = counted(damages(&report), "place");
    let advice = "`rave repair` makes it usable again, with what can be read";
    Err(Failure::Check(format!("{} is damaged in {places}; {advice}", path.display())))
}

fn damages(report: &VerifyReport) -> u64 {
    report.damages.len() as u64 + report.more_damages
}

fn json_of(report: &VerifyReport) -> serde_json::Value {
    let damages: Vec<_> = report
        .damages
        .iter()
        .map(|damage| json!({"file": damage.file, "offset": damage.offset, "what": damage.what}))
        .collect();
    json!({
        "sound": report.is_sound(),
        "tables": report.tables,
        "logs": report.logs,
        "entries": report.entries,
        "bytes": report.bytes,
        "damages": damages,
        "more_damages": report.more_damages,
    })
}

fn text_of(report: &VerifyReport) -> String {
    let mut lines: Vec<_> = report.damages.iter().map(|damage| format!("damaged: {damage}")).collect();
    if report.more_damages > 0 {
        lines.push(format!("damaged: {} more", counted(report.more_damages, "place")));
    }
    lines.push(format!(
        "{}: {} and {} with {} in {} bytes",
        if report.is_sound() { "sound" } else { "not sound" },
        counted(report.tables, "table"),
        counted(report.logs, "log"),
        entries(report.entries),
        report.bytes,
    ));
    lines.join("\n")
}

/// A bar on stderr, if that is a terminal.
fn progress() -> ProgressBar {
    let bar = ProgressBar::new(0);
    bar.enable_steady_tick(Duration::from_millis(200));
    match ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta} {msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
