//! A process of either language on a database, and the talk with it: the lines of `rave exec`.

use super::{PATIENCE, eventually};
use crate::interop::build_rave;
use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    fmt,
    io::{BufRead as _, BufReader, Read, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Rust,
    JavaScript,
}

impl Language {
    pub const BOTH: [Self; 2] = [Self::Rust, Self::JavaScript];

    pub fn other(self) -> Self {
        match self {
            Self::Rust => Self::JavaScript,
            Self::JavaScript => Self::Rust,
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rust => "Rust",
            Self::JavaScript => "Node",
        })
    }
}

/// What makes a process leave in good order.
#[derive(Clone, Copy)]
pub enum Leaving {
    Request,
    /// The end of its stdin.
    End,
    Signal,
}

/// Both languages' programs.
pub struct Programs {
    rave: PathBuf,
    member: PathBuf,
}

impl Programs {
    /// Builds ours; theirs is in the folder `javascript`.
    pub fn build(javascript: &Path) -> Result<Self> {
        Ok(Self { rave: build_rave()?, member: javascript.join("member.mjs") })
    }

    /// Starts a process on a database.
    pub fn start(&self, language: Language, db: &Path) -> Result<Member> {
        self.start_with(language, db, &[])
    }

    pub fn start_with(&self, language: Language, db: &Path, options: &[&str]) -> Result<Member> {
        let mut command = match language {
            Language::Rust => {
                let mut command = self.rave();
                // Whoever waits for a leader is to wait here, where what is missing can be told.
                command.args(["exec", "--open-timeout", "60"]);
                command
            }
            Language::JavaScript => {
                let mut command = Command::new("node");
                command.arg(&self.member);
                command
            }
        };
        Member::start(language, command.arg(db).args(options))
    }

    /// Starts a Rust process that answers no requests and leaves when it is told to terminate.
    pub fn serve(&self, db: &Path) -> Result<Member> {
        Member::start(Language::Rust, self.rave().args(["serve", "--json"]).arg(db))
    }

    /// Has the command `rave` do something to its end; an error with what it said if it fails.
    pub fn finish(&self, arguments: &[&str], db: &Path) -> Result<()> {
        let output = self.rave().args(arguments).arg(db).stdin(Stdio::null()).output()?;
        ensure!(output.status.success(), "rave {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn rave(&self) -> Command {
        let mut command = Command::new(&self.rave);
        command.env_remove("RAVE_LOG").env_remove("RUST_LOG").env("NO_COLOR", "1");
        command
    }
}

#[derive(Default)]
struct Heard {
    replies: HashMap<u64, Value>,
    leads: bool,
    /// The names of all events.
    events: Vec<String>,
    ended: bool,
    /// What it said on stderr, and whether that was all.
    errors: String,
    errors_ended: bool,
}

/// A process, which is killed when this is dropped.
pub struct Member {
    pub language: Language,
    pub pid: u32,
    child: Mutex<Child>,
    input: Mutex<Option<ChildStdin>>,
    heard: Arc<(Mutex<Heard>, Condvar)>,
    next: AtomicU64,
    /// Its end is wanted.
    dismissed: AtomicBool,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} process {}", self.language, self.pid)
    }
}

impl Member {
    fn start(language: Language, command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("starting {:?}", command.get_program()))?;
        let heard = Arc::new((Mutex::new(Heard::default()), Condvar::new()));
        if let Some(output) = child.stdout.take() {
            let heard = heard.clone();
            thread::spawn(move || listen(output, &heard));
        }
        if let Some(errors) = child.stderr.take() {
            let heard = heard.clone();
            thread::spawn(move || {
                for line in BufReader::new(errors).lines().map_while(Result::ok) {
                    lock(&heard.0).errors += &format!("{line}; ");
                }
                lock(&heard.0).errors_ended = true;
                heard.1.notify_all();
            });
        }
        let input = Mutex::new(child.stdin.take());
        Ok(Self {
            language,
            pid: child.id(),
            child: Mutex::new(child),
            input,
            heard,
            next: AtomicU64::new(1),
            dismissed: AtomicBool::new(false),
        })
    }

    /// Sends a request under a fresh number. Whether the process still reads shows in the reply.
    pub fn send(&self, mut request: Value) -> u64 {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        request["id"] = json!(id);
        if let Some(input) = lock(&self.input).as_mut() {
            let _ = input.write_all(format!("{request}\n").as_bytes());
        }
        id
    }

    /// Waits for the reply to a request; `None` if the process ended without one.
    pub fn reply(&self, id: u64) -> Result<Option<Value>> {
        self.hear(&format!("the answer to request {id}"), |heard| {
            heard.replies.remove(&id).map(Some).or(heard.ended.then_some(None))
        })
    }

    /// Waits for what came of a request that must succeed; `None` if the process was made to end before.
    pub fn outcome(&self, id: u64) -> Result<Option<Value>> {
        let reply = self.reply(id)?;
        match &reply {
            Some(reply) => ensure!(reply["ok"] == true, "{self}: request {id} got {reply}"),
            None => ensure!(self.dismissed.load(Ordering::Relaxed), "{self} ended by itself: {}", self.last_words()?),
        }
        Ok(reply)
    }

    /// Sends a request that must succeed, and waits.
    pub fn ask(&self, request: Value) -> Result<Value> {
        let id = self.send(request);
        self.outcome(id)?.with_context(|| format!("{self} has ended"))
    }

    pub fn put(&self, key: &str, value: &str) -> Result<()> {
        self.ask(json!({"op": "put", "key": key, "value": value})).map(drop)
    }

    pub fn get(&self, key: &str) -> Result<Option<String>> {
        Ok(self.ask(json!({"op": "get", "key": key}))?["value"].as_str().map(str::to_owned))
    }

    /// All entries, in order.
    pub fn scan(&self) -> Result<Vec<(String, String)>> {
        self.scan_with(json!({"op": "scan"}))
    }

    /// All entries that a request asks for.
    pub fn scan_with(&self, request: Value) -> Result<Vec<(String, String)>> {
        let entries = entries(&self.ask(request)?)?;
        Ok(if self.language == Language::JavaScript { of_users(entries) } else { entries })
    }

    /// Whether it has said that it leads, and lives.
    pub fn leads(&self) -> bool {
        let heard = lock(&self.heard.0);
        heard.leads && !heard.ended
    }

    pub fn wait_until_leader(&self) -> Result<()> {
        self.hear("its turn to lead", |heard| heard.leads.then_some(()))
    }

    pub fn wait_for(&self, event: &str) -> Result<()> {
        self.hear(&format!("the event {event}"), |heard| heard.events.iter().any(|name| name == event).then_some(()))
    }

    /// How it ended, for people.
    fn last_words(&self) -> Result<String> {
        let status = self.ended()?;
        let errors = self.hear("its last words", |heard| heard.errors_ended.then(|| heard.errors.clone()))?;
        Ok(format!("{status}; {errors}"))
    }

    /// Waits until it has ended.
    fn ended(&self) -> Result<ExitStatus> {
        eventually(&format!("{self} ends"), || Ok(lock(&self.child).try_wait()?))
    }

    fn hear<T>(&self, what: &str, mut condition: impl FnMut(&mut Heard) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        let mut heard = lock(&self.heard.0);
        loop {
            if let Some(value) = condition(&mut heard) {
                return Ok(value);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("{self} hangs: waited {PATIENCE:?} for {what}; it said: {:?}", heard.errors);
            }
            heard = self.heard.1.wait_timeout(heard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        signal::kill(Pid::from_raw(i32::try_from(self.pid)?), signal).with_context(|| format!("{self}: {signal}"))
    }

    /// SIGKILL; returns when nothing is left of it, and all that it said has been heard.
    pub fn kill(&self) -> Result<()> {
        self.dismissed.store(true, Ordering::Relaxed);
        let mut child = lock(&self.child);
        // It may have ended by itself.
        let _ = child.kill();
        child.wait()?;
        self.hear("the end of what it said", |heard| heard.ended.then_some(()))
    }

    /// Leaves in good order.
    pub fn leave(&self, by: Leaving) -> Result<()> {
        self.tell_to_leave(by)?;
        self.left()
    }

    pub fn tell_to_leave(&self, by: Leaving) -> Result<()> {
        self.dismissed.store(true, Ordering::Relaxed);
        match by {
            Leaving::Request => drop(self.send(json!({"op": "close"}))),
            Leaving::End => drop(lock(&self.input).take()),
            Leaving::Signal => self.signal(Signal::SIGTERM)?,
        }
        Ok(())
    }

    /// Waits until it has left.
    pub fn left(&self) -> Result<()> {
        let status = self.ended()?;
        self.hear("the end of what it said", |heard| heard.ended.then_some(()))?;
        ensure!(status.success(), "{self} ended with {}", self.last_words()?);
        Ok(())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut child = lock(&self.child);
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn listen(output: impl Read, heard: &(Mutex<Heard>, Condvar)) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        // A killed process may leave half a line.
        let Ok(value) = serde_json::from_str::<Value>(&line) else { break };
        let mut heard_now = lock(&heard.0);
        if let Some(event) = value["event"].as_str() {
            heard_now.leads = event == "leader" || heard_now.leads && event != "following";
            heard_now.events.push(event.to_owned());
        } else if let Some(id) = value["id"].as_u64() {
            heard_now.replies.insert(id, value);
        }
        heard.1.notify_all();
    }
    lock(&heard.0).ended = true;
    heard.1.notify_all();
}

/// The entries in a reply.
pub fn entries(reply: &Value) -> Result<Vec<(String, String)>> {
    let entries = reply["entries"].as_array().with_context(|| format!("no entries in {reply}"))?;
    let text = |value: &Value| value.as_str().map(str::to_owned).with_context(|| format!("no text in {reply}"));
    entries.iter().map(|entry| Ok((text(&entry[0])?, text(&entry[1])?))).collect()
}

/// Without what Rust leaders keep for themselves: JavaScript processes see it, and so does who follows one.
pub fn of_users(mut entries: Vec<(String, String)>) -> Vec<(String, String)> {
    entries.retain(|(key, _)| !key.starts_with("!rave-level!"));
    entries
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
