//! A host with good company: processes that must not notice what a bad peer does beside them.

use super::{Dir, Exec, Process, rave, wire::*};
use nix::sys::signal::Signal;
use serde_json::json;
use std::{
    ffi::OsString,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

/// What every stage holds, beside the key that [`Stage::check`] writes.
pub const ENTRIES: [(&str, &str); 3] = [("a", "1"), ("b", "2"), ("c", "3")];

enum Host {
    /// Elected, at the socket of its directory.
    Leader(Exec),
    /// `rave host`.
    Hosted(Process),
}

/// A host, a native guest and a guest that speaks as JavaScript does.
pub struct Stage {
    pub name: &'static str,
    host: Host,
    socket: PathBuf,
    native: Exec,
    legacy: Peer,
    rounds: u64,
    dir: Dir,
}

impl Stage {
    /// One of each kind.
    pub fn all() -> [Self; 3] {
        [
            Self::led(),
            Self::hosted("host", |dir| vec![dir.db().into()]),
            Self::hosted("host --store memory", |_| vec!["--store".into(), "memory".into()]),
        ]
    }

    /// A leader.
    pub fn led() -> Self {
        let dir = Dir::new();
        let leader = Exec::start(&dir.db());
        leader.event("leader");
        let socket = dir.db().join("rave-level.sock");
        let native = Exec::start(&dir.db());
        Self::new("leader", dir, Host::Leader(leader), socket, native)
    }

    fn hosted(name: &'static str, arguments: impl FnOnce(&Dir) -> Vec<OsString>) -> Self {
        let dir = Dir::new();
        let socket = dir.join("s");
        let address = format!("unix:{}", socket.display());
        let mut command = rave();
        command
            .arg("host")
            .args(arguments(&dir))
            .args(["--listen", &address])
            .stderr(File::create(dir.join("stderr")).unwrap());
        let process = Process::spawn(&mut command);
        let mut line = String::new();
        BufReader::new(process.stdout()).read_line(&mut line).unwrap();
        assert_eq!(line, format!("listening at {address}\n"));
        let native = Exec::start(Path::new(&address));
        Self::new(name, dir, Host::Hosted(process), socket, native)
    }

    fn new(name: &'static str, dir: Dir, host: Host, socket: PathBuf, native: Exec) -> Self {
        native.event("following");
        for (key, value) in ENTRIES {
            native.put(key, value);
        }
        let legacy = Peer::connect(&socket);
        Self { name, host, socket, native, legacy, rounds: 0, dir }
    }

    /// A new connection.
    pub fn dial(&self) -> Peer {
        Peer::connect(&self.socket)
    }

    pub fn pid(&self) -> u32 {
        match &self.host {
            Host::Leader(exec) => exec.pid(),
            Host::Hosted(process) => process.pid(),
        }
    }

    /// A guest that is no hostile one.
    pub fn native(&self) -> &Exec {
        &self.native
    }

    /// The same process still hosts, it holds what it held, and whoever was connected is served as before.
    #[track_caller]
    pub fn check(&mut self, after: &str) {
        let after = format!("{} after {after}", self.name);
        self.rounds += 1;
        let round = self.rounds.to_string();
        self.native.put("round", &round);
        let role = self.native.ok(json!({"op": "role"}));
        assert_eq!(role["leader_pid"], self.pid(), "{after}: {role}");
        assert_eq!(self.native.get("b").as_deref(), Some("2"), "{after}");
        let expected = ENTRIES.into_iter().chain([("round", round.as_str())]);
        let expected: Vec<Vec<u8>> = expected.flat_map(|(key, value)| [key.into(), value.into()]).collect();
        assert_eq!(self.scan(&after), expected, "{after}");
    }

    /// Everything that the legacy guest sees, keys and values alternating.
    fn scan(&mut self, after: &str) -> Vec<Vec<u8>> {
        let (id, mut seen) = (self.rounds, Vec::new());
        self.legacy.send(&open(id, &range(b"")));
        loop {
            let message = self.legacy.hear().unwrap_or_else(|| panic!("{after}: the legacy guest was cut off"));
            assert_eq!(message.id(), id, "{after}: {message:?}");
            match message.tag {
                ITERATOR_DATA => seen.extend(message.all(3).into_iter().map(<[u8]>::to_vec)),
                ITERATOR_END => break,
                _ => panic!("{after}: {message:?}"),
            }
            self.legacy.send(&ack(id, 0, seen.len() as u64 / 2));
        }
        self.legacy.send(&close(id));
        seen
    }

    /// The host leaves in good order, whoever is connected.
    pub fn end(self) {
        let said = match self.host {
            Host::Leader(leader) => {
                leader.close();
                leader.stderr()
            }
            Host::Hosted(process) => {
                process.signal(Signal::SIGTERM);
                let status = process.wait();
                assert!(status.success(), "{}: {status}", self.name);
                fs::read_to_string(self.dir.join("stderr")).unwrap()
            }
        };
        assert!(!said.contains("panicked"), "{}: {said}", self.name);
    }

    /// Bytes of memory that the host's process has, where the system tells.
    pub fn resident(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
    }
}
