//! Every example runs to its end, with real processes and in good time.

use crate::{
    command::{cargo, root, run},
    licences::metadata,
};
use anyhow::{Context, Result, bail};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// The examples that run by themselves, and their arguments; `{db}` is the path of a new database.
const ALONE: &[(&str, &[&str])] =
    &[("typed", &["{db}"]), ("transaction", &["{db}"]), ("hooks", &["{db}"]), ("stream_failover", &[])];

/// These two run at the same time: `put` until it is killed, `get` until it has read so many values.
const PAIR: [&str; 2] = ["put", "get"];
const VALUES: &str = "5";

/// The crates of the guides; each has an example in which processes are killed.
const GUIDES: [(&str, &str); 2] = [("append-store", "store_failover"), ("stdio-transport", "transport_failover")];

/// For each run; the slowest takes a few seconds.
const LIMIT: Duration = Duration::from_secs(120);

pub fn check() -> Result<()> {
    for entry in std::fs::read_dir(root().join("examples")).context("examples")? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let known = ALONE.iter().any(|(known, _)| *known == name) || PAIR.contains(&name.as_str());
        if path.extension().is_some_and(|extension| extension == "rs") && !known {
            bail!("examples/{name}.rs: tell xtask/src/examples.rs how to run it");
        }
    }
    run(&mut cargo(&["build", "--examples"]), Duration::from_secs(600))?;
    let programs = metadata()?.target_directory.join("debug/examples");
    for (name, arguments) in ALONE {
        println!("example {name}");
        let folder = tempfile::tempdir()?;
        let db = folder.path().join("db").to_string_lossy().into_owned();
        run(program(&programs, name).args(arguments.iter().map(|argument| argument.replace("{db}", &db))), LIMIT)?;
    }
    println!("examples {}", PAIR.join(" and "));
    pair(&programs)?;
    for (package, name) in GUIDES {
        println!("example {name}");
        run(&mut cargo(&["build", "--package", package, "--example", name]), Duration::from_secs(600))?;
        run(&mut program(&programs, name), LIMIT)?;
    }
    Ok(())
}

fn program(programs: &Path, name: &str) -> Command {
    Command::new(programs.join(format!("{name}{}", std::env::consts::EXE_SUFFIX)))
}

/// Both at once; then `put` is killed, and `get` can do without it.
fn pair(programs: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let db = folder.path().join("db");
    let [put, get] = PAIR.map(|name| program(programs, name));
    let (mut put, mut get) = (put, get);
    let mut putting = Killed(put.arg(&db).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("put")?);
    // Its first line comes when it leads. The few that follow fit into the pipe.
    let mut line = String::new();
    BufReader::new(putting.0.stdout.as_mut().context("put without stdout")?).read_line(&mut line)?;
    print!("{line}");
    run(get.arg(&db).arg(VALUES), LIMIT)?;
    drop(putting);
    run(program(programs, PAIR[1]).arg(&db).arg(VALUES), LIMIT)
}

/// A process that ends with its handle.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
