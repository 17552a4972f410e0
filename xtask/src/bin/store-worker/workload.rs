//! What is done with an engine, and how long it takes.

use crate::{
    data::{Key, VALUE, Values, key, shuffled},
    disk,
    engine::{self, Direction, Engine, Seen},
    job::{Job, Outcome, Workload},
};
use anyhow::{Result, ensure};
use fastrand::Rng;
use std::{
    sync::{Barrier, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// Entries of a batch.
const BATCH: usize = 100;
/// Entries read after a seek.
const AFTER_SEEK: usize = 10;

pub fn run(job: &Job) -> Result<Outcome> {
    match job.workload {
        Workload::Prepare => return prepare(job),
        Workload::Open => return open(job),
        Workload::GetCold => disk::forget(&job.directory)?,
        _ => {}
    }
    let opened = engine::open(job)?;
    let engine = opened.as_ref();
    let put = |key: &[u8], value: &[u8]| engine.put(key, value);
    let put_synced = |key: &[u8], value: &[u8]| engine.put_synced(key, value);
    let outcome = match job.workload {
        Workload::FillSequential => puts(engine, job, &(0..job.entries).collect::<Vec<_>>(), put),
        Workload::FillRandom => puts(engine, job, &shuffled(job.entries, job.seed), put),
        Workload::Overwrite => {
            let mut rng = Rng::with_seed(job.seed);
            let numbers: Vec<u32> = (0..job.operations).map(|_| rng.u32(..job.entries)).collect();
            puts(engine, job, &numbers, put)
        }
        Workload::PutSynced => {
            let mut numbers = shuffled(job.entries, job.seed);
            numbers.truncate(job.operations as usize);
            puts(engine, job, &numbers, put_synced)
        }
        Workload::FillBatches => batches(engine, job),
        Workload::GetMemory => {
            fill(engine, job.entries)?;
            gets(engine, job)
        }
        Workload::GetCache => {
            warm_up(engine, job.entries)?;
            gets(engine, job)
        }
        Workload::GetDisk | Workload::GetCold => gets(engine, job),
        Workload::Scan => scan(engine, job, Direction::Forward),
        Workload::ScanReverse => scan(engine, job, Direction::Reverse),
        Workload::Seek => seeks(engine, job),
        Workload::Space => overwrite_all(engine, job),
        Workload::Prepare | Workload::PrepareLog | Workload::Open => unreachable!("handled by the callers"),
    }?;
    opened.close()?;
    if job.workload == Workload::Space {
        return Ok(Outcome { figure: disk::space(&job.directory)? as f64, slowest: None });
    }
    Ok(outcome)
}

/// Runs `work` in each of the job's threads, which get their number; returns the time from the first start to the last
/// end.
fn in_threads(engine: &dyn Engine, job: &Job, work: impl Fn(usize) -> Result<()> + Sync) -> Result<Duration> {
    let barrier = Barrier::new(job.threads + 1);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..job.threads)
            .map(|number| {
                let (barrier, work) = (&barrier, &work);
                scope.spawn(move || {
                    barrier.wait();
                    engine.in_context(&mut || work(number))
                })
            })
            .collect();
        barrier.wait();
        let start = Instant::now();
        for thread in threads {
            thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        }
        Ok(start.elapsed())
    })
}

fn per_operation(time: Duration, operations: usize) -> Outcome {
    Outcome { figure: time.as_nanos() as f64 / operations.max(1) as f64, slowest: None }
}

/// Puts the entries of these numbers, shared out among the threads.
fn puts(
    engine: &dyn Engine,
    job: &Job,
    numbers: &[u32],
    put: impl Fn(&[u8], &[u8]) -> Result<()> + Sync,
) -> Result<Outcome> {
    let values = Values::new();
    let share = numbers.len().div_ceil(job.threads);
    let times = Mutex::new(Vec::new());
    let elapsed = in_threads(engine, job, |thread| {
        let numbers = numbers.chunks(share).nth(thread).unwrap_or_default();
        let mut took = Vec::with_capacity(numbers.len());
        let mut before = Instant::now();
        for (index, number) in numbers.iter().enumerate() {
            put(&key(*number), values.get(thread * share + index))?;
            let now = Instant::now();
            took.push(now.duration_since(before).as_nanos() as u64);
            before = now;
        }
        times.lock().unwrap_or_else(PoisonError::into_inner).append(&mut took);
        Ok(())
    })?;
    let mut times = times.into_inner().unwrap_or_else(PoisonError::into_inner);
    let rank = times.len().saturating_sub(1) * 999 / 1000;
    let slowest = (!times.is_empty()).then(|| *times.select_nth_unstable(rank).1 as f64);
    Ok(Outcome { slowest, ..per_operation(elapsed, numbers.len()) })
}

fn batches(engine: &dyn Engine, job: &Job) -> Result<Outcome> {
    let (numbers, values) = (shuffled(job.entries, job.seed), Values::new());
    let elapsed = in_threads(engine, job, |_| {
        let mut batch = Vec::with_capacity(BATCH);
        for (index, chunk) in numbers.chunks(BATCH).enumerate() {
            batch.clear();
            let entry = |(within, number): (usize, &u32)| (key(*number), values.get(index * BATCH + within));
            batch.extend(chunk.iter().enumerate().map(entry));
            engine.write(&batch)?;
        }
        Ok(())
    })?;
    Ok(per_operation(elapsed, numbers.len()))
}

/// Gets of random keys, which all exist.
fn gets(engine: &dyn Engine, job: &Job) -> Result<Outcome> {
    let share = job.operations as usize / job.threads;
    let elapsed = in_threads(engine, job, |thread| {
        let mut rng = Rng::with_seed(job.seed * 1000 + thread as u64);
        for _ in 0..share {
            let found = engine.get(&key(rng.u32(..job.entries)))?;
            ensure!(found == Some(VALUE), "a get gave {found:?} instead of a value of {VALUE} bytes");
        }
        Ok(())
    })?;
    Ok(per_operation(elapsed, share * job.threads))
}

fn scan(engine: &dyn Engine, job: &Job, direction: Direction) -> Result<Outcome> {
    let elapsed = in_threads(engine, job, |_| {
        let seen = engine.scan(direction)?;
        let entries = job.entries as usize;
        let all = Seen { entries, bytes: entries * (size_of::<Key>() + VALUE) };
        ensure!(seen == all, "a scan gave {seen:?} instead of {all:?}");
        Ok(())
    })?;
    Ok(per_operation(elapsed, job.entries as usize))
}

fn seeks(engine: &dyn Engine, job: &Job) -> Result<Outcome> {
    let elapsed = in_threads(engine, job, |_| {
        let mut rng = Rng::with_seed(job.seed);
        for _ in 0..job.operations {
            let number = rng.u32(..job.entries - AFTER_SEEK as u32);
            let seen = engine.seek(&key(number), AFTER_SEEK)?;
            ensure!(seen.entries == AFTER_SEEK, "a seek gave {seen:?} instead of {AFTER_SEEK} entries");
        }
        Ok(())
    })?;
    Ok(per_operation(elapsed, job.operations as usize))
}

/// Fills in random order; not measured.
fn fill(engine: &dyn Engine, entries: u32) -> Result<()> {
    let values = Values::new();
    engine.in_context(&mut || {
        shuffled(entries, 0)
            .iter()
            .enumerate()
            .try_for_each(|(index, number)| engine.put(&key(*number), values.get(index)))
    })
}

/// Has the engine read all of it once.
fn warm_up(engine: &dyn Engine, entries: u32) -> Result<()> {
    engine.in_context(&mut || {
        engine.scan(Direction::Forward)?;
        (0..entries).try_for_each(|number| engine.get(&key(number)).map(drop))
    })
}

fn overwrite_all(engine: &dyn Engine, job: &Job) -> Result<Outcome> {
    let values = Values::new();
    let rounds = job.operations / job.entries;
    engine.in_context(&mut || {
        for round in 0..=u64::from(rounds) {
            for (index, number) in shuffled(job.entries, job.seed * 1000 + round).iter().enumerate() {
                engine.put(&key(*number), values.get(index))?;
            }
        }
        engine.settle()
    })?;
    Ok(Outcome::default())
}

fn prepare(job: &Job) -> Result<Outcome> {
    let engine = engine::open(job)?;
    fill(engine.as_ref(), job.entries)?;
    engine.settle()?;
    engine.close()?;
    // Opening once more empties the log.
    let engine = engine::open(job)?;
    engine.settle()?;
    engine.close()?;
    Ok(Outcome::default())
}

/// Leaves the database open, for the process to be killed.
pub fn prepare_log(job: &Job) -> Result<Box<dyn Engine>> {
    let engine = engine::open(job)?;
    fill(engine.as_ref(), job.entries)?;
    let number = job.entries - 1;
    engine.in_context(&mut || engine.put_synced(&key(number), Values::new().get(0)))?;
    Ok(engine)
}

fn open(job: &Job) -> Result<Outcome> {
    let start = Instant::now();
    let engine = engine::open(job)?;
    let number = Rng::with_seed(job.seed).u32(..job.entries);
    let mut found = None;
    engine.in_context(&mut || {
        found = engine.get(&key(number))?;
        Ok(())
    })?;
    let elapsed = start.elapsed();
    ensure!(found == Some(VALUE), "after opening a get gave {found:?} instead of a value of {VALUE} bytes");
    engine.close()?;
    Ok(per_operation(elapsed, 1))
}
