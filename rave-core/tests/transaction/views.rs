//! Sublevels and typed views in transactions, and transactions on sublevels.

use rave_core::{
    AbstractLevelExt, Batch, Code, Error, KeyRange, MemoryLevel, Sublevel,
    encoding::{Json, Utf8},
};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

async fn keys(db: &MemoryLevel) -> Vec<String> {
    db.all(KeyRange::all()).await.unwrap().iter().map(|entry| entry.key.escape_ascii().to_string()).collect()
}

#[tokio::test]
async fn sublevels_and_typed_views_are_part_of_the_transaction() {
    let db = MemoryLevel::new();
    let outside = &db;
    db.transaction(|tx| async move {
        let users = tx.sublevel("users")?.typed(Utf8, Json::<u32>::new());
        users.put("ann", &40).await?;
        assert_eq!(users.get("ann").await?, Some(40));
        let log = tx.sublevel("log")?;
        log.sublevel("new")?.put("1", "").await?;
        tx.write(Batch::new().put_in(&log, "2", "").put("end", "")).await?;
        assert_eq!(log.all(KeyRange::all()).await?.len(), 2);
        assert_eq!(keys(outside).await, [""; 0]);
        Ok::<_, Error>(())
    })
    .await
    .unwrap();
    assert_eq!(keys(&db).await, ["!log!!new!1", "!log!2", "!users!ann", "end"]);
}

#[tokio::test]
async fn a_transaction_on_a_sublevel_stays_in_it() {
    let db = MemoryLevel::new();
    db.put("outside", "1").await.unwrap();
    let sub = db.sublevel("sub").unwrap();
    let runs = AtomicUsize::new(0);
    let (outside, count, within) = (&db, &runs, &sub);
    sub.transaction(|tx| async move {
        assert!(!tx.has("a").await?);
        let count = count.fetch_add(1, Ordering::SeqCst);
        assert_eq!(tx.all(KeyRange::all()).await?.len(), count);
        match count {
            // Not in the sublevel: it is nothing to us.
            0 => within.put("b", "1").await?,
            _ => outside.write(Batch::new().put("a", "1").put("zz", "1")).await?,
        }
        tx.sublevel("deep")?.put("a", "1").await?;
        tx.put("long", "x".repeat(100)).await
    })
    .await
    .unwrap();
    assert_eq!(runs.into_inner(), 2);
    assert_eq!(keys(&db).await, ["!sub!!deep!a", "!sub!b", "!sub!long", "a", "outside", "zz"]);
}

/// A batch names a sublevel by its place in the database, wherever the handle of it came from.
#[tokio::test]
async fn batches_find_sublevels_from_within_and_from_without() {
    let db = MemoryLevel::new();
    let (sub, other) = (db.sublevel("sub").unwrap(), db.sublevel("other").unwrap());
    let (below, aside) = (&sub.sublevel("deep").unwrap(), &other);
    let kept = sub
        .transaction(|tx| async move {
            let deep = tx.sublevel("deep")?;
            let deeper = tx.sublevel("deep")?.sublevel("er")?;
            tx.write(Batch::new().put("0", "").put_in(&deep, "1", "").put_in(below, "2", "").if_absent_in(below, "1"))
                .await?;
            deep.write(Batch::new().put_in(&deeper, "3", "").put_in(below, "4", "").if_absent_in(&deep, "5")).await?;
            tx.chained_batch().put_in(&deeper, "6", "")?.write().await?;
            for batch in [Batch::new().put_in(aside, "7", ""), Batch::new().put("7", "").if_absent_in(aside, "7")] {
                assert_eq!(tx.write(batch).await.unwrap_err().code(), Code::InvalidPrefix);
            }
            assert_eq!(deep.all(KeyRange::all()).await?.len(), 5);
            // A transaction in the transaction's sublevel, on top.
            deep.transaction(|inner| async move {
                let deeper: Sublevel = Arc::new(inner.clone()).sublevel("er")?;
                inner.write(Batch::new().put_in(&deeper, "8", "").put_in(below, "9", "")).await
            })
            .await?;
            Ok::<_, Error>(deeper)
        })
        .await
        .unwrap();
    let deep = ["!sub!!deep!!er!3", "!sub!!deep!!er!6", "!sub!!deep!!er!8"];
    let others = ["!sub!!deep!1", "!sub!!deep!2", "!sub!!deep!4", "!sub!!deep!9", "!sub!0"];
    assert_eq!(keys(&db).await, [deep.as_slice(), &others].concat());
    // Its name outlives the transaction.
    db.write(Batch::new().del_in(&kept, "3")).await.unwrap();
    assert!(!keys(&db).await.contains(&deep[0].to_owned()));
    assert_eq!(kept.get("6").await.unwrap_err().code(), Code::DatabaseNotOpen);
}
