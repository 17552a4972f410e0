//! The conductor: starts the processes, lets faults happen to them, and has everything checked.

mod board;
mod crew;
mod faults;
mod place;

pub use board::Board;
pub use faults::{Faults, Tally};

use crate::{
    check::{Class, Judge, Message, SharedDocket, Violation},
    clock,
    report::Report,
    work::{Sabotage, Store},
};
use anyhow::{Context, Result, ensure};
use board::SharedBoard;
use clap::Args;
use crew::{Crew, PATIENCE, Settings};

use fastrand::Rng;
use place::Place;
use rave_level::leveldb::LevelDb;
use std::{
    fs,
    ops::ControlFlow,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

/// So many violations are enough: the run ends.
const ENOUGH: usize = 20;

/// How often the state of the run is told.
const TELL_EVERY: Duration = Duration::from_secs(10);

#[derive(Args, Debug)]
pub struct ConductOptions {
    /// How long faults go on.
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Which engine writes the database's files.
    #[arg(long, default_value = "leveldb")]
    store: Store,
    /// Decides which operations are chosen and which faults happen; not when. Random without.
    #[arg(long)]
    seed: Option<u64>,
    /// Write the report here, as text, JSON and a plot.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How many processes there are at a time.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u8).range(2..))]
    processes: u8,
    /// Milliseconds that an operation may take.
    #[arg(long, default_value_t = 1500)]
    deadline: u64,
    /// Microseconds that each client waits on average between two operations.
    #[arg(long, default_value_t = 25_000)]
    pause: u64,
    /// Milliseconds between two faults, on average.
    #[arg(long, default_value_t = 250)]
    calm: u64,
    /// Let processes make mistakes of this kind: the run has to fail.
    #[arg(long, value_name = "FAULT")]
    sabotage: Option<Sabotage>,
}

/// Runs, and reports.
pub fn run(options: &ConductOptions) -> Result<ExitCode> {
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    // Before there are other threads.
    let place = Place::new()?;
    if let Some(reason) = place.no_disk() {
        println!("the disk cannot be filled here: {reason}");
    }
    let interrupted = Arc::new(AtomicBool::new(false));
    watch_signals(interrupted.clone())?;

    let (docket, board) = (SharedDocket::default(), SharedBoard::default());
    let (judge, messages) = mpsc::channel();
    let deadline = Duration::from_millis(options.deadline);
    let start = clock::now();
    let judging = {
        let judge = Judge::new(docket.clone(), start, deadline);
        thread::spawn(move || judge.run(&messages))
    };
    let settings = Settings {
        db: place.db(),
        store: options.store,
        seed,
        deadline,
        pause: Duration::from_micros(options.pause),
        sabotage: options.sabotage,
    };
    let crew = Crew::new(settings, board.clone(), docket.clone(), judge.clone());
    let mut run = Run {
        options,
        faults: Faults::new(crew, board.clone(), &place, Rng::with_seed(seed), deadline),
        board: board.clone(),
        docket: docket.clone(),
        audits: Audits::default(),
        random: Rng::with_seed(!seed),
        interrupted,
        told: Instant::now(),
        begun: Instant::now(),
    };
    let played = run.play();
    let faults_took = run.begun.elapsed();
    // What is known when something does not go on is still to be told.
    let finished = played.and_then(|()| run.finish(&judge));
    if let Err(error) = &finished {
        docket.accuse(Class::Stuck, format!("{error:#}"));
    }
    let interrupted = run.interrupted.load(Ordering::Relaxed);
    run.faults.crew.members.clear();
    let Run { faults, .. } = run;
    // It fails only if the judge is gone, which its thread will tell.
    let _ = judge.send(Message::Close);
    judging.join().map_err(|panic| std::panic::resume_unwind(panic)).ok();
    if finished.is_ok() && !interrupted {
        verify(&place, &docket)?;
    }
    let mut board = board.lock();
    board.close_gap();
    let report = Report::new(seed, faults_took, interrupted, place.no_disk(), &faults, &mut board, &docket.lock());
    println!("\n{report}");
    if let Some(folder) = &options.out {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        report.write_to(folder)?;
        println!("written to {}", folder.display());
    }
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Run<'a> {
    options: &'a ConductOptions,
    faults: Faults<'a>,
    board: SharedBoard,
    docket: SharedDocket,
    audits: Audits,
    random: Rng,
    interrupted: Arc<AtomicBool>,
    told: Instant,
    begun: Instant,
}

impl Run<'_> {
    /// Lets faults happen as long as is asked for.
    fn play(&mut self) -> Result<()> {
        for _ in 0..self.options.processes {
            self.faults.crew.start()?;
        }
        self.wait_until_it_goes_on()?;
        let end = Instant::now() + Duration::from_secs_f64(60.0 * self.options.minutes);
        while Instant::now() < end && !self.is_enough() {
            let until = Instant::now() + Duration::from_millis(self.random.u64(0..=2 * self.options.calm));
            self.calm(until)?;
            self.faults.strike()?;
            // Often, but not always, all go on before the next fault.
            if self.random.u32(0..10) > 0 {
                self.wait_until_it_goes_on()?;
            }
        }
        Ok(())
    }

    fn is_enough(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed) || self.docket.lock().violations.len() >= ENOUGH
    }

    /// No faults until then.
    fn calm(&mut self, until: Instant) -> Result<()> {
        loop {
            self.tend()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(Duration::from_millis(20)));
        }
    }

    fn wait_until_it_goes_on(&mut self) -> Result<()> {
        let since = clock::now();
        self.wait_for("an operation is acknowledged", |run| run.board.lock().goes_on_since(since))
    }

    fn wait_for(&mut self, what: &str, mut reached: impl FnMut(&mut Self) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !reached(self) {
            ensure!(Instant::now() < deadline, "waited {PATIENCE:?} until {what}");
            if self.interrupted.load(Ordering::Relaxed) {
                return Ok(());
            }
            self.tend()?;
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn tend(&mut self) -> Result<()> {
        self.faults.crew.tend()?;
        self.audits.arrange(&mut self.faults.crew, &self.docket, &mut self.random);
        if self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            let (docket, kills) = (self.docket.lock(), self.faults.kills);
            println!(
                "{:6.1} s  {kills} kills, {} writes acknowledged, {} generations checked, {} violations",
                self.begun.elapsed().as_secs_f64(),
                docket.acknowledged_writes,
                docket.generations,
                docket.violations.len()
            );
        }
        Ok(())
    }

    /// Everybody comes to rest; everybody is killed; one process audits what is left.
    fn finish(&mut self, judge: &mpsc::Sender<Message>) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.faults.crew.members.iter_mut().for_each(|member| member.command("rest"));
        self.wait_for("all rest", |run| {
            let docket = run.docket.lock();
            run.faults.crew.excuse();
            run.faults.crew.members.iter().all(|member| docket.resting.contains(&member.process))
        })?;
        while let Some(last) = self.faults.crew.members.len().checked_sub(1) {
            self.faults.crew.kill(last)?;
        }
        // Nobody is left to be served, so this is no failover.
        self.board.lock().close_gap();
        self.faults.crew.hear_out();
        self.faults.crew.start_idle()?;
        let over = clock::end_of(clock::generation(clock::now()));
        self.wait_for("the last generation is over", |_| clock::now() > over)?;
        // It fails only if the judge is gone, which its thread will tell.
        let _ = judge.send(Message::LastCall);
        self.wait_for("the last generations are audited", |run| {
            run.faults.crew.excuse();
            run.docket.lock().left == Some(0)
        })?;
        self.faults.crew.leave(0)?;
        self.faults.crew.hear_out();
        Ok(())
    }
}

/// Which process reads which generation as a whole.
#[derive(Default)]
struct Audits {
    /// The generation that is being audited, by which process, and since when.
    asked: Option<(u64, u64, Instant)>,
    /// The latest generation that was dropped.
    dropped: Option<u64>,
}

impl Audits {
    fn arrange(&mut self, crew: &mut Crew, docket: &SharedDocket, random: &mut Rng) {
        let (next, checked) = {
            let docket = docket.lock();
            (docket.due.first().copied(), docket.checked)
        };
        let awake = |member: &&mut crew::Member| !member.frozen;
        if checked > self.dropped
            && let Some(generation) = checked
        {
            let mut members: Vec<_> = crew.members.iter_mut().filter(awake).collect();
            if let Some(member) = random.choice(&mut members) {
                member.command(&format!("drop {generation}"));
                self.dropped = checked;
            }
        }
        let Some(generation) = next else { return };
        let under_way = self.asked.is_some_and(|(asked, process, since)| {
            asked == generation
                && since.elapsed() < Duration::from_secs(10)
                && crew.members.iter().any(|member| member.process == process)
        });
        if under_way {
            return;
        }
        let mut members: Vec<_> = crew.members.iter_mut().filter(awake).collect();
        if let Some(member) = random.choice(&mut members) {
            member.command(&format!("audit {generation}"));
            self.asked = Some((generation, member.process, Instant::now()));
        }
    }
}

/// Ctrl-C and a polite kill end the run in good order.
fn watch_signals(interrupted: Arc<AtomicBool>) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        interrupted.store(true, Ordering::Relaxed);
    });
    Ok(())
}

/// Looks at everything that is stored.
fn verify(place: &Place, docket: &SharedDocket) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(LevelDb::new(place.db()).verify(|_| ControlFlow::Continue(())))?;
    if !report.is_sound() {
        let violation = Violation::new(Class::Lost, format!("the stored files are damaged: {:?}", report));
        docket.lock().violations.push(violation);
    }
    Ok(())
}
