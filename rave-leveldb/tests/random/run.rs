//! Many histories, on several threads, and what came of them.

use crate::{
    history::{Difference, History, Kind},
    subject::Subject,
};
use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    env, fmt,
    panic::{self, AssertUnwindSafe, catch_unwind},
    str::FromStr,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// The name of threads whose panics are counted and not told.
const QUIET: &str = "quiet";

/// Which histories to run.
pub struct Plan {
    pub first_seed: u64,
    pub seeds: u64,
    pub steps: usize,
    pub threads: usize,
    /// Count differences and go on, instead of telling the first one of each history.
    pub quiet: bool,
}

/// What came of them.
#[derive(Default)]
pub struct Summary {
    pub seeds: u64,
    pub steps: u64,
    pub differences: BTreeMap<Kind, u64>,
    failed: BTreeSet<u64>,
    /// The deepest level that had tables in any history; the first is 0.
    pub deepest_level: usize,
    /// How many histories had tables in each level.
    filled: Vec<u64>,
    time: Duration,
}

fn from_environment<T: FromStr>(name: &str, default: T) -> T {
    match env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")),
        Err(_) => default,
    }
}

impl Plan {
    /// What the environment asks for, or else so many seeds and steps.
    pub fn from_environment(seeds: u64, steps: usize) -> Self {
        Self {
            first_seed: from_environment("RAVE_TEST_SEED", 0),
            seeds: from_environment("RAVE_TEST_SEEDS", seeds),
            steps: from_environment("RAVE_TEST_STEPS", steps),
            threads: from_environment("RAVE_TEST_THREADS", thread::available_parallelism().map_or(1, usize::from)),
            quiet: false,
        }
    }

    /// Runs them all.
    pub fn run<S: Subject>(&self) -> Summary {
        if self.quiet {
            let hook = panic::take_hook();
            panic::set_hook(Box::new(move |panic| {
                if thread::current().name() != Some(QUIET) {
                    hook(panic);
                }
            }));
        }
        let (next, summary, start) = (AtomicU64::new(0), Mutex::new(Summary::default()), Instant::now());
        thread::scope(|scope| {
            for _ in 0..self.threads.max(1) {
                let work = || {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= self.seeds {
                            return;
                        }
                        self.run_one::<S>(self.first_seed + number, &summary);
                    }
                };
                let name = if self.quiet { QUIET } else { "histories" };
                // The other engine drops long lists link by link, on the stack.
                let thread = thread::Builder::new().name(name.to_owned()).stack_size(64 << 20);
                thread.spawn_scoped(scope, work).unwrap();
            }
        });
        let mut summary = summary.into_inner().unwrap();
        summary.time = start.elapsed();
        summary
    }

    fn run_one<S: Subject>(&self, seed: u64, summary: &Mutex<Summary>) {
        let mut history = History::<S>::new(seed);
        let mut kinds = Vec::new();
        let end = catch_unwind(AssertUnwindSafe(|| {
            history.run(self.steps, |history, difference| {
                kinds.push(difference.kind);
                if !self.quiet {
                    self.tell(seed, history, &difference);
                }
                self.quiet
            });
        }));
        if let Err(panic) = end {
            kinds.push(Kind::Panic);
            if !self.quiet {
                self.tell(seed, &history, &Difference { kind: Kind::Panic, what: panic_text(&*panic) });
            }
        }
        let (steps, tables) = (history.steps as u64, std::mem::take(&mut history.tables));
        // What panicked may do so again when it is dropped.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(history)));
        let mut summary = summary.lock().unwrap();
        summary.seeds += 1;
        summary.steps += steps;
        if !kinds.is_empty() {
            summary.failed.insert(seed);
        }
        for kind in kinds {
            *summary.differences.entry(kind).or_default() += 1;
        }
        for (level, _) in tables.iter().enumerate().filter(|(_, tables)| **tables > 0) {
            if summary.filled.len() <= level {
                summary.filled.resize(level + 1, 0);
            }
            summary.filled[level] += 1;
            summary.deepest_level = summary.deepest_level.max(level);
        }
    }

    fn tell<S: Subject>(&self, seed: u64, history: &History<S>, difference: &Difference) {
        let mut text = format!("seed {seed}, step {}: {:?}: {}\n", history.steps, difference.kind, difference.what);
        text += &format!("with {:?}, tables per level {:?}\n", history.settings, history.tables);
        text += "the last steps:\n";
        for step in &history.last_steps {
            let step: String = format!("{step:?}").chars().take(600).collect();
            text += &format!("  {step}\n");
        }
        text += &format!("again: RAVE_TEST_SEED={seed} RAVE_TEST_SEEDS=1 RAVE_TEST_STEPS={}", self.steps);
        eprintln!("{text}");
    }
}

impl Summary {
    pub fn failed_seeds(&self) -> usize {
        self.failed.len()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} histories, {} steps, {:.1} s; differences: {:?}; histories with tables in each level: {:?}",
            self.seeds,
            self.steps,
            self.time.as_secs_f64(),
            self.differences,
            self.filled
        )?;
        if self.failed.is_empty() { Ok(()) } else { write!(f, "; failed seeds: {:?}", self.failed) }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without text").to_owned()
}
