//! Transactions on a shared database: on leaders and guests, and while leaders die.

mod support;

use rave_level::{AbstractLevel, AbstractLevelExt, Batch, Builder, KeyRange, RaveLevel, Result, Transaction};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use support::{Gate, Gated, Place, Process, follows, leads, soon};

async fn count(db: &impl AbstractLevel, key: &str) -> Result<u64> {
    let value = db.get(key).await?;
    Ok(value.map_or(0, |value| std::str::from_utf8(&value).unwrap().parse().unwrap()))
}

/// One more in both counters.
async fn increment(tx: Transaction, own: &str) -> Result<()> {
    let (shared, mine) = (count(&tx, "shared").await?, count(&tx, own).await?);
    tx.put("shared", (shared + 1).to_string()).await?;
    tx.put(own, (mine + 1).to_string()).await
}

#[tokio::test]
async fn leaders_and_guests_count_together() {
    let place = Place::new();
    let handles = [place.open().await, place.open().await, place.open().await];
    assert!(leads(&handles[0]) && follows(&handles[1]) && handles[2].manifest().conditions);
    let tasks = handles.iter().map(|db| async move {
        for _ in 0..50 {
            db.transaction(|tx| increment(tx, "own")).await.unwrap();
        }
    });
    soon("all increments", futures::future::join_all(tasks)).await;
    for db in &handles {
        assert_eq!((count(db, "shared").await.unwrap(), count(db, "own").await.unwrap()), (150, 150));
    }
}

/// The leader dies while a guest's commit is with it, applied or not: it is applied once, and the body does not run again.
#[tokio::test]
async fn a_commit_outlives_the_leader_and_is_applied_once() {
    for gate in [Gate::BeforeWrites, Gate::AfterWrites] {
        let place = Place::new();
        let store = Gated::new(place.store.clone());
        let builder = || Builder::new(store.clone(), place.meeting_point.clone());
        let leader = Process::start(builder()).await;
        let guest = builder().open().await.unwrap();
        guest.put("shared", "5").await.unwrap();
        store.set(gate);
        let runs = Arc::new(AtomicUsize::new(0));
        let committing = {
            let (guest, runs) = (guest.clone(), runs.clone());
            tokio::spawn(async move {
                let runs = &runs;
                guest
                    .transaction(|tx| async move {
                        runs.fetch_add(1, Ordering::SeqCst);
                        assert_eq!(tx.all(KeyRange::all().lt("z")).await?.len(), 1);
                        increment(tx, "own").await
                    })
                    .await
            })
        };
        store.until_waiting(1).await;
        leader.kill().await;
        store.set(Gate::Open);
        soon("the commit", committing).await.unwrap().unwrap();
        assert_eq!((count(&guest, "shared").await.unwrap(), count(&guest, "own").await.unwrap()), (6, 1), "{gate:?}");
        assert_eq!(runs.load(Ordering::SeqCst), 1, "{gate:?}: the commit took itself for somebody else");
    }
}

/// A worker that counts until it is told to stop, or until its process is killed in the middle of it.
async fn work(db: RaveLevel, own: String, told: Arc<AtomicUsize>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::SeqCst) {
        let own = &own;
        if let Err(error) = db.transaction(|tx| increment(tx, own)).await {
            println!("{own} ends: {error}");
            return;
        }
        told.fetch_add(1, Ordering::SeqCst);
        // A leader that never pauses would always be faster than its guests.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_are_exact_while_leaders_die() {
    const KILLS: usize = 6;
    let place = Place::new();
    let stop = Arc::new(AtomicBool::new(false));
    let (mut processes, mut tolds) = (Vec::new(), Vec::new());
    for number in 0..KILLS + 3 {
        let process = Process::start(place.builder()).await;
        let told = Arc::new(AtomicUsize::new(0));
        let (db, stop) = (process.level.clone(), stop.clone());
        process.spawn(work(db, format!("own{number}"), told.clone(), stop));
        tolds.push(told.clone());
        processes.push((process, told));
        if processes.len() > 3 {
            // Everybody has counted something, and somebody leads.
            support::until("all count", || processes.iter().all(|(_, told)| told.load(Ordering::SeqCst) > 0)).await;
            support::until("a leader", || processes.iter().any(|(process, _)| leads(&process.level))).await;
            let leader = processes.iter().position(|(process, _)| leads(&process.level)).unwrap();
            processes.remove(leader).0.kill().await;
        }
    }
    stop.store(true, Ordering::SeqCst);
    let reader = place.open().await;
    for (number, told) in tolds.iter().enumerate() {
        // Those that still live may be in the middle of the last one.
        let told = || told.load(Ordering::SeqCst) as u64;
        let before = told();
        let own = count(&reader, &format!("own{number}")).await.unwrap();
        assert!((before..=told() + 1).contains(&own), "process {number} was told of {before}, and made {own}");
    }
    let exact = reader
        .transaction(|tx| async move {
            let mut own = 0;
            for number in 0..KILLS + 3 {
                own += count(&tx, &format!("own{number}")).await?;
            }
            Ok::<_, rave_level::Error>((count(&tx, "shared").await?, own))
        })
        .await
        .unwrap();
    assert_eq!(exact.0, exact.1);
}

/// Clears and ranges are part of what a guest commits, and hidden records are in nobody's way.
#[tokio::test]
async fn ranges_and_clears_work_through_a_guest() {
    let place = Place::new();
    let (leader, guest) = (place.open().await, place.open().await);
    let batch = (0..2_500).fold(Batch::new(), |batch, n| batch.put(format!("{n:05}"), "x".repeat(100)));
    guest.write(batch).await.unwrap();
    for reverse in [false, true] {
        let runs = AtomicUsize::new(0);
        let (count, leader) = (&runs, &leader);
        let removed = guest
            .transaction(|tx| async move {
                let options = rave_level::IteratorOptions { reverse, ..KeyRange::all().into() };
                let found = tx.all(options).await?.len();
                tx.clear(KeyRange::all().gte("00000").lt(if reverse { "01500" } else { "01000" })).await?;
                if count.fetch_add(1, Ordering::SeqCst) == 0 {
                    // The leader writes among them: once is enough.
                    leader.put(if reverse { "00500" } else { "01700" }, "new").await?;
                }
                Ok::<_, rave_level::Error>(found)
            })
            .await
            .unwrap();
        assert_eq!(runs.into_inner(), 2);
        assert_eq!(removed, if reverse { 1_501 } else { 2_500 });
    }
    assert_eq!(leader.all(KeyRange::all()).await.unwrap().len(), 1_000);
}
