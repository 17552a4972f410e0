//! The figures of all engines, as a table for people and as JSON for programs.

use super::{
    Extent, Setting,
    job::{Kind, Outcome},
    row::{Row, Unit},
};
use crate::bench::report::median;
use comfy_table::{CellAlignment, Table, presets};
use serde::{Serialize, Serializer, ser::SerializeStruct};
use std::{collections::BTreeMap, fmt};

/// What C++ LevelDB takes, times this, is allowed.
const LEVELDB: f64 = 1.0;
/// So many times as fast as rusty-leveldb is a get to be.
const RUSTY: f64 = 2.0;

/// One row of the table: the figures of each engine by round.
struct Figures {
    name: &'static str,
    title: &'static str,
    unit: Unit,
    rounds: BTreeMap<Kind, BTreeMap<usize, f64>>,
}

impl Figures {
    fn absolute(&self, kind: Kind) -> Option<f64> {
        let figures: Vec<f64> = self.rounds.get(&kind)?.values().copied().collect();
        Some(median(&figures))
    }

    /// How many times as fast (or as small) as `other`: the median of the ratios within each round.
    fn ratio(&self, kind: Kind, other: Kind) -> Option<f64> {
        let (own, other) = (self.rounds.get(&kind)?, self.rounds.get(&other)?);
        let ratios: Vec<f64> =
            own.iter().filter_map(|(round, figure)| Some(other.get(round)? / figure.max(f64::MIN_POSITIVE))).collect();
        (!ratios.is_empty()).then(|| median(&ratios))
    }
}

impl Serialize for Figures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Engine {
            median: Option<f64>,
            times_as_good_as_leveldb: Option<f64>,
            rounds: Vec<f64>,
        }
        let engines: BTreeMap<Kind, Engine> = self
            .rounds
            .iter()
            .map(|(kind, rounds)| {
                let engine = Engine {
                    median: self.absolute(*kind),
                    times_as_good_as_leveldb: self.ratio(*kind, Kind::Leveldb),
                    rounds: rounds.values().copied().collect(),
                };
                (*kind, engine)
            })
            .collect();
        let mut row = serializer.serialize_struct("Figures", 4)?;
        row.serialize_field("name", self.name)?;
        row.serialize_field("title", self.title)?;
        row.serialize_field("unit", self.unit.name())?;
        row.serialize_field("engines", &engines)?;
        row.end()
    }
}

/// Something that is to hold.
#[derive(Serialize)]
struct Target {
    name: String,
    /// The worst row's ratio.
    figure: f64,
    at_least: f64,
    met: bool,
    /// Rows that miss it.
    missed_by: Vec<String>,
}

/// All figures of one run.
#[derive(Serialize)]
pub struct Report {
    kinds: Vec<Kind>,
    extent: Extent,
    setting: Setting,
    /// Runnable tasks per core before and after the run.
    busy: [f64; 2],
    rows: Vec<Figures>,
    targets: Vec<Target>,
}

impl Report {
    pub fn new(kinds: &[Kind], extent: Extent, setting: Setting, busy: f64) -> Self {
        Self { kinds: kinds.to_vec(), extent, setting, busy: [busy, busy], rows: Vec::new(), targets: Vec::new() }
    }

    pub fn add(&mut self, row: &Row, kind: Kind, round: usize, outcome: Outcome) {
        self.note(row.name, row.title, row.unit, kind, round, outcome.figure);
        if let (Some((name, title)), Some(slowest)) = (row.slowest, outcome.slowest) {
            self.note(name, title, row.unit, kind, round, slowest);
        }
    }

    fn note(&mut self, name: &'static str, title: &'static str, unit: Unit, kind: Kind, round: usize, figure: f64) {
        let place = match self.rows.iter().position(|row| row.name == name) {
            Some(place) => place,
            None => {
                self.rows.push(Figures { name, title, unit, rounds: BTreeMap::new() });
                self.rows.len() - 1
            }
        };
        self.rows[place].rounds.entry(kind).or_default().insert(round, figure);
    }

    /// Judges, when all is measured.
    pub fn finish(&mut self, busy: f64) {
        self.busy[1] = busy;
        let every_row = |_: &Figures| true;
        self.target("every row, times as good as C++ LevelDB", Kind::Leveldb, LEVELDB, every_row);
        self.target("get, times as fast as rusty-leveldb", Kind::Rusty, RUSTY, |row| row.name.starts_with("get"));
    }

    fn target(&mut self, name: &str, other: Kind, at_least: f64, rows: impl Fn(&Figures) -> bool) {
        let ratios: Vec<(&str, f64)> = self
            .rows
            .iter()
            .filter(|row| rows(row))
            .filter_map(|row| Some((row.name, row.ratio(Kind::Rave, other)?)))
            .collect();
        let Some(figure) = ratios.iter().map(|(_, ratio)| *ratio).min_by(f64::total_cmp) else { return };
        let missed = ratios.iter().filter(|(_, ratio)| *ratio < at_least);
        let missed_by: Vec<String> = missed.map(|(name, ratio)| format!("{name} {ratio:.2}")).collect();
        self.targets.push(Target { name: name.into(), figure, at_least, met: missed_by.is_empty(), missed_by });
    }
}

fn heading(kind: Kind) -> &'static str {
    match kind {
        Kind::Leveldb => "C++ LevelDB",
        Kind::Rave => "rave",
        Kind::Rusty => "rusty-leveldb",
        Kind::Sled => "sled 0.34",
        Kind::Fjall => "fjall",
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(std::iter::once("").chain(self.kinds.iter().map(|kind| heading(*kind))));
        for row in &self.rows {
            let cells = self.kinds.iter().map(|kind| match (row.absolute(*kind), row.ratio(*kind, Kind::Leveldb)) {
                (None, _) => "-".to_owned(),
                (Some(figure), Some(ratio)) if *kind != Kind::Leveldb => {
                    format!("{} ({ratio:.2}×)", row.unit.show(figure))
                }
                (Some(figure), _) => row.unit.show(figure),
            });
            table.add_row(std::iter::once(row.title.to_owned()).chain(cells));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(f, "{table}")?;
        let Setting { write_buffer_bytes, cache_bytes, large_cache_bytes, small_cache_bytes, bloom_bits } =
            self.setting;
        let mebibytes = |bytes: usize| bytes >> 20;
        writeln!(
            f,
            "\n(2.00×): twice as fast as C++ LevelDB, or half as large. Medians of {} rounds. Keys of 16 bytes, values of \
             100 that compress to half; {} entries, a tenth of them in `space`.\nWrite buffer {} MiB, cache {} MiB ({} \
             MiB to get from cache, {} MiB to get from files), bloom filters of {bloom_bits} bits per key, Snappy; \
             sled has neither filters nor such a buffer, fjall compresses with LZ4. rusty-leveldb never syncs, and \
             acknowledges puts that are still in the process. The LevelDB kinds read the same files.",
            self.extent.rounds,
            self.extent.entries,
            mebibytes(write_buffer_bytes),
            mebibytes(cache_bytes),
            mebibytes(large_cache_bytes),
            mebibytes(small_cache_bytes),
        )?;
        for Target { name, figure, at_least, met, missed_by } in &self.targets {
            let verdict = if *met { "met".to_owned() } else { format!("MISSED by {}", missed_by.join(", ")) };
            writeln!(f, "{name}: at worst {figure:.2} (target: at least {at_least}): {verdict}")?;
        }
        let [before, after] = self.busy;
        writeln!(f, "Runnable tasks per core before and after: {before:.1} and {after:.1}; this run's own included.")
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{QUICK, ROWS, SETTING},
        *,
    };

    fn report(rave: [f64; 3]) -> Report {
        let mut report = Report::new(&[Kind::Leveldb, Kind::Rave], QUICK, SETTING, 0.0);
        let row = ROWS.iter().find(|row| row.name == "scan").unwrap();
        // The second round is disturbed: both take ten times as long.
        for (round, (leveldb, rave)) in [20.0, 200.0, 20.0].into_iter().zip(rave).enumerate() {
            report.add(row, Kind::Leveldb, round, Outcome { figure: leveldb, slowest: None });
            report.add(row, Kind::Rave, round, Outcome { figure: rave, slowest: None });
        }
        report.finish(0.0);
        report
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let text = report([10.0, 100.0, 10.0]).to_string();
        assert!(text.contains("10 ns (2.00×)") && text.contains("): met"), "{text}");
    }

    #[test]
    fn a_slower_row_is_named() {
        let text = report([25.0, 250.0, 25.0]).to_string();
        assert!(text.contains("(0.80×)") && text.contains("MISSED by scan 0.80"), "{text}");
    }
}
