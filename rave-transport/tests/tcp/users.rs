//! Processes of another user on the same machine. Only root can start them.

use super::{connect, local, meet, nobody_home, refusal, talk};
use rave_transport::{Access, Connect, TcpAddress, TcpTransport, Token, Tokens, Transport as _};
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

const NOBODY: u32 = 65534;

/// This test `role` as a process of another user, which is told this; `None` if this process may not start one.
fn as_nobody(role: &str, told: &str) -> Option<(TempDir, Child)> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can start a process of another user");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = directory.path().join("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(program);
    command.args(["--exact", role, "--ignored", "--nocapture"]).env("RAVE_TEST_TOLD", told);
    command.uid(NOBODY).gid(NOBODY).current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped());
    Some((directory, command.spawn().unwrap()))
}

/// What follows the word in what the child prints.
fn hear(child: &mut Child, word: &str) -> String {
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let told = lines.map_while(Result::ok).find_map(|line| line.strip_prefix(word).map(str::to_owned));
    told.unwrap_or_else(|| panic!("the child does not say {word}"))
}

fn told() -> Option<String> {
    std::env::var("RAVE_TEST_TOLD").ok()
}

#[tokio::test]
async fn another_users_guest_is_turned_away_unless_it_has_a_token() {
    let token = Token::generate().unwrap();
    let (open, guarded) = (local(), local().tokens(Tokens::new().with("x", Access::ReadOnly, &token).unwrap()));
    let mut listener = open.listen().await.unwrap();
    let _guarded_listener = guarded.listen().await.unwrap();
    let places = [open.address(), guarded.address(), token.reveal().to_owned()].join(" ");
    let Some((_directory, mut child)) = as_nobody("users::child_that_connects", &places) else { return };
    let heard = tokio::task::spawn_blocking(move || {
        let heard = hear(&mut child, "heard: ");
        assert!(child.wait().unwrap().success());
        heard
    });
    let heard = heard.await.unwrap();
    assert!(heard.contains("only processes of its own user"), "{heard}");
    talk(meet(&open, &mut listener).await).await;
}

#[tokio::test]
#[ignore = "runs in a process of its own"]
async fn child_that_connects() {
    let Some(told) = told() else { return };
    let [open, guarded, token] = told.split(' ').collect::<Vec<_>>()[..] else { panic!("{told}") };
    let at = |place: &str| TcpTransport::at(place.strip_prefix("tcp:").unwrap().parse::<TcpAddress>().unwrap());
    // Root's host is trusted; it does not trust this guest.
    println!("\nheard: {}", refusal(&at(open)).await);
    let guest = at(guarded).token(Token::new(token).unwrap());
    assert!(matches!(connect(&guest).await.unwrap(), Connect::Connected(_)));
}

#[tokio::test]
async fn another_users_host_gets_nothing_not_even_a_token() {
    let Some((_directory, mut child)) = as_nobody("users::child_that_listens", "") else { return };
    let port = hear(&mut child, "port: ").parse().unwrap();
    let guest = TcpTransport::at(TcpAddress::new("127.0.0.1", port)).token(Token::generate().unwrap());
    let text = refusal(&guest).await;
    assert!(text.contains("a process of user 65534 listens"), "{text}");
    drop(child.stdin.take());
    let got = hear(&mut child, "got: ");
    assert_eq!(got, "0", "bytes behind the greeting");
    assert!(child.wait().unwrap().success());
    assert!(nobody_home(&guest.clone()).await);
}

/// Pretends to be a host, and keeps what it gets.
#[test]
#[ignore = "runs in a process of its own"]
fn child_that_listens() {
    if told().is_none() {
        return;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    println!("\nport: {}", listener.local_addr().unwrap().port());
    std::io::stdout().flush().unwrap();
    let (mut guest, _) = listener.accept().unwrap();
    drop(listener);
    let mut greeting = [0; 5];
    guest.read_exact(&mut greeting).unwrap();
    guest.write_all(&greeting).unwrap();
    let mut rest = Vec::new();
    // It may be cut off.
    let _ = guest.read_to_end(&mut rest);
    println!("\ngot: {}", rest.len());
    std::io::stdout().flush().unwrap();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}
