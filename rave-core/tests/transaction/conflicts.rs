//! What others do to what was read by key: it is read once, and the commit depends on it.

use rave_core::{
    AbstractLevel, AbstractLevelExt, Batch, Code, Condition, Digester, Effect, Error, KeyRange, MemoryLevel,
    Transaction, TransactionOptions,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Barrier;

/// Runs `body`, and in the middle of its first run, between its two halves, `meanwhile` by somebody else. Gives how often
/// the body ran, and what its last run gave.
async fn runs<T: Send, A, B>(
    db: &MemoryLevel,
    first: impl Fn(Transaction) -> A + Send + Sync,
    meanwhile: Batch,
    second: impl Fn(Transaction) -> B + Send + Sync,
) -> (usize, T)
where
    A: Future<Output = Result<(), Error>> + Send,
    B: Future<Output = Result<T, Error>> + Send,
{
    let runs = AtomicUsize::new(0);
    let (first, second, count, meanwhile) = (&first, &second, &runs, &meanwhile);
    let value = db
        .transaction(|tx| async move {
            first(tx.clone()).await?;
            if count.fetch_add(1, Ordering::SeqCst) == 0 {
                db.write(meanwhile.clone()).await?;
            }
            second(tx).await
        })
        .await
        .unwrap();
    (runs.into_inner(), value)
}

/// The same of a body that reads in its first half and writes in its second.
async fn runs_to_write<A: Future<Output = Result<(), Error>> + Send>(
    db: &MemoryLevel,
    first: impl Fn(Transaction) -> A + Send + Sync,
    meanwhile: Batch,
) -> usize {
    runs(db, first, meanwhile, |tx| async move { tx.put("written", "1").await }).await.0
}

async fn database() -> MemoryLevel {
    let db = MemoryLevel::new();
    let long = "x".repeat(1000);
    db.write(Batch::new().put("a", "1").put("b", "1").put("long", long)).await.unwrap();
    db
}

#[tokio::test]
async fn a_value_is_read_once() {
    let get = |tx: Transaction| async move { Ok(tx.get("a").await?.unwrap()) };
    let (count, value) = {
        let db = database().await;
        let seen = std::sync::Mutex::new(Vec::new());
        let (seen, get) = (&seen, &get);
        let first = |tx: Transaction| async move {
            let value = get(tx).await?;
            seen.lock().unwrap().push(value);
            Ok(())
        };
        let again = |tx: Transaction| async move {
            let value = get(tx).await?;
            assert_eq!(seen.lock().unwrap().last(), Some(&value), "the second read differs from the first");
            Ok(value)
        };
        runs(&db, first, Batch::new().put("a", "2"), again).await
    };
    assert_eq!((count, value.as_ref()), (2, b"2".as_slice()));
}

#[tokio::test]
async fn what_was_read_must_not_change() {
    let keys: [&[&str]; 4] = [&["a"], &["none"], &["long"], &["b", "none", "a", "long"]];
    for read in keys {
        let get = |tx: Transaction| async move { tx.get_many(read.to_vec()).await.map(drop) };
        let last = *read.last().unwrap();
        for change in
            [Batch::new().put(last, "2"), Batch::new().put(last, "x".repeat(999) + "y"), Batch::new().del(last)]
        {
            let db = database().await;
            let differs = change != Batch::new().del("none");
            assert_eq!(runs_to_write(&db, get, change.clone()).await, 1 + usize::from(differs), "{change:?}");
        }
        // What nobody read may change, and what is written again as it was has not changed.
        let same = read.iter().fold(Batch::new().put("other", "1"), |batch, key| match *key {
            "none" => batch.del(key),
            "long" => batch.put(key, "x".repeat(1000)),
            key => batch.put(key, "1"),
        });
        assert_eq!(runs_to_write(&database().await, get, same).await, 1);
    }
}

#[tokio::test]
async fn writing_alone_depends_on_nothing() {
    let db = database().await;
    let write = |tx: Transaction| async move {
        tx.put("a", "mine").await?;
        assert_eq!(tx.get("a").await?.unwrap(), "mine");
        tx.del("b").await
    };
    assert_eq!(runs_to_write(&db, write, Batch::new().put("a", "2").put("b", "2")).await, 1);
    assert_eq!(db.get("a").await.unwrap().unwrap(), "mine");
}

#[tokio::test]
async fn reading_alone_gives_one_state() {
    let db = database().await;
    let first = |tx: Transaction| async move { tx.get("a").await.map(drop) };
    let second = |tx: Transaction| async move { Ok((tx.get("a").await?.unwrap(), tx.get("b").await?.unwrap())) };
    let (count, (a, b)) = runs(&db, first, Batch::new().put("a", "2").put("b", "2"), second).await;
    assert_eq!((count, a.as_ref(), b.as_ref()), (2, b"2".as_slice(), b"2".as_slice()));
}

/// Two doctors may each go off call if the other one is on call. Each looks before either has left.
#[tokio::test]
async fn write_skew_is_prevented() {
    let db = MemoryLevel::new();
    db.write(Batch::new().put("alice", "on").put("bob", "on")).await.unwrap();
    let both_looked = Barrier::new(2);
    let leave = async |me: &'static str| {
        let first = AtomicUsize::new(0);
        let (first, both_looked) = (&first, &both_looked);
        db.transaction(|tx| async move {
            let on_call = tx.all(KeyRange::all()).await?.iter().filter(|entry| entry.value == "on").count();
            if first.fetch_add(1, Ordering::SeqCst) == 0 {
                both_looked.wait().await;
            }
            if on_call > 1 {
                tx.put(me, "off").await?;
            }
            Ok::<_, Error>(on_call > 1)
        })
        .await
        .unwrap()
    };
    let (alice, bob) = futures::join!(leave("alice"), leave("bob"));
    assert!(alice != bob, "one of them may leave: {alice}, {bob}");
    let on_call = db.all(KeyRange::all()).await.unwrap().iter().filter(|entry| entry.value == "on").count();
    assert_eq!(on_call, 1);
}

/// Each counts the same range and inserts into it: only one may have seen the old count.
#[tokio::test]
async fn phantoms_are_noticed() {
    let db = MemoryLevel::new();
    let both_counted = Barrier::new(2);
    let insert = async |key: &'static str| {
        let first = AtomicUsize::new(0);
        let (first, both_counted) = (&first, &both_counted);
        db.transaction(|tx| async move {
            let count = tx.all(KeyRange::prefix("item:")).await?.len();
            if first.fetch_add(1, Ordering::SeqCst) == 0 {
                both_counted.wait().await;
            }
            tx.put(key, "").await?;
            Ok::<_, Error>(count)
        })
        .await
        .unwrap()
    };
    let (one, other) = futures::join!(insert("item:1"), insert("item:2"));
    assert_eq!([one.min(other), one.max(other)], [0, 1]);
}

#[tokio::test]
async fn conditions_are_checked_at_once_and_again_at_the_commit() {
    let digest = |entries: &[(&str, &str)]| {
        let mut digester = Digester::default();
        entries.iter().for_each(|(key, value)| digester.entry(key.as_bytes(), value.as_bytes()));
        digester.finish()
    };
    let unchanged = |entries: &[(&str, &str)]| Condition::unchanged(KeyRange::all().lt("c"), digest(entries));
    let db = database().await;
    let error = db
        .transaction(|tx| async move {
            tx.put("own", "1").await?;
            let batch = Batch::new().put("x", "1").if_absent("own").if_equals("a", "1").if_equals("a\0", "1");
            let batch = batch.require(unchanged(&[("a", "1")])).require(unchanged(&[("a", "1"), ("b", "1")]));
            tx.write(batch).await
        })
        .await
        .unwrap_err();
    assert_eq!((error.code(), error.failed_conditions()), (Code::ConditionFailed, [0, 2, 3].as_slice()));
    assert!(!db.has("own").await.unwrap());

    // They hold when the batch is written, and then no more.
    for (batch, change) in [
        (Batch::new().if_equals("a", "1"), Batch::new().put("a", "2")),
        (Batch::new().if_absent("none"), Batch::new().put("none", "2")),
        (Batch::new().require(unchanged(&[("a", "1"), ("b", "1")])), Batch::new().put("aa", "2")),
    ] {
        let db = database().await;
        let (batch, failures) = (&batch, AtomicUsize::new(0));
        let failures = &failures;
        let write = |tx: Transaction| async move {
            // In the second run it fails at once.
            if tx.write(batch.clone().put("x", "1")).await.is_err() {
                failures.fetch_add(1, Ordering::SeqCst);
            }
            Ok(())
        };
        assert_eq!(runs_to_write(&db, write, change).await, 2, "{batch:?}");
        assert_eq!(failures.load(Ordering::SeqCst), 1);
        assert!(!db.has("x").await.unwrap());
    }

    // What the transaction itself wrote is not what the commit depends on.
    let own = |tx: Transaction| async move {
        tx.put("a", "mine").await?;
        tx.write(Batch::new().del("a").if_equals("a", "mine")).await
    };
    assert_eq!(runs_to_write(&database().await, own, Batch::new().put("a", "2")).await, 1);
}

#[tokio::test(start_paused = true)]
async fn nobody_tries_for_ever() {
    let db = MemoryLevel::new();
    let (runs, outside) = (AtomicUsize::new(0), &db);
    let count = &runs;
    let options = TransactionOptions { attempts: 7, ..TransactionOptions::default() };
    let error = db
        .transaction_with(options, |tx| async move {
            tx.get("hot\n").await?;
            outside.put("hot\n", format!("secret{}", count.fetch_add(1, Ordering::SeqCst))).await?;
            tx.put("cold", "1").await
        })
        .await
        .unwrap_err();
    assert_eq!((error.code(), error.effect()), (Code::Conflict, Effect::None));
    let message = error.message();
    assert!(message.contains("7 times") && message.contains("\"hot\\n\"") && !message.contains("secret"), "{message}");
    assert_eq!(runs.load(Ordering::SeqCst), 7);
    assert!(!db.has("cold").await.unwrap());
    // Nought counts as one.
    let options = TransactionOptions { attempts: 0, ..TransactionOptions::default() };
    db.transaction_with(options, |tx| async move { tx.put("cold", "1").await }).await.unwrap();
}

#[tokio::test]
async fn a_transaction_in_a_transaction_is_part_of_it() {
    let db = database().await;
    let nested = |tx: Transaction| async move {
        tx.transaction(|inner| async move {
            let value = inner.get("a").await?.unwrap();
            inner.put("copy", value).await
        })
        .await?;
        let failed: Result<(), Error> = tx
            .transaction(|inner| async move {
                inner.put("copy", "nonsense").await?;
                Err(Error::new(Code::Aborted, "on purpose"))
            })
            .await;
        assert_eq!(failed.unwrap_err().code(), Code::Aborted);
        Ok(())
    };
    let (count, copy) =
        runs(&db, nested, Batch::new().put("a", "2"), |tx| async move { Ok(tx.get("copy").await?.unwrap()) }).await;
    assert_eq!((count, copy.as_ref()), (2, b"2".as_slice()));
    assert_eq!(db.get("copy").await.unwrap().unwrap(), "2");
    assert_eq!(db.status(), rave_core::Status::Open);
}
