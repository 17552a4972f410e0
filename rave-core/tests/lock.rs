//! The file lock against other processes: ours, `flock` users, and `fcntl` users such as LevelDB in C++.
#![cfg(target_os = "linux")]

use nix::{
    fcntl::{FcntlArg, fcntl},
    libc,
};
use rave_core::{Code, FileLock, FileLockAttempt};
use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Read},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

const KIND: &str = "RAVE_TEST_LOCK_KIND";
const FILE: &str = "RAVE_TEST_LOCK_FILE";

fn acquire(path: &Path) -> FileLock {
    match FileLock::try_acquire(path).unwrap() {
        FileLockAttempt::Acquired(lock) => lock,
        held => panic!("{held:?}"),
    }
}

fn holder(path: &Path) -> Option<u32> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match FileLock::try_acquire(path).unwrap() {
            FileLockAttempt::Acquired(_) => panic!("the lock was free"),
            // The kernel's list is not read in one piece, so a line can be missed while other locks come and go.
            FileLockAttempt::Held { holder: None } if Instant::now() < deadline => {}
            FileLockAttempt::Held { holder } => return holder,
        }
    }
}

fn wait_until_free(path: &Path) -> FileLock {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let FileLockAttempt::Acquired(lock) = FileLock::try_acquire(path).unwrap() {
            return lock;
        }
        assert!(Instant::now() < deadline, "the lock was not released");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn classic_lock(file: &File) -> nix::Result<i32> {
    let lock = libc::flock { l_type: libc::F_WRLCK as i16, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };
    fcntl(file, FcntlArg::F_SETLK(&lock))
}

/// Not a test: what the other process does. It takes the lock of a kind, says whether it got it, and holds it until its
/// standard input ends.
#[test]
fn other_process() {
    let (Ok(kind), Some(path)) = (std::env::var(KIND), std::env::var_os(FILE)) else { return };
    let path = PathBuf::from(path);
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
    let mut ours = None;
    let taken = match kind.as_str() {
        "classic" => classic_lock(&file).is_ok(),
        "flock" => file.try_lock().is_ok(),
        _ => match FileLock::try_acquire(&path).unwrap() {
            FileLockAttempt::Acquired(lock) => ours.insert(lock).check_owner().is_ok(),
            FileLockAttempt::Held { .. } => false,
        },
    };
    println!("\nlock {}", if taken { "taken" } else { "refused" });
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    drop((ours, file));
}

struct Other {
    child: Child,
    taken: bool,
}

impl Other {
    fn start(kind: &str, path: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "other_process", "--nocapture", "--test-threads=1"])
            .env(KIND, kind)
            .env(FILE, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = lines.find_map(|line| line.unwrap().strip_prefix("lock ").map(str::to_owned)).unwrap();
        // What it says at its end is not waited for.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, taken: said == "taken" }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[test]
fn every_kind_of_lock_excludes_ours_and_is_released_by_sigkill() {
    for kind in ["classic", "flock", "ours"] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("LOCK");
        let other = Other::start(kind, &path);
        assert!(other.taken);
        // Several times: an attempt must not damage what it met.
        for _ in 0..3 {
            assert_eq!(holder(&path), Some(other.child.id()), "{kind}");
        }
        other.kill();
        drop(wait_until_free(&path));
    }
}

#[test]
fn our_lock_excludes_every_kind_until_it_is_dropped() {
    for kind in ["classic", "flock", "ours"] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("LOCK");
        let lock = acquire(&path);
        assert_eq!(holder(&path), Some(std::process::id()));
        // The failed attempt in this process closed a descriptor of the file, which must not have released anything.
        assert!(!Other::start(kind, &path).taken, "{kind}");
        drop(lock);
        assert!(Other::start(kind, &path).taken, "{kind}");
        drop(wait_until_free(&path));
    }
}

#[test]
fn a_failed_attempt_leaves_neither_half_behind() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("LOCK");
    let other = Other::start("flock", &path);
    assert!(other.taken);
    assert!(holder(&path).is_some());
    // The fcntl half was taken before flock was refused.
    let classic = Other::start("classic", &path);
    assert!(classic.taken);
}

#[test]
fn one_of_many_wins() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("LOCK");
    let won: Vec<_> = std::thread::scope(|scope| {
        let attempts: Vec<_> = (0..8).map(|_| scope.spawn(|| FileLock::try_acquire(&path).unwrap())).collect();
        attempts.into_iter().map(|attempt| attempt.join().unwrap()).collect()
    });
    let acquired = won.iter().filter(|attempt| matches!(attempt, FileLockAttempt::Acquired(_))).count();
    assert_eq!(acquired, 1);
    drop(won);
    acquire(&path);
}

#[test]
fn the_file_is_private_kept_and_never_changed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("LOCK");
    let lock = acquire(&path);
    assert_eq!(lock.path(), path);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    lock.check_owner().unwrap();
    drop(lock);
    fs::write(&path, "content").unwrap();
    drop(acquire(&path));
    assert_eq!(fs::read(&path).unwrap(), b"content");
}

#[test]
fn a_deleted_lock_file_is_not_mistaken_for_the_one_at_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("LOCK");
    let first = acquire(&path);
    fs::remove_file(&path).unwrap();
    let second = acquire(&path);
    assert_eq!(holder(&path), Some(std::process::id()));
    drop(first);
    assert_eq!(holder(&path), Some(std::process::id()));
    drop(second);
}

#[test]
fn a_lock_on_a_file_that_is_being_deleted_is_worth_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("LOCK");
    let inside = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let FileLockAttempt::Acquired(_lock) = FileLock::try_acquire(&path).unwrap() else { continue };
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two hold the lock");
                    std::thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    fs::remove_file(&path).unwrap();
                }
            });
        }
    });
}

#[test]
fn what_is_no_lock_file_is_an_error_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing").join("LOCK");
    let folder = directory.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let link = directory.path().join("link");
    symlink(directory.path().join("target"), &link).unwrap();
    let pipe = directory.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for path in [missing, folder, link, pipe] {
        let error = FileLock::try_acquire(&path).unwrap_err();
        assert_eq!(error.code(), Code::Io);
        assert!(error.message().contains(path.to_str().unwrap()), "{error}");
    }
    assert!(!directory.path().join("target").exists(), "the link was followed");
}
