//! The processes: started, listened to, frozen, killed, replaced.

use super::board::{End, SharedBoard};
use crate::{
    check::{Class, Message, SharedDocket},
    clock::{self, Nanos},
    record::Record,
    work::{Sabotage, Store},
    workload::CLIENTS,
};
use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc::Sender,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How long anything may take before that is a fault.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How workers are started.
pub struct Settings {
    pub db: PathBuf,
    pub store: Store,
    pub seed: u64,
    pub deadline: Duration,
    pub pause: Duration,
    pub sabotage: Option<Sabotage>,
}

pub struct Member {
    pub process: u64,
    child: Child,
    stdin: ChildStdin,
    reader: Option<JoinHandle<()>>,
    started: Nanos,
    pub frozen: bool,
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have ended, or may be waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Member {
    /// Sends it a command; that it is gone shows elsewhere.
    pub fn command(&mut self, command: &str) {
        let _ = self.stdin.write_all(format!("{command}\n").as_bytes());
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).context("a process number")?;
        kill(Pid::from_raw(pid), signal).with_context(|| format!("sending {signal} to process {}", self.process))
    }
}

pub struct Crew {
    settings: Settings,
    pub members: Vec<Member>,
    started: u64,
    board: SharedBoard,
    docket: SharedDocket,
    judge: Sender<Message>,
    /// When all processes were last known to run, so that a time in which nobody could be served does not count.
    thawed: Nanos,
    readers: Vec<JoinHandle<()>>,
}

impl Crew {
    pub fn new(settings: Settings, board: SharedBoard, docket: SharedDocket, judge: Sender<Message>) -> Self {
        let members = Vec::new();
        Self { settings, members, started: 0, board, docket, judge, thawed: 0, readers: Vec::new() }
    }

    /// Starts one more process.
    pub fn start(&mut self) -> Result<()> {
        self.start_with(CLIENTS)
    }

    /// Starts a process that only does what it is told to.
    pub fn start_idle(&mut self) -> Result<()> {
        self.start_with(0)
    }

    fn start_with(&mut self, clients: u64) -> Result<()> {
        self.started += 1;
        let process = self.started;
        let Settings { db, store, seed, deadline, pause, sabotage } = &self.settings;
        // This very program, also if its file was replaced by another build meanwhile.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("torture").arg("work").arg("--db").arg(db);
        command.args(["--process", &process.to_string(), "--seed", &seed.to_string()]);
        if let Some(store) = store.to_possible_value() {
            command.args(["--store", store.get_name()]);
        }
        command.args(["--clients", &clients.to_string()]);
        command.args(["--deadline", &deadline.as_millis().to_string(), "--pause", &pause.as_micros().to_string()]);
        if let Some(name) = sabotage.and_then(|sabotage| sabotage.to_possible_value()) {
            command.args(["--sabotage", name.get_name()]);
        }
        // A group of its own: ctrl-C is for the conductor.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let started = clock::now();
        let mut child = command.spawn().context("starting a worker")?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (stdin, stdout) = (stdin.context("its stdin")?, stdout.context("its stdout")?);
        // The judge hears of it before it hears from it.
        let _ = self.judge.send(Message::Started { process, at: started });
        let (board, judge) = (self.board.clone(), self.judge.clone());
        let reader = thread::spawn(move || listen(process, stdout, &board, &judge));
        self.members.push(Member { process, child, stdin, reader: Some(reader), started, frozen: false });
        Ok(())
    }

    /// The slot of the process that leads.
    pub fn leader(&self) -> Option<usize> {
        let leader = self.board.lock().leader()?;
        self.members.iter().position(|member| member.process == leader)
    }

    /// Kills a process.
    pub fn kill(&mut self, slot: usize) -> Result<()> {
        let mut member = self.members.swap_remove(slot);
        member.child.kill().context("killing a worker")?;
        {
            // At once: another one may be serving already.
            let mut board = self.board.lock();
            if board.leader() == Some(member.process) {
                board.leader_ended(member.process, End::Killed, clock::now());
            }
        }
        self.gone(member)
    }

    /// Tells a process to leave, and waits until it has.
    pub fn leave(&mut self, slot: usize) -> Result<()> {
        let mut member = self.members.swap_remove(slot);
        member.command("leave");
        let deadline = Instant::now() + PATIENCE;
        while member.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                self.docket.accuse(Class::Stuck, format!("process {} was told to leave and does not", member.process));
                member.child.kill()?;
            }
            thread::sleep(Duration::from_millis(1));
        }
        let status = member.child.wait()?;
        if !status.success() {
            self.docket
                .accuse(Class::Process, format!("process {}, told to leave, ended with {status}", member.process));
        }
        self.gone(member)
    }

    fn gone(&mut self, mut member: Member) -> Result<()> {
        member.child.wait()?;
        self.board.lock().gone(member.process);
        // It ends when it has read the pipe to its end.
        self.readers.extend(member.reader.take());
        self.readers.retain(|reader| !reader.is_finished());
        Ok(())
    }

    pub fn freeze(&mut self, slot: usize) -> Result<()> {
        self.members[slot].frozen = true;
        self.members[slot].signal(Signal::SIGSTOP)
    }

    /// Lets all go on that are frozen.
    pub fn thaw(&mut self) -> Result<()> {
        for member in self.members.iter_mut().filter(|member| member.frozen) {
            member.signal(Signal::SIGCONT)?;
            member.frozen = false;
        }
        self.thawed = clock::now();
        Ok(())
    }

    /// Nobody can be blamed for what did not happen until now.
    pub fn excuse(&mut self) {
        self.thawed = clock::now();
    }

    /// Looks for processes that have ended by themselves, or that nobody serves.
    pub fn tend(&mut self) -> Result<()> {
        let now = clock::now();
        let patience = PATIENCE.as_nanos() as Nanos;
        for slot in (0..self.members.len()).rev() {
            let member = &mut self.members[slot];
            let process = member.process;
            if let Some(status) = member.child.try_wait()? {
                self.docket.accuse(Class::Process, format!("process {process} ended by itself: {status}"));
                let member = self.members.swap_remove(slot);
                self.gone(member)?;
                self.start()?;
                continue;
            }
            let since = self.board.lock().served(process).unwrap_or(member.started).max(self.thawed);
            ensure!(
                member.frozen || now.saturating_sub(since) < patience,
                "process {process} has not been served for {PATIENCE:?}"
            );
        }
        Ok(())
    }

    /// Waits until everything that processes told before they ended was heard.
    pub fn hear_out(&mut self) {
        for reader in self.readers.drain(..) {
            // A reader does not panic; and if it did, what it did not hear shows.
            let _ = reader.join();
        }
    }
}

/// Hears a process out.
fn listen(process: u64, stdout: ChildStdout, board: &SharedBoard, judge: &Sender<Message>) {
    let mut open = HashMap::new();
    let mut lines = BufReader::with_capacity(1 << 16, stdout);
    let mut line = Vec::new();
    loop {
        line.clear();
        // A line without an end was cut off by a kill.
        if lines.read_until(b'\n', &mut line).is_err() || line.last() != Some(&b'\n') {
            break;
        }
        let record = serde_json::from_slice(&line).unwrap_or_else(|error| Record::Wrong {
            at: clock::now(),
            what: format!("said what cannot be read ({error}): {}", String::from_utf8_lossy(&line)),
        });
        board.lock().told(process, &record, &mut open);
        if judge.send(Message::Told { process, record }).is_err() {
            break;
        }
    }
    let _ = judge.send(Message::Ended { process });
}
