//! The figures, as a table for people and as JSON for programs.

use comfy_table::{CellAlignment, Table, presets};
use serde::{Serialize, Serializer, ser::SerializeStruct};
use std::fmt;

/// A guest's get may cost so many times a bare echo.
const MOST_ECHOES: f64 = 2.5;
/// Eight guests are to be served again in so many nanoseconds.
const EIGHT_GUESTS: f64 = 20e6;

#[derive(Clone, Copy)]
pub enum Unit {
    /// Told as microseconds for one operation.
    Latency,
    /// Told as operations in a second.
    Rate,
    /// Told as milliseconds.
    Failover,
}

impl Unit {
    fn show(self, nanos: f64) -> String {
        match self {
            Self::Latency => format!("{:.1} µs", nanos / 1e3),
            Self::Rate => format!("{:.0} k/s", 1e6 / nanos),
            Self::Failover => format!("{:.1} ms", nanos / 1e6),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Latency | Self::Rate => "nanoseconds for one operation",
            Self::Failover => "nanoseconds from the kill",
        }
    }
}

/// One row: nanoseconds of both, where they took part.
pub struct Figure {
    pub name: String,
    pub unit: Unit,
    pub rust: Option<f64>,
    pub javascript: Option<f64>,
}

impl Figure {
    /// How many times as fast as JavaScript.
    fn ratio(&self) -> Option<f64> {
        Some(self.javascript? / self.rust?)
    }

    fn slower(&self) -> bool {
        self.ratio().is_some_and(|ratio| ratio < 1.0)
    }
}

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut row = serializer.serialize_struct("Figure", 6)?;
        row.serialize_field("name", &self.name)?;
        row.serialize_field("unit", self.unit.name())?;
        row.serialize_field("rust", &self.rust)?;
        row.serialize_field("javascript", &self.javascript)?;
        row.serialize_field("times_as_fast", &self.ratio())?;
        row.serialize_field("slower", &self.slower())?;
        row.end()
    }
}

/// Something that is to hold.
#[derive(Serialize)]
struct Target {
    name: &'static str,
    figure: f64,
    at_most: f64,
    met: bool,
}

/// All figures of one run.
#[derive(Serialize)]
pub struct Report {
    quick: bool,
    /// Runnable tasks per core before the run.
    busy: f64,
    echo: Option<f64>,
    figures: Vec<Figure>,
    targets: Vec<Target>,
}

impl Report {
    pub fn new(quick: bool, busy: f64) -> Self {
        Self { quick, busy, echo: None, figures: Vec::new(), targets: Vec::new() }
    }

    pub fn add(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// What a bare echo cost, and a guest's get at the same time.
    pub fn floor(&mut self, echo: f64, get: Option<f64>) {
        self.echo = Some(echo);
        if let Some(get) = get {
            self.target("a guest's get, in bare echoes", get / echo, MOST_ECHOES);
        }
    }

    /// What eight guests waited.
    pub fn eight_guests(&mut self, time: Option<f64>) {
        if let Some(time) = time {
            self.target("eight guests served again, in ms", time / 1e6, EIGHT_GUESTS / 1e6);
        }
    }

    fn target(&mut self, name: &'static str, figure: f64, at_most: f64) {
        self.targets.push(Target { name, figure, at_most, met: figure <= at_most });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(["", "Rust", "JavaScript", "times as fast", ""]);
        for figure in &self.figures {
            let show = |nanos: Option<f64>| nanos.map_or_else(|| "-".into(), |nanos| figure.unit.show(nanos));
            table.add_row([
                figure.name.clone(),
                show(figure.rust),
                show(figure.javascript),
                figure.ratio().map_or_else(|| "-".into(), |ratio| format!("{ratio:.2}")),
                if figure.slower() { "slower".into() } else { String::new() },
            ]);
        }
        if let Some(echo) = self.echo {
            let name = "bare socket echo, 100 bytes, one at a time".to_string();
            table.add_row([name, Unit::Latency.show(echo), "-".into(), "-".into(), String::new()]);
        }
        for column in table.column_iter_mut().skip(1).take(3) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(f, "{table}")?;
        for Target { name, figure, at_most, met } in &self.targets {
            let verdict = if *met { "met" } else { "MISSED" };
            writeln!(f, "{name}: {figure:.2} (target: at most {at_most}): {verdict}")?;
        }
        Ok(())
    }
}

/// The middle of some figures; not a number of none.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[middle],
        _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn slower_rows_say_so() {
        let mut report = Report::new(true, 0.0);
        let rate = |rust, javascript| Figure {
            name: "x".into(),
            unit: Unit::Rate,
            rust: Some(rust),
            javascript: Some(javascript),
        };
        report.add(rate(10.0, 20.0));
        assert!(!report.to_string().contains("slower"));
        report.add(rate(20.0, 10.0));
        report.floor(10.0, Some(26.0));
        let text = report.to_string();
        assert!(text.contains("slower") && text.contains("MISSED"), "{text}");
    }
}
