//! Real sockets, and what people and processes leave at their paths.
#![cfg(all(unix, feature = "ipc"))]

use rave_core::Code;
use rave_transport::{Connect, Connection, IpcTransport, Listener, Transport};
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink},
        net::{UnixListener, UnixStream},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(60);
const NOBODY: u32 = 65534;

fn directory() -> (TempDir, IpcTransport, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let transport = IpcTransport::for_directory(directory.path()).unwrap();
    let socket = directory.path().join("rave-level.sock");
    (directory, transport, socket)
}

async fn connected(transport: &IpcTransport) -> Connection {
    match timeout(DEADLINE, transport.connect()).await.unwrap().unwrap() {
        Connect::Connected(connection) => connection,
        Connect::NobodyHome => panic!("nobody home at {}", transport.address()),
    }
}

async fn nobody_home(transport: &IpcTransport) -> bool {
    matches!(transport.connect().await.unwrap(), Connect::NobodyHome)
}

/// Connects, and checks that it is this listener that is reached and that bytes pass both ways.
async fn meet(transport: &IpcTransport, listener: &mut Box<dyn Listener>) {
    let mut guest = connected(transport).await;
    let mut host = timeout(DEADLINE, listener.accept()).await.unwrap().unwrap();
    assert_eq!(guest.peer.pid, Some(std::process::id()));
    assert_eq!(host.peer.pid, Some(std::process::id()));
    guest.writer.write_all(b"ping").await.unwrap();
    assert_eq!(host.reader.read_u32().await.unwrap().to_be_bytes(), *b"ping");
    host.writer.write_all(b"pong").await.unwrap();
    assert_eq!(guest.reader.read_u32().await.unwrap().to_be_bytes(), *b"pong");
    drop(host);
    assert_eq!(timeout(DEADLINE, guest.reader.read(&mut [0])).await.unwrap().unwrap(), 0, "dropping ends it");
}

#[tokio::test]
async fn guests_meet_the_host_and_find_nobody_after_it() {
    let (directory, transport, socket) = directory();
    assert!(nobody_home(&transport).await);
    let mut listener = transport.listen().await.unwrap();
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(transport.address(), socket.canonicalize().unwrap().display().to_string());
    meet(&transport, &mut listener).await;
    meet(&transport, &mut listener).await;
    listener.close().await.unwrap();
    assert!(!socket.exists());
    assert!(nobody_home(&transport).await);

    drop(transport.listen().await.unwrap());
    assert!(!socket.exists(), "dropping a listener closes it");
    drop(directory);
    assert!(nobody_home(&transport).await, "no directory, nobody home");
    assert_eq!(transport.listen().await.err().unwrap().code(), Code::Io);
}

#[tokio::test]
async fn all_spellings_of_a_directory_meet() {
    let (directory, transport, _) = directory();
    let real = directory.path().join("real");
    let link = directory.path().join("link");
    symlink(&real, &link).unwrap();
    let spelled = directory.path().join("real/../link/.");
    let early = IpcTransport::for_directory(&spelled).unwrap();
    fs::create_dir(&real).unwrap();
    let mut listener = IpcTransport::for_directory(&real).unwrap().listen().await.unwrap();
    meet(&early, &mut listener).await;
    meet(&IpcTransport::for_directory(&link).unwrap(), &mut listener).await;
    meet(&IpcTransport::at(real.join("rave-level.sock")).unwrap(), &mut listener).await;
    assert!(nobody_home(&transport).await, "the directory above is another one");
}

#[tokio::test]
async fn a_dead_leaders_socket_is_replaced() {
    let (_directory, transport, socket) = directory();
    drop(UnixListener::bind(&socket).unwrap());
    assert!(socket.exists());
    assert!(nobody_home(&transport).await);
    let mut listener = transport.listen().await.unwrap();
    meet(&transport, &mut listener).await;
}

#[tokio::test]
async fn an_old_listener_leaves_a_later_ones_socket_alone() {
    let (_directory, transport, socket) = directory();
    for close in [true, false] {
        let old = transport.listen().await.unwrap();
        let mut new = transport.listen().await.unwrap();
        if close {
            old.close().await.unwrap();
        } else {
            drop(old);
        }
        assert!(socket.exists());
        meet(&transport, &mut new).await;
    }
}

/// Whether somebody at the socket sends back what it gets.
async fn is_served(transport: &IpcTransport) -> bool {
    let Ok(Connect::Connected(mut guest)) = transport.connect().await else { return false };
    let echoed = async {
        guest.writer.write_all(b"ping").await?;
        guest.reader.read_u32().await
    };
    matches!(timeout(Duration::from_millis(100), echoed).await, Ok(Ok(echo)) if echo.to_be_bytes() == *b"ping")
}

#[tokio::test]
async fn a_socket_that_was_taken_away_is_made_again() {
    let (_directory, transport, socket) = directory();
    let mut listener = transport.listen().await.unwrap();
    let (stop, mut stopped) = tokio::sync::oneshot::channel();
    let serving = tokio::spawn(async move {
        let mut kept = Vec::new();
        loop {
            let mut host = tokio::select! {
                host = listener.accept() => host.unwrap(),
                _ = &mut stopped => return listener,
            };
            if let Ok(word) = host.reader.read_u32().await {
                host.writer.write_u32(word).await.unwrap();
            }
            kept.push(host);
        }
    });
    assert!(is_served(&transport).await);
    for taken in [false, true] {
        fs::remove_file(&socket).unwrap();
        // What a dead process has left.
        drop(taken.then(|| UnixListener::bind(&socket).unwrap()));
        assert!(!is_served(&transport).await);
        let served_again = async {
            while !is_served(&transport).await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(DEADLINE, served_again).await.unwrap();
        assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    }
    stop.send(()).unwrap();
    serving.await.unwrap().close().await.unwrap();
    assert!(!socket.exists(), "the new socket is taken down too");
}

/// Lets the listener's watch look at least twice.
async fn watched(listener: &mut Box<dyn Listener>) {
    assert!(timeout(Duration::from_millis(1200), listener.accept()).await.is_err(), "nobody dials");
}

#[tokio::test]
async fn the_socket_of_another_database_at_the_same_path_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let (db, moved) = (root.path().join("db"), root.path().join("moved"));
    for gone in [
        |db: &Path, moved: &Path| fs::rename(db, moved).unwrap(),
        |db: &Path, _: &Path| {
            fs::remove_dir_all(db).unwrap();
        },
    ] {
        fs::create_dir(&db).unwrap();
        let transport = IpcTransport::for_directory(&db).unwrap();
        let mut old = transport.listen().await.unwrap();
        gone(&db, &moved);
        watched(&mut old).await;
        assert!(!db.exists(), "nothing is made where the database was");
        fs::create_dir(&db).unwrap();
        watched(&mut old).await;
        assert!(nobody_home(&transport).await, "the new database has no leader yet");
        let mut new = transport.listen().await.unwrap();
        watched(&mut old).await;
        meet(&transport, &mut new).await;
        old.close().await.unwrap();
        meet(&transport, &mut new).await;
        new.close().await.unwrap();
        fs::remove_dir_all(&db).unwrap();
    }
}

#[tokio::test]
async fn who_answers_at_the_socket_is_not_displaced() {
    let (_directory, transport, socket) = directory();
    let mut listener = transport.listen().await.unwrap();
    fs::remove_file(&socket).unwrap();
    let other = UnixListener::bind(&socket).unwrap();
    let inode = || fs::metadata(&socket).map(|metadata| metadata.ino()).unwrap_or(0);
    let others = inode();
    watched(&mut listener).await;
    assert_eq!(inode(), others);
    drop(other);
    // Now it is what a dead process has left.
    let start = std::time::Instant::now();
    let probe = loop {
        match UnixStream::connect(&socket) {
            Ok(probe) => break probe,
            Err(_) if start.elapsed() < DEADLINE => watched(&mut listener).await,
            Err(error) => panic!("{error}"),
        }
    };
    drop(timeout(DEADLINE, listener.accept()).await.unwrap().unwrap());
    drop(probe);
    meet(&transport, &mut listener).await;
}

#[tokio::test]
async fn a_socket_without_a_database_yields_to_who_has_taken_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.sock");
    let transport = IpcTransport::at(&path).unwrap();
    let mut listener = transport.listen().await.unwrap();
    fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    let error = timeout(DEADLINE, listener.accept()).await.unwrap().unwrap_err();
    assert_eq!(error.code(), Code::Locked);
    drop(listener);
    assert!(path.exists(), "it is not ours to remove");
    drop(other);
}

#[tokio::test]
async fn what_is_no_socket_is_refused_and_left_alone() {
    let (directory, transport, socket) = directory();
    let elsewhere = directory.path().join("elsewhere");
    let _live = UnixListener::bind(&elsewhere).unwrap();
    let plant: [(&str, &dyn Fn()); 4] = [
        ("a file", &|| fs::write(&socket, "mine").unwrap()),
        ("a directory", &|| fs::create_dir(&socket).unwrap()),
        ("a symbolic link", &|| symlink(&elsewhere, &socket).unwrap()),
        ("a symbolic link", &|| symlink("/nowhere", &socket).unwrap()),
    ];
    for (what, plant) in plant {
        plant();
        let before = fs::symlink_metadata(&socket).unwrap();
        for error in [transport.connect().await.err().unwrap(), transport.listen().await.err().unwrap()] {
            assert_eq!(error.code(), Code::Io);
            let text = error.to_string();
            assert!(text.contains(what) && text.contains("rave-level.sock"), "{text}");
        }
        let after = fs::symlink_metadata(&socket).unwrap();
        assert_eq!(before.modified().unwrap(), after.modified().unwrap());
        assert_eq!(before.file_type(), after.file_type());
        if after.is_dir() { fs::remove_dir(&socket) } else { fs::remove_file(&socket) }.unwrap();
    }
    assert!(fs::symlink_metadata(&elsewhere).unwrap().file_type().is_socket(), "nor was the link's target touched");
}

#[tokio::test]
async fn a_full_backlog_only_delays() {
    let (_directory, transport, socket) = directory();
    let listener = UnixListener::bind(&socket).unwrap();
    socket2::SockRef::from(&listener).listen(1).unwrap();
    let address = socket2::SockAddr::unix(&socket).unwrap();
    let mut waiting = Vec::new();
    loop {
        let stream = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        stream.set_nonblocking(true).unwrap();
        match stream.connect(&address) {
            Ok(()) => waiting.push(stream),
            Err(error) => break assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
        }
    }
    let connecting = tokio::spawn(async move {
        let mut guest = connected(&transport).await;
        guest.writer.write_all(b"here").await.unwrap();
    });
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert!(!connecting.is_finished(), "there is no room for it");
    for _ in &waiting {
        drop(listener.accept().unwrap());
    }
    timeout(DEADLINE, connecting).await.unwrap().unwrap();
    let mut bytes = Vec::new();
    listener.accept().unwrap().0.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"here");
}

#[tokio::test]
async fn cancelled_accepts_lose_no_connection() {
    let (_directory, transport, _) = directory();
    let mut listener = transport.listen().await.unwrap();
    let guests = tokio::spawn(async move {
        for number in 0..100_u8 {
            let mut guest = connected(&transport).await;
            guest.writer.write_all(&[number]).await.unwrap();
        }
    });
    let mut seen = Vec::new();
    timeout(DEADLINE, async {
        while seen.len() < 100 {
            tokio::select! {
                biased;
                accepted = listener.accept() => seen.push(accepted.unwrap().reader.read_u8().await.unwrap()),
                () = tokio::task::yield_now() => {}
            }
        }
    })
    .await
    .unwrap();
    guests.await.unwrap();
    assert_eq!(seen, (0..100).collect::<Vec<_>>());
}

/// Runs one of the ignored tests below in a process of its own.
fn spawn(role: &str, path: &Path, prepare: impl FnOnce(&mut Command)) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", role, "--ignored", "--nocapture"]);
    command.env("RAVE_TEST_PATH", path).stdin(Stdio::piped()).stdout(Stdio::piped());
    prepare(&mut command);
    command.spawn().unwrap()
}

fn wait_until_ready(child: &mut Child) {
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("child is ready")), "the child failed");
}

/// What a child was told to work on; `None` if this is an ordinary run of all tests.
fn told() -> Option<PathBuf> {
    std::env::var_os("RAVE_TEST_PATH").map(PathBuf::from)
}

fn say_ready_and_wait() {
    println!("\nchild is ready");
    std::io::stdout().flush().unwrap();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn too_long_paths_meet_in_a_private_directory() {
    for variable in ["XDG_RUNTIME_DIR", "TMPDIR"] {
        let base = tempfile::tempdir().unwrap();
        let runtime = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o700)).tempdir().unwrap();
        let mut child = spawn("child_with_long_paths", base.path(), |command| {
            command.env_remove("XDG_RUNTIME_DIR").env_remove("TMPDIR").env(variable, runtime.path());
        });
        assert!(child.wait().unwrap().success(), "{variable}");
        let made: Vec<_> = fs::read_dir(runtime.path()).unwrap().map(|entry| entry.unwrap()).collect();
        assert_eq!(made.len(), 1);
        assert_eq!(made[0].metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }
}

#[tokio::test]
#[ignore = "runs in a process of its own"]
async fn child_with_long_paths() {
    let Some(base) = told() else { return };
    let long = |end: &str| {
        let path = base.join("d".repeat(100)).join("e".repeat(100)).join(end);
        fs::create_dir_all(&path).unwrap();
        path
    };
    let (one, other) = (long("one"), long("other"));
    let transport = IpcTransport::for_directory(&one).unwrap();
    assert!(nobody_home(&transport).await);
    let mut listener = transport.listen().await.unwrap();
    assert!(transport.address().len() <= 103);
    symlink(&one, base.join("short")).unwrap();
    meet(&IpcTransport::for_directory(base.join("short")).unwrap(), &mut listener).await;
    let other = IpcTransport::for_directory(&other).unwrap();
    assert!(nobody_home(&other).await, "two databases never share a socket");
    let mut second = other.listen().await.unwrap();
    meet(&other, &mut second).await;
    meet(&transport, &mut listener).await;
    assert!(IpcTransport::at(one.join("rave-level.sock")).is_err());

    let private = Path::new(&transport.address()).parent().unwrap().to_path_buf();
    fs::set_permissions(&private, fs::Permissions::from_mode(0o755)).unwrap();
    for error in [transport.connect().await.err().unwrap(), transport.listen().await.err().unwrap()] {
        assert!(error.to_string().contains("0700"), "{error}");
    }
    fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).unwrap();
}

/// A directory that everyone may use, with a copy of this program that everyone may run; `None` if this process may not
/// become another user.
fn public_directory() -> Option<(TempDir, PathBuf)> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can start a process of another user");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let program = directory.path().join("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    Some((directory, program))
}

fn spawn_as_nobody(role: &str, socket: &Path, program: &Path) -> Child {
    spawn(role, socket, |command| {
        let mut other = Command::new(program);
        other.args(command.get_args()).uid(NOBODY).gid(NOBODY).current_dir("/");
        other.env("RAVE_TEST_PATH", socket).stdin(Stdio::piped()).stdout(Stdio::piped());
        *command = other;
    })
}

#[tokio::test]
async fn another_users_socket_is_refused() {
    let Some((directory, program)) = public_directory() else { return };
    let socket = directory.path().join("socket");
    let transport = IpcTransport::at(&socket).unwrap();
    let mut child = spawn_as_nobody("child_that_listens", &socket, &program);
    wait_until_ready(&mut child);
    for error in [transport.connect().await.err().unwrap(), transport.listen().await.err().unwrap()] {
        assert!(error.to_string().contains("belongs to user 65534"), "{error}");
    }
    assert!(socket.exists());
    // Even where the file looks right, the process behind it must be right too.
    std::os::unix::fs::chown(&socket, Some(0), Some(0)).unwrap();
    let error = transport.connect().await.err().unwrap();
    assert!(error.to_string().contains("belongs to user 65534"), "{error}");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[tokio::test]
#[ignore = "runs in a process of its own"]
async fn child_that_listens() {
    let Some(socket) = told() else { return };
    let _listener = IpcTransport::at(&socket).unwrap().listen().await.unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    say_ready_and_wait();
}

#[tokio::test]
async fn another_users_guest_is_turned_away_without_harm() {
    let Some((directory, program)) = public_directory() else { return };
    let socket = directory.path().join("socket");
    let transport = IpcTransport::at(&socket).unwrap();
    let mut listener = transport.listen().await.unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    let mut child = spawn_as_nobody("child_that_connects", &socket, &program);
    wait_until_ready(&mut child);
    // The other user's connection is first in the queue.
    meet(&transport, &mut listener).await;
    drop(child.stdin.take());
    let status = tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap();
    assert!(status.success(), "it saw its connection end");
}

#[tokio::test]
#[ignore = "runs in a process of its own"]
async fn child_that_connects() {
    let Some(socket) = told() else { return };
    let mut stream = UnixStream::connect(&socket).unwrap();
    let error = IpcTransport::at(&socket).unwrap().connect().await.err().unwrap();
    assert!(error.to_string().contains("belongs to user 0"), "{error}");
    say_ready_and_wait();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}
