//! Dependencies are held to `deny.toml`: their licences, names and sources.
//!
//! The file is cargo-deny's. Reading its plainest part here makes the check part of every run, without a tool that takes
//! minutes to build; where cargo-deny is installed it runs as well.

use crate::command::{cargo, root, run};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    process::Command,
    time::Duration,
};

#[derive(Deserialize)]
struct Deny {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

#[derive(Deserialize)]
pub struct Metadata {
    pub packages: Vec<Package>,
    pub target_directory: PathBuf,
}

#[derive(Deserialize)]
pub struct Package {
    pub name: String,
    version: String,
    license: Option<String>,
    /// `None` for the members of the workspace.
    pub source: Option<String>,
    pub dependencies: Vec<Dependency>,
    pub features: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
pub struct Dependency {
    pub name: String,
    /// `None` for an ordinary dependency, else `dev` or `build`.
    pub kind: Option<String>,
}

/// Every package of the dependency graph.
pub fn metadata() -> Result<Metadata> {
    let output = cargo(&["metadata", "--format-version", "1", "--all-features"]).output().context("cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    serde_json::from_slice(&output.stdout).context("reading what cargo metadata tells")
}

pub fn check() -> Result<()> {
    let text = std::fs::read_to_string(root().join("deny.toml")).context("deny.toml")?;
    let deny: Deny = toml::from_str(&text).context("deny.toml")?;
    let allowed: BTreeSet<&str> = deny.licenses.allow.iter().map(String::as_str).collect();
    let packages = metadata()?.packages;

    let mut faults = Vec::new();
    for package in packages.iter().filter(|package| package.source.is_some()) {
        let name = format!("{} {}", package.name, package.version);
        match &package.license {
            None => faults.push(format!("{name} states no licence")),
            Some(license) => {
                // Old manifests write "MIT/Apache-2.0".
                let expression = spdx::Expression::parse_mode(license, spdx::ParseMode::LAX)
                    .map_err(|error| anyhow::anyhow!("the licence of {name}: {error}"))?;
                if !expression.evaluate(|term| allowed.contains(term.to_string().as_str())) {
                    faults.push(format!("{name} has the licence {license}, which deny.toml does not allow"));
                }
            }
        }
        if let Some(ban) = deny.bans.deny.iter().find(|ban| ban.name == package.name) {
            faults.push(format!("{name} is banned: {}", ban.reason));
        }
        if !package.source.as_ref().is_some_and(|source| source.starts_with("registry+")) {
            faults.push(format!("{name} does not come from the registry"));
        }
    }
    if !faults.is_empty() {
        bail!("dependencies:\n  {}", faults.join("\n  "));
    }
    println!("{} packages are in order", packages.len());

    if Command::new("cargo-deny").arg("--version").output().is_ok_and(|output| output.status.success()) {
        run(&mut cargo(&["deny", "check", "licenses", "bans", "sources"]), Duration::from_secs(300))?;
    }
    Ok(())
}
