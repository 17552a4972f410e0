//! A process that runs one of the JavaScript programs and does one job after the other.

use super::whole_lines;
use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

/// The programs give up sooner themselves, and say what they were doing.
const PATIENCE: Duration = Duration::from_secs(330);
/// What a program has started ends with it, so it is given time to do that.
const FAREWELL: Duration = Duration::from_secs(10);

/// One program. Its process starts with the first job, and anew when it has ended, which it does where a job went so
/// wrong that something may still be going on.
pub struct Worker {
    program: PathBuf,
    running: Option<Running>,
}

/// Ends with the end of its stdin, and so with this process.
struct Running {
    child: Child,
    jobs: Option<ChildStdin>,
    answers: Receiver<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer<T> {
    Seen(T),
    Failed(String),
}

impl Worker {
    pub fn new(program: PathBuf) -> Self {
        Self { program, running: None }
    }

    /// What was seen; an error with what the program says if it fails.
    pub fn perform<T: DeserializeOwned>(&mut self, job: &impl Serialize) -> Result<T> {
        let running = match &mut self.running {
            Some(running) => running,
            None => self.running.insert(Running::start(&self.program)?),
        };
        let answer = running.perform(job);
        if answer.is_err() || running.child.try_wait()?.is_some() {
            self.running = None;
        }
        match answer? {
            Answer::Seen(seen) => Ok(seen),
            Answer::Failed(reason) => Err(anyhow!(reason)),
        }
    }
}

impl Running {
    fn start(program: &Path) -> Result<Self> {
        let mut command = Command::new("node");
        let mut child = command.arg(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().context("a process without stdout")?;
        let (jobs, answers) = (child.stdin.take(), whole_lines(stdout));
        Ok(Self { child, jobs, answers })
    }

    fn perform<T: DeserializeOwned>(&mut self, job: &impl Serialize) -> Result<Answer<T>> {
        let mut line = serde_json::to_vec(job)?;
        line.push(b'\n');
        self.jobs.as_mut().context("a process without stdin")?.write_all(&line).context("the program has ended")?;
        match self.answers.recv_timeout(PATIENCE) {
            Ok(line) => serde_json::from_str(&line).context(line),
            Err(RecvTimeoutError::Disconnected) => bail!("the program has ended"),
            Err(RecvTimeoutError::Timeout) => bail!("no answer for {} s", PATIENCE.as_secs()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.jobs = None;
        let deadline = Instant::now() + FAREWELL;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
