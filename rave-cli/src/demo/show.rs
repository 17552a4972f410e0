//! What people see of a demo: lines that change on a terminal, plain lines elsewhere, and the table at the end.

use super::{
    Outcome,
    troop::{Killed, Troop},
};
use comfy_table::{Table, presets};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

/// How often a plain line tells how things stand.
const PLAIN_EVERY: Duration = Duration::from_secs(1);

/// What people see while the demo runs.
pub struct Show {
    live: Option<Live>,
    begun: Instant,
    last: (Instant, u64),
}

struct Live {
    area: MultiProgress,
    now: ProgressBar,
    kills: ProgressBar,
}

impl Show {
    /// Nothing happened yet.
    pub fn new(kills: u32) -> Self {
        let live = std::io::stderr().is_terminal().then(|| {
            let area = MultiProgress::new();
            let style =
                |template| ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
            let now = area.add(ProgressBar::new_spinner().with_style(style("{spinner} {msg}")));
            let kills = area.add(ProgressBar::new(u64::from(kills)).with_style(style("{bar:40} {pos}/{len} kills")));
            Live { area, now, kills }
        });
        Self { live, begun: Instant::now(), last: (Instant::now(), 0) }
    }

    /// How things stand now.
    pub fn renew(&mut self, troop: &Troop) {
        let every = if self.live.is_some() { PLAIN_EVERY / 4 } else { PLAIN_EVERY };
        let (then, before) = self.last;
        let passed = then.elapsed();
        if passed < every {
            return;
        }
        let acknowledged = troop.acknowledged();
        let rate = acknowledged.saturating_sub(before) as f64 / passed.as_secs_f64();
        self.last = (Instant::now(), acknowledged);
        let leader = match troop.leader() {
            Some((number, pid)) => format!("process {number} (pid {pid}) leads"),
            None => "nobody leads".to_owned(),
        };
        self.note(&format!(
            "{leader}, {} processes, {rate:.0} writes/s, {acknowledged} acknowledged, counter at least {}",
            troop.len(),
            troop.increments()
        ));
    }

    /// Tells a failover.
    pub fn failover(&mut self, kill: u32, killed: &Killed, leader: Option<(u64, u32)>, first: Duration, all: Duration) {
        let successor = leader.map_or_else(|| "nobody yet".to_owned(), |(number, _)| format!("process {number}"));
        let text = format!(
            "kill {kill}: process {} was killed, {successor} leads; first write after {} ms, all served after {} ms",
            killed.number,
            milliseconds(first),
            milliseconds(all)
        );
        match &self.live {
            Some(live) => {
                live.kills.set_position(u64::from(kill));
                // A terminal that went away has nobody to tell.
                let _ = live.area.println(text);
            }
            None => self.plain(&text),
        }
    }

    /// Tells something.
    pub fn note(&self, text: &str) {
        match &self.live {
            Some(live) => {
                live.now.set_message(text.to_owned());
                live.now.tick();
            }
            None => self.plain(text),
        }
    }

    /// Clears what changes.
    pub fn end(&self) {
        if let Some(live) = &self.live {
            live.now.finish_and_clear();
            live.kills.finish_and_clear();
        }
    }

    fn plain(&self, text: &str) {
        super::println(&format!("{:5.1} s  {text}", self.begun.elapsed().as_secs_f64()));
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}

/// The value below which a share of the sorted `times` lies.
fn percentile(times: &[Duration], share: f64) -> Option<Duration> {
    let rank = (times.len() as f64 * share).ceil() as usize;
    times.get(rank.max(1) - 1).copied()
}

/// How many increments are in the counter that nobody was told of. If it is not exact, a complaint says so.
fn untold(outcome: &Outcome) -> String {
    outcome.counter.checked_sub(outcome.increments).map_or_else(|| "-".to_owned(), |count| count.to_string())
}

/// The result.
pub fn table(outcome: &mut Outcome) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.add_row(["writes acknowledged".to_owned(), outcome.acknowledged.to_string()]);
    table.add_row(["lost".to_owned(), outcome.lost.to_string()]);
    table.add_row(["increments of the shared counter acknowledged".to_owned(), outcome.increments.to_string()]);
    table.add_row(["applied, and the process died before it was told".to_owned(), untold(outcome)]);
    table.add_row(["shared counter".to_owned(), outcome.counter.to_string()]);
    table.add_row(["kills".to_owned(), outcome.kills.to_string()]);
    for (name, times) in [("failover, first served", &mut outcome.first), ("failover, all served", &mut outcome.all)] {
        times.sort();
        for (share, label) in [(0.5, "p50"), (0.99, "p99"), (1.0, "max")] {
            let text =
                percentile(times, share).map_or_else(|| "-".to_owned(), |time| format!("{} ms", milliseconds(time)));
            table.add_row([format!("{name}, {label}"), text]);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 0.5), Some(Duration::from_millis(50)));
        assert_eq!(percentile(&times, 0.99), Some(Duration::from_millis(99)));
        assert_eq!(percentile(&times, 1.0), Some(Duration::from_millis(100)));
        assert_eq!(percentile(&times[..1], 0.5), Some(Duration::from_millis(1)));
        assert_eq!(percentile(&[], 0.5), None);
    }
}
