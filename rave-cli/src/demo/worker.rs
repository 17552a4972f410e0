//! One of the demo's processes: writes numbered keys one after the other, looks back at them from time to time, and
//! reports. It ends in good order when its stdin does, which also happens when the demo dies.

use super::report::{Report, now};
use crate::{
    cli::DemoWorkerArgs,
    failure::Failure,
    input::Lines,
    roles::{News, Roles},
};
use rave_level::{AbstractLevel, AbstractLevelExt, Batch, IteratorOptions, KeyRange, RaveLevel, Sublevel};
use std::{io::Write, time::Duration};

/// A look back after so many writes.
const LOOK_BACK_EVERY: u64 = 100;
/// So many writes are looked at.
const LOOK_BACK: u64 = 50;
/// Between two writes: the demo is about failover, and what it writes must be read in the end.
const PAUSE_EVERY: u64 = 4;
/// How long closing may take.
const CLOSING: Duration = Duration::from_secs(10);

/// The key of a worker's write.
pub fn key(worker: u64, number: u64) -> String {
    format!("{worker:08}/{number:012}")
}

/// The key that a worker overwrites with each write.
pub fn latest_key(worker: u64) -> String {
    format!("{worker:08}/latest")
}

/// `demo-worker DIR --run NAME --number N`
pub async fn work(args: DemoWorkerArgs) -> Result<(), Failure> {
    let mut stdin = Lines::of(std::io::stdin());
    let ended = async { while stdin.next().await.is_some() {} };
    tokio::pin!(ended);
    let db = tokio::select! {
        opened = RaveLevel::open(&args.dir) => opened?,
        () = &mut ended => return Ok(()),
    };
    let keys = db.sublevel(&args.run)?;
    let mut roles = Roles::of(&db);
    let outcome = tokio::select! {
        outcome = write(&keys, args.number) => outcome,
        () = async {
            while let Some(news) = roles.next().await {
                if let News::Role(taken) = news {
                    say(&Report::Role(taken));
                }
            }
            std::future::pending().await
        } => Ok(()),
        () = &mut ended => Ok(()),
    };
    if let Err(error) = outcome {
        say(&Report::Complaint(error.to_string()));
    }
    match tokio::time::timeout(CLOSING, db.close()).await {
        Ok(closed) => Ok(closed?),
        Err(_) => Err(Failure::Check("closing took too long".to_owned())),
    }
}

async fn write(keys: &Sublevel, worker: u64) -> rave_level::Result<()> {
    for number in 1.. {
        let text = number.to_string();
        let begun = now();
        keys.write(Batch::new().put(key(worker, number), &text).put(latest_key(worker), &text)).await?;
        say(&Report::Acknowledged { number, begun, ended: now() });
        if number.is_multiple_of(LOOK_BACK_EVERY) {
            look_back(keys, worker, number).await?;
        }
        if number.is_multiple_of(PAUSE_EVERY) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    Ok(())
}

/// The last writes must all be there, in both directions.
async fn look_back(keys: &Sublevel, worker: u64, number: u64) -> rave_level::Result<()> {
    let first = number - LOOK_BACK + 1;
    let range = KeyRange::all().gte(key(worker, first)).lte(key(worker, number));
    let reverse = (number / LOOK_BACK_EVERY).is_multiple_of(2);
    let mut found = keys.all(IteratorOptions { range, reverse, ..IteratorOptions::default() }).await?;
    if reverse {
        found.reverse();
    }
    let expected = (first..=number).map(|number| key(worker, number));
    if !found.iter().map(|entry| entry.key.as_ref()).eq(expected
        .clone()
        .map(String::into_bytes)
        .collect::<Vec<_>>()
        .iter()
        .map(Vec::as_slice))
    {
        let missing = expected.filter(|key| !found.iter().any(|entry| entry.key == key.as_bytes())).count();
        say(&Report::Complaint(format!(
            "process {worker}: a scan of {LOOK_BACK} acknowledged writes up to {number} found {}, {missing} missing",
            found.len()
        )));
    }
    Ok(())
}

/// Reports. The demo always reads; when it is gone there is nobody to tell.
fn say(report: &Report) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{report}");
}
