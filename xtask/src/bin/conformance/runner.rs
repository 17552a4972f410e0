//! Runs cases side by side, and survives those that fail or hang.

use crate::panics;
use futures::future::BoxFuture;
use rave_level::conformance::{Case, Flavor, Harness, Outcome};
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// Makes what a case runs on; called afresh for each case.
pub type Setup = Arc<dyn Fn() -> BoxFuture<'static, anyhow::Result<Harness>> + Send + Sync>;

/// One store through one view, with what came of its cases.
pub struct Cell {
    pub store: String,
    pub view: String,
    setup: Setup,
    pub results: Vec<Done>,
}

/// What came of one case.
pub struct Done {
    place: usize,
    pub case: Case,
    pub outcome: Outcome,
    /// Every panic of the case's thread, with its place in the sources.
    pub panics: Vec<String>,
    pub took: Duration,
}

impl Cell {
    pub fn new(store: String, view: String, setup: Setup) -> Self {
        Self { store, view, setup, results: Vec::new() }
    }

    /// How many of its cases ended so.
    pub fn count(&self, wanted: impl Fn(&Outcome) -> bool) -> usize {
        self.results.iter().filter(|done| wanted(&done.outcome)).count()
    }

    /// How long its cases took one after the other; they ran beside others.
    pub fn took(&self) -> Duration {
        self.results.iter().map(|done| done.took).sum()
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.store, panics::TIMES, self.view)
    }
}

/// How the cases are run.
pub struct Runner<P: Fn(&Cell) + Sync> {
    /// So many at a time.
    pub jobs: usize,
    /// How long one of them may take.
    pub deadline: Duration,
    /// Is told when a cell is complete.
    pub progress: P,
}

impl<P: Fn(&Cell) + Sync> Runner<P> {
    /// Runs all cases in all cells.
    pub fn run(&self, cells: Vec<Cell>, cases: &[Case]) -> Vec<Cell> {
        panics::watch();
        let work =
            (0..cells.len()).flat_map(|cell| cases.iter().enumerate().map(move |(place, case)| (cell, place, *case)));
        let queue = Mutex::new(work);
        let cells: Vec<_> = cells.into_iter().map(Mutex::new).collect();
        thread::scope(|scope| {
            for _ in 0..self.jobs {
                scope.spawn(|| {
                    // Not `while let`, which would hold the queue for as long as the case runs.
                    loop {
                        let next = lock(&queue).next();
                        let Some((cell, place, case)) = next else { return };
                        if let Some(cell) = cells.get(cell) {
                            self.run_one(cell, place, case, cases.len());
                        }
                    }
                });
            }
        });
        cells.into_iter().map(|cell| cell.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
    }

    /// Runs the case that has this place in the list of so many.
    fn run_one(&self, cell: &Mutex<Cell>, place: usize, case: Case, of: usize) {
        let (name, setup) = {
            let cell = lock(cell);
            (cell.to_string(), cell.setup.clone())
        };
        let started = Instant::now();
        let setup = async move || setup().await.unwrap_or_else(|error| panic!("setting up: {error:#}"));
        let outcome = case.run(&name, Flavor::CurrentThread, self.deadline, setup);
        let panics = panics::of(&format!("{name}::{case}"));
        let done = Done { place, case, outcome, panics, took: started.elapsed() };
        let mut cell = lock(cell);
        cell.results.push(done);
        if cell.results.len() == of {
            cell.results.sort_by_key(|done| done.place);
            (self.progress)(&cell);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
