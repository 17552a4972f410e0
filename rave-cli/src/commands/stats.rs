//! `stats`: how much is stored, and where.

use crate::{
    cli::{Format, StatsArgs},
    database,
    failure::Failure,
    output::Output,
};
use comfy_table::{CellAlignment, Table, presets};
use rave_level::{AbstractLevel, leveldb::Stats};
use serde_json::{Value, json};
use std::fmt;

/// `stats DB`
pub async fn run(args: StatsArgs) -> Result<(), Failure> {
    let store = database::alone(&args.database.path()?, true).open_store().await.map_err(database::advise)?;
    let stats = store.stats();
    store.close().await.map_err(database::advise)?;
    let mut output = Output::stdout();
    let text = match args.format.chosen() {
        Format::Json => json_of(&stats).to_string(),
        Format::Text => text_of(&stats),
    };
    output.buffer().extend_from_slice(text.as_bytes());
    output.buffer().push(b'\n');
    output.finish().await
}

/// How much there is in tables.
pub struct Size {
    tables: u64,
    bytes: u64,
}

impl Size {
    /// Of all levels together.
    pub fn of(stats: &Stats) -> Self {
        Self {
            tables: stats.levels.iter().map(|level| level.tables as u64).sum(),
            bytes: stats.levels.iter().map(|level| level.bytes).sum(),
        }
    }

    /// For programs.
    pub fn json(&self) -> Value {
        json!({"tables": self.tables, "bytes": self.bytes})
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes in {}", self.bytes, counted(self.tables, "table"))
    }
}

/// A number of things.
pub fn counted(number: u64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// A number of entries.
pub fn entries(number: u64) -> String {
    if number == 1 { "1 entry".to_owned() } else { format!("{number} entries") }
}

fn json_of(stats: &Stats) -> Value {
    let levels = stats.levels.iter().enumerate();
    let levels: Vec<_> =
        levels.map(|(level, of)| json!({"level": level, "tables": of.tables, "bytes": of.bytes})).collect();
    let Size { tables, bytes } = Size::of(stats);
    json!({
        "tables": tables,
        "bytes": bytes,
        "levels": levels,
        "unflushed_bytes": stats.memtable_bytes,
        "writes": stats.sequence,
    })
}

fn text_of(stats: &Stats) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(["level", "tables", "bytes"]);
    for (level, of) in stats.levels.iter().enumerate() {
        table.add_row([level.to_string(), of.tables.to_string(), of.bytes.to_string()]);
    }
    let Size { tables, bytes } = Size::of(stats);
    table.add_row(["all".to_owned(), tables.to_string(), bytes.to_string()]);
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}\nin no table yet: {} bytes of memory\nwrites so far: {}", stats.memtable_bytes, stats.sequence)
}
