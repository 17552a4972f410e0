//! Many tasks in each other's way.

use crate::probe::Probe;
use rave_core::{AbstractLevelExt, Batch, Error, KeyRange, Transaction};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

const ACCOUNTS: u32 = 8;
const EACH: i64 = 100;

fn account(number: u32) -> String {
    format!("account:{number}")
}

async fn number(tx: &Transaction, key: &str) -> Result<i64, Error> {
    let value = tx.get(key).await?.unwrap_or_default();
    Ok(std::str::from_utf8(&value).unwrap().parse().unwrap_or(0))
}

async fn sum(tx: Transaction) -> Result<i64, Error> {
    let entries = tx.all(KeyRange::prefix("account:")).await?;
    assert_eq!(entries.len() as u32, ACCOUNTS);
    Ok(entries.iter().map(|entry| std::str::from_utf8(&entry.value).unwrap().parse::<i64>().unwrap()).sum())
}

/// Transfers between accounts, while others look at all of them: money is neither made nor lost, at any moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_is_neither_made_nor_lost() {
    let db = Probe::default();
    let batch = (0..ACCOUNTS).fold(Batch::new(), |batch, n| batch.put(account(n), EACH.to_string()));
    db.inner.write(batch).await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let auditors: Vec<_> = (0..3)
        .map(|_| {
            let (db, done) = (db.clone(), done.clone());
            tokio::spawn(async move {
                let mut looks = 0;
                while !done.load(Ordering::SeqCst) {
                    assert_eq!(db.transaction(sum).await.unwrap(), i64::from(ACCOUNTS) * EACH);
                    looks += 1;
                }
                looks
            })
        })
        .collect();
    let transfers: Vec<_> = (0..12_u32)
        .map(|task| {
            let db = db.clone();
            tokio::spawn(async move {
                for round in 0..25 {
                    let mut rng = fastrand::Rng::with_seed(u64::from(task * 1000 + round));
                    let (from, to) = (account(rng.u32(..ACCOUNTS)), account(rng.u32(..ACCOUNTS)));
                    let (from, to, amount) = (&from, &to, rng.i64(1..50));
                    db.transaction(|tx| async move {
                        let left = number(&tx, from).await? - amount;
                        tx.put(from, left.to_string()).await?;
                        let more = number(&tx, to).await? + amount;
                        tx.put(to, more.to_string()).await
                    })
                    .await
                    .unwrap();
                }
            })
        })
        .collect();
    for transfer in transfers {
        transfer.await.unwrap();
    }
    done.store(true, Ordering::SeqCst);
    for auditor in auditors {
        assert!(auditor.await.unwrap() > 0);
    }
    assert_eq!(db.transaction(sum).await.unwrap(), i64::from(ACCOUNTS) * EACH);
}

/// One counter for all: the worst case, in which only one of all attempts at a time can succeed. The default number of
/// attempts must be enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_counter_that_everybody_increments_is_exact() {
    const TASKS: usize = 100;
    let db = Probe::default();
    let most = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let (db, most) = (db.clone(), most.clone());
            tokio::spawn(async move {
                for _ in 0..5 {
                    let runs = AtomicUsize::new(0);
                    let count = &runs;
                    let increment = |tx: Transaction| async move {
                        count.fetch_add(1, Ordering::SeqCst);
                        let next = number(&tx, "counter").await? + 1;
                        tx.put("counter", next.to_string()).await
                    };
                    db.transaction(increment).await.unwrap();
                    most.fetch_max(runs.into_inner(), Ordering::SeqCst);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    println!("at most {} runs", most.load(Ordering::SeqCst));
    assert!(most.load(Ordering::SeqCst) > 1, "nobody was in anybody's way");
    assert_eq!(db.inner.get("counter").await.unwrap().unwrap(), (TASKS * 5).to_string());
}

/// Everybody takes the number behind the highest one: each number is taken once, and none is left out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_free_number_is_taken_once() {
    let db = Probe::default();
    let tasks: Vec<_> = (0..10)
        .map(|task| {
            let db = db.clone();
            tokio::spawn(async move {
                for _ in 0..10 {
                    db.transaction(|tx| async move {
                        let mut backwards = tx.iterator(rave_core::IteratorOptions::default().reversed()).await?;
                        let highest = backwards.next().await?.map(|entry| entry.key);
                        let next =
                            highest.map_or(0, |key| std::str::from_utf8(&key).unwrap().parse::<u32>().unwrap() + 1);
                        tx.put(format!("{next:04}"), task.to_string()).await
                    })
                    .await
                    .unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let entries = db.inner.all(KeyRange::all()).await.unwrap();
    let expected: Vec<String> = (0..100).map(|n| format!("{n:04}")).collect();
    assert_eq!(entries.iter().map(|entry| entry.key.clone()).collect::<Vec<_>>(), expected);
    for task in 0..10 {
        assert_eq!(entries.iter().filter(|entry| entry.value == task.to_string()).count(), 10);
    }
}
