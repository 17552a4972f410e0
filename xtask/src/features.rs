//! The features of the facade: each alone, all pairs, none and all of them build and pass their tests, and what belongs
//! to a feature is gone without it.

use crate::{
    command::{cargo, run},
    licences,
};
use anyhow::{Context, Result, bail};
use comfy_table::{CellAlignment, Table, presets};
use std::{collections::BTreeSet, time::Duration};

const FACADE: &str = "rave-level";

/// The crates that come with a feature, and each with the features that bring it. Those of a feature that has none here
/// are those that everybody needs.
const OWNED: &[(&str, &[&str])] = &[
    ("rave-leveldb", &["leveldb", "rusty"]),
    ("crossbeam-skiplist", &["leveldb", "rusty"]),
    ("snap", &["leveldb", "rusty"]),
    ("rusty-leveldb", &["rusty"]),
    ("rave-sled", &["sled"]),
    ("sled", &["sled"]),
    ("interprocess", &["ipc"]),
    ("subtle", &["tcp", "tls"]),
    ("rustls", &["tls"]),
    ("ring", &["tls"]),
    ("x509-cert", &["tls"]),
    ("serde", &["json"]),
    ("serde_json", &["json"]),
];

/// Those of the crates below, which the facade's features choose.
const BELOW: &[&str] = &["rave-core", "rave-leveldb", "rave-transport"];

/// What the tests beside the library do not depend on: they bring a store in memory and the suite themselves, and write no
/// JSON.
const APART: &[&str] = &["json", "memory", "testing"];

const LIMIT: Duration = Duration::from_secs(600);

pub fn check() -> Result<()> {
    let features = features_of(FACADE)?;
    dependencies(&features)?;
    for package in BELOW {
        for set in std::iter::once(String::new()).chain(features_of(package)?) {
            lint(package, &set)?;
        }
    }
    for set in few(&features).into_iter().chain(pairs(&features)) {
        lint(FACADE, &set.join(","))?;
    }
    // The tests have a store and a transport in memory at hand, whichever features they test. So one that compiles says
    // nothing of the library alone, and the other way round.
    let of_tests = |set: &[&str]| !set.iter().any(|feature| APART.contains(feature));
    for set in pairs(&features).into_iter().filter(|set| of_tests(set)) {
        println!("tests compile with {}", name(&set));
        execute(&["check", "--quiet"], FACADE, &set.join(","), &["--tests"])?;
    }
    for set in few(&features) {
        println!("tests with {}", name(&set));
        let tests: &[&str] = if of_tests(&set) || set.len() > 1 { &["--lib", "--tests"] } else { &["--lib"] };
        execute(&["test", "--quiet"], FACADE, &set.join(","), tests)?;
    }
    Ok(())
}

/// No features, each alone, and all.
fn few(features: &[String]) -> Vec<Vec<&str>> {
    let alone = features.iter().map(|feature| vec![&**feature]);
    [vec![]].into_iter().chain(alone).chain([features.iter().map(|feature| &**feature).collect()]).collect()
}

fn pairs(features: &[String]) -> Vec<Vec<&str>> {
    let behind = |at: usize| features.get(at + 1..).unwrap_or_default();
    let of = features.iter().enumerate();
    of.flat_map(|(at, one)| behind(at).iter().map(move |other| vec![&**one, &**other])).collect()
}

fn name(set: &[&str]) -> String {
    if set.is_empty() { "no feature".to_owned() } else { set.join(", ") }
}

fn lint(package: &str, features: &str) -> Result<()> {
    println!("clippy of {package} with {features:?}");
    execute(&["clippy", "--quiet"], package, features, &["--lib", "--", "-D", "warnings"])
}

fn execute(verb: &[&str], package: &str, features: &str, rest: &[&str]) -> Result<()> {
    let chosen = ["--package", package, "--no-default-features", "--features", features];
    run(cargo(verb).args(chosen).args(rest), LIMIT)
}

/// All but `default`.
fn features_of(package: &str) -> Result<Vec<String>> {
    let found = licences::metadata()?.packages.into_iter().find(|found| found.name == package);
    let features = found.with_context(|| format!("no package {package}"))?.features;
    Ok(features.into_keys().filter(|feature| feature != "default").collect())
}

/// What belongs to a feature is there with it and gone without it, for each of them and for pairs; prints how many
/// packages each brings.
fn dependencies(features: &[String]) -> Result<()> {
    let mut faults = unknown(features, OWNED);
    let none = packages(&[])?;
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(["features", "packages", "more", "among them"]);
    for set in few(features).into_iter().chain(pairs(features)) {
        let there = packages(&set)?;
        faults.extend(misplaced(&set, &there, &none, OWNED));
        if set.len() != 2 {
            let owned = OWNED.iter().map(|(package, _)| *package).filter(|package| there.contains(*package));
            let among: Vec<_> = owned.collect();
            let shown = if set.len() > 2 { "all".to_owned() } else { name(&set) };
            let more = there.len().saturating_sub(none.len());
            table.add_row([shown, there.len().to_string(), more.to_string(), among.join(", ")]);
        }
    }
    for column in table.column_iter_mut().skip(1).take(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("what the facade depends on, itself included:\n{table}");
    if !faults.is_empty() {
        bail!("dependencies of features:\n  {}", faults.join("\n  "));
    }
    Ok(())
}

/// The names of all packages that the facade is built from.
fn packages(features: &[&str]) -> Result<BTreeSet<String>> {
    let tree = ["tree", "--package", FACADE, "--edges", "normal", "--prefix", "none", "--format", "{p}"];
    let output = cargo(&tree)
        .args(["--no-default-features", "--features", &features.join(",")])
        .output()
        .context("cargo tree")?;
    if !output.status.success() {
        bail!("cargo tree: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8(output.stdout).context("cargo tree")?;
    // Lines are such as `bytes v1.12.1 (*)`.
    Ok(text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}

type Owned<'a> = [(&'a str, &'a [&'a str])];

/// Features that this file speaks of and that are not there.
fn unknown(features: &[String], owned: &Owned<'_>) -> Vec<String> {
    let named = owned.iter().flat_map(|(_, features)| features.iter());
    let missing: BTreeSet<_> = named.filter(|named| !features.iter().any(|feature| feature == **named)).collect();
    missing.into_iter().map(|feature| format!("there is no feature {feature}: tell xtask/src/features.rs")).collect()
}

/// What `there`, the packages with the features `set`, has too much or too little.
fn misplaced(set: &[&str], there: &BTreeSet<String>, none: &BTreeSet<String>, owned: &Owned<'_>) -> Vec<String> {
    let mut faults = Vec::new();
    for (package, features) in owned {
        let wanted = features.iter().any(|feature| set.contains(feature));
        if wanted != there.contains(*package) {
            let is = if wanted { "is missing" } else { "must not be there" };
            faults.push(format!("with {}, {package} {is}", name(set)));
        }
    }
    let brings = owned.iter().any(|(_, features)| features.iter().any(|feature| set.contains(feature)));
    if !brings && there != none {
        let more: Vec<_> = there.difference(none).map(String::as_str).collect();
        faults.push(format!("with {}, nothing more is expected, and there is {}", name(set), more.join(", ")));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_crate_that_comes_without_its_feature_is_found() {
        let owned: &Owned<'_> = &[("engine", &["store", "other"])];
        let none = set(&["core"]);
        let of = |features: &[&str], there: &[&str]| misplaced(features, &set(there), &none, owned);
        assert!(of(&[], &["core"]).is_empty());
        assert!(of(&["store"], &["core", "engine", "more"]).is_empty());
        assert!(of(&["plain"], &["core"]).is_empty());
        assert_eq!(of(&["store"], &["core"]), ["with store, engine is missing"]);
        assert!(of(&["plain"], &["core", "engine"])[0].contains("engine must not be there"));
        assert!(of(&["plain"], &["core", "x"])[0].contains("there is x"));
        assert_eq!(unknown(&["store".to_owned()], owned).len(), 1);
    }

    #[test]
    fn pairs_are_complete() {
        let features = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(pairs(&features), [["a", "b"], ["a", "c"], ["b", "c"]]);
        assert_eq!(few(&features).len(), 5);
    }
}
