//! Running the real `rave` command as processes of its own: start, talk, stop, kill, and never leave one behind.
#![allow(dead_code, reason = "each test file uses a part")]

pub mod legacy_host;
pub mod shape;
pub mod stage;
pub mod wire;

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    ffi::OsStr,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long anything may take before it counts as hanging.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A directory for databases; removed in the end.
pub struct Dir {
    temp: TempDir,
}

impl Dir {
    pub fn new() -> Self {
        Self { temp: tempfile::Builder::new().prefix("rave").tempdir().unwrap() }
    }

    /// The database's place; it does not exist yet.
    pub fn db(&self) -> PathBuf {
        self.join("db")
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }
}

/// Waits until `condition` gives something.
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "waited too long until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A number from the environment, for longer runs than the usual ones.
pub fn knob(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// A child process that does not outlive the test.
pub struct Process {
    child: Mutex<Child>,
    pid: u32,
}

impl Process {
    pub fn spawn(command: &mut Command) -> Self {
        let child = command.spawn().unwrap();
        let pid = child.id();
        Self { child: Mutex::new(child), pid }
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub fn signal(&self, signal: Signal) {
        signal::kill(Pid::from_raw(self.pid.try_into().unwrap()), signal).unwrap();
    }

    /// SIGKILL, and waits until nothing is left of it.
    pub fn kill(&self) {
        let mut child = lock(&self.child);
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Waits until it ends by itself.
    pub fn wait(&self) -> ExitStatus {
        eventually("a process ends", || lock(&self.child).try_wait().unwrap())
    }

    pub fn running(&self) -> bool {
        lock(&self.child).try_wait().unwrap().is_none()
    }

    /// What it prints, where its standard output is a pipe nobody took yet.
    pub fn stdout(&self) -> ChildStdout {
        lock(&self.child).stdout.take().unwrap()
    }

    /// What it said on stderr, once it has ended.
    pub fn errors(&self) -> String {
        let mut text = String::new();
        lock(&self.child).stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        lock(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The command, ready for arguments.
pub fn rave() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rave"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Whatever the caller's environment is like, output is the same.
    command.env_remove("RAVE_LOG").env_remove("RUST_LOG").env_remove("RAVE_TOKEN").env("NO_COLOR", "1");
    command
}

/// What a finished command left.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub out: Vec<u8>,
    pub err: String,
}

impl Finished {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap()
    }

    /// The lines printed, given that the command succeeded.
    #[track_caller]
    pub fn lines(&self) -> Vec<&str> {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.text().lines().collect()
    }

    /// The command ended well and was silent on stderr.
    #[track_caller]
    pub fn succeeded(&self) -> &Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// The command ended with `code` and one readable line on stderr, which is returned.
    #[track_caller]
    pub fn failed(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self:?}");
        let line = self.err.strip_suffix('\n').unwrap_or_else(|| panic!("no line on stderr: {self:?}"));
        assert!(!line.contains(['\n', '\r', '\x1b']) && !line.trim().is_empty(), "not one plain line: {self:?}");
        assert!(!line.contains("panicked"), "{self:?}");
        line
    }
}

/// A command that runs and whose output is being collected.
pub struct Running {
    process: Process,
    out: thread::JoinHandle<Vec<u8>>,
    err: thread::JoinHandle<String>,
}

impl Running {
    pub fn start(mut command: Command, input: &[u8]) -> Self {
        command.stdin(Stdio::piped());
        let process = Process::spawn(&mut command);
        let (mut stdin, mut stdout, mut stderr) = {
            let mut child = process.child();
            (child.stdin.take().unwrap(), child.stdout.take().unwrap(), child.stderr.take().unwrap())
        };
        let input = input.to_vec();
        thread::spawn(move || {
            // It need not read what it is given.
            let _ = stdin.write_all(&input);
        });
        let out = thread::spawn(move || {
            let mut out = Vec::new();
            let _ = stdout.read_to_end(&mut out);
            out
        });
        let err = thread::spawn(move || {
            let mut err = Vec::new();
            let _ = stderr.read_to_end(&mut err);
            String::from_utf8_lossy(&err).into_owned()
        });
        Self { process, out, err }
    }

    pub fn process(&self) -> &Process {
        &self.process
    }

    pub fn finish(self) -> Finished {
        let code = self.process.wait().code();
        Finished { code, out: self.out.join().unwrap(), err: self.err.join().unwrap() }
    }
}

/// Runs the command with these arguments and nothing on stdin.
pub fn run(arguments: &[&dyn AsRef<OsStr>]) -> Finished {
    run_with(arguments, b"")
}

/// Runs the command with these arguments and this input.
pub fn run_with(arguments: &[&dyn AsRef<OsStr>], input: &[u8]) -> Finished {
    start(arguments, input).finish()
}

/// Starts the command with these arguments and this input.
pub fn start(arguments: &[&dyn AsRef<OsStr>], input: &[u8]) -> Running {
    let mut command = rave();
    command.args(arguments.iter().map(|argument| argument.as_ref()));
    Running::start(command, input)
}

#[derive(Default)]
struct Heard {
    replies: HashMap<u64, Value>,
    /// Replies without a number as their id.
    others: Vec<Value>,
    events: Vec<Value>,
    /// The ids of replies, in the order in which they came.
    order: Vec<u64>,
    ended: bool,
    err: String,
}

/// A `rave exec` process and the talk with it.
pub struct Exec {
    pub process: Process,
    input: Mutex<Option<ChildStdin>>,
    heard: Arc<(Mutex<Heard>, Condvar)>,
    next: AtomicU64,
}

impl Exec {
    pub fn start(db: &Path) -> Self {
        Self::with(db, &[])
    }

    pub fn with(db: &Path, options: &[&str]) -> Self {
        Self::of(rave(), db, options)
    }

    /// The same with a command that runs `rave`.
    pub fn of(mut command: Command, db: &Path, options: &[&str]) -> Self {
        let process = Process::spawn(command.stdin(Stdio::piped()).arg("exec").arg(db).args(options));
        let (input, output, errors) = {
            let mut child = process.child();
            (child.stdin.take(), child.stdout.take().unwrap(), child.stderr.take().unwrap())
        };
        let heard = Arc::new((Mutex::new(Heard::default()), Condvar::new()));
        let shared = heard.clone();
        thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                let Ok(line) = line else { break };
                let value: Value = match serde_json::from_str(&line) {
                    Ok(value) => value,
                    // A killed process may leave half a line.
                    Err(error) => json!({"event": "no JSON", "line": line, "error": error.to_string()}),
                };
                let mut heard = lock(&shared.0);
                if value.get("event").is_some() {
                    heard.events.push(value);
                } else if let Some(id) = value["id"].as_u64() {
                    heard.order.push(id);
                    let old = heard.replies.insert(id, value);
                    assert!(old.is_none(), "two replies to {id}");
                } else {
                    heard.others.push(value);
                }
                shared.1.notify_all();
            }
            lock(&shared.0).ended = true;
            shared.1.notify_all();
        });
        let shared = heard.clone();
        thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                let mut heard = lock(&shared.0);
                heard.err.push_str(&line);
                heard.err.push('\n');
            }
        });
        Self { process, input: Mutex::new(input), heard, next: AtomicU64::new(1) }
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Writes a line as it is. Whether the process still reads shows in the replies.
    pub fn line(&self, line: &[u8]) {
        if let Some(input) = lock(&self.input).as_mut() {
            let mut bytes = line.to_vec();
            bytes.push(b'\n');
            let _ = input.write_all(&bytes);
        }
    }

    /// Sends a request under a fresh id.
    pub fn send(&self, mut request: Value) -> u64 {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        request["id"] = json!(id);
        self.line(request.to_string().as_bytes());
        id
    }

    /// No more requests will come.
    pub fn end_input(&self) {
        lock(&self.input).take();
    }

    /// The reply to request `id`; nothing if the process ended without one.
    pub fn reply(&self, id: u64) -> Option<Value> {
        self.hear(&format!("request {id} of process {} is answered", self.pid()), |heard| {
            heard.replies.remove(&id).map(Some).or(heard.ended.then_some(None))
        })
    }

    /// The next reply whose id is no number.
    pub fn other(&self) -> Value {
        self.hear("there is a reply without an id", |heard| (!heard.others.is_empty()).then(|| heard.others.remove(0)))
    }

    fn hear<T>(&self, what: &str, mut condition: impl FnMut(&mut Heard) -> Option<T>) -> T {
        let start = Instant::now();
        let mut heard = lock(&self.heard.0);
        loop {
            if let Some(value) = condition(&mut heard) {
                return value;
            }
            let left = DEADLINE.checked_sub(start.elapsed());
            let left = left.unwrap_or_else(|| panic!("waited too long until {what}; stderr: {}", heard.err));
            heard = self.heard.1.wait_timeout(heard, left).unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }

    /// Sends and waits; the process must live, but may refuse.
    #[track_caller]
    pub fn ask(&self, request: Value) -> Value {
        let id = self.send(request.clone());
        self.reply(id).unwrap_or_else(|| panic!("no reply to {request}; stderr: {}", lock(&self.heard.0).err))
    }

    /// Sends and waits; the reply must be good.
    #[track_caller]
    pub fn ok(&self, request: Value) -> Value {
        let reply = self.ask(request.clone());
        assert_eq!(reply["ok"], true, "{request} got {reply}");
        reply
    }

    /// Sends and waits; the request must be refused. Gives the error's code.
    #[track_caller]
    pub fn refused(&self, request: Value) -> String {
        let reply = self.ask(request.clone());
        error_code(&reply).unwrap_or_else(|| panic!("{request} got {reply}"))
    }

    pub fn put(&self, key: &str, value: &str) {
        self.ok(json!({"op": "put", "key": key, "value": value}));
    }

    pub fn get(&self, key: &str) -> Option<String> {
        self.ok(json!({"op": "get", "key": key}))["value"].as_str().map(str::to_owned)
    }

    /// Its role as it says; nothing if it has ended.
    pub fn role(&self) -> Option<String> {
        let reply = self.reply(self.send(json!({"op": "role"})))?;
        Some(reply["role"].as_str().unwrap_or_else(|| panic!("no role: {reply}")).to_owned())
    }

    pub fn leads(&self) -> bool {
        self.role().as_deref() == Some("leader")
    }

    pub fn wait_until_leader(&self) {
        eventually("a process leads", || self.leads().then_some(()));
    }

    /// Waits for an event like this that was not waited for before, and forgets those before it.
    pub fn event(&self, name: &str) -> Value {
        self.hear(&format!("the event {name} comes"), |heard| {
            let position = heard.events.iter().position(|event| event["event"] == name)?;
            heard.events.drain(..=position).next_back()
        })
    }

    /// Whether such an event has come.
    pub fn heard(&self, name: &str) -> bool {
        lock(&self.heard.0).events.iter().any(|event| event["event"] == name)
    }

    /// The ids of the replies so far, in order.
    pub fn order(&self) -> Vec<u64> {
        lock(&self.heard.0).order.clone()
    }

    pub fn stderr(&self) -> String {
        lock(&self.heard.0).err.clone()
    }

    /// All replies so far and to come, once the process has ended by itself.
    pub fn wait_ended(&self) -> ExitStatus {
        let status = self.process.wait();
        self.hear("the output ends", |heard| heard.ended.then_some(()));
        status
    }

    /// Leaves in good order.
    pub fn close(&self) {
        self.ok(json!({"op": "close"}));
        let status = self.wait_ended();
        assert!(status.success(), "{status}: {}", self.stderr());
    }
}

/// The code of a reply that is an error of the right shape.
pub fn error_code(reply: &Value) -> Option<String> {
    let error = reply.get("error")?;
    assert!(reply.get("ok").is_none(), "{reply}");
    let code = error["code"].as_str()?;
    assert!(code.starts_with("LEVEL_"), "{reply}");
    assert!(!error["message"].as_str()?.is_empty(), "{reply}");
    assert!(matches!(error["effect"].as_str()?, "none" | "unknown"), "{reply}");
    Some(code.to_owned())
}

/// Some `exec` processes on one database, of which the dead are replaced.
pub struct Group {
    db: PathBuf,
    options: Vec<&'static str>,
    slots: Vec<Mutex<Arc<Exec>>>,
}

impl Group {
    pub fn start(db: &Path, size: usize, options: &[&'static str]) -> Self {
        let slots = (0..size).map(|_| Mutex::new(Arc::new(Exec::with(db, options)))).collect();
        Self { db: db.to_owned(), options: options.to_vec(), slots }
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn member(&self, slot: usize) -> Arc<Exec> {
        lock(&self.slots[slot]).clone()
    }

    /// The successor of a member that was killed.
    pub fn successor(&self, slot: usize, of: &Arc<Exec>) -> Arc<Exec> {
        eventually("a killed process is replaced", || {
            let now = self.member(slot);
            (!Arc::ptr_eq(&now, of)).then_some(now)
        })
    }

    /// The slot of the leader, once there is one.
    pub fn leader(&self) -> usize {
        eventually("a process leads", || (0..self.len()).find(|slot| self.member(*slot).leads()))
    }

    /// Kills the leader and puts a fresh process in its place. Gives its slot.
    pub fn kill_leader(&self) -> usize {
        let slot = self.leader();
        self.member(slot).process.kill();
        *lock(&self.slots[slot]) = Arc::new(Exec::with(&self.db, &self.options));
        slot
    }
}
