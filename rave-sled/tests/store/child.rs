//! Processes that tests start, which are this same program, and kill.

use std::{
    env,
    io::{BufRead, BufReader, Lines, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

const PATH: &str = "RAVE_SLED_TEST_PATH";
const SMALL: &str = "RAVE_SLED_TEST_SMALL";
/// In front of what a child tells, among what the test harness prints.
const MARK: &str = "child: ";

/// The directory that this process was started for, if it is a child, and whether its segments are small.
pub fn role() -> Option<(PathBuf, bool)> {
    Some((env::var_os(PATH)?.into(), env::var_os(SMALL).is_some()))
}

/// Tells the parent a line. It is with the operating system when this returns.
pub fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{MARK}{line}\n").as_bytes()).and_then(|()| out.flush()).expect("the parent listens");
}

/// A child; killed when this is dropped.
pub struct Running {
    child: Child,
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    /// Runs the test `name` of this program as a process for the directory `path`.
    pub fn start(name: &str, path: &Path, small: bool) -> Self {
        Self::start_by(Command::new(env::current_exe().unwrap()), name, path, small)
    }

    /// The same by a command that ends by running this program with its arguments.
    pub fn start_by(mut command: Command, name: &str, path: &Path, small: bool) -> Self {
        command.args(["--exact", name, "--nocapture"]).env(PATH, path);
        if small {
            command.env(SMALL, "1");
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        Self { child, input, lines: BufReader::new(output).lines() }
    }

    /// The next line that it tells; `None` when it has ended.
    pub fn line(&mut self) -> Option<String> {
        self.lines.by_ref().find_map(|line| line.unwrap().split_once(MARK).map(|(_, told)| told.to_owned()))
    }

    /// Gives it a line to read.
    pub fn order(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Ends it with SIGKILL, and does not wait for that. What it told before can still be read.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
