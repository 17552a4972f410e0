//! Peers that break the protocol or take advantage of it, writers that are refused, and writers that are watched.

mod support;

use rave_level::{
    AbstractLevel, AbstractLevelExt, Batch, ClearOptions, Code, Effect, Error, HostWrite, KeyRange, RaveLevel, Result,
    RetryPolicy, WriteHook,
};
use std::sync::{Arc, Mutex};
use support::{Place, follows, leads, soon};

#[cfg(all(unix, feature = "ipc"))]
mod peers {
    //! Raw sockets to a leader, and raw sockets in a leader's place.

    use super::*;
    use rave_level::{
        Builder, LockAttempt, MemoryOpener, Opener,
        transport::{IpcTransport, wire::Limits},
    };
    use std::{
        path::Path,
        time::{Duration, Instant},
    };
    use support::{PATIENCE, until};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{UnixListener, UnixStream},
    };

    /// A leader and a guest of a store in memory, at a socket that anybody can reach.
    struct Group {
        directory: tempfile::TempDir,
        store: MemoryOpener,
        leader: RaveLevel,
        guest: RaveLevel,
    }

    fn builder(store: &MemoryOpener, directory: &Path) -> Builder {
        let transport = IpcTransport::for_directory(directory).unwrap();
        Builder::new(store.clone(), transport).limits(Limits { max_frame: 1 << 20 })
    }

    impl Group {
        async fn new() -> Self {
            let (directory, store) = (tempfile::tempdir().unwrap(), MemoryOpener::new());
            let leader = builder(&store, directory.path()).open().await.unwrap();
            let guest = builder(&store, directory.path()).open().await.unwrap();
            Self { directory, store, leader, guest }
        }

        async fn intruder(&self) -> UnixStream {
            UnixStream::connect(self.directory.path().join("rave-level.sock")).await.unwrap()
        }

        /// Both work as if nothing had happened, over the same connection.
        async fn check(&self) {
            soon("the guest's write", self.guest.put("x", "1")).await.unwrap();
            assert!(soon("the leader's read", self.leader.has("x")).await.unwrap());
            assert_eq!(soon("the scan", self.guest.all(KeyRange::all())).await.unwrap().len(), 1);
            assert!(leads(&self.leader) && follows(&self.guest));
        }

        async fn until_guests(&self, count: u64) {
            let start = Instant::now();
            while self.leader.leader_status().await.unwrap().guests != count {
                assert!(start.elapsed() < PATIENCE, "connections that ended are still served");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }

    /// Requests that no leader can accept, each of which ends its connection.
    fn poison() -> Vec<(&'static str, Vec<u8>)> {
        vec![
            ("a length without end", vec![0xff; 64]),
            ("the length that crashed others", [vec![0xff; 9], vec![1]].concat()),
            ("a frame beyond the limit", vec![0x81, 0x80, 0x80, 0x01]),
            ("a body that is no message", vec![0x05, 0x01, 0xff, 0xff, 0xff, 0xff]),
            ("a group without an end", vec![0x03, 0x00, 0x0b, 0x0b]),
        ]
    }

    #[tokio::test]
    async fn frames_that_break_the_protocol_end_their_own_connection_only() {
        let group = Group::new().await;
        for (what, bytes) in poison() {
            let mut intruder = group.intruder().await;
            // It may be cut off in the middle of sending.
            let _ = intruder.write_all(&bytes).await;
            let mut answer = Vec::new();
            // An end or a reset, but not silence. What comes before it is the leader's last word.
            let _ = soon(what, intruder.read_to_end(&mut answer)).await;
            group.check().await;
        }
        group.until_guests(1).await;
    }

    #[tokio::test]
    async fn a_damaged_request_that_can_be_told_is_answered() {
        let group = Group::new().await;
        group.check().await;
        let mut intruder = group.intruder().await;
        // A get whose key is longer than its frame, and a good one behind it.
        intruder.write_all(&[0x06, 0x00, 0x08, 0x01, 0x12, 0x7f, b'x']).await.unwrap();
        intruder.write_all(&[0x06, 0x00, 0x08, 0x02, 0x12, 0x01, b'x']).await.unwrap();
        let mut answers = Vec::new();
        let good = [0x06, 0x00, 0x08, 0x02, 0x1a, 0x01, b'1'];
        while !answers.ends_with(&good) {
            let read = soon("both answers", intruder.read_buf(&mut answers)).await.unwrap();
            assert!(read > 0, "the connection ended: {answers:?}");
        }
        // A callback for the request 1 with an error's code.
        assert_eq!(answers[1..4], [0x00, 0x08, 0x01]);
        assert!(String::from_utf8_lossy(&answers).contains("LEVEL_"), "{answers:?}");
        group.check().await;
    }

    #[tokio::test]
    async fn random_bytes_hurt_nobody() {
        let group = Group::new().await;
        group.check().await;
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut intruder = group.intruder().await;
            let length = random.usize(0..2000);
            let mut bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(length).collect();
            if seed % 2 == 0 {
                // Well-cut frames of the reading requests, with nonsense in them: writes would be obeyed.
                bytes = bytes
                    .chunks(20)
                    .flat_map(|chunk| [&[21, [0, 4, 6, 7, 8, 9][chunk.len() % 6]], chunk].concat())
                    .collect();
            } else if let Some(tag) = bytes.get_mut(0) {
                *tag |= 0x80;
            }
            let _ = intruder.write_all(&bytes).await;
        }
        // Puts made of random bytes are as good as any other.
        soon("clearing", group.leader.clear(KeyRange::all())).await.unwrap();
        group.check().await;
        group.until_guests(1).await;
    }

    #[tokio::test]
    async fn half_a_frame_costs_nobody_anything() {
        let group = Group::new().await;
        let mut halves = Vec::new();
        for bytes in [&[0x80][..], &[0x06], &[0x06, 0x00, 0x08], &[0xff, 0xff, 0x3f, 0x01]] {
            let mut intruder = group.intruder().await;
            intruder.write_all(bytes).await.unwrap();
            halves.push(intruder);
        }
        group.check().await;
        group.until_guests(5).await;
        // The rest may come late.
        let late = &mut halves[1];
        late.write_all(&[0x00, 0x08, 0x07, 0x12, 0x01, b'x']).await.unwrap();
        let mut answer = [0; 7];
        soon("the answer", late.read_exact(&mut answer)).await.unwrap();
        assert_eq!(answer, [0x06, 0x00, 0x08, 0x07, 0x1a, 0x01, b'1']);
        drop(halves);
        group.until_guests(1).await;
        group.check().await;
    }

    #[tokio::test]
    async fn who_never_reads_stops_only_himself() {
        let group = Group::new().await;
        group.leader.put("big", vec![1; 100_000]).await.unwrap();
        let mut intruder = group.intruder().await;
        // Asks for gigabytes and reads none; at some point nothing more is taken from it.
        let request = [&[0x08, 0x00, 0x08, 0x01, 0x12, 0x03][..], b"big"].concat();
        let requests = request.repeat(10_000);
        let asking = async {
            loop {
                intruder.write_all(&requests).await.unwrap();
            }
        };
        assert!(tokio::time::timeout(Duration::from_millis(500), asking).await.is_err());
        for _ in 0..100 {
            soon("the guest's read", group.guest.get("big")).await.unwrap().unwrap();
        }
        let before = group.leader.leader_status().await.unwrap().operations;
        assert!(before < 10_000, "{before} answers were made for somebody who takes none");
        group.leader.del("big").await.unwrap();
        group.check().await;
        // Nor does it hold up the leader who leaves.
        soon("closing", group.leader.close()).await.unwrap();
        assert!(soon("reading", group.guest.has("x")).await.unwrap());
        until("the guest leads", || leads(&group.guest)).await;
        drop(intruder);
    }

    #[tokio::test]
    async fn three_hundred_who_say_nothing_are_no_hindrance() {
        let group = Group::new().await;
        let mut silent = Vec::new();
        for _ in 0..300 {
            silent.push(group.intruder().await);
        }
        group.check().await;
        let newcomer = soon("a newcomer", builder(&group.store, group.directory.path()).open()).await.unwrap();
        assert!(follows(&newcomer) && newcomer.has("x").await.unwrap());
        group.until_guests(302).await;
        soon("closing", group.leader.close()).await.unwrap();
        assert!(soon("reading", group.guest.has("x")).await.unwrap());
        drop(silent);
    }

    #[tokio::test]
    async fn beyond_the_most_guests_the_next_is_turned_away_and_the_others_stay() {
        let (directory, store) = (tempfile::tempdir().unwrap(), MemoryOpener::new());
        let leader = builder(&store, directory.path()).max_guests(2).open().await.unwrap();
        let guests = [
            builder(&store, directory.path()).open().await.unwrap(),
            builder(&store, directory.path()).open().await.unwrap(),
        ];
        let third = builder(&store, directory.path()).open_timeout(Duration::from_millis(100)).open();
        let error = soon("the third", third).await.unwrap_err();
        assert_eq!(error.code(), Code::Locked);
        guests[0].put("x", "1").await.unwrap();
        guests[1].close().await.unwrap();
        let third = soon("the third again", builder(&store, directory.path()).open()).await.unwrap();
        assert!(third.has("x").await.unwrap() && leads(&leader));
    }

    #[tokio::test]
    async fn a_leader_that_breaks_the_protocol_is_left_and_named() {
        let answers: Vec<(&str, Vec<u8>)> = vec![
            ("a length without end", vec![0xff; 64]),
            ("a frame beyond the limit", vec![0x81, 0x80, 0x80, 0x80, 0x01]),
            ("a callback that is no message", vec![0x05, 0x00, 0xff, 0xff, 0xff, 0xff]),
            ("nothing", Vec::new()),
        ];
        for (what, answer) in answers {
            let (directory, store) = (tempfile::tempdir().unwrap(), MemoryOpener::new());
            let LockAttempt::Acquired(lock) = store.try_lock().await.unwrap() else { panic!("nobody else has it") };
            let path = directory.path().join("rave-level.sock");
            let socket = UnixListener::bind(&path).unwrap();
            let impostor = tokio::spawn(async move {
                loop {
                    let (mut stream, _) = socket.accept().await.unwrap();
                    let _ = stream.write_all(&answer).await;
                }
            });
            let opening = builder(&store, directory.path()).open_timeout(Duration::from_millis(200)).open();
            let error = soon(what, opening).await.unwrap_err();
            assert_eq!(error.code(), Code::Locked, "{what}");
            assert!(error.to_string().contains("does not answer"), "{what}: {error}");
            // Who waits longer gets through once it is gone.
            let opening = tokio::spawn(builder(&store, directory.path()).open());
            tokio::time::sleep(Duration::from_millis(10)).await;
            impostor.abort();
            drop(lock);
            let db = soon("opening", opening).await.unwrap().unwrap();
            db.put("x", "1").await.unwrap();
            assert!(leads(&db));
        }
    }

    #[tokio::test]
    async fn what_does_not_fit_a_frame_is_refused_and_the_connection_stays() {
        let group = Group::new().await;
        let error = soon("the write", group.guest.put("x", vec![1; 2 << 20])).await.unwrap_err();
        assert_eq!((error.code(), error.effect()), (Code::InvalidValue, Effect::None));
        group.check().await;
        // The leader itself has no such limit; its guests cannot read what it writes then, and are told so.
        group.leader.put("x", vec![1; 2 << 20]).await.unwrap();
        let error = soon("the read", group.guest.get("x")).await.unwrap_err();
        assert!(!matches!(error.code(), Code::ConnectionLost | Code::DatabaseNotOpen), "{error}");
        group.leader.del("x").await.unwrap();
        group.check().await;
    }
}

#[tokio::test]
async fn a_leader_for_reading_only_refuses_everybodys_writes() {
    let place = Place::new();
    let writer = place.open().await;
    writer.put("x", "1").await.unwrap();
    writer.close().await.unwrap();
    let leader = place.builder().read_only(true).open().await.unwrap();
    let guest = place.open().await;
    for db in [&leader, &guest] {
        assert!(db.manifest().read_only);
        for result in [
            db.put("x", "2").await,
            db.del("x").await,
            db.write(Batch::new().put("y", "1").del("x")).await,
            db.clear(KeyRange::all()).await,
        ] {
            let error = result.unwrap_err();
            assert_eq!((error.code(), error.effect()), (Code::ReadOnly, Effect::None));
        }
        assert_eq!(db.get("x").await.unwrap().as_deref(), Some(&b"1"[..]));
        assert_eq!(db.all(KeyRange::all()).await.unwrap().len(), 1);
    }
    // A refusal is no failure of the store.
    assert!(leads(&leader) && follows(&guest));
    leader.close().await.unwrap();
    soon("a write under a leader who writes", guest.put("x", "2")).await.unwrap();
    assert!(!guest.manifest().read_only);
}

#[tokio::test]
async fn a_guest_for_reading_only_refuses_its_own_writes() {
    let place = Place::new();
    let leader = place.open().await;
    let guest = place.builder().read_only(true).open().await.unwrap();
    assert!(guest.manifest().read_only && !leader.manifest().read_only);
    leader.put("x", "1").await.unwrap();
    assert_eq!(guest.put("x", "2").await.unwrap_err().code(), Code::ReadOnly);
    assert_eq!(guest.clear(KeyRange::all()).await.unwrap_err().code(), Code::ReadOnly);
    assert_eq!(guest.get("x").await.unwrap().as_deref(), Some(&b"1"[..]));
}

/// Writes down what it sees and refuses whatever touches the key "forbidden".
#[derive(Debug, Default)]
struct Guardian {
    seen: Mutex<Vec<String>>,
}

fn describe(write: HostWrite<'_>) -> String {
    match write {
        HostWrite::Batch(batch) => {
            let operations = batch.operations().map(|operation| match operation {
                rave_level::Operation::Put { key, .. } => format!("+{}", String::from_utf8_lossy(key)),
                rave_level::Operation::Del { key } => format!("-{}", String::from_utf8_lossy(key)),
            });
            operations.collect::<Vec<_>>().join(" ")
        }
        HostWrite::Clear(ClearOptions { range, .. }) if range.contains(b"forbidden") => "clear forbidden".to_owned(),
        HostWrite::Clear(_) => "clear".to_owned(),
    }
}

impl WriteHook for Guardian {
    fn before(&self, write: HostWrite<'_>) -> Result<()> {
        if describe(write).contains("forbidden") {
            return Err(Error::new(Code::Hook, "hands off").with_effect(Effect::Unknown));
        }
        Ok(())
    }

    fn after(&self, write: HostWrite<'_>) {
        self.seen.lock().unwrap().push(describe(write));
    }
}

async fn writes(db: &RaveLevel) -> Vec<Result<()>> {
    vec![
        db.put("a", "1").await,
        db.put("forbidden", "1").await,
        db.del("b").await,
        db.del("forbidden").await,
        db.write(Batch::new().put("c", "1").del("d")).await,
        db.write(Batch::new().put("e", "1").put("forbidden", "1")).await,
        db.clear(KeyRange::prefix("z")).await,
        db.clear(KeyRange::all()).await,
        db.sublevel("sub").unwrap().put("s", "1").await,
    ]
}

#[tokio::test]
async fn a_hook_sees_and_judges_every_write_of_leader_and_guests() {
    let place = Place::new();
    let hook = Arc::new(Guardian::default());
    let leader = place.builder().hook(hook.clone()).open().await.unwrap();
    let guest = place.open().await;
    for db in [&leader, &guest] {
        for (number, result) in writes(db).await.into_iter().enumerate() {
            if matches!(number, 1 | 3 | 5 | 7) {
                let error = result.unwrap_err();
                // Whatever the hook says of the effect, nothing was done.
                assert_eq!((error.code(), error.effect()), (Code::Hook, Effect::None), "{number}");
                assert!(error.to_string().contains("hands off"), "{error}");
            } else {
                result.unwrap();
            }
        }
        let seen = std::mem::take(&mut *hook.seen.lock().unwrap());
        assert_eq!(seen, ["+a", "-b", "+c -d", "clear", "+!sub!s"]);
        assert!(!db.has("e").await.unwrap() && !db.has("forbidden").await.unwrap() && db.has("a").await.unwrap());
    }
    assert!(leads(&leader), "a refusal is no failure of the store");
    // Many at once are judged one by one.
    let (good, bad) = tokio::join!(guest.put("a", "2"), guest.put("forbidden", "2"));
    good.unwrap();
    assert_eq!(bad.unwrap_err().code(), Code::Hook);
    // The hook belongs to its process: the next leader has none.
    leader.close().await.unwrap();
    soon("a write under another leader", guest.put("forbidden", "1")).await.unwrap();
}

#[tokio::test]
async fn a_hook_judges_what_waited_for_a_promotion() {
    let place = Place::new();
    let hook = Arc::new(Guardian::default());
    let leader = place.open().await;
    let heir = place.builder().retry(RetryPolicy::Always).hook(hook.clone()).open().await.unwrap();
    heir.put("forbidden", "by another leader").await.unwrap();
    place.meeting_point.faults().refuse(true);
    place.meeting_point.faults().cut_all();
    support::until("the guest notices", || !follows(&heir)).await;
    let (mut good, mut bad) = (Box::pin(heir.put("a", "1")), Box::pin(heir.del("forbidden")));
    assert!(futures::poll!(&mut good).is_pending() && futures::poll!(&mut bad).is_pending());
    leader.close().await.unwrap();
    let (good, bad) = soon("both", async { tokio::join!(good, bad) }).await;
    good.unwrap();
    assert_eq!(bad.unwrap_err().code(), Code::Hook);
    assert_eq!(*hook.seen.lock().unwrap(), ["+a"]);
    assert!(heir.has("forbidden").await.unwrap());
}
