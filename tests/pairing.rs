//! The guest's machine and the host's machine joined by byte pipes, without sockets, clock or tasks: seeded histories of
//! operations, iterators and connections that are cut at any byte, against a model.
//!
//! `PAIRING_SEED=n` runs one seed, `PAIRING_SEEDS=n` so many.

use bytes::{Bytes, BytesMut};
use fastrand::Rng;
use futures::FutureExt as _;
use rave_core::{MemoryLevel, Position, resume_iterator};
use rave_guest::{
    RetryPolicy,
    machine::{self as guest, Operation, Reply, Taken},
};
use rave_host::machine::{self as host, Outcome, Work};
use rave_level::{
    AbstractLevel, AbstractLevelExt, Batch, ClearOptions, Effect, IteratorOptions, KeyRange, LevelIterator,
    ReadOptions, Result, WriteOptions,
};
use rave_transport::wire::{FrameDecoder, Limits, Request, Response, message::SessionState};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The memory store never waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the memory store answers at once")
}

/// What outlives a leader, and what was ever done to it through one.
#[derive(Default)]
struct Disk {
    store: MemoryLevel,
    /// How many times each value was put.
    applied: BTreeMap<Bytes, u32>,
    clears: u32,
    /// What is recorded of sessions.
    sessions: BTreeMap<[u8; 16], SessionState>,
}

/// One connection and the leader behind it.
struct Link {
    host: host::Machine,
    iterators: HashMap<u32, Box<dyn LevelIterator>>,
    to_host: BytesMut,
    at_host: BytesMut,
    to_guest: BytesMut,
    at_guest: BytesMut,
    /// This leader knows no hello, and does what it is asked in any order.
    legacy: bool,
    /// Requests that a legacy leader has begun all at once.
    begun: Vec<Request>,
    left: bool,
    /// The guest's session.
    session: [u8; 16],
    /// Data frames sent and not acknowledged, by iterator and seq.
    outstanding: HashMap<(u32, u32), u32>,
}

impl Link {
    fn new(store: &MemoryLevel, legacy: bool) -> Self {
        let config =
            host::Config { pid: 1, manifest: store.manifest(), merge_writes: true, max_frame: 1 << 20, sessions: true };
        Self {
            host: host::Machine::new(config),
            iterators: HashMap::new(),
            to_host: BytesMut::new(),
            at_host: BytesMut::new(),
            to_guest: BytesMut::new(),
            at_guest: BytesMut::new(),
            legacy,
            begun: Vec::new(),
            left: false,
            session: [0; 16],
            outstanding: HashMap::new(),
        }
    }

    /// The host takes in some bytes.
    fn hear(&mut self, count: usize) {
        let count = count.min(self.to_host.len());
        self.at_host.extend_from_slice(&self.to_host.split_to(count));
        while let Some(frame) = FrameDecoder::new(Limits::default()).decode(&mut self.at_host).unwrap() {
            let request = Request::decode(frame).unwrap();
            match &request {
                Request::Hello(_) if self.legacy => continue,
                Request::IteratorAck(ack) => {
                    if let Some(frames) = self.outstanding.get_mut(&(ack.id, ack.seq)) {
                        *frames = frames.checked_sub(1).expect("no more acknowledgements than frames");
                    }
                }
                Request::Iterator(open) => {
                    self.outstanding.insert((open.id, open.seq), 0);
                }
                _ => {}
            }
            // It reads the state for an iterator at once, before the writes that it has begun.
            let of_iterator = matches!(
                request,
                Request::Iterator(_) | Request::IteratorAck(_) | Request::IteratorSeek(_) | Request::IteratorClose(_)
            );
            if self.legacy && !of_iterator {
                self.begun.push(request);
            } else {
                self.host.receive(request);
            }
        }
    }

    /// The host does one piece of work; false if there is none.
    fn work(&mut self, disk: &mut Disk, rng: &mut Rng) -> bool {
        if !self.begun.is_empty() {
            self.host.receive(self.begun.swap_remove(rng.usize(..self.begun.len())));
        }
        let Some(work) = self.host.next_work() else {
            self.speak();
            return false;
        };
        let outcome = self.execute(work, disk);
        self.host.complete(outcome);
        self.speak();
        true
    }

    /// What the host has to say goes on its way.
    fn speak(&mut self) {
        let bytes = self.host.output().split();
        self.to_guest.extend_from_slice(&bytes);
        let mut copy = BytesMut::from(&bytes[..]);
        while let Some(frame) = FrameDecoder::new(Limits::default()).decode(&mut copy).unwrap() {
            if let Response::IteratorData(data) = Response::decode(frame).unwrap() {
                let frames = self.outstanding.entry((data.id, data.seq)).or_default();
                *frames += 1;
                assert!(*frames <= host::CREDIT, "{frames} frames of iterator {} without credit", data.id);
            }
        }
    }

    fn execute(&mut self, work: Work, disk: &mut Disk) -> Outcome {
        let store = disk.store.clone();
        let store = &store;
        match work {
            Work::Get(key, _) => Outcome::Get(now(store.get_opts(key, ReadOptions::default()))),
            Work::GetMany(keys, _) => Outcome::GetMany(now(store.get_many_opts(keys, ReadOptions::default()))),
            Work::Write { batch, record, .. } => {
                let result = now(store.write_opts(batch.clone(), WriteOptions::default()));
                if result.is_ok() {
                    disk.sessions.extend(record.map(|state| (self.session, state)));
                    for operation in batch.operations() {
                        if let rave_core::Operation::Put { value, .. } = operation {
                            *disk.applied.entry(value.clone()).or_default() += 1;
                        }
                    }
                }
                Outcome::Done(result)
            }
            Work::Clear { options, record, .. } => {
                disk.sessions.extend(record.map(|state| (self.session, state)));
                disk.clears += 1;
                Outcome::Done(now(store.clear_opts(options)))
            }
            Work::Resume { session, .. } => {
                self.session = session;
                Outcome::Resumed(Ok(disk.sessions.get(&session).cloned().unwrap_or_default()))
            }
            Work::Forget => unreachable!("nobody says goodbye"),
            Work::Open { id, options, position, page, .. } => {
                Outcome::Page(self.open(store, id, *options, position, page))
            }
            Work::Page { id, seek, page } => {
                let iterator = self.iterators.get_mut(&id).expect("the iterator is open");
                if let Some(target) = seek {
                    now(iterator.seek(target)).unwrap();
                }
                Outcome::Page(now(iterator.next_many(page)))
            }
            Work::Close(ids) => {
                ids.iter().for_each(|id| drop(self.iterators.remove(id)));
                Outcome::Closed
            }
            Work::HasMany(..) | Work::OpenSnapshot(_) | Work::CloseSnapshot(_) | Work::Status => {
                unreachable!("nobody asks for it")
            }
        }
    }

    fn open(
        &mut self,
        store: &MemoryLevel,
        id: u32,
        options: IteratorOptions,
        position: Position,
        page: usize,
    ) -> Result<Vec<rave_level::Entry>> {
        let mut iterator = now(resume_iterator(store, options, position))?;
        let entries = if page == 0 { Ok(Vec::new()) } else { now(iterator.next_many(page)) };
        self.iterators.insert(id, iterator);
        entries
    }
}

/// What a write does to one key, and what is known of it.
struct Written {
    number: u32,
    value: Option<Bytes>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    UnderWay,
    Acknowledged,
    /// Failed or abandoned with this effect.
    Failed(Effect),
}

struct Submitted {
    number: u64,
    fate: Fate,
    /// Keys read, if it is a read.
    reads: Vec<Bytes>,
    /// Values put, if it is a write.
    puts: Vec<Bytes>,
    clears: bool,
    /// The conditions that it must be told do not hold.
    fails: Vec<usize>,
    /// It was under way when a connection was lost, so a read of it may happen after later writes.
    repeated: bool,
}

struct Scan {
    id: u32,
    range: KeyRange,
    reverse: bool,
    limit: Option<u64>,
    delivered: u64,
    /// What must still come: permanent keys in order.
    expected: Vec<Bytes>,
    last: Option<Bytes>,
    start: Option<Bytes>,
}

struct World {
    rng: Rng,
    disk: Disk,
    /// Every leader keeps sessions.
    native: bool,
    guest: guest::Machine<u32>,
    link: Option<Link>,
    operations: Vec<Submitted>,
    history: BTreeMap<Bytes, Vec<Written>>,
    permanent: BTreeSet<Bytes>,
    scans: Vec<Scan>,
    policy: RetryPolicy,
}

fn key_of(n: u32) -> Bytes {
    // Of different lengths, with the bytes that resuming must not stumble over.
    let mut key = format!("i{:02}", n / 4).into_bytes();
    match n % 4 {
        0 => {}
        1 => key.push(0),
        2 => key.extend([0xff, 0xff]),
        _ => key.extend([b'x'; 5]),
    }
    key.into()
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let policy =
            *rng.choice(&[RetryPolicy::Always, RetryPolicy::Always, RetryPolicy::Safe, RetryPolicy::Never]).unwrap();
        let disk = Disk::default();
        let mut permanent = BTreeSet::new();
        let large = rng.usize(1..3000);
        for n in 0..rng.u32(1..200) {
            if n % 3 != 1 {
                now(disk.store.put(key_of(n), vec![b'p'; rng.usize(..large)])).unwrap();
                permanent.insert(key_of(n));
            }
        }
        let window = *rng.choice(&[1, 600, 1 << 20]).unwrap();
        Self {
            native: rng.bool(),
            rng,
            disk,
            guest: guest::Machine::new([1; 16], 1 << 20, window),
            link: None,
            operations: Vec::new(),
            history: BTreeMap::new(),
            permanent,
            scans: Vec::new(),
            policy,
        }
    }

    fn run(&mut self) {
        for _ in 0..self.rng.usize(50..400) {
            match self.rng.u32(..100) {
                0..20 => self.submit(),
                20..22 => self.abandon(),
                22..26 => self.open_scan(),
                26..44 => self.advance_scan(),
                44..48 => self.seek_scan(),
                48..50 => self.disturb_store(),
                50..53 if self.link.is_some() => self.cut(),
                53..55 => self.leave(),
                _ => self.transport(),
            }
            self.settle();
        }
        // No more cuts: everything must come to its end.
        for round in 0.. {
            if self.link.is_none() {
                self.connect();
            }
            let more = usize::MAX;
            self.pass(more, more, more);
            let scans: Vec<usize> = (0..self.scans.len()).collect();
            scans.into_iter().rev().for_each(|at| self.advance(at, 1000));
            self.settle();
            if self.guest.is_idle() && self.scans.is_empty() {
                break;
            }
            assert!(round < 10_000, "operations or iterators hang: {} scans", self.scans.len());
        }
        self.check_end();
    }

    fn connect(&mut self) {
        let mut spare = [0; 16];
        self.rng.fill(&mut spare);
        self.guest.connected(2, spare);
        let legacy = !self.native && self.rng.u32(..3) == 0;
        self.link = Some(Link::new(&self.disk.store, legacy));
    }

    fn transport(&mut self) {
        if self.link.is_none() {
            return self.connect();
        }
        let (hear, work, tell) = (self.rng.usize(..400), self.rng.usize(..4), self.rng.usize(..6000));
        self.pass(hear, work, tell);
        if self.link.as_ref().is_some_and(|link| link.left && link.to_guest.is_empty()) {
            self.lose();
        }
    }

    fn pass(&mut self, hear: usize, work: usize, tell: usize) {
        let Some(link) = &mut self.link else { return };
        let bytes = self.guest.output().split();
        link.to_host.extend_from_slice(&bytes);
        if !link.left {
            link.hear(hear);
            for _ in 0..work {
                if !link.work(&mut self.disk, &mut self.rng) {
                    break;
                }
            }
        }
        let count = tell.min(link.to_guest.len());
        link.at_guest.extend_from_slice(&link.to_guest.split_to(count));
        while let Some(frame) = FrameDecoder::new(Limits::default()).decode(&mut link.at_guest).unwrap() {
            self.guest.receive(Response::decode(frame).unwrap()).unwrap();
        }
        if link.left && link.to_guest.is_empty() {
            self.lose();
        }
    }

    /// The leader dies. It may have done some of what it received, without anybody hearing of it.
    fn cut(&mut self) {
        if let Some(link) = self.link.as_mut().filter(|link| !link.left) {
            for _ in 0..self.rng.usize(..5) {
                link.work(&mut self.disk, &mut self.rng);
            }
        }
        self.lose();
    }

    /// The leader leaves in good order.
    fn leave(&mut self) {
        let Some(link) = self.link.as_mut().filter(|link| !link.left) else { return };
        while link.work(&mut self.disk, &mut self.rng) {}
        link.host.leave();
        link.speak();
        link.left = true;
    }

    fn lose(&mut self) {
        self.link = None;
        let under_way = self.operations.iter_mut().filter(|operation| operation.fate == Fate::UnderWay);
        under_way.for_each(|operation| operation.repeated = true);
        self.guest.disconnected("cut");
    }

    fn disturb_store(&mut self) {
        let key = key_of(self.rng.u32(..200));
        if !self.permanent.contains(&key) {
            let put = self.rng.bool();
            now(async {
                let store = &self.disk.store;
                if put { store.put(key, "t").await } else { store.del(key).await }
            })
            .unwrap();
        }
    }

    fn submit(&mut self) {
        let token = self.operations.len() as u32;
        let key = |rng: &mut Rng| Bytes::from(format!("w{}", rng.u32(..6)));
        let (mut reads, mut puts, mut fails) = (Vec::new(), Vec::new(), Vec::new());
        let operation = match self.rng.u32(..10) {
            0..3 => {
                reads.push(key(&mut self.rng));
                Operation::Get { key: reads[0].clone(), snapshot: None }
            }
            3 => {
                reads.extend((0..self.rng.u32(..5)).map(|_| key(&mut self.rng)));
                Operation::GetMany { keys: reads.clone(), snapshot: None }
            }
            4 => {
                for n in 0..6 {
                    let written = Written { number: token, value: None };
                    self.history.entry(format!("w{n}").into()).or_default().push(written);
                }
                Operation::Clear { options: ClearOptions::from(KeyRange::prefix("w")), snapshot: None }
            }
            _ => {
                let mut batch = Batch::new();
                for part in 0..*self.rng.choice(&[1, 1, 1, 2, 5]).unwrap() {
                    let key = key(&mut self.rng);
                    let value = (self.rng.u32(..4) > 0)
                        .then(|| Bytes::from(format!("{token}.{part}.{}", "v".repeat(self.rng.usize(..300)))));
                    batch = match &value {
                        Some(value) => batch.put(&key, value),
                        None => batch.del(&key),
                    };
                    puts.extend(value.clone());
                    self.history.entry(key).or_default().push(Written { number: token, value });
                }
                // A condition that never holds beside one that always does: both sides know what must come of it.
                if self.native && self.rng.u32(..6) == 0 {
                    batch = batch.if_absent("never written").if_equals("never written either", "v");
                    fails.push(1);
                }
                Operation::Write { batch, sync: false }
            }
        };
        let clears = matches!(operation, Operation::Clear { .. });
        let number = self.guest.submit(operation, self.policy, token);
        let fate = Fate::UnderWay;
        self.operations.push(Submitted { number, fate, reads, puts, clears, fails, repeated: false });
    }

    fn abandon(&mut self) {
        let Some(at) = self.rng.choice(0..self.operations.len()) else { return };
        let fate = self.operations[at].fate;
        match self.guest.abandon(self.operations[at].number) {
            Some((token, effect)) => {
                assert_eq!((token as usize, fate), (at, Fate::UnderWay));
                self.operations[at].fate = Fate::Failed(effect);
            }
            None => assert_ne!(fate, Fate::UnderWay, "operation {at} was lost"),
        }
    }

    /// Takes in what completed.
    fn settle(&mut self) {
        self.guest.woken();
        for (token, result) in self.guest.completed() {
            let operation = &mut self.operations[token as usize];
            assert_eq!(operation.fate, Fate::UnderWay, "operation {token} completed twice");
            match result {
                Ok(reply) => {
                    assert!(operation.fails.is_empty(), "operation {token} was applied against its condition");
                    operation.fate = Fate::Acknowledged;
                    let values = match reply {
                        Reply::Value(value) => vec![value],
                        Reply::Values(values) => values,
                        Reply::Done | Reply::Existing(_) | Reply::Snapshot(_) | Reply::Status(_) => vec![],
                    };
                    assert_eq!(values.len(), operation.reads.len());
                    let reads = operation.reads.clone();
                    let latest = if operation.repeated { u32::MAX } else { token };
                    for (key, value) in reads.iter().zip(values) {
                        self.check_value(key, token, latest, &value);
                    }
                }
                Err(error) => {
                    if error.failed_conditions().is_empty() {
                        assert_ne!(self.policy, RetryPolicy::Always, "{error}");
                        // A next leader tells what became of it.
                        assert!(!self.native || self.policy != RetryPolicy::Safe, "{error}");
                    } else {
                        assert_eq!(error.failed_conditions(), operation.fails);
                    }
                    operation.fate = Fate::Failed(error.effect());
                }
            }
        }
    }

    /// Before operation `before`, `key` may have the value of its last write that was not given up, or of a later one
    /// that was given up and may have been applied. A repeated read may see writes up to `latest`.
    fn check_value(&self, key: &Bytes, before: u32, latest: u32, value: &Option<Bytes>) {
        let history = self.history.get(key).map_or(&[][..], Vec::as_slice);
        for written in history.iter().rev().filter(|written| written.number < latest) {
            let fate = self.operations[written.number as usize].fate;
            if written.value == *value && fate != Fate::Failed(Effect::None) {
                return;
            }
            let binds = written.number < before && !matches!(fate, Fate::Failed(_));
            assert!(!binds, "{key:?} is {value:?} at {before}, but {} is {fate:?}", written.number);
        }
        assert!(value.is_none(), "{key:?} is {value:?}, which nobody wrote before {before}");
    }

    fn open_scan(&mut self) {
        let mut range = KeyRange::prefix("i");
        if self.rng.bool() {
            let (a, b) = (key_of(self.rng.u32(..200)), key_of(self.rng.u32(..200)));
            let (low, high) = if a < b { (a, b) } else { (b, a) };
            range = match self.rng.u32(..3) {
                0 => KeyRange::all().gt(low).lt(high),
                1 => KeyRange::all().gte(low).lte(high),
                _ => KeyRange::all().gt(low).lte(high),
            };
        }
        let reverse = self.rng.bool();
        let limit = self.rng.bool().then(|| self.rng.u64(..150));
        let options = IteratorOptions { range: range.clone(), reverse, limit, ..IteratorOptions::default() };
        let id = self.guest.open_iterator(options, None, self.policy);
        let mut scan = Scan { id, range, reverse, limit, delivered: 0, expected: Vec::new(), last: None, start: None };
        scan.expect(&self.permanent);
        self.scans.push(scan);
    }

    fn seek_scan(&mut self) {
        let Some(at) = self.rng.choice(0..self.scans.len()) else { return };
        let target = key_of(self.rng.u32(..200));
        let scan = &mut self.scans[at];
        self.guest.seek(scan.id, target.clone());
        (scan.start, scan.last) = (Some(target), None);
        scan.expect(&self.permanent);
    }

    fn advance_scan(&mut self) {
        if let Some(at) = self.rng.choice(0..self.scans.len()) {
            let size = self.rng.usize(..60);
            self.advance(at, size);
        }
    }

    fn advance(&mut self, at: usize, size: usize) {
        let scan = &mut self.scans[at];
        match self.guest.take(scan.id, size) {
            Taken::Wait => {}
            Taken::Entries(entries) => {
                assert!(!entries.is_empty() && entries.len() <= size.max(1));
                entries.into_iter().for_each(|entry| scan.got(entry.key, &self.permanent));
            }
            Taken::End => {
                if scan.limit != Some(scan.delivered) {
                    assert!(scan.expected.is_empty(), "an iterator ended before {:?}", scan.expected.last());
                }
                // Often it is moved after its end.
                if self.rng.u32(..4) == 0 || size == 1000 {
                    self.guest.close_iterator(scan.id);
                    self.scans.swap_remove(at);
                }
            }
            Taken::Failed(error) => {
                assert_eq!(self.policy, RetryPolicy::Never, "{error}");
                self.guest.close_iterator(scan.id);
                self.scans.swap_remove(at);
            }
        }
    }

    fn check_end(&mut self) {
        for (at, operation) in self.operations.iter().enumerate() {
            assert_ne!(operation.fate, Fate::UnderWay, "operation {at} is left");
            for value in &operation.puts {
                let applied = self.disk.applied.get(value).copied().unwrap_or(0);
                let was_applied = applied > 0;
                assert!(!self.native || applied <= 1, "write {at} was applied {applied} times");
                match operation.fate {
                    Fate::Acknowledged => assert!(was_applied, "acknowledged write {at} was never applied"),
                    Fate::Failed(Effect::None) => {
                        assert!(!was_applied, "write {at} failed without effect, and had one")
                    }
                    _ => {}
                }
            }
        }
        if self.native {
            let clears = self.operations.iter().filter(|operation| operation.clears);
            let acknowledged = clears.clone().filter(|operation| operation.fate == Fate::Acknowledged).count();
            let done = self.disk.clears as usize;
            assert!((acknowledged..=clears.count()).contains(&done), "{done} clears, {acknowledged} acknowledged");
        }
        for n in 0..6 {
            let key = Bytes::from(format!("w{n}"));
            let value = now(self.disk.store.get(&key)).unwrap();
            self.check_value(&key, u32::MAX, u32::MAX, &value);
        }
    }
}

impl Scan {
    /// What must come from here on, last first.
    fn expect(&mut self, permanent: &BTreeSet<Bytes>) {
        let range = match &self.start {
            None => Some(self.range.clone()),
            Some(target) => self.range.from_target(target, self.reverse),
        };
        self.expected =
            range.map_or(vec![], |range| permanent.iter().filter(|key| range.contains(key)).cloned().collect());
        if !self.reverse {
            self.expected.reverse();
        }
    }

    fn got(&mut self, key: Bytes, permanent: &BTreeSet<Bytes>) {
        self.delivered += 1;
        assert!(self.limit.is_none_or(|limit| self.delivered <= limit), "more than the limit");
        assert!(self.range.contains(&key), "{key:?} is outside of the range");
        if let Some(last) = &self.last {
            assert!(if self.reverse { key < *last } else { key > *last }, "{key:?} after {last:?}");
        }
        if permanent.contains(&key) {
            assert_eq!(self.expected.pop(), Some(key.clone()), "a key is missing");
        } else if let Some(next) = self.expected.last() {
            assert!(if self.reverse { key > *next } else { key < *next }, "{next:?} is missing before {key:?}");
        }
        self.last = Some(key);
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn guest_and_host_keep_their_promises_over_any_connection() {
    if let Some(seed) = number("PAIRING_SEED") {
        return World::new(seed).run();
    }
    for seed in 0..number("PAIRING_SEEDS").unwrap_or(400) {
        let result = std::panic::catch_unwind(|| World::new(seed).run());
        assert!(result.is_ok(), "seed {seed} fails; PAIRING_SEED={seed} runs it alone");
    }
}
