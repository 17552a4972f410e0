//! Bad places, damaged files, planted sockets and hostile peers: a clear error, and nobody else pays for it.
#![cfg(unix)]

mod support;

use rave_level::{FileLock, FileLockAttempt};
use serde_json::json;
use std::{
    fs,
    io::{Read, Write},
    os::unix::{
        fs::symlink,
        net::{UnixListener, UnixStream},
    },
    path::Path,
    thread,
};
use support::{
    DEADLINE, Dir, Exec, Finished, eventually, run,
    wire::{frame, get, leb128},
};

/// A put that is expected to fail soon.
fn put(db: &Path) -> Finished {
    run(&[&"put", &db, &"k", &"v", &"--open-timeout", &"1"])
}

/// Every command that opens the database fails with status 3 and one line with `text` in it.
#[track_caller]
fn refused_with(db: &Path, text: &str) {
    for arguments in [["put", "k", "v"].as_slice(), &["get", "k"], &["scan"], &["status"], &["serve"], &["exec"]] {
        let mut all: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&arguments[0], &db];
        all.extend(arguments[1..].iter().map(|argument| argument as &dyn AsRef<std::ffi::OsStr>));
        all.extend([&"--open-timeout" as &dyn AsRef<std::ffi::OsStr>, &"1"]);
        let finished = run(&all);
        let line = finished.failed(3);
        assert!(line.contains(text), "{arguments:?}: {line}");
        assert!(finished.out.is_empty(), "{arguments:?}: {finished:?}");
    }
}

#[track_caller]
fn refused(db: &Path) {
    refused_with(db, &db.display().to_string());
}

#[test]
fn a_file_where_a_directory_is_expected() {
    let dir = Dir::new();
    fs::write(dir.db(), "a letter").unwrap();
    refused(&dir.db());
    refused(&dir.db().join("below"));
    assert_eq!(fs::read(dir.db()).unwrap(), b"a letter");
}

#[test]
fn a_place_that_cannot_be_created() {
    refused(Path::new("/proc/nope/db"));
}

#[test]
fn a_directory_that_is_no_database() {
    let dir = Dir::new();
    fs::create_dir(dir.db()).unwrap();
    fs::write(dir.db().join("letter.txt"), "a letter").unwrap();
    refused(&dir.db());
    assert_eq!(fs::read(dir.db().join("letter.txt")).unwrap(), b"a letter");
}

#[test]
fn damaged_files_are_told_and_not_made_worse() {
    let dir = Dir::new();
    let db = dir.db();
    let writer = Exec::start(&db);
    writer.put("a", "1");
    writer.close();
    let damages: [(bool, &[u8]); 5] = [
        (false, b"garbage"),
        (false, b""),
        (false, b"MANIFEST-999999\n"),
        (true, b"garbage that is long enough for the header of a record"),
        (true, b""),
    ];
    for (manifest, damage) in damages {
        let current = db.join("CURRENT");
        let path = if manifest { db.join(fs::read_to_string(&current).unwrap().trim_end()) } else { current };
        let whole = fs::read(&path).unwrap();
        fs::write(&path, damage).unwrap();
        refused(&db);
        fs::write(&path, whole).unwrap();
        assert_eq!(run(&[&"get", &db, &"a"]).lines(), ["1"]);
    }
}

fn hold_lock(db: &Path) -> FileLock {
    match FileLock::try_acquire(&db.join("LOCK")).unwrap() {
        FileLockAttempt::Acquired(lock) => lock,
        FileLockAttempt::Held { .. } => panic!("the lock is held"),
    }
}

#[test]
fn a_lock_that_is_held_while_nobody_listens() {
    let dir = Dir::new();
    let db = dir.db();
    fs::create_dir(&db).unwrap();
    let lock = hold_lock(&db);
    refused_with(&db, "LEVEL_LOCKED");
    let finished = put(&db);
    let line = finished.failed(3);
    assert!(line.contains(&db.display().to_string()), "{line}");
    assert!(line.contains(&std::process::id().to_string()), "{line}");
    drop(lock);
    put(&db).succeeded();
}

#[test]
fn a_process_that_waits_for_a_lock_takes_over_when_it_is_free() {
    let dir = Dir::new();
    let db = dir.db();
    fs::create_dir(&db).unwrap();
    let lock = hold_lock(&db);
    let waiting = Exec::with(&db, &["--open-timeout", "60"]);
    let id = waiting.send(json!({"op": "put", "key": "a", "value": "1"}));
    // A second process meanwhile gives up, which is nothing to the first.
    put(&db).failed(3);
    assert!(waiting.process.running());
    drop(lock);
    assert_eq!(waiting.reply(id).unwrap()["ok"], true);
    assert!(waiting.leads());
}

#[test]
fn what_is_planted_at_the_sockets_place_is_not_replaced() {
    let dir = Dir::new();
    let db = dir.db();
    fs::create_dir(&db).unwrap();
    let socket = db.join("rave-level.sock");
    let target = dir.join("target");
    fs::write(&target, "a letter").unwrap();

    fs::write(&socket, "planted").unwrap();
    refused_with(&db, &socket.display().to_string());
    assert_eq!(fs::read(&socket).unwrap(), b"planted");
    fs::remove_file(&socket).unwrap();

    fs::create_dir(&socket).unwrap();
    refused_with(&db, &socket.display().to_string());
    assert!(socket.is_dir());
    fs::remove_dir(&socket).unwrap();

    symlink(&target, &socket).unwrap();
    refused_with(&db, &socket.display().to_string());
    assert_eq!(fs::read_link(&socket).unwrap(), target);
    assert_eq!(fs::read(&target).unwrap(), b"a letter");
    fs::remove_file(&socket).unwrap();

    // What a killed leader left is replaced.
    drop(UnixListener::bind(&socket).unwrap());
    put(&db).succeeded();
    assert_eq!(run(&[&"get", &db, &"k"]).lines(), ["v"]);
}

#[test]
fn a_path_too_long_for_a_socket() {
    let dir = Dir::new();
    let db = dir.db().join("long".repeat(25)).join("longer".repeat(20));
    let leader = Exec::start(&db);
    leader.put("a", "1");
    let guest = Exec::start(&db);
    assert_eq!(guest.event("following")["leader_pid"], leader.pid());
    assert_eq!(guest.get("a").as_deref(), Some("1"));
    leader.process.kill();
    guest.event("leader");
    assert_eq!(guest.get("a").as_deref(), Some("1"));
    guest.close();
}

/// The leader and a guest go on as if nothing had happened.
#[track_caller]
fn all_well(leader: &Exec, guest: &Exec, round: usize) {
    let (key, value) = (format!("key {round}"), "v".repeat(round));
    guest.put(&key, &value);
    assert_eq!(leader.get(&key), Some(value));
    assert!(leader.leads());
    assert_eq!(guest.ok(json!({"op": "role"}))["leader_pid"], leader.pid());
}

#[test]
fn hostile_guests_hurt_only_themselves() {
    let dir = Dir::new();
    let db = dir.db();
    let leader = Exec::start(&db);
    leader.put("big", &"x".repeat(1 << 20));
    leader.put("small", "1");
    let guest = Exec::start(&db);
    let socket = db.join("rave-level.sock");
    let dial = || {
        let stream = UnixStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    };

    // Lengths beyond any limit, and numbers without an end: the leader hangs up.
    let noise: Vec<u8> = (0..100_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8 | 0x80).collect();
    for (round, bytes) in
        [leb128(u64::MAX), leb128(1 << 40), leb128(300 << 20), vec![0xff; 64], noise].iter().enumerate()
    {
        let mut peer = dial();
        // It may hang up before it has taken all.
        let _ = peer.write_all(bytes);
        let mut rest = Vec::new();
        match peer.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "round {round}: {error}"),
        }
        all_well(&leader, &guest, round);
    }

    // Bodies that are none, behind tags known and unknown; a real request may or may not be answered after them.
    for tag in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 32, 33, 200] {
        for body in [&b""[..], b"\xff\xff\xff\xff", b"\x08", b"\x12\xff\x01", &[0x0b; 200], &[0x08; 5000]] {
            let mut peer = dial();
            let _ = peer.write_all(&frame(tag, body));
            let _ = peer.write_all(&get(1, "small"));
        }
    }
    all_well(&leader, &guest, 10);
    assert_eq!(leader.get("small").as_deref(), Some("1"));

    // Silence: from the first moment, and in the middle of a frame.
    let mut silent: Vec<_> = (0..20).map(|_| dial()).collect();
    for peer in silent.iter_mut().skip(10) {
        peer.write_all(&leb128(1000)).unwrap();
        peer.write_all(&[1, 8]).unwrap();
    }
    all_well(&leader, &guest, 11);

    // Asks for far more than fits anywhere and reads nothing. At some point the leader takes no more.
    let deaf: Vec<_> = (0..3)
        .map(|_| {
            let peer = dial();
            peer.set_write_timeout(Some(std::time::Duration::from_secs(1))).unwrap();
            let mut writer = peer.try_clone().unwrap();
            let flood = thread::spawn(move || {
                let frames = get(1, "big").repeat(1000);
                (0..1000).any(|_| writer.write_all(&frames).is_err())
            });
            (peer, flood)
        })
        .collect();
    all_well(&leader, &guest, 12);
    for (_, flood) in &deaf {
        eventually("the leader takes no more from a peer that reads nothing", || flood.is_finished().then_some(()));
    }
    all_well(&leader, &guest, 13);
    for (peer, flood) in deaf {
        assert!(flood.join().unwrap(), "the leader took a million requests from a peer that reads nothing");
        // Nor does it keep the leader from anything that it stays.
        silent.push(peer);
    }

    // The leader can leave although they are all still there.
    leader.close();
    guest.event("leader");
    assert_eq!(guest.get("key 13").as_deref(), Some("vvvvvvvvvvvvv"));
    drop(silent);
}

/// A process that has the lock and the socket, and is no leader.
fn impostor(db: &Path, answer: &'static [u8]) -> FileLock {
    fs::create_dir(db).unwrap();
    let lock = hold_lock(db);
    let listener = UnixListener::bind(db.join("rave-level.sock")).unwrap();
    thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.write_all(answer);
            // Kept open: what ends the connection is the guest.
            kept.push(stream);
        }
    });
    lock
}

#[test]
fn hostile_leaders_cost_a_guest_no_more_than_its_deadline() {
    let answers: [&[u8]; 5] = [
        // Silence.
        b"",
        // A length beyond any limit, and one without an end.
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x00],
        &[0xff; 4096],
        // A welcome that is none.
        &[0x05, 0x20, 0xff, 0xff, 0xff, 0xff],
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ];
    for answer in answers {
        let dir = Dir::new();
        let lock = impostor(&dir.db(), answer);
        let finished = put(&dir.db());
        let line = finished.failed(3);
        assert!(line.contains(&dir.db().display().to_string()), "{line}");
        assert!(line.contains("LEVEL_LOCKED"), "{line}");
        drop(lock);
    }
}
