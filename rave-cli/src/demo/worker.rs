//! One of the demo's processes: writes numbered keys one after the other, looks back at them from time to time, increments a
//! counter that all processes share, and reports. It ends in good order when its stdin does, which also happens when the demo dies.

use super::report::{Report, now};
use crate::{
    cli::DemoWorkerArgs,
    failure::Failure,
    input::Lines,
    roles::{News, Roles},
};
use rave_level::{AbstractLevel, AbstractLevelExt, Batch, IteratorOptions, KeyRange, Sublevel, Transaction};
use std::{io::Write, time::Duration};

/// A look back after so many writes.
const LOOK_BACK_EVERY: u64 = 100;
/// So many writes are looked at.
const LOOK_BACK: u64 = 50;
/// Between two writes: the demo is about failover, and what it writes must be read in the end.
const PAUSE_EVERY: u64 = 4;
/// Between two increments of the shared counter: everybody wants it, and everybody should get it now and then.
const INCREMENT_PAUSE: Duration = Duration::from_millis(3);
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

/// The counter that all workers increment.
pub const COUNTER: &str = "counter";

/// How often a worker has incremented the counter: written with it, in the same transactions.
pub fn increments_key(worker: u64) -> String {
    format!("{worker:08}/increments")
}

/// `demo-worker DB --run NAME --number N`
pub async fn work(args: DemoWorkerArgs) -> Result<(), Failure> {
    let mut stdin = Lines::of(std::io::stdin());
    let ended = async { while stdin.next().await.is_some() {} };
    tokio::pin!(ended);
    let builder = args.place.location()?.builder()?;
    let db = tokio::select! {
        opened = builder.open() => opened?,
        () = &mut ended => return Ok(()),
    };
    let keys = db.sublevel(&args.run)?;
    let mut roles = Roles::of(&db);
    let outcome = tokio::select! {
        outcome = async { futures::try_join!(write(&keys, args.number), increment(&keys, args.number)) } => outcome.map(drop),
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

/// Increments the shared counter, and in the same transaction this worker's own, which nobody else touches.
async fn increment(keys: &Sublevel, worker: u64) -> rave_level::Result<()> {
    for number in 1.. {
        let own = keys.transaction(|tx| increment_once(tx, worker)).await?;
        // An increment that was applied without this process knowing shows here.
        if own == number {
            say(&Report::Incremented(number));
        } else {
            say(&Report::Complaint(format!("process {worker}: increment {number} of the counter was its {own}th")));
        }
        tokio::time::sleep(INCREMENT_PAUSE).await;
    }
    Ok(())
}

async fn increment_once(tx: Transaction, worker: u64) -> rave_level::Result<u64> {
    let (shared, own) = (COUNTER.to_owned(), increments_key(worker));
    let mut counts = tx.get_many(vec![&shared, &own]).await?.into_iter().map(|count| parse_count(count.as_deref()));
    let mut next = || counts.next().unwrap_or(0) + 1;
    let (shared_count, own_count) = (next(), next());
    tx.write(Batch::new().put(shared, shared_count.to_string()).put(own, own_count.to_string())).await?;
    Ok(own_count)
}

/// A number as it is stored; 0 where there is none.
pub fn parse_count(value: Option<&[u8]>) -> u64 {
    value.and_then(|value| std::str::from_utf8(value).ok()?.parse().ok()).unwrap_or(0)
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
