//! One step of the check of the file format on this project's side: started by `cargo xtask interop`. Its JavaScript
//! twin is `xtask/interop-js/format.mjs`.

mod content;
#[path = "../../interop/format/job.rs"]
mod job;
mod store;

use anyhow::{Context, Result};
use job::{Action, Job};
use serde::Serialize;
use std::io::Write;

fn main() -> Result<()> {
    let job = std::env::args().nth(1).context("this program is started by `cargo xtask interop`")?;
    let job: Job = serde_json::from_str(&job).context("the job")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match job.action {
        Action::Generate => say(&content::generate(&job)?),
        Action::Expect => say(&content::expect(&job)?),
        Action::Write => runtime.block_on(store::write(&job)).and_then(|()| say(&"done")),
        Action::Read => say(&runtime.block_on(store::read(&job))?),
        Action::Compact => runtime.block_on(store::compact(&job)).and_then(|()| say(&"done")),
    }
}

/// Tells a line at once: the process may be killed at any time.
fn say(what: &impl Serialize) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", serde_json::to_string(what)?)?;
    Ok(stdout.flush()?)
}
