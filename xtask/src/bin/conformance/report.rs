//! What came of all cases, as a table for people and as JSON for programs.

use crate::runner::{Cell, Done};
use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets};
use rave_level::conformance::Outcome;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt, time::Duration};

/// A run of the suite.
pub struct Report {
    pub cells: Vec<Cell>,
    pub elapsed: Duration,
}

fn is_refused(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Refused { .. })
}

fn is_known(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::KnownToFail { .. })
}

/// Whatever is not good is bad, also an outcome that comes to exist later.
fn is_bad(outcome: &Outcome) -> bool {
    !(*outcome == Outcome::Passed || is_refused(outcome) || is_known(outcome))
}

/// The counts of a cell, in words: `99 passed, 7 refused, 1.2 s`.
pub fn counts(cell: &Cell) -> String {
    let passed = cell.count(|outcome| *outcome == Outcome::Passed);
    let mut text = format!("{passed} passed");
    for (count, what) in
        [(cell.count(is_refused), "refused"), (cell.count(is_known), "known to fail"), (cell.count(is_bad), "FAILED")]
    {
        if count > 0 {
            text += &format!(", {count} {what}");
        }
    }
    format!("{text}, {:.1} s", cell.took().as_secs_f64())
}

impl Report {
    /// Whether nothing failed and nothing hung.
    pub fn is_good(&self) -> bool {
        self.bad().next().is_none()
    }

    /// The names in the order of their first appearance.
    fn names(&self, of: impl Fn(&Cell) -> &String) -> Vec<&String> {
        let mut names = Vec::new();
        for name in self.cells.iter().map(of) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    fn table(&self) -> Table {
        let stores = self.names(|cell| &cell.store);
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header([&String::new()].into_iter().chain(stores.iter().copied()));
        for view in self.names(|cell| &cell.view) {
            let in_row = |store: &String| self.cells.iter().find(|cell| cell.view == *view && cell.store == *store);
            // Every pair is there: what a run leaves out, it leaves out as a whole row or column.
            let row = stores
                .iter()
                .map(|store| in_row(store).map_or_else(String::new, |cell| counts(cell).replace(", ", "\n")));
            table.add_row([view.clone()].into_iter().chain(row));
        }
        table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
        table
    }

    fn bad(&self) -> impl Iterator<Item = &Done> {
        self.cells.iter().flat_map(|cell| &cell.results).filter(|done| is_bad(&done.outcome))
    }

    /// For each store what its views refuse, with the number of cases; views that refuse the same are told together.
    fn refusals(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut views: BTreeMap<(&str, String), Vec<&str>> = BTreeMap::new();
        for cell in &self.cells {
            let mut cases: BTreeMap<&str, usize> = BTreeMap::new();
            for done in &cell.results {
                if let Outcome::Refused { capabilities } = &done.outcome {
                    capabilities.iter().for_each(|capability| *cases.entry(capability).or_default() += 1);
                }
            }
            if !cases.is_empty() {
                let told: Vec<_> = cases.iter().map(|(capability, count)| format!("{capability} in {count}")).collect();
                views.entry((&cell.store, told.join(", "))).or_default().push(&cell.view);
            }
        }
        if !views.is_empty() {
            writeln!(f, "\nrefused, as the manifest declares it; by number of cases:")?;
        }
        let all = self.names(|cell| &cell.view).len();
        for ((store, told), views) in views {
            let views = if views.len() == all { "every view".to_owned() } else { views.join(", ") };
            writeln!(f, "  {store}: {told} ({views})")?;
        }
        Ok(())
    }

    fn known_failures(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut known: BTreeMap<(String, &str), Vec<String>> = BTreeMap::new();
        for cell in &self.cells {
            for done in &cell.results {
                if let Outcome::KnownToFail { reason, .. } = &done.outcome {
                    known.entry((done.case.to_string(), reason)).or_default().push(cell.to_string());
                }
            }
        }
        if !known.is_empty() {
            writeln!(f, "\nknown to fail:")?;
        }
        for ((case, reason), cells) in known {
            writeln!(f, "  {case}: {reason} ({})", cells.join(", "))?;
        }
        Ok(())
    }

    /// All of it, case by case.
    pub fn json(&self) -> Result<String> {
        let cells: Vec<Value> = self
            .cells
            .iter()
            .map(|cell| {
                let cases: Vec<Value> = cell.results.iter().map(case).collect();
                json!({
                    "store": cell.store, "view": cell.view, "seconds": cell.took().as_secs_f64(),
                    "passed": cell.count(|outcome| *outcome == Outcome::Passed), "refused": cell.count(is_refused),
                    "known_to_fail": cell.count(is_known), "failed": cell.count(is_bad), "cases": cases,
                })
            })
            .collect();
        let whole = json!({ "seconds": self.elapsed.as_secs_f64(), "good": self.is_good(), "cells": cells });
        Ok(serde_json::to_string_pretty(&whole)? + "\n")
    }
}

fn case(done: &Done) -> Value {
    let (outcome, more) = match &done.outcome {
        Outcome::Passed => ("passed", Value::Null),
        Outcome::Refused { capabilities } => ("refused", json!(capabilities)),
        Outcome::KnownToFail { reason, .. } => ("known to fail", json!(reason)),
        Outcome::Hung => ("hung", Value::Null),
        _ => ("failed", json!(message(done))),
    };
    json!({
        "case": done.case.to_string(), "seconds": done.took.as_secs_f64(), "outcome": outcome, "what": more,
    })
}

/// Where a whole cell fails, this many of its cases tell why.
const TOLD: usize = 10;
/// So much of a line is shown; all of it is in the JSON.
const WIDTH: usize = 500;

fn failures(cell: &Cell, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let bad: Vec<_> = cell.results.iter().filter(|done| is_bad(&done.outcome)).collect();
    for done in bad.iter().take(TOLD) {
        writeln!(f, "\nFAILED: {cell}, {}", done.case)?;
        for line in message(done).lines() {
            let shown: String = line.chars().take(WIDTH).collect();
            writeln!(f, "  {shown}{}", if shown.len() < line.len() { " …" } else { "" })?;
        }
        let Cell { store, view, .. } = cell;
        writeln!(f, "  again: cargo xtask conformance --store {store} --view {view} --case {}", done.case)?;
    }
    if let Some(more) = bad.get(TOLD..).filter(|more| !more.is_empty()) {
        let names: Vec<_> = more.iter().map(|done| done.case.to_string()).collect();
        writeln!(f, "\nFAILED: {cell}, and {} more: {}", more.len(), names.join(", "))?;
    }
    Ok(())
}

/// What is known of a failure.
fn message(done: &Done) -> String {
    let mut parts = done.panics.clone();
    match &done.outcome {
        Outcome::Hung => parts.push(format!("did not end within {:.0?}, and still runs", done.took)),
        Outcome::Failed { message } if parts.is_empty() => parts.push(message.clone()),
        _ => {}
    }
    parts.join("\n")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.table())?;
        self.refusals(f)?;
        self.known_failures(f)?;
        self.cells.iter().try_for_each(|cell| failures(cell, f))?;
        let cases: usize = self.cells.iter().map(|cell| cell.results.len()).sum();
        let (cells, failed) = (self.cells.len(), self.bad().count());
        let seconds = self.elapsed.as_secs_f64();
        writeln!(f, "\n{cells} cells, {cases} cases, {failed} failed, in {seconds:.0} s")
    }
}
