//! What came of a run: as text, as JSON, as a plot.

use crate::{
    check::{Count, Docket, Violation},
    clock::Nanos,
    conduct::{Board, Faults, Tally},
    plot,
};
use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use std::{collections::BTreeMap, fmt, fs, path::Path, time::Duration};

/// So many violations are told as text: most have the same cause.
const SHOWN: usize = 20;

/// How long nobody was served, in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Distribution {
    pub count: usize,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub max: f64,
    /// All of them, ascending.
    pub milliseconds: Vec<f64>,
}

impl Distribution {
    fn new(times: &mut [Nanos]) -> Self {
        times.sort_unstable();
        let milliseconds: Vec<_> = times.iter().map(|nanos| *nanos as f64 / 1e6).collect();
        // The time within which this share of the failovers was over.
        let within = |share: f64| {
            let rank = (milliseconds.len() as f64 * share).ceil() as usize;
            milliseconds.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
        };
        let (p50, p90, p99, max) = (within(0.5), within(0.9), within(0.99), within(1.0));
        Self { count: milliseconds.len(), p50, p90, p99, max, milliseconds }
    }
}

#[derive(Debug, Serialize)]
pub struct Report {
    seed: u64,
    seconds: f64,
    interrupted: bool,
    /// Why no disk was filled.
    no_disk: Option<String>,
    operations: BTreeMap<&'static str, Count>,
    acknowledged_writes: u64,
    kills: u64,
    faults: Tally,
    promotions: u64,
    generations: u64,
    /// From the kill of a leader to the first operation that began after it and was acknowledged.
    failovers: Distribution,
    /// The same from the moment a leader was told to leave.
    handovers: Distribution,
    failures: BTreeMap<String, u64>,
    notes: BTreeMap<String, u64>,
    /// Keys whose histories were too long to decide.
    undecided: u64,
    violations: Vec<Violation>,
}

impl Report {
    pub fn new(
        seed: u64,
        took: Duration,
        interrupted: bool,
        no_disk: Option<&str>,
        faults: &Faults<'_>,
        board: &mut Board,
        docket: &Docket,
    ) -> Self {
        Self {
            seed,
            seconds: took.as_secs_f64(),
            interrupted,
            no_disk: no_disk.map(str::to_owned),
            operations: docket.counts.clone(),
            acknowledged_writes: docket.acknowledged_writes,
            kills: faults.kills,
            faults: faults.tally.clone(),
            promotions: board.promotions,
            generations: docket.generations,
            failovers: Distribution::new(&mut board.failovers),
            handovers: Distribution::new(&mut board.handovers),
            failures: docket.failures.clone(),
            notes: docket.notes.clone(),
            undecided: docket.undecided,
            violations: docket.violations.clone(),
        }
    }

    /// Whether nothing is wrong, and everything was looked at.
    pub fn passed(&self) -> bool {
        self.violations.is_empty() && self.undecided == 0 && !self.interrupted && self.generations > 0
    }

    /// Writes it in all forms.
    pub fn write_to(&self, folder: &Path) -> Result<()> {
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| path.display().to_string())
        };
        write("report.txt", self.to_string())?;
        write("report.json", serde_json::to_string_pretty(self)? + "\n")?;
        write("failovers.svg", plot::distribution(&self.failovers.milliseconds)?)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(["operation", "done", "condition failed", "effect unknown", "failed", "cut by a kill"]);
        for (name, count) in &self.operations {
            let Count { done, refused, unknown, failed, cut } = count;
            table.add_row(
                [name.to_string()].into_iter().chain([done, refused, unknown, failed, cut].map(u64::to_string)),
            );
        }
        table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
        writeln!(f, "{table}\n")?;
        let mut times = Table::new();
        times.load_style(presets::ASCII_MARKDOWN);
        times.set_header(["milliseconds without service", "number", "p50", "p90", "p99", "max"]);
        for (name, times_of) in
            [("failovers, leader killed", &self.failovers), ("handovers, leader left", &self.handovers)]
        {
            let Distribution { count, p50, p90, p99, max, .. } = times_of;
            let figures = [p50, p90, p99, max].map(|figure| match figure.is_nan() {
                true => "-".to_owned(),
                false => format!("{figure:.1}"),
            });
            times.add_row([name.to_owned(), count.to_string()].into_iter().chain(figures));
        }
        times.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
        writeln!(f, "{times}\n")?;
        writeln!(f, "seed {}, {:.1} s of faults", self.seed, self.seconds)?;
        writeln!(
            f,
            "{} writes acknowledged, {} kills, {} leaders",
            self.acknowledged_writes, self.kills, self.promotions
        )?;
        for (name, count) in &self.faults {
            writeln!(f, "  {count} {name}")?;
        }
        if let Some(reason) = &self.no_disk {
            writeln!(f, "  no full disks: {reason}")?;
        }
        for (name, counts) in [("errors", &self.failures), ("notes", &self.notes)] {
            for (text, count) in counts {
                writeln!(f, "{name}: {count} × {text}")?;
            }
        }
        for violation in self.violations.iter().take(SHOWN) {
            writeln!(f, "\n{violation}")?;
        }
        if let Some(more) = self.violations.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            writeln!(f, "\n… and {more} more, which the JSON has")?;
        }
        let undecided = match self.undecided {
            0 => String::new(),
            keys => format!(", {keys} keys UNDECIDED"),
        };
        let interrupted = if self.interrupted { ", INTERRUPTED" } else { "" };
        write!(
            f,
            "{} generations of keys checked: {} violations{undecided}{interrupted}",
            self.generations,
            self.violations.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_a_distribution() {
        let mut times: Vec<Nanos> = (1..=100).rev().map(|time| time * 1_000_000).collect();
        let all = Distribution::new(&mut times);
        assert_eq!((all.p50, all.p90, all.p99, all.max), (50.0, 90.0, 99.0, 100.0));
        assert!(Distribution::new(&mut []).p50.is_nan());
    }
}
