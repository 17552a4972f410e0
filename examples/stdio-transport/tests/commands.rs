//! Commands that do not do as they should, and what becomes of them.
#![cfg(unix)]

use rave_level::{
    Builder, Code, Result,
    transport::{Connect, Transport},
};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};
use stdio_transport::StdioTransport;
use tokio::time::sleep;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A shell that does this; the first argument of the script is `file`.
fn shell(script: &str, file: &Path) -> StdioTransport {
    StdioTransport::new(["sh".as_ref(), "-c".as_ref(), script.as_ref(), "-".as_ref(), file.as_os_str()])
}

async fn error(transport: &StdioTransport) -> String {
    let outcome = transport.connect().await;
    let error = outcome.expect_err("connecting must fail");
    assert_eq!(error.code(), Code::Io);
    error.to_string()
}

/// The process that told its id in this file.
async fn process(file: &Path) -> String {
    let start = Instant::now();
    loop {
        match fs::read_to_string(file) {
            Ok(pid) if pid.ends_with('\n') => return pid.trim().to_owned(),
            _ => assert!(start.elapsed() < PATIENCE, "the command did not start"),
        }
        sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until a process has ended and somebody has waited for it.
async fn until_gone(pid: &str) {
    let start = Instant::now();
    // Sends nothing; fails if there is no such process, not even a zombie.
    while std::process::Command::new("kill").args(["-0", pid]).output().unwrap().status.success() {
        assert!(start.elapsed() < PATIENCE, "process {pid} is still there");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_cannot_be_started_is_named() {
    let error = error(&StdioTransport::new(["no-such-program", "db"])).await;
    assert!(error.contains("starting the command `no-such-program db`: No such file"), "{error}");
    let empty: [&str; 0] = [];
    StdioTransport::new(empty).connect().await.unwrap_err();
}

#[tokio::test]
async fn what_the_command_said_is_told() {
    let wrong_host_key = shell("echo Host key verification failed. >&2; exit 255", Path::new("db"));
    let error = error(&wrong_host_key).await;
    assert!(error.contains("ended before it reached a database (exit status: 255)"), "{error}");
    assert!(error.contains("it said: Host key verification failed."), "{error}");
    // Opening tells the same, at once.
    let opening = Builder::guest(wrong_host_key).open_timeout(PATIENCE).open().await.unwrap_err();
    assert!(opening.to_string().contains("it said: Host key verification failed."), "{opening}");
}

#[tokio::test]
async fn however_much_it_said() {
    let error = error(&shell("yes nonsense | head -c 1000000 >&2; echo the end >&2; exit 1", Path::new("db"))).await;
    // The command itself is in the error too, so only the end tells.
    assert!(error.ends_with("the end (LEVEL_IO_ERROR)") && error.len() < 3000, "{error}");
}

#[tokio::test]
async fn a_shell_that_prints_is_told_from_a_database() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let error = error(&shell("echo $$ >\"$1\"; echo Welcome to example.org; exec sleep 600", &file)).await;
    assert!(error.contains("printed \"Welcome to example.org\\n\""), "{error}");
    assert!(error.contains("may print"), "{error}");
    until_gone(&process(&file).await).await;
}

#[tokio::test]
async fn silence_ends() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let silent = shell("echo $$ >\"$1\"; echo Password? >&2; exec sleep 600", &file);
    let error = error(&silent.patience(Duration::from_millis(500))).await;
    assert!(error.contains("has reached no database within 500ms; it said: Password?"), "{error}");
    until_gone(&process(&file).await).await;
}

#[tokio::test]
async fn nobody_there_at_the_moment_is_no_error() {
    let outcome = shell("exit 75", Path::new("db")).connect().await;
    assert!(matches!(outcome, Ok(Connect::NobodyHome)), "{outcome:?}");
}

const GREETS_AND_STAYS: &str = "echo $$ >\"$1\"; echo rave-stdio 1; exec sleep 600";

#[tokio::test]
async fn the_command_ends_with_its_connection() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let Connect::Connected(connection) = shell(GREETS_AND_STAYS, &file).connect().await.unwrap() else {
        panic!("it greets")
    };
    let pid = process(&file).await;
    drop(connection.writer);
    assert!(fs::exists(format!("/proc/{pid}")).unwrap() || !fs::exists("/proc").unwrap());
    drop(connection.reader);
    until_gone(&pid).await;
}

#[tokio::test]
async fn the_command_ends_with_an_attempt_that_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let silent = shell("echo $$ >\"$1\"; exec sleep 600", &file);
    let pid = tokio::select! {
        outcome = silent.connect() => panic!("{outcome:?}"),
        pid = process(&file) => pid,
    };
    until_gone(&pid).await;
}

/// What opening a guest comes to, where the far end greets and then does this.
async fn opening(then: &str) -> Result<()> {
    let hostile = shell(&format!("echo rave-stdio 1; {then}"), Path::new("db"));
    Builder::guest(hostile).open_timeout(Duration::from_secs(2)).open().await.map(drop)
}

#[tokio::test]
async fn nonsense_behind_the_greeting_is_no_database() {
    for nonsense in ["exec cat /dev/urandom", "exec yes", "exec cat /dev/zero", "exec sleep 600", "exit 0", "exec cat"]
    {
        let error = opening(nonsense).await.expect_err(nonsense);
        assert_eq!(error.code(), Code::DatabaseFailedOpen, "{nonsense}: {error}");
    }
}

#[tokio::test]
async fn nobody_can_listen_there() {
    let error = shell("", Path::new("db")).listen().await.err().unwrap();
    assert_eq!(error.code(), Code::NotSupported);
    assert!(error.to_string().contains("Builder::guest"), "{error}");
}
