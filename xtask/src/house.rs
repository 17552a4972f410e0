//! The house rules that a program can check.
//!
//! Each rule is a function that collects faults. A rule that finds no file to look at is a fault too: otherwise moving a
//! file would switch its rule off in silence.

use crate::{command::root, guides, licences};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// Where protocol and election live. They see no clock, no randomness, no network and no runtime: time and events come
/// in, frames and actions come out. A trailing `/` means everything below.
const PURE: &[&str] = &["rave-guest/src/machine", "rave-host/src/machine", "src/election", "rave-transport/src/wire/"];

/// What pure code must not name, and what it should do instead.
const IMPURE: &[(&str, &str)] = &[
    ("Instant::now", "take the time as an argument"),
    ("SystemTime", "take the time as an argument"),
    ("tokio", "leave waiting to the driver"),
    (".await", "leave waiting to the driver"),
    ("async fn", "leave waiting to the driver"),
    ("std::net", "leave connections to the driver"),
    ("std::os", "leave the system to the driver"),
    ("interprocess", "leave connections to the driver"),
    ("std::fs", "leave files to the store"),
    ("std::thread", "leave threads to the driver"),
    ("std::process", "take the process id as an argument"),
    ("std::env", "take settings as arguments"),
    ("fastrand", "take random numbers as arguments"),
    ("rand::", "take random numbers as arguments"),
    ("RandomState", "iterate in a fixed order"),
];

/// Which crates of the workspace a crate may depend on, tests aside.
const LAYERS: &[(&str, &[&str])] = &[
    ("rave-core", &[]),
    ("rave-leveldb", &["rave-core"]),
    ("rave-sled", &["rave-core"]),
    ("rave-transport", &["rave-core"]),
    ("rave-host", &["rave-core", "rave-transport"]),
    ("rave-guest", &["rave-core", "rave-transport"]),
    ("rave-level", &["rave-core", "rave-leveldb", "rave-sled", "rave-transport", "rave-host", "rave-guest"]),
    ("rave-cli", &["rave-level"]),
    ("rave-sim", &["rave-core", "rave-transport", "rave-level"]),
    ("xtask", &["rave-level", "append-store", "stdio-transport"]),
    ("append-store", &["rave-level"]),
    ("stdio-transport", &["rave-level"]),
];

pub fn check() -> Result<()> {
    let files = tracked_files()?;
    let mut faults = Vec::new();
    purity(&files, &mut faults)?;
    layers(&mut faults)?;
    contents_pages(&files, &mut faults)?;
    module_docs(&files, &mut faults)?;
    registries(&files, &mut faults)?;
    guides::check(&files, &mut faults)?;
    if !faults.is_empty() {
        bail!("house rules:\n  {}", faults.join("\n  "));
    }
    println!("{} files are in order", files.len());
    Ok(())
}

/// The project's files, relative to its root, without what is built or fetched.
pub fn tracked_files() -> Result<Vec<PathBuf>> {
    fn walk(directory: &Path, root: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
        for entry in std::fs::read_dir(directory).with_context(|| directory.display().to_string())? {
            let entry = entry?;
            let name = entry.file_name();
            if entry.file_type()?.is_dir() {
                if ![".git", "target", "node_modules"].iter().any(|skipped| name == *skipped) {
                    walk(&entry.path(), root, files)?;
                }
            } else if let Ok(path) = entry.path().strip_prefix(root) {
                files.push(path.to_path_buf());
            }
        }
        Ok(())
    }
    let mut files = Vec::new();
    walk(&root(), &root(), &mut files)?;
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(root().join(path)).with_context(|| path.display().to_string())
}

fn is_rust(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs")
}

/// Numbered lines of code: no comments, and nothing from a test module on.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .map(|(index, line)| (index + 1, line.split("//").next().unwrap_or_default()))
}

/// Whether `word` stands in `line`, and not as the beginning of a longer name.
fn names(line: &str, word: &str) -> bool {
    let longer = |rest: &str| {
        word.ends_with(char::is_alphanumeric) && rest.starts_with(|next: char| next.is_alphanumeric() || next == '_')
    };
    line.match_indices(word).any(|(at, _)| !longer(line.get(at + word.len()..).unwrap_or_default()))
}

fn purity(files: &[PathBuf], faults: &mut Vec<String>) -> Result<()> {
    for place in PURE {
        let mut found = false;
        for path in files.iter().filter(|path| is_rust(path) && path.to_string_lossy().starts_with(place)) {
            found = true;
            if path.file_stem().is_some_and(|stem| stem == "tests") {
                continue;
            }
            for (number, line) in code_lines(&read(path)?) {
                for (word, instead) in IMPURE.iter().filter(|(word, _)| names(line, word)) {
                    faults.push(format!("{}:{number}: `{word}` in pure code: {instead}", path.display()));
                }
            }
        }
        if !found {
            faults.push(format!("no file at {place}*: tell xtask/src/house.rs where the pure code went"));
        }
    }
    Ok(())
}

fn layers(faults: &mut Vec<String>) -> Result<()> {
    let packages = licences::metadata()?.packages;
    for package in packages.iter().filter(|package| package.source.is_none()) {
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == package.name) else {
            faults.push(format!("{}: tell xtask/src/house.rs what this crate may depend on", package.name));
            continue;
        };
        let ours = |name: &str| LAYERS.iter().any(|(layer, _)| *layer == name);
        let ordinary = package.dependencies.iter().filter(|dependency| dependency.kind.is_none());
        for dependency in ordinary.filter(|dependency| ours(&dependency.name)) {
            if !allowed.contains(&dependency.name.as_str()) {
                faults.push(format!("{} must not depend on {}", package.name, dependency.name));
            }
        }
    }
    Ok(())
}

/// A `lib.rs` says what there is and where; code lives in the modules.
fn contents_pages(files: &[PathBuf], faults: &mut Vec<String>) -> Result<()> {
    let code = ["fn ", "pub fn ", "struct ", "pub struct ", "enum ", "pub enum ", "impl ", "impl<", "macro_rules!"];
    for path in files.iter().filter(|path| path.ends_with("src/lib.rs")) {
        for (number, line) in code_lines(&read(path)?) {
            if code.iter().any(|start| line.starts_with(start)) {
                faults.push(format!("{}:{number}: lib.rs is a contents page; move this to a module", path.display()));
            }
        }
    }
    Ok(())
}

/// Every module opens with a sentence on what it is.
fn module_docs(files: &[PathBuf], faults: &mut Vec<String>) -> Result<()> {
    for path in files.iter().filter(|path| is_rust(path)) {
        let text = read(path)?;
        let first = text.lines().find(|line| !line.starts_with("#![")).unwrap_or_default();
        if !first.starts_with("//! ") {
            faults.push(format!("{}: does not open with a sentence on what it is (`//! …`)", path.display()));
        }
    }
    Ok(())
}

/// Packages come from wherever the machine's own settings say: no file names a registry.
fn registries(files: &[PathBuf], faults: &mut Vec<String>) -> Result<()> {
    for path in files {
        let name = path.file_name().unwrap_or_default();
        if name == ".npmrc" {
            faults.push(format!("{}: registry settings belong to the machine", path.display()));
        }
        if name == "package-lock.json" && read(path)?.contains("\"resolved\"") {
            let how = "npm install --omit-lockfile-registry-resolved";
            faults.push(format!("{}: names a registry; made anew by `{how}`", path.display()));
        }
        if path.starts_with(".cargo") && read(path)?.lines().any(|line| line.starts_with("[source")) {
            faults.push(format!("{}: registry settings belong to the machine", path.display()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_whole() {
        assert!(names("future.await?;", ".await"));
        assert!(names("x.await", ".await"));
        assert!(names("use tokio::sync;", "tokio"));
        assert!(!names("self.awaited += 1;", ".await"));
        assert!(names("self.awaited = x.await;", ".await"));
    }

    #[test]
    fn comments_and_tests_are_no_code() {
        let text = "use a; // tokio\n/// tokio\nlet b;\n#[cfg(test)]\nmod tests { use tokio; }\n";
        let lines: Vec<_> = code_lines(text).collect();
        assert_eq!(lines, [(1, "use a; "), (2, ""), (3, "let b;")]);
    }
}
