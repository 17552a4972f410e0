//! What is too much for one transaction is refused before anything is sent.

use crate::probe::Probe;
use rave_core::{
    AbstractLevelExt, Batch, Code, Effect, Error, IteratorOptions, KeyRange, MAX_CONDITIONS, Transaction,
    TransactionOptions,
};

fn small() -> TransactionOptions {
    TransactionOptions { max_bytes: 1000, ..TransactionOptions::default() }
}

/// The error of a body that does too much; nothing of it may have been sent for writing.
async fn refusal<R>(options: TransactionOptions, body: impl Fn(Transaction) -> R + Send) -> Error
where
    R: Future<Output = Result<(), Error>> + Send,
{
    let db = Probe::default();
    db.inner.write((0..50).fold(Batch::new(), |batch, n| batch.put(format!("{n:02}"), [n; 30]))).await.unwrap();
    let before = db.inner.all(KeyRange::all()).await.unwrap();
    let error = db.transaction_with(options, body).await.unwrap_err();
    assert_eq!(db.inner.all(KeyRange::all()).await.unwrap(), before);
    assert_eq!(error.effect(), Effect::None);
    assert!(db.written() <= 1, "what was read is checked, and nothing else");
    error
}

#[tokio::test]
async fn too_many_keys() {
    let each = |tx: Transaction| async move {
        for n in 0..MAX_CONDITIONS {
            tx.get(format!("x{n}")).await?;
        }
        tx.get("x0").await?; // known already
        let error = tx.get("one too many").await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidBatch);
        assert!(error.message().contains("1024"), "{error}");
        let mut iterator = tx.iterator(KeyRange::all()).await?;
        assert_eq!(iterator.next().await.unwrap_err().code(), Code::InvalidBatch);
        Err(error)
    };
    assert_eq!(refusal(TransactionOptions::default(), each).await.code(), Code::InvalidBatch);
}

#[tokio::test]
async fn as_many_as_may_be() {
    let db = Probe::default();
    let each = |tx: Transaction| async move {
        for n in 0..MAX_CONDITIONS - 1 {
            tx.get(format!("x{n}")).await?;
        }
        tx.all(KeyRange::all()).await?;
        tx.put("a", "1").await
    };
    db.transaction(each).await.unwrap();
    assert!(db.inner.has("a").await.unwrap());
}

#[tokio::test]
async fn the_same_range_may_be_read_any_number_of_times() {
    let db = Probe::default();
    let again = |tx: Transaction| async move {
        tx.put("a", "1").await?;
        for reverse in [false, true].repeat(MAX_CONDITIONS) {
            tx.all(IteratorOptions { reverse, ..IteratorOptions::default() }).await?;
            drop(tx.iterator(KeyRange::all()).await?);
        }
        // Others still count, and the last of them is one too many.
        for n in 0..MAX_CONDITIONS - 1 {
            let mut iterator = tx.iterator(KeyRange::all().gte(n.to_string())).await?;
            iterator.next_many(3).await?;
        }
        let mut iterator = tx.iterator(KeyRange::all().gte("other")).await?;
        assert_eq!(iterator.next().await.unwrap_err().code(), Code::InvalidBatch);
        assert_eq!(iterator.next().await.unwrap_err().code(), Code::IteratorNotOpen);
        Ok::<_, Error>(())
    };
    db.transaction(again).await.unwrap();
    assert!(db.inner.has("a").await.unwrap());
}

#[tokio::test]
async fn too_many_bytes() {
    let written = |tx: Transaction| async move {
        tx.put("a", [0; 600]).await?;
        tx.put("a", [1; 300]).await?; // in the place of the first
        tx.put("b", [0; 600]).await?;
        let error = tx.write(Batch::new().put("c", [0; 50]).put("d", [0; 100])).await.unwrap_err();
        assert!(!tx.has("c").await?, "all of it or nothing");
        Err(error)
    };
    let read = |tx: Transaction| async move {
        let keys: Vec<String> = (0..40).map(|n| format!("{n:02}")).collect();
        tx.get_many(keys).await.map(drop)
    };
    let cleared = |tx: Transaction| async move {
        tx.put("a", [0; 950]).await?;
        tx.clear(KeyRange::all()).await
    };
    let read_backwards = |tx: Transaction| async move {
        tx.all(IteratorOptions { values: false, ..IteratorOptions::default().reversed() }).await.map(drop)
    };
    for error in [
        refusal(small(), written).await,
        refusal(small(), read).await,
        refusal(small(), cleared).await,
        refusal(small(), read_backwards).await,
    ] {
        assert_eq!(error.code(), Code::InvalidBatch);
        assert!(error.message().contains("it may have 1000"), "{error}");
    }
}

#[tokio::test]
async fn contradicting_conditions() {
    let contradiction =
        |tx: Transaction| async move { tx.write(Batch::new().if_absent("a").if_equals("a", "1")).await };
    assert_eq!(refusal(TransactionOptions::default(), contradiction).await.code(), Code::InvalidBatch);
}
