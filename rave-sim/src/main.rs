//! `cargo xtask sim`: runs seeds, and prints those that fail with the command that replays them.

use anyhow::{Result, bail};
use clap::Parser;
use rave_sim::{Report, catch_panics, run};
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Each seed that is a multiple of this runs twice, to see that it goes the same way.
const TWICE: u64 = 100;
/// No run takes as long as this.
const HANGS: Duration = Duration::from_secs(30);

/// Simulates groups of processes with faults, a history for each seed.
#[derive(Parser)]
#[command(name = "cargo xtask sim", bin_name = "cargo xtask sim")]
struct Cli {
    /// How many seeds to run.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// Where to begin.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Replay this seed alone, and print its trace.
    #[arg(long)]
    seed: Option<u64>,
    /// Run for so many minutes instead of a number of seeds.
    #[arg(long)]
    minutes: Option<u64>,
    /// OS threads; each runs seeds of its own.
    #[arg(long, default_value_t = std::thread::available_parallelism().map_or(1, usize::from))]
    threads: usize,
    /// How many failing seeds to find before giving up.
    #[arg(long, default_value_t = 5)]
    failures: usize,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    catch_panics();
    match cli.seed {
        Some(seed) => replay(seed),
        None => search(&cli),
    }
}

fn replay(seed: u64) -> Result<()> {
    let report = run(seed, true);
    for line in &report.trace {
        println!("{line}");
    }
    println!("{} operations, {} faults, hash {:016x}", report.operations, report.faults, report.hash);
    let again = run(seed, false);
    if cfg!(tokio_unstable) && again.hash != report.hash {
        bail!("seed {seed} is not deterministic: it went another way the second time");
    }
    match report.violation {
        Some(violation) => bail!("seed {seed}: {violation}"),
        None => Ok(()),
    }
}

fn search(cli: &Cli) -> Result<()> {
    let start = Instant::now();
    let end = cli.minutes.map(|minutes| start + Duration::from_secs(60 * minutes));
    let (next, runs, operations, faults) =
        (AtomicU64::new(cli.first), AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let (stop, over) = (AtomicBool::new(false), AtomicBool::new(false));
    let threads = cli.threads.max(1);
    // What each thread runs, and since when in milliseconds, so that a run that hangs is not waited for in vain.
    let running: Vec<(AtomicU64, AtomicU64)> = (0..threads).map(|_| Default::default()).collect();
    let millis = || u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let failed: Mutex<Vec<Report>> = Mutex::default();
    let work = |thread: usize| {
        while !stop.load(Relaxed) {
            let seed = next.fetch_add(1, Relaxed);
            let enough = match end {
                Some(end) => Instant::now() >= end,
                None => seed >= cli.first + cli.seeds,
            };
            if enough {
                return;
            }
            running[thread].0.store(seed, Relaxed);
            running[thread].1.store(millis().max(1), Relaxed);
            let mut report = run(seed, false);
            if cfg!(tokio_unstable) && seed.is_multiple_of(TWICE) && run(seed, false).hash != report.hash {
                report.violation.get_or_insert_with(|| "the same seed went another way the second time".to_owned());
            }
            running[thread].1.store(0, Relaxed);
            runs.fetch_add(1, Relaxed);
            operations.fetch_add(report.operations, Relaxed);
            faults.fetch_add(report.faults, Relaxed);
            if let Some(violation) = &report.violation {
                println!("seed {seed}: {violation}\n  replay: cargo xtask sim --seed {seed}");
                let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.push(report);
                if failed.len() >= cli.failures {
                    stop.store(true, Relaxed);
                }
            }
        }
    };
    let watch = || {
        while !over.load(Relaxed) {
            std::thread::sleep(Duration::from_millis(100));
            for (seed, since) in &running {
                let (seed, since) = (seed.load(Relaxed), since.load(Relaxed));
                if since > 0 && millis().saturating_sub(since) > HANGS.as_millis() as u64 {
                    println!("seed {seed}: hangs: a process never gives way\n  replay: cargo xtask sim --seed {seed}");
                    std::process::exit(2);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(watch);
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn({
                    let work = &work;
                    move || work(thread)
                })
            })
            .collect();
        for worker in workers {
            if worker.join().is_err() {
                stop.store(true, Relaxed);
            }
        }
        over.store(true, Relaxed);
    });
    let seconds = start.elapsed().as_secs_f64();
    let runs = runs.into_inner();
    println!(
        "{runs} seeds, {} operations, {} faults in {seconds:.1} s on {} threads: {:.0} seeds/s",
        operations.into_inner(),
        faults.into_inner(),
        threads,
        runs as f64 / seconds
    );
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    match failed.len() {
        0 => Ok(()),
        number => bail!("{number} seeds failed"),
    }
}
