//! The JavaScript process with its databases, and guests of them.

use rave_level::{Builder, RaveLevel, transport::IpcTransport};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How long a check may take before it counts as hung.
const DEADLINE: Duration = Duration::from_secs(120);

/// Which module hosts, and over which store.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub host: &'static str,
    pub store: &'static str,
}

impl Kind {
    /// Whether the store outlives its process.
    pub fn is_permanent(self) -> bool {
        self.store != "memory"
    }
}

/// A process of `host.mjs`. It ends with its stdin, so also when this process is killed.
pub struct Node(Mutex<Process>);

struct Process {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Node {
    fn start(complaints: Stdio) -> Arc<Self> {
        let folder = std::env::var_os("RAVE_INTEROP_JAVASCRIPT");
        let folder = PathBuf::from(folder.expect("these tests are run by `cargo xtask interop conformance`"));
        let mut command = Command::new("node");
        command.arg(folder.join("host.mjs")).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(complaints);
        let mut child = command.spawn().expect("starting node");
        let commands = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Arc::new(Self(Mutex::new(Process { child, commands, answers })))
    }

    /// The one that serves all cases that leave it alive.
    pub fn shared() -> Arc<Self> {
        static SHARED: LazyLock<Arc<Node>> = LazyLock::new(|| Node::start(Stdio::inherit()));
        SHARED.clone()
    }

    /// One that may crash. What it says then is of no interest.
    pub fn doomed() -> Arc<Self> {
        Self::start(Stdio::null())
    }

    /// Has it do something; `None` if it has crashed.
    fn ask(&self, command: &Value) -> Option<Value> {
        let mut process = self.lock();
        let mut line = String::new();
        writeln!(process.commands, "{command}").ok()?;
        process.answers.read_line(&mut line).ok()?;
        serde_json::from_str(&line).ok()
    }

    fn has_ended(&self) -> bool {
        self.lock().child.try_wait().unwrap().is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Process> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Ok(process) = self.0.get_mut() {
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
}

/// A fresh database that a JavaScript process serves. It ends when this is dropped.
pub struct Database {
    pub kind: Kind,
    /// What guests need to find it.
    pub address: PathBuf,
    node: Arc<Node>,
    folder: Arc<tempfile::TempDir>,
}

impl Database {
    pub fn open(node: Arc<Node>, kind: Kind) -> Self {
        Self::open_in(Arc::new(tempfile::tempdir().unwrap()), node, kind)
    }

    fn open_in(folder: Arc<tempfile::TempDir>, node: Arc<Node>, kind: Kind) -> Self {
        let Kind { host, store } = kind;
        let command = json!({ "do": "open", "directory": folder.path(), "host": host, "store": store });
        let opened = node.ask(&command).expect("the JavaScript process is gone");
        Self { kind, address: opened["address"].as_str().unwrap().into(), node, folder }
    }

    /// The same place, served by another process.
    pub fn again(&self, node: Arc<Node>) -> Self {
        Self::open_in(self.folder.clone(), node, self.kind)
    }

    /// Waits until the process has ended by itself.
    pub async fn crashed(&self) {
        while !self.node.has_ended() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// One of `host.mjs`'s commands.
    pub fn ask(&self, what: &str) {
        let command = json!({ "do": what, "directory": self.folder.path() });
        self.node.ask(&command).expect("the JavaScript process is gone");
    }

    /// Ends all connections.
    pub fn cut(&self) {
        self.ask("cut");
    }

    pub async fn guest(&self) -> RaveLevel {
        self.builder().open().await.unwrap()
    }

    /// A guest of it that is not open yet.
    pub fn builder(&self) -> Builder {
        Builder::guest(IpcTransport::at(&self.address).unwrap())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let command = json!({ "do": "close", "directory": self.folder.path() });
        let _ = self.node.ask(&command);
    }
}

/// Runs a check on a fresh database of that kind.
pub fn run(kind: Kind, check: impl AsyncFnOnce(Arc<Database>)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let database = Arc::new(Database::open(Node::shared(), kind));
        tokio::time::timeout(DEADLINE, check(database)).await.expect("the check hangs");
    });
}
