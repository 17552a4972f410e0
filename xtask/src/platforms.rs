//! The systems that nobody runs this on: all that is published, and its tests, compile for Windows and macOS without a
//! warning.
//!
//! Nothing is linked, so no linker and no library of those systems is needed; and no C is compiled, of which the
//! cryptography of TLS has some: programs that do nothing stand in for its compilers.

use crate::command::{cargo, run};
use anyhow::{Context, Result};
use std::{process::Command, time::Duration};

const TARGETS: &[&str] = &["x86_64-pc-windows-gnu", "aarch64-apple-darwin"];

const PACKAGES: &[&str] = &[
    "rave-core",
    "rave-leveldb",
    "rave-sled",
    "rave-transport",
    "rave-guest",
    "rave-host",
    "rave-level",
    "rave-cli",
    "append-store",
    "stdio-transport",
];

pub fn check() -> Result<()> {
    for target in TARGETS {
        println!("{target}");
        run(Command::new("rustup").args(["target", "add", target]), Duration::from_secs(300))
            .with_context(|| format!("installing what Rust needs for {target}; is rustup there?"))?;
        let mut clippy = cargo(&["clippy", "--quiet", "--target", target, "--all-targets"]);
        for package in PACKAGES {
            clippy.args(["--package", package]);
        }
        for tool in ["CC", "CXX", "AR"] {
            clippy.env(format!("{tool}_{}", target.replace('-', "_")), "true");
        }
        run(clippy.args(["--", "-D", "warnings"]), Duration::from_secs(900))?;
    }
    println!("{} packages compile for {}", PACKAGES.len(), TARGETS.join(", "));
    Ok(())
}
