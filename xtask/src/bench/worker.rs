//! A worker process, as the measuring process sees it: lines in, lines out, each noted with the time it came.

use anyhow::{Context, Result, bail};
use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

/// Nothing a worker is asked takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(120);

/// Ends, the hard way, when dropped.
pub struct Worker {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<(Instant, String)>,
    /// It has said that it leads.
    leads: bool,
}

impl Worker {
    pub fn start(command: &mut Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("starting a worker")?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("a worker without stdout")?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send((Instant::now(), line)).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, stdin, lines, leads: false })
    }

    /// Waits until it is ready, and leads if it is to lead.
    pub fn ready(mut self, leads: bool) -> Result<Self> {
        self.answer(if leads { "ready leader" } else { "ready guest" })?;
        self.leads = leads;
        Ok(self)
    }

    /// The next line that is no news of a role.
    fn line(&mut self) -> Result<(Instant, String)> {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok((_, line)) if line == "leader" => self.leads = true,
                Ok(line) => return Ok(line),
                Err(RecvTimeoutError::Timeout) => bail!("a worker has said nothing for {} s", PATIENCE.as_secs()),
                Err(RecvTimeoutError::Disconnected) => bail!("a worker ended: {:?}", self.child.wait()),
            }
        }
    }

    /// Whether it leads, by what it has said up to now.
    pub fn leads(&mut self) -> bool {
        while let Ok((_, line)) = self.lines.try_recv() {
            self.leads |= line == "leader";
        }
        self.leads
    }

    /// Gives a command.
    pub fn tell(&mut self, command: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().context("a worker without stdin")?;
        writeln!(stdin, "{command}").with_context(|| format!("telling a worker to {command}"))
    }

    /// The answer to a command, and when it came.
    pub fn answer(&mut self, expected: &str) -> Result<(Instant, String)> {
        let (time, line) = self.line()?;
        match line.strip_prefix(expected) {
            Some(rest) => Ok((time, rest.trim().to_string())),
            None => bail!("a worker said {line:?} instead of {expected:?}"),
        }
    }

    /// Runs a workload; the nanoseconds one operation took.
    pub fn run(&mut self, workload: &str, millis: u64) -> Result<f64> {
        self.tell(&format!("run {workload} {millis}"))?;
        let (_, figures) = self.answer("ran").with_context(|| workload.to_string())?;
        let (operations, nanos) = figures.split_once(' ').context("a worker told no figures")?;
        Ok(nanos.parse::<f64>()? / operations.parse::<f64>()?.max(1.0))
    }

    /// SIGKILL; returns when it was sent.
    pub fn kill(&mut self) -> Result<Instant> {
        let time = Instant::now();
        self.child.kill()?;
        Ok(time)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
