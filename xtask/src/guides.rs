//! The guides in `docs/` say exactly what their crates in `examples/` do.
//!
//! Who follows a guide writes down the files that it shows. So these are the crate's files, all of them and letter by
//! letter; and whatever a trait asks of its implementors is in the guide too, so that a new method does not go past it.

use crate::{command::root, licences};
use anyhow::{Context, Result, anyhow};
use std::{collections::BTreeMap, path::Path};

struct Guide {
    path: &'static str,
    package: &'static str,
    /// The traits that it implements, and where they are.
    traits: &'static [(&'static str, &'static str)],
}

const GUIDES: &[Guide] = &[
    Guide {
        path: "docs/custom-store.md",
        package: "append-store",
        traits: &[
            ("AbstractLevel", "rave-core/src/level.rs"),
            ("Opener", "rave-core/src/open.rs"),
            ("LockedStore", "rave-core/src/open.rs"),
            ("LevelIterator", "rave-core/src/iterator.rs"),
            ("SnapshotHandle", "rave-core/src/snapshot.rs"),
        ],
    },
    Guide {
        path: "docs/custom-transport.md",
        package: "stdio-transport",
        traits: &[("Transport", "rave-transport/src/transport.rs"), ("Listener", "rave-transport/src/transport.rs")],
    },
];

/// Adds what is wrong with the guides; `files` are the project's, relative to its root.
pub fn check(files: &[std::path::PathBuf], faults: &mut Vec<String>) -> Result<()> {
    let packages = licences::metadata()?.packages;
    for guide in GUIDES {
        let text = read(Path::new(guide.path))?;
        let mut fault = |what: String| faults.push(format!("{}: {what}", guide.path));
        let shown = match shown_files(&text) {
            Ok(shown) => shown,
            Err(what) => {
                fault(what);
                continue;
            }
        };
        let folder = Path::new("examples").join(guide.package);
        let own = files.iter().filter(|path| path.starts_with(&folder) && path.extension().is_some_and(|e| e == "rs"));
        let mut own: BTreeMap<_, _> = own
            .map(|path| Ok((path.strip_prefix(&folder)?.to_string_lossy().replace('\\', "/"), read(path)?)))
            .collect::<Result<_>>()?;
        for (path, code) in shown {
            match own.remove(&path) {
                Some(real) if real == code => {}
                Some(real) => fault(format!("{path} is not as in {}: {}", folder.display(), difference(&code, &real))),
                None => fault(format!("shows {path}, which {} does not have", folder.display())),
            }
        }
        own.into_keys().for_each(|path| fault(format!("does not show {path}")));

        let package = packages.iter().find(|package| package.name == guide.package);
        for dependency in &package.with_context(|| format!("no package {}", guide.package))?.dependencies {
            if !adds(&text, &dependency.name, dependency.kind.as_deref() == Some("dev")) {
                fault(format!("no `cargo add` for the dependency {}", dependency.name));
            }
        }
        for (name, path) in guide.traits {
            match required_methods(&read(Path::new(path))?, name) {
                methods if methods.is_empty() => fault(format!("the trait {name} is not in {path} any more")),
                methods => methods
                    .iter()
                    .filter(|method| !text.contains(&format!("`{method}`")))
                    .for_each(|method| fault(format!("does not name the method `{method}` of {name}"))),
            }
        }
    }
    Ok(())
}

/// Shows the files in the guides as the crates have them now, each where it is shown already.
pub fn write() -> Result<()> {
    for guide in GUIDES {
        let mut text = read(Path::new(guide.path))?;
        for (path, old) in shown_files(&text).map_err(|fault| anyhow!("{}: {fault}", guide.path))? {
            let new = read(&Path::new("examples").join(guide.package).join(&path))?;
            let block = |code: &str| format!("**`{path}`**\n\n```rust\n{code}```\n");
            if !text.contains(&block(&old)) {
                anyhow::bail!("{}: {path} comes in several parts; mend those by hand", guide.path);
            }
            text = text.replace(&block(&old), &block(&new));
        }
        std::fs::write(root().join(guide.path), text).context(guide.path)?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(root().join(path)).with_context(|| path.display().to_string())
}

/// The files that a guide shows: each code block has the file's name in front, as ``**`src/lib.rs`**``. Blocks of the same
/// file are its parts. A block of Rust without a name belongs to no file, and so to nothing that is tested.
fn shown_files(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    let mut name = None;
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let code: Vec<_> = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
            match name.take() {
                Some(name) => {
                    let file: &mut String = files.entry(name).or_default();
                    code.iter().for_each(|line| file.extend([line, "\n"]));
                }
                None if language == "rust" => {
                    return Err(format!("line {}: code without the name of its file", number + 1));
                }
                None => {}
            }
        } else if !line.is_empty() {
            name = line.strip_prefix("**`").and_then(|line| line.strip_suffix("`**")).map(str::to_owned);
        }
    }
    Ok(files)
}

fn difference(shown: &str, real: &str) -> String {
    let same = shown.lines().zip(real.lines()).take_while(|(shown, real)| shown == real).count();
    format!("its line {} is {:?}, not {:?}", same + 1, real.lines().nth(same), shown.lines().nth(same))
}

/// Whether the reader is told to add this dependency.
fn adds(text: &str, dependency: &str, dev: bool) -> bool {
    let commands = text.lines().filter_map(|line| line.strip_prefix("cargo add "));
    commands
        .filter(|command| command.starts_with("--dev ") == dev)
        .any(|command| command.split([' ', '@']).any(|word| word == dependency))
}

/// The methods of a trait that have no body.
fn required_methods(source: &str, name: &str) -> Vec<String> {
    let start = format!("pub trait {name}");
    let of_trait = source.lines().skip_while(|line| {
        line.strip_prefix(&start)
            .is_none_or(|rest| rest.starts_with(|next: char| next.is_alphanumeric() || next == '_'))
    });
    let methods = of_trait.take_while(|line| *line != "}").filter(|line| line.ends_with(';')).filter_map(|line| {
        let signature = line.strip_prefix("    ")?;
        let signature = signature.strip_prefix("async ").unwrap_or(signature).strip_prefix("fn ")?;
        signature.split(['(', '<']).next().map(str::to_owned)
    });
    methods.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_file_are_put_together() {
        let text = "Text\n\n**`a.rs`**\n\n```rust\none\n\ntwo\n```\n\nmore\n\n```sh\nls\n```\n\n**`a.rs`**\n\n```rust\nthree\n```\n";
        assert_eq!(shown_files(text).unwrap(), BTreeMap::from([("a.rs".into(), "one\n\ntwo\nthree\n".into())]));
        assert!(shown_files("**`a.rs`**\n\ntext\n\n```rust\none\n```\n").unwrap_err().contains("line 5"));
    }

    #[test]
    fn differences_are_found() {
        assert_eq!(difference("a\nb\n", "a\nc\n"), "its line 2 is Some(\"c\"), not Some(\"b\")");
        assert_eq!(difference("a\n", "a\nc\n"), "its line 2 is Some(\"c\"), not None");
    }

    #[test]
    fn methods_with_a_body_need_not_be_written() {
        let source = "pub trait Levels {\n    fn no(&self);\n}\npub trait Level: Any {\n    /// fn not_this();\n    async fn \
                      get(&self) -> Bytes;\n    fn all<T>(&self);\n    fn has(&self) -> bool {\n        self.x();\n    }\n}\n";
        assert_eq!(required_methods(source, "Level"), ["get", "all"]);
    }

    #[test]
    fn dependencies_are_added_for_what_they_are_for() {
        let text = "cargo add bytes@1 tokio\ncargo add --dev tempfile@3\n";
        assert!(adds(text, "bytes", false) && adds(text, "tokio", false) && adds(text, "tempfile", true));
        assert!(!adds(text, "byte", false) && !adds(text, "tokio", true) && !adds(text, "tempfile", false));
    }
}
