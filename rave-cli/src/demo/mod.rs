//! `demo`: kill the leader again and again under load, and show that nothing acknowledged is lost, and that what all
//! processes count together is exact.
//!
//! | part | does |
//! | --- | --- |
//! | `worker` | one of the processes: writes numbered keys, scans them, increments a shared counter, reports on stdout |
//! | `report` | the lines by which a worker reports |
//! | `troop` | starts, kills and replaces workers, and knows what each has reported |
//! | `show` | tells people what happens |
//! | `check` | reads every acknowledged write and the counter in the end |

mod check;
mod report;
mod show;
mod troop;
mod worker;

use crate::{cli::DemoArgs, failure::Failure, place};
use rave_level::Location;
use show::Show;
use std::time::{Duration, Instant};
use troop::Troop;

pub use worker::work;

/// How long anything may take before the demo gives up on it.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came of a run.
#[derive(Debug, Default)]
struct Outcome {
    acknowledged: u64,
    lost: u64,
    /// Acknowledged increments of the shared counter, and what it is in the end.
    increments: u64,
    counter: u64,
    kills: u32,
    /// From a kill to the first write that was begun after it and acknowledged.
    first: Vec<Duration>,
    /// The same for the last of the survivors.
    all: Vec<Duration>,
    /// What else went wrong.
    complaints: Vec<String>,
}

/// `demo [DB]`
pub async fn run(args: DemoArgs) -> Result<(), Failure> {
    let temporary = match &args.at {
        Some(_) => None,
        None => Some(
            tempfile::Builder::new()
                .prefix("rave-demo-")
                .tempdir()
                .map_err(|error| Failure::io("making a temporary folder", &error))?,
        ),
    };
    let at = match (&args.at, &temporary) {
        (Some(at), _) => at.clone(),
        (None, Some(folder)) => folder.path().into(),
        (None, None) => return Err(Failure::Usage("no folder".to_owned())),
    };
    let location = place::location(&at, args.store.kind)?;
    if !matches!(location, Location::LevelDb(_) | Location::Sled(_)) {
        return Err(Failure::Usage(format!("the demo needs a directory for its processes, and {location} is none")));
    }
    // Its own sublevel, so that the demo can run in a directory that holds other data.
    let run = format!("demo-{}-{}", std::process::id(), report::now());
    let mut show = Show::new(args.kills);
    let mut troop = Troop::new(at, args.store.kind, run.clone());
    let mut outcome = Outcome::default();
    let played = tokio::select! {
        played = play(&args, &mut troop, &mut show, &mut outcome) => played,
        _ = tokio::signal::ctrl_c() => Err(Failure::Check("interrupted".to_owned())),
    };
    if let Err(failure) = played {
        show.end();
        troop.kill_all().await;
        return Err(failure);
    }
    let told = troop.dismiss(&mut outcome.complaints).await;
    show.note("checking every acknowledged write, and the shared counter");
    let found = check::check(&location, &run, &told, &mut outcome.complaints).await;
    show.end();
    outcome.acknowledged = told.values().map(|told| told.writes).sum();
    outcome.increments = told.values().map(|told| told.increments).sum();
    let found = found?;
    outcome.lost = found.lost;
    outcome.counter = found.counter;
    println(&show::table(&mut outcome).to_string());
    for complaint in &outcome.complaints {
        println(complaint);
    }
    if outcome.lost > 0 || !outcome.complaints.is_empty() {
        return Err(Failure::Check(format!(
            "{} acknowledged writes lost, {} other complaints",
            outcome.lost,
            outcome.complaints.len()
        )));
    }
    Ok(())
}

async fn play(args: &DemoArgs, troop: &mut Troop, show: &mut Show, outcome: &mut Outcome) -> Result<(), Failure> {
    for _ in 0..args.processes {
        troop.start()?;
    }
    let begun = Instant::now();
    troop.until(show, PATIENCE, "every process writes", |troop| troop.all_have_written()).await?;
    for kill in 1..=args.kills {
        let due = begun + args.seconds.mul_f64(f64::from(kill) / f64::from(args.kills + 1));
        troop.pass(show, due.saturating_duration_since(Instant::now())).await?;
        troop.until(show, PATIENCE, "one of the processes leads", |troop| troop.leader().is_some()).await?;
        let Some(killed) = troop.kill_leader().await? else { continue };
        outcome.kills += 1;
        let served = format!("all others are served after kill {kill}");
        troop.until(show, PATIENCE, &served, |troop| troop.all_served_since(&killed)).await?;
        let (first, all) = troop.failover(&killed);
        outcome.first.push(first);
        outcome.all.push(all);
        show.failover(kill, &killed, troop.leader(), first, all);
        troop.start()?;
        troop.until(show, PATIENCE, "the new process writes", |troop| troop.all_have_written()).await?;
    }
    troop.pass(show, (begun + args.seconds).saturating_duration_since(Instant::now())).await
}

/// Prints a line; that nobody reads it is no failure of the demo.
fn println(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{line}");
}
