//! The figures, as a table for people and as JSON for programs.

use super::peer::Mix;
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

const HEADER: [&str; 9] =
    ["", "Rust", "JavaScript", "×", "JS on Rust", "×", "Rust on JS", "×", "slower than JavaScript"];
const LEGEND: &str =
    "×: times as fast as JavaScript. JS on Rust: JavaScript guests, Rust leader. Rust on JS: the reverse.";

/// What people read for a mix.
fn title(mix: Mix) -> &'static str {
    match mix {
        Mix::Rust => "Rust",
        Mix::JavaScript => "JavaScript",
        Mix::JavaScriptOnRust => "JS on Rust",
        Mix::RustOnJavaScript => "Rust on JS",
    }
}

/// The names in JSON of a figure and of its ratio.
fn fields(mix: Mix) -> (&'static str, Option<&'static str>) {
    match mix {
        Mix::Rust => ("rust", Some("times_as_fast")),
        Mix::JavaScript => ("javascript", None),
        Mix::JavaScriptOnRust => ("javascript_guests_on_rust", Some("javascript_guests_on_rust_times_as_fast")),
        Mix::RustOnJavaScript => ("rust_guests_on_javascript", Some("rust_guests_on_javascript_times_as_fast")),
    }
}

/// One row: nanoseconds of each mix that took part.
pub struct Figure {
    pub name: String,
    pub unit: Unit,
    pub nanos: Vec<(Mix, f64)>,
}

impl Figure {
    pub fn of(&self, mix: Mix) -> Option<f64> {
        self.nanos.iter().find(|(of, _)| *of == mix).map(|(_, nanos)| *nanos)
    }

    /// How many times as fast as JavaScript among itself.
    fn ratio(&self, mix: Mix) -> Option<f64> {
        Some(self.of(Mix::JavaScript)? / self.of(mix)?)
    }

    fn slower(&self, mix: Mix) -> bool {
        self.ratio(mix).is_some_and(|ratio| ratio < 1.0)
    }

    /// Its row, in the order of `HEADER`.
    fn cells(&self) -> [String; 9] {
        let show = |mix| self.of(mix).map_or_else(|| "-".into(), |nanos| self.unit.show(nanos));
        let ratio = |mix| self.ratio(mix).map_or_else(|| "-".into(), |ratio| format!("{ratio:.2}"));
        let slower: Vec<_> = Mix::ALL.into_iter().filter(|mix| self.slower(*mix)).map(title).collect();
        [
            self.name.clone(),
            show(Mix::Rust),
            show(Mix::JavaScript),
            ratio(Mix::Rust),
            show(Mix::JavaScriptOnRust),
            ratio(Mix::JavaScriptOnRust),
            show(Mix::RustOnJavaScript),
            ratio(Mix::RustOnJavaScript),
            slower.join(", "),
        ]
    }
}

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut row = serializer.serialize_struct("Figure", 10)?;
        row.serialize_field("name", &self.name)?;
        row.serialize_field("unit", self.unit.name())?;
        for mix in Mix::ALL {
            let (nanos, ratio) = fields(mix);
            row.serialize_field(nanos, &self.of(mix))?;
            if let Some(ratio) = ratio {
                row.serialize_field(ratio, &self.ratio(mix))?;
            }
        }
        row.serialize_field("slower", &self.slower(Mix::Rust))?;
        row.end()
    }
}

/// A guest's puts, 64 in flight, may take so many times as long with sessions as without.
const SESSIONS: f64 = 1.0 / 0.85;

/// What sessions cost a guest's writes.
#[derive(Serialize)]
struct Sessions {
    name: &'static str,
    /// Nanoseconds for one operation.
    with: f64,
    without: f64,
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
    sessions: Vec<Sessions>,
    targets: Vec<Target>,
}

impl Report {
    pub fn new(quick: bool, busy: f64) -> Self {
        Self { quick, busy, echo: None, figures: Vec::new(), sessions: Vec::new(), targets: Vec::new() }
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

    /// What a guest's writes took with and without sessions; the ratio has a bound if it is `bounded`.
    pub fn sessions(&mut self, name: &'static str, with: f64, without: f64, bounded: bool) {
        self.sessions.push(Sessions { name, with, without });
        if bounded {
            self.target("a guest's puts, 64 in flight, with sessions by those without", with / without, SESSIONS);
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
        table.set_header(HEADER);
        table.add_rows(self.figures.iter().map(Figure::cells));
        if let Some(echo) = self.echo {
            let name = "bare socket echo, 100 bytes, one at a time".to_string();
            table.add_row([name, Unit::Latency.show(echo)]);
        }
        for column in table.column_iter_mut().skip(1).take(HEADER.len() - 2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(f, "{table}\n{LEGEND}")?;
        for Sessions { name, with, without } in &self.sessions {
            let (kept, with, without) = (without / with, Unit::Latency.show(*with), Unit::Latency.show(*without));
            writeln!(f, "sessions, guest: {name}: {with}, without them {without}: {kept:.2} of the speed")?;
        }
        for Target { name, figure, at_most, met } in &self.targets {
            let verdict = if *met { "met" } else { "MISSED" };
            writeln!(f, "{name}: {figure:.2} (target: at most {at_most:.2}): {verdict}")?;
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
        let rate = |rust, javascript, rust_on_javascript| Figure {
            name: "x".into(),
            unit: Unit::Rate,
            nanos: vec![(Mix::Rust, rust), (Mix::JavaScript, javascript), (Mix::RustOnJavaScript, rust_on_javascript)],
        };
        assert_eq!(
            rate(1e4, 2e4, 4e4).cells(),
            ["x", "100 k/s", "50 k/s", "2.00", "-", "-", "25 k/s", "0.50", "Rust on JS"]
        );
        report.add(rate(2e4, 1e4, 4e4));
        report.floor(10.0, Some(26.0));
        let text = report.to_string();
        assert!(text.contains("Rust, Rust on JS") && text.contains("MISSED"), "{text}");
    }
}
