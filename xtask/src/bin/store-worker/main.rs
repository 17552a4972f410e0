//! One measurement of a store: started by `cargo xtask bench store` with a job, tells what came of it in one line.

mod data;
mod disk;
mod engine;
#[path = "../../bench/store/job.rs"]
mod job;
mod workload;

use anyhow::{Context, Result};
use job::{Job, Workload};
use std::io::Write;

fn main() -> Result<()> {
    let job = std::env::args().nth(1).context("this program is started by `cargo xtask bench store`")?;
    let job: Job = serde_json::from_str(&job).context("the job")?;
    let answer = |outcome| -> Result<()> {
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{}", serde_json::to_string(&outcome)?)?;
        Ok(stdout.flush()?)
    };
    if job.workload == Workload::PrepareLog {
        let _engine = workload::prepare_log(&job)?;
        answer(job::Outcome::default())?;
        // To be killed with the database open.
        loop {
            std::thread::park();
        }
    }
    answer(workload::run(&job)?)
}
