//! One store, used by many tasks and threads at once while it flushes and compacts all the time.
//!
//! Each writer owns some keys. Its batch number *n* sets all its *slots* to *n*, adds the *trail* key of *n* and deletes
//! the one of *n* − [`TRAIL`]. So whoever sees one slot knows all that the writer's keys must hold, exactly, and a
//! number may never go backwards. How long a test runs is counted in operations, never in time.

use rave_core::{
    AbstractLevel, AbstractLevelExt, Batch, Bytes, Code, Effect, Error, IteratorOptions, KeyRange, ReadOptions, Result,
    Snapshot,
};
use rave_leveldb::{LevelDb, Options, Store};
use std::{
    future::{Future, poll_fn},
    ops::RangeInclusive,
    path::Path,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Poll,
};
use tokio::task::JoinSet;

/// Keys of a writer that always have the same number.
const SLOTS: u64 = 4;
/// Keys of a writer that exist at a time, besides.
const TRAIL: u64 = 60;
const WRITERS: u64 = 3;
const BATCHES: u64 = 400;

/// Everything so small that flushes and compactions never pause.
fn tiny() -> Options {
    Options {
        write_buffer_size: 16 << 10,
        max_file_size: 8 << 10,
        block_size: 256,
        cache_bytes: 64 << 10,
        ..Options::default()
    }
}

async fn open(directory: &Path) -> Arc<Store> {
    LevelDb::with_options(directory, tiny()).open_store().await.unwrap()
}

fn slot_key(writer: u64, slot: u64) -> String {
    format!("writer {writer} slot {slot}")
}

fn slot_keys(writer: u64) -> Vec<String> {
    (0..SLOTS).map(|slot| slot_key(writer, slot)).collect()
}

/// Trail keys are used again and again, so that there is always something to overwrite.
fn trail_key(writer: u64, number: u64) -> String {
    format!("writer {writer} trail {:04}", number % (3 * TRAIL))
}

fn value(number: u64) -> Vec<u8> {
    let mut value = number.to_le_bytes().to_vec();
    value.resize(8 + (number % 150) as usize, b'.');
    value
}

fn number(value: &[u8]) -> u64 {
    let number = u64::from_le_bytes(value[..8].try_into().unwrap());
    assert_eq!(value, self::value(number), "a value that nobody wrote");
    number
}

fn batch(writer: u64, number: u64) -> Batch {
    let mut batch = Batch::new();
    for slot in 0..SLOTS {
        batch = batch.put(slot_key(writer, slot), value(number));
    }
    batch = batch.put(trail_key(writer, number), value(number));
    if number > TRAIL { batch.del(trail_key(writer, number - TRAIL)) } else { batch }
}

/// What the writers know to be acknowledged, for readers to hold the store to.
struct Board {
    acknowledged: Vec<AtomicU64>,
    writing: AtomicU64,
}

impl Board {
    fn new() -> Arc<Self> {
        let acknowledged = (0..WRITERS).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self { acknowledged, writing: AtomicU64::new(WRITERS) })
    }

    fn acknowledged(&self, writer: u64) -> u64 {
        self.acknowledged[writer as usize].load(Ordering::SeqCst)
    }

    fn acknowledge(&self, writer: u64, number: u64) {
        self.acknowledged[writer as usize].store(number, Ordering::SeqCst);
    }

    fn is_written(&self) -> bool {
        self.writing.load(Ordering::SeqCst) == 0
    }

    fn finish(&self) {
        self.writing.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn write(db: Arc<Store>, board: Arc<Board>, writer: u64, batches: RangeInclusive<u64>) {
    for number in batches {
        db.write(batch(writer, number)).await.unwrap();
        board.acknowledge(writer, number);
    }
    board.finish();
}

/// What a reader has seen of a writer, and may not see undone.
#[derive(Default)]
struct Seen([u64; WRITERS as usize]);

impl Seen {
    fn check(&mut self, writer: u64, acknowledged: u64, found: u64) {
        assert!(found >= acknowledged, "writer {writer}: {found} was read after {acknowledged} was acknowledged");
        let seen = &mut self.0[writer as usize];
        assert!(found >= *seen, "writer {writer}: {found} was read after {seen} was");
        *seen = found;
    }
}

/// Gets one slot, or all at once.
async fn read(db: Arc<Store>, board: Arc<Board>, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut seen = Seen::default();
    while !board.is_written() {
        let writer = random.u64(0..WRITERS);
        let acknowledged = board.acknowledged(writer);
        if random.bool() {
            let found = db.get(slot_key(writer, random.u64(0..SLOTS))).await.unwrap();
            seen.check(writer, acknowledged, found.map_or(0, |value| number(&value)));
        } else {
            let found = db.get_many(slot_keys(writer)).await.unwrap();
            let numbers: Vec<u64> = found.iter().map(|value| value.as_ref().map_or(0, |value| number(value))).collect();
            assert!(numbers.iter().all(|number| *number == numbers[0]), "half a batch: {numbers:?}");
            seen.check(writer, acknowledged, numbers[0]);
        }
        tokio::task::yield_now().await;
    }
}

/// All that a writer's keys must hold when its slots hold `number`, in the order of keys.
fn expected(writer: u64, number: u64) -> Vec<(Bytes, Bytes)> {
    let slots = slot_keys(writer).into_iter().filter(|_| number > 0).map(|key| (key, number));
    let trail = number.saturating_sub(TRAIL - 1).max(1)..=number;
    let trail = trail.map(|number| (trail_key(writer, number), number));
    let mut entries: Vec<_> = slots.chain(trail).map(|(key, number)| (key.into(), value(number).into())).collect();
    entries.sort();
    entries
}

/// The range of the keys of a writer.
fn range(writer: u64) -> KeyRange {
    KeyRange::prefix(format!("writer {writer} "))
}

/// Walks over one writer's keys, in pages or one at a time, and says which number its slots have; everything else must
/// agree with that.
async fn walk(
    db: &Store,
    writer: u64,
    snapshot: Option<Snapshot>,
    random: &mut fastrand::Rng,
    turn: bool,
) -> Result<u64> {
    let reverse = random.bool();
    let options = IteratorOptions { range: range(writer), reverse, snapshot, ..IteratorOptions::default() };
    let mut iterator = db.iterator(options).await?;
    let mut numbers = Vec::new();
    for round in 0..=usize::from(turn) {
        if round > 0 {
            // To the start again: it must be as it was, whatever was written, compacted and deleted meanwhile.
            let start = format!("writer {writer} {}", if reverse { "~" } else { "" });
            iterator.seek(start.into()).await?;
        }
        let mut found = Vec::new();
        loop {
            let page = if random.u8(0..4) == 0 {
                iterator.next().await?.into_iter().collect()
            } else {
                iterator.next_many(random.usize(1..40)).await?
            };
            if page.is_empty() {
                break;
            }
            found.extend(page.into_iter().map(|entry| (entry.key, entry.value)));
            tokio::task::yield_now().await;
        }
        if reverse {
            found.reverse();
        }
        let at = found.first().map_or(0, |(_, value)| number(value));
        let expected = expected(writer, at);
        assert!(found == expected, "writer {writer} at {at}, reverse: {reverse}: {found:?}, not {expected:?}");
        numbers.push(at);
    }
    assert!(numbers.iter().all(|number| *number == numbers[0]), "an iterator's view changed: {numbers:?}");
    Ok(numbers[0])
}

async fn scan(db: Arc<Store>, board: Arc<Board>, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut seen = Seen::default();
    while !board.is_written() {
        let writer = random.u64(0..WRITERS);
        let acknowledged = board.acknowledged(writer);
        let turn = random.bool();
        let found = walk(&db, writer, None, &mut random, turn).await.unwrap();
        seen.check(writer, acknowledged, found);
    }
}

async fn look_back(db: Arc<Store>, board: Arc<Board>, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    while !board.is_written() {
        let acknowledged: Vec<u64> = (0..WRITERS).map(|writer| board.acknowledged(writer)).collect();
        let snapshot = db.snapshot().await.unwrap();
        let mut held: Vec<Option<u64>> = vec![None; WRITERS as usize];
        for _ in 0..12 {
            let writer = random.u64(0..WRITERS);
            let found = if random.bool() {
                walk(&db, writer, Some(snapshot.clone()), &mut random, false).await.unwrap()
            } else {
                let options = ReadOptions { snapshot: Some(snapshot.clone()) };
                let key = slot_key(writer, random.u64(0..SLOTS)).into();
                db.get_opts(key, options).await.unwrap().map_or(0, |value| number(&value))
            };
            assert!(found >= acknowledged[writer as usize], "the snapshot lacks what was acknowledged before it");
            let held = held[writer as usize].get_or_insert(found);
            assert_eq!(*held, found, "the snapshot changed");
            tokio::task::yield_now().await;
        }
    }
}

/// Closes snapshots in the middle of reads from them: such a read gives what the snapshot held, or says that it is closed.
async fn close_snapshots(db: Arc<Store>, board: Arc<Board>) {
    let mut writer = 0;
    while !board.is_written() {
        writer = (writer + 1) % WRITERS;
        let snapshot = db.snapshot().await.unwrap();
        let options = ReadOptions { snapshot: Some(snapshot.clone()) };
        let held = db.get_opts(slot_key(writer, 0).into(), options.clone()).await.unwrap();
        let read = tokio::spawn({
            let (db, keys) = (db.clone(), slot_keys(writer).into_iter().map(Bytes::from).collect());
            async move { db.get_many_opts(keys, options).await }
        });
        tokio::task::yield_now().await;
        snapshot.close();
        match read.await.unwrap() {
            Ok(found) => assert!(found.iter().all(|value| *value == held), "{held:?} became {found:?}"),
            Err(error) => assert_eq!(error.code(), Code::SnapshotNotOpen, "{error}"),
        }
    }
}

async fn compact(db: Arc<Store>, board: Arc<Board>) {
    let mut writer = 0;
    while !board.is_written() {
        let range = if writer == WRITERS { KeyRange::all() } else { range(writer) };
        db.compact_range(range).await.unwrap();
        writer = (writer + 1) % (WRITERS + 1);
        tokio::task::yield_now().await;
    }
}

/// Everything at once on one store, then again after opening it anew.
async fn hammer(directory: &Path) {
    for round in 0..2 {
        let (db, board) = (open(directory).await, Board::new());
        let first = round * BATCHES + 1;
        let mut tasks = JoinSet::new();
        for writer in 0..WRITERS {
            board.acknowledge(writer, first - 1);
            tasks.spawn(write(db.clone(), board.clone(), writer, first..=first + BATCHES - 1));
        }
        for seed in 0..2 {
            tasks.spawn(read(db.clone(), board.clone(), seed));
            tasks.spawn(scan(db.clone(), board.clone(), seed));
        }
        tasks.spawn(look_back(db.clone(), board.clone(), 0));
        tasks.spawn(close_snapshots(db.clone(), board.clone()));
        tasks.spawn(compact(db.clone(), board.clone()));
        while let Some(end) = tasks.join_next().await {
            end.unwrap();
        }
        let mut random = fastrand::Rng::with_seed(round);
        for writer in 0..WRITERS {
            assert_eq!(walk(&db, writer, None, &mut random, true).await.unwrap(), first + BATCHES - 1);
        }
        db.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_writers_iterators_and_compaction_on_several_threads() {
    let directory = tempfile::tempdir().unwrap();
    hammer(directory.path()).await;
}

#[tokio::test(flavor = "current_thread")]
async fn readers_writers_iterators_and_compaction_on_one_thread() {
    let directory = tempfile::tempdir().unwrap();
    hammer(directory.path()).await;
}

/// Polls so many times, as long as it takes between, and then drops what is not ready.
async fn give_up_after<T>(polls: usize, operation: impl Future<Output = T>) -> Option<T> {
    let mut operation = pin!(operation);
    for _ in 0..polls {
        let polled = poll_fn(|context| Poll::Ready(operation.as_mut().poll(context))).await;
        if let Poll::Ready(result) = polled {
            return Some(result);
        }
        tokio::task::yield_now().await;
    }
    None
}

/// Futures dropped in mid-flight: a write so dropped happens as a whole or not at all, before all later ones; an
/// iterator loses nothing; and the store goes on.
async fn drop_futures(directory: &Path) {
    let db = open(directory).await;
    let mut random = fastrand::Rng::with_seed(1);
    let mut number = 0;
    for _ in 0..600 {
        number += 1;
        let polls = random.usize(0..4);
        let written = match random.u8(0..4) {
            0 => give_up_after(polls, db.write_opts(batch(0, number), rave_core::WriteOptions::synced())).await,
            _ => give_up_after(polls, db.write(batch(0, number))).await,
        };
        let certain = match written {
            Some(result) => {
                result.unwrap();
                true
            }
            None => false,
        };
        // What is not written now is not written later: the next write comes behind it.
        match random.u8(0..10) {
            0 => drop(give_up_after(polls, db.get_many(slot_keys(0))).await),
            1 => drop(give_up_after(polls, db.compact_range(KeyRange::all())).await),
            2 => drop(give_up_after(polls, db.snapshot()).await),
            3 => drop(give_up_after(polls, db.iterator(KeyRange::all())).await),
            4 => drop(give_up_after(polls, db.clear(range(7))).await),
            _ => {}
        }
        let found = db.get_many(slot_keys(0)).await.unwrap();
        let numbers: Vec<_> = found.iter().map(|value| value.as_ref().map_or(0, |value| self::number(value))).collect();
        assert!(numbers.iter().all(|found| *found == numbers[0]), "half a batch: {numbers:?}");
        if certain {
            assert_eq!(numbers[0], number);
        } else {
            // It may have happened or not; to go on with what is known it is written again.
            assert!(numbers[0] == number || numbers[0] == number - 1, "{} at {number}", numbers[0]);
            db.write(batch(0, number)).await.unwrap();
        }
    }
    assert_eq!(walk(&db, 0, None, &mut random, true).await.unwrap(), number);

    // An iterator whose calls are given up delivers everything all the same.
    for reverse in [false, true] {
        let options = IteratorOptions { reverse, ..range(0).into() };
        let mut iterator = db.iterator(options).await.unwrap();
        let mut found = Vec::new();
        loop {
            let polls = random.usize(0..3);
            let Some(page) = give_up_after(polls, iterator.next_many(3)).await else { continue };
            let page = page.unwrap();
            if page.is_empty() {
                break;
            }
            found.extend(page.into_iter().map(|entry| (entry.key, entry.value)));
        }
        if reverse {
            found.reverse();
        }
        assert!(found == expected(0, number), "reverse: {reverse}: {found:?}");
    }

    // Nor is anything left of snapshots that nobody received.
    assert_eq!(db.stats().snapshots, 0);

    // Closing goes on when nobody waits for it.
    assert!(give_up_after(1, db.close()).await.is_none_or(|closed| closed.is_ok()));
    assert_eq!(db.get("x").await.unwrap_err().code(), Code::DatabaseNotOpen);
    db.close().await.unwrap();
    let db = open(directory).await;
    assert_eq!(walk(&db, 0, None, &mut random, false).await.unwrap(), number);
    db.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn futures_dropped_in_mid_flight_on_several_threads() {
    let directory = tempfile::tempdir().unwrap();
    drop_futures(directory.path()).await;
}

#[tokio::test(flavor = "current_thread")]
async fn futures_dropped_in_mid_flight_on_one_thread() {
    let directory = tempfile::tempdir().unwrap();
    drop_futures(directory.path()).await;
}

fn refused(error: &Error) {
    assert_eq!(error.code(), Code::DatabaseNotOpen, "{error}");
    assert_eq!(error.effect(), Effect::None, "{error}");
}

/// Closes while everything runs: every operation ends, as success or as refused, the next opening succeeds at once, and
/// it finds what was acknowledged and nothing that was refused.
async fn close_in_the_middle(directory: &Path) {
    let mut acknowledged = vec![0; WRITERS as usize];
    for round in 0..8u64 {
        let (db, stop) = (open(directory).await, Arc::new(AtomicBool::new(false)));
        let mut random = fastrand::Rng::with_seed(round);
        for (writer, acknowledged) in acknowledged.iter().enumerate() {
            let found = walk(&db, writer as u64, None, &mut random, false).await.unwrap();
            assert_eq!(found, *acknowledged, "writer {writer} in round {round}");
        }
        let progress = Arc::new(AtomicU64::new(0));
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let (db, progress, from) = (db.clone(), progress.clone(), acknowledged[writer as usize]);
            writers.spawn(async move {
                for number in from + 1.. {
                    if let Err(error) = db.write(batch(writer, number)).await {
                        refused(&error);
                        return (writer, number - 1);
                    }
                    progress.fetch_add(1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                }
                unreachable!("numbers end")
            });
        }
        let mut others = JoinSet::new();
        for seed in 0..2 {
            let (db, stop) = (db.clone(), stop.clone());
            others.spawn(async move {
                let mut random = fastrand::Rng::with_seed(seed);
                while !stop.load(Ordering::SeqCst) {
                    let writer = random.u64(0..WRITERS);
                    let end = match random.u8(0..5) {
                        0 => db.get(slot_key(writer, 0)).await.map(drop),
                        1 => db.get_many(slot_keys(writer)).await.map(drop),
                        2 => db.compact_range(range(writer)).await,
                        3 => db.clear(range(9)).await,
                        _ => walk(&db, writer, None, &mut random, true).await.map(drop),
                    };
                    if let Err(error) = end {
                        refused(&error);
                    }
                    tokio::task::yield_now().await;
                }
            });
        }
        while progress.load(Ordering::SeqCst) < 40 + 60 * (round % 4) {
            tokio::task::yield_now().await;
        }
        let mut iterator = db.iterator(KeyRange::all()).await.unwrap();
        iterator.next().await.unwrap();
        let snapshot = db.snapshot().await.unwrap();
        let (one, other) = tokio::join!(db.close(), db.close());
        one.unwrap();
        other.unwrap();

        // Open again at once, with the old handle, its iterator and its snapshot still there.
        let again = open(directory).await;
        refused(&db.put("x", "y").await.unwrap_err());
        refused(&db.get("x").await.unwrap_err());
        refused(&iterator.next_many(1000).await.unwrap_err());
        drop((iterator, snapshot));
        stop.store(true, Ordering::SeqCst);
        while let Some(end) = writers.join_next().await {
            let (writer, number) = end.unwrap();
            acknowledged[writer as usize] = number;
        }
        while let Some(end) = others.join_next().await {
            end.unwrap();
        }
        again.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn closing_while_everything_runs_on_several_threads() {
    let directory = tempfile::tempdir().unwrap();
    close_in_the_middle(directory.path()).await;
}

#[tokio::test(flavor = "current_thread")]
async fn closing_while_everything_runs_on_one_thread() {
    let directory = tempfile::tempdir().unwrap();
    close_in_the_middle(directory.path()).await;
}
