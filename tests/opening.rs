//! Places that cannot be opened, and many who open one place at once.

mod support;

use async_trait::async_trait;
use futures::{StreamExt, future::join_all, poll};
use rave_level::{
    AbstractLevel, AbstractLevelExt, Builder, Code, Error, KeyRange, LockAttempt, Opener, Result,
    transport::{Connect, Listener, MemoryTransport, Transport},
};
use std::time::Duration;
use support::{Gated, Place, follows, leads, soon, until};

const SHORT: Duration = Duration::from_millis(100);

async fn refused(what: &str, builder: Builder) -> Error {
    soon(what, builder.open()).await.err().unwrap_or_else(|| panic!("{what}: it opened"))
}

#[tokio::test]
async fn a_lock_whose_holder_does_not_listen_is_reported_with_the_holder() {
    let place = Place::new();
    let LockAttempt::Acquired(lock) = place.store.try_lock().await.unwrap() else { panic!("nobody else has it") };
    let error = refused("a held lock", place.builder().open_timeout(SHORT)).await;
    assert_eq!(error.code(), Code::Locked);
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    assert!(error.to_string().contains("does not serve it"), "{error}");

    // Whoever waits longer gets it as soon as it is free.
    let opening = tokio::spawn(place.builder().open());
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!opening.is_finished());
    drop(lock);
    assert!(leads(&soon("the lock", opening).await.unwrap().unwrap()));
}

#[tokio::test]
async fn a_leader_that_accepts_and_never_answers_is_named() {
    let place = Place::new();
    let LockAttempt::Acquired(_lock) = place.store.try_lock().await.unwrap() else { panic!("nobody else has it") };
    let mut listener = place.meeting_point.listen().await.unwrap();
    let silent = tokio::spawn(async move {
        let mut kept = Vec::new();
        loop {
            kept.push(listener.accept().await.unwrap());
        }
    });
    let error = refused("a silent leader", place.builder().open_timeout(SHORT)).await;
    assert_eq!(error.code(), Code::Locked);
    let expected = format!("process {} leads", std::process::id());
    assert!(error.to_string().contains(&expected) && error.to_string().contains("does not answer"), "{error}");
    assert!(error.to_string().contains(&place.meeting_point.address()), "{error}");
    silent.abort();
}

#[tokio::test]
async fn a_leader_that_accepts_and_hangs_up_is_named_too() {
    let place = Place::new();
    let LockAttempt::Acquired(_lock) = place.store.try_lock().await.unwrap() else { panic!("nobody else has it") };
    let mut listener = place.meeting_point.listen().await.unwrap();
    let rude = tokio::spawn(async move {
        let mut count = 0_u32;
        while tokio::time::timeout(Duration::from_secs(1), listener.accept()).await.is_ok() {
            count += 1;
        }
        count
    });
    let error = refused("a rude leader", place.builder().open_timeout(SHORT)).await;
    assert_eq!(error.code(), Code::Locked);
    assert!(error.to_string().contains("does not answer"), "{error}");
    // The guest must not have spun: pauses grow to some milliseconds.
    let attempts = soon("the rude leader", rude).await.unwrap();
    assert!((2..=100).contains(&attempts), "{attempts} attempts in {SHORT:?}");
}

#[tokio::test]
async fn who_cannot_listen_does_not_keep_the_lock() {
    let place = Place::new();
    place.meeting_point.faults().fail_listen(true);
    let error = refused("a meeting point of no use", place.builder()).await;
    assert_eq!(error.code(), Code::Io);
    assert!(error.to_string().contains(&place.meeting_point.address()), "{error}");
    assert!(place.is_deserted().await, "the lock was kept");
    place.meeting_point.faults().fail_listen(false);
    assert!(leads(&place.open().await));
}

#[tokio::test]
async fn a_guest_that_cannot_listen_leaves_the_lead_to_others() {
    let place = Place::new();
    #[derive(Debug)]
    struct Mute(MemoryTransport);
    #[async_trait]
    impl Transport for Mute {
        async fn connect(&self) -> Result<Connect> {
            self.0.connect().await
        }
        async fn listen(&self) -> Result<Box<dyn Listener>> {
            Err(Error::new(Code::Io, "this one cannot listen"))
        }
        fn address(&self) -> String {
            self.0.address()
        }
    }
    let leader = place.open().await;
    let mute = Builder::new(place.store.clone(), Mute(place.meeting_point.clone())).open().await.unwrap();
    let heir = place.open().await;
    leader.close().await.unwrap();
    soon("a write of the one who cannot lead", mute.put("x", "1")).await.unwrap();
    assert!(leads(&heir) && heir.has("x").await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_ten_who_open_a_fresh_place_at_once_one_leads() {
    for _ in 0..20 {
        let place = Place::new();
        let opening: Vec<_> = (0..10).map(|_| tokio::spawn(place.builder().open())).collect();
        let mut handles = Vec::new();
        for opening in opening {
            handles.push(soon("opening", opening).await.unwrap().unwrap());
        }
        assert_eq!(handles.iter().filter(|handle| leads(handle)).count(), 1);
        assert_eq!(handles.iter().filter(|handle| follows(handle)).count(), 9);
        let puts = handles.iter().enumerate().map(|(number, handle)| handle.put(number.to_string(), "1"));
        for put in soon("ten writes", join_all(puts)).await {
            put.unwrap();
        }
        assert_eq!(handles[9].all(KeyRange::all()).await.unwrap().len(), 10);
    }
}

#[tokio::test]
async fn dropping_the_future_opens_nothing() {
    // While it waits for the lock, for the store, for a leader, and at any moment.
    let place = Place::new();
    let LockAttempt::Acquired(lock) = place.store.try_lock().await.unwrap() else { panic!("nobody else has it") };
    let mut opening = Box::pin(place.builder().open());
    assert!(poll!(&mut opening).is_pending());
    tokio::time::sleep(Duration::from_millis(5)).await;
    drop(opening);
    drop(lock);
    place.until_deserted().await;

    let recovery = place.store.hold_opening();
    let mut opening = Box::pin(place.builder().open());
    assert!(poll!(&mut opening).is_pending());
    until("it listens", || place.meeting_point.faults().is_listening()).await;
    drop(opening);
    place.until_deserted().await;
    drop(recovery);

    for round in 0..100 {
        let _ = tokio::time::timeout(Duration::from_micros(round * 10), place.builder().open()).await;
        place.until_deserted().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_one_gives_up_its_recovery_another_takes_over_without_an_error() {
    for _ in 0..30 {
        let place = Place::new();
        let recovery = place.store.hold_opening();
        let first = tokio::spawn(place.builder().open());
        until("it listens", || place.meeting_point.faults().is_listening()).await;
        let others: Vec<_> = (0..4).map(|_| tokio::spawn(place.builder().open())).collect();
        until("the others wait", || place.meeting_point.faults().connections() == 4).await;
        first.abort();
        drop(recovery);
        let mut handles = Vec::new();
        for other in others {
            handles.push(soon("opening", other).await.unwrap().unwrap());
        }
        // The first may have succeeded before it noticed, and then it is leaving just now.
        until("one leader", || handles.iter().filter(|handle| leads(handle)).count() == 1).await;
    }
}

#[tokio::test]
async fn nobody_releases_the_lock_while_listening() {
    let place = Place::new();
    let store = Gated::watching(&place);
    let builder = || Builder::new(store.clone(), place.meeting_point.clone());
    // Given up while the store recovers.
    let recovery = place.store.hold_opening();
    for _ in 0..10 {
        let mut opening = Box::pin(builder().open());
        assert!(poll!(&mut opening).is_pending());
        until("it listens", || place.meeting_point.faults().is_listening()).await;
        drop(opening);
        place.until_deserted().await;
    }
    drop(recovery);
    assert_eq!(store.early_releases(), 0, "when given up");
    // Closed, dropped, and deposed.
    let leader = builder().open().await.unwrap();
    leader.close().await.unwrap();
    assert_eq!(store.early_releases(), 0, "when closed");
    drop(builder().open().await.unwrap());
    place.until_deserted().await;
    assert_eq!(store.early_releases(), 0, "when dropped");
    let leader = builder().open().await.unwrap();
    let mut events = leader.events();
    place.store.fail_writes(Some(Error::new(Code::Io, "the disk is full")));
    leader.put("x", "1").await.unwrap_err();
    soon("the end of its lead", events.next()).await.unwrap();
    assert_eq!(store.early_releases(), 0, "when deposed");
}

#[test]
fn it_works_on_every_kind_of_runtime() {
    let current = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let many = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap();
    let place = Place::new();
    // One process may even have both.
    let leader = current.block_on(place.open());
    let guest = current.block_on(place.open());
    current.block_on(async {
        leader.put("x", "1").await.unwrap();
        assert!(guest.has("x").await.unwrap());
        leader.close().await.unwrap();
        guest.put("y", "1").await.unwrap();
        guest.close().await.unwrap();
    });
    many.block_on(async {
        let (leader, guest) = (place.open().await, place.open().await);
        assert!(guest.has("x").await.unwrap() && leader.has("y").await.unwrap());
        leader.close().await.unwrap();
        guest.put("z", "1").await.unwrap();
        guest.close().await.unwrap();
    });
}

#[cfg(all(unix, feature = "leveldb", feature = "ipc"))]
mod files {
    //! Directories and local sockets.

    use super::*;
    use rave_level::{FileLock, FileLockAttempt, RaveLevel, Role};
    use std::{
        fs,
        os::unix::{fs::symlink, net::UnixListener},
        path::Path,
    };

    fn lock(directory: &Path) -> FileLock {
        match FileLock::try_acquire(&directory.join("LOCK")).unwrap() {
            FileLockAttempt::Acquired(lock) => lock,
            held => panic!("{held:?}"),
        }
    }

    async fn refused_at(path: &Path) -> Error {
        let error = refused("a bad place", RaveLevel::builder(path).unwrap().open_timeout(SHORT)).await;
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        error
    }

    /// What is in a directory, apart from the lock file.
    fn contents(directory: &Path) -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(directory).unwrap().map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap_or_default())
        });
        let mut entries: Vec<_> = entries.filter(|(name, _)| name != "LOCK").collect();
        entries.sort();
        entries
    }

    #[tokio::test]
    async fn a_lock_held_by_somebody_who_does_not_listen() {
        let directory = tempfile::tempdir().unwrap();
        let held = lock(directory.path());
        let error = refused_at(directory.path()).await;
        assert_eq!(error.code(), Code::Locked);
        if cfg!(target_os = "linux") {
            assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        }
        assert!(!directory.path().join("rave-level.sock").exists());
        drop(held);
        RaveLevel::open(directory.path()).await.unwrap();
    }

    #[tokio::test]
    async fn a_socket_whose_owner_says_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let _held = lock(directory.path());
        let _silent = UnixListener::bind(directory.path().join("rave-level.sock")).unwrap();
        let error = refused_at(directory.path()).await;
        assert_eq!(error.code(), Code::Locked);
        assert!(error.to_string().contains("does not answer"), "{error}");
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        assert!(directory.path().join("rave-level.sock").exists());
    }

    #[tokio::test]
    async fn a_socket_that_a_dead_leader_left_behind_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        drop(UnixListener::bind(directory.path().join("rave-level.sock")).unwrap());
        assert!(directory.path().join("rave-level.sock").exists());
        let leader = RaveLevel::open(directory.path()).await.unwrap();
        assert_eq!(leader.role(), Role::Leader);
        assert!(follows(&RaveLevel::open(directory.path()).await.unwrap()));
    }

    #[tokio::test]
    async fn something_planted_where_the_socket_belongs() {
        type Plant = fn(&Path);
        let plants: [(&str, Plant); 4] = [
            ("a file", |path| fs::write(path, "precious").unwrap()),
            ("a symbolic link", |path| symlink(path.parent().unwrap().join("target"), path).unwrap()),
            ("a directory", |path| fs::create_dir(path).unwrap()),
            ("something else", |path| {
                assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
            }),
        ];
        for (what, plant) in plants {
            let directory = tempfile::tempdir().unwrap();
            let socket = directory.path().join("rave-level.sock");
            plant(&socket);
            let before = fs::symlink_metadata(&socket).unwrap();
            let error = refused_at(&socket.parent().unwrap().canonicalize().unwrap()).await;
            assert_eq!(error.code(), Code::Io);
            assert!(error.to_string().contains(what), "{error}");
            let after = fs::symlink_metadata(&socket).unwrap();
            assert_eq!(before.file_type(), after.file_type());
            assert_eq!(before.len(), after.len());
            drop(lock(directory.path()));
            // Once it is out of the way all is well.
            if what == "a directory" { fs::remove_dir(&socket) } else { fs::remove_file(&socket) }.unwrap();
            RaveLevel::open(directory.path()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_link_to_a_live_socket_is_not_followed() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let other = RaveLevel::open(there.path()).await.unwrap();
        symlink(there.path().join("rave-level.sock"), here.path().join("rave-level.sock")).unwrap();
        assert_eq!(refused_at(here.path()).await.code(), Code::Io);
        other.put("x", "1").await.unwrap();
        assert_eq!(other.leader_status().await.unwrap().guests, 0);
    }

    #[tokio::test]
    async fn a_file_where_a_directory_is_expected() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "precious").unwrap();
        refused_at(&path).await;
        refused_at(&path.join("db")).await;
        assert_eq!(contents(directory.path()), [("file".to_owned(), b"precious".to_vec())]);
    }

    #[tokio::test]
    async fn a_path_that_cannot_be_created() {
        for path in ["/proc/rave-level-test", "/proc/rave-level-test/db"] {
            refused_at(Path::new(path)).await;
        }
    }

    #[tokio::test]
    async fn a_directory_of_other_files() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("letter.txt"), "precious").unwrap();
        refused_at(directory.path()).await;
        assert_eq!(contents(directory.path()), [("letter.txt".to_owned(), b"precious".to_vec())]);
    }

    #[tokio::test]
    async fn a_damaged_database() {
        for name in ["CURRENT", "MANIFEST-"] {
            let directory = tempfile::tempdir().unwrap();
            let db = RaveLevel::open(directory.path()).await.unwrap();
            db.put("x", "1").await.unwrap();
            db.close().await.unwrap();
            let (damaged, _) = contents(directory.path()).into_iter().find(|(file, _)| file.starts_with(name)).unwrap();
            let intact = fs::read(directory.path().join(&damaged)).unwrap();
            fs::write(directory.path().join(&damaged), "no such thing").unwrap();
            let before = contents(directory.path());
            let error = refused_at(directory.path()).await;
            assert!(!matches!(error.code(), Code::Locked | Code::DatabaseNotOpen), "{error}");
            let names = |contents: &[(String, Vec<u8>)]| -> Vec<String> {
                contents.iter().map(|(name, _)| name.clone()).filter(|name| !name.starts_with("LOG")).collect()
            };
            let after = contents(directory.path());
            assert_eq!(names(&before), names(&after), "something was removed or created");
            assert!(before.iter().filter(|(name, _)| !name.starts_with("LOG")).all(|file| after.contains(file)));
            drop(lock(directory.path()));
            fs::write(directory.path().join(&damaged), intact).unwrap();
            assert!(RaveLevel::open(directory.path()).await.unwrap().has("x").await.unwrap());
        }
    }

    #[tokio::test]
    async fn a_path_longer_than_sockets_can_have() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("long".repeat(40)).join("db");
        let leader = RaveLevel::open(&path).await.unwrap();
        let guest = RaveLevel::open(&path).await.unwrap();
        assert!(leads(&leader) && follows(&guest));
        guest.put("x", "1").await.unwrap();
        leader.close().await.unwrap();
        assert!(soon("reading", guest.has("x")).await.unwrap());
        // One whose path begins with the same bytes is another database.
        let other = RaveLevel::open(directory.path().join("long".repeat(40)).join("db2")).await.unwrap();
        assert!(leads(&other) && !other.has("x").await.unwrap());
    }

    #[tokio::test]
    async fn all_spellings_of_a_directory_meet() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("a")).unwrap();
        symlink("a", directory.path().join("link")).unwrap();
        let leader = RaveLevel::open(directory.path().join("a/db")).await.unwrap();
        leader.put("x", "1").await.unwrap();
        for spelling in ["a/./db", "a/../a/db/", "link/db", "a//db"] {
            let guest = RaveLevel::open(directory.path().join(spelling)).await.unwrap();
            assert!(follows(&guest) && guest.has("x").await.unwrap(), "{spelling}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn of_ten_who_open_a_fresh_directory_at_once_one_leads() {
        for _ in 0..3 {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("not/yet/there");
            let opening: Vec<_> = (0..10).map(|_| tokio::spawn(RaveLevel::builder(&path).unwrap().open())).collect();
            let mut handles = Vec::new();
            for opening in opening {
                handles.push(soon("opening", opening).await.unwrap().unwrap());
            }
            assert_eq!(handles.iter().filter(|handle| leads(handle)).count(), 1);
            let puts = handles.iter().enumerate().map(|(number, handle)| handle.put(number.to_string(), "1"));
            for put in soon("ten writes", join_all(puts)).await {
                put.unwrap();
            }
            assert_eq!(handles[9].all(KeyRange::all()).await.unwrap().len(), 10);
        }
    }

    #[tokio::test]
    async fn dropping_the_future_leaves_neither_socket_nor_lock() {
        let directory = tempfile::tempdir().unwrap();
        for round in 0..30 {
            let opening = RaveLevel::builder(directory.path()).unwrap().open();
            let opened = tokio::time::timeout(Duration::from_micros(round * 200), opening).await;
            drop(opened);
            until("release", || {
                let free = match FileLock::try_acquire(&directory.path().join("LOCK")).unwrap() {
                    FileLockAttempt::Acquired(_) => true,
                    FileLockAttempt::Held { .. } => false,
                };
                free && !directory.path().join("rave-level.sock").exists()
            })
            .await;
        }
    }

    #[tokio::test]
    async fn a_relative_path_is_the_same_as_an_absolute_one() {
        let directory = tempfile::tempdir().unwrap();
        let here = std::env::current_dir().unwrap();
        let up: std::path::PathBuf = here.components().skip(1).map(|_| "..").collect();
        let relative = up.join(directory.path().canonicalize().unwrap().strip_prefix("/").unwrap());
        assert!(relative.is_relative());
        let leader = RaveLevel::open(relative).await.unwrap();
        let guest = RaveLevel::open(directory.path()).await.unwrap();
        assert!(leads(&leader) && follows(&guest));
    }
}
