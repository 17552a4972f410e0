//! The conformance suite inside of transactions: what a body works on is a database like any other.

use rave_core::{AbstractLevelExt, Error, KeyRange, MemoryLevel, Transaction, conformance::Harness};
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// A transaction on `db` whose body lasts until the second value is dropped.
async fn begun<L: AbstractLevelExt + Clone>(db: L) -> (Transaction, oneshot::Sender<()>) {
    let (hand_out, handed_out) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    let once = Arc::new(Mutex::new(Some((hand_out, ended))));
    tokio::spawn(async move {
        db.transaction(|tx| {
            let once = once.clone();
            async move {
                let (hand_out, ended) = once.lock().unwrap().take().expect("nobody else is there to conflict with");
                hand_out.send(tx).expect("somebody waits");
                let _: Result<(), _> = ended.await;
                Ok::<_, Error>(())
            }
        })
        .await
    });
    (handed_out.await.expect("the body has begun"), end)
}

/// What a batch may ask for by itself is too much when the transaction has read something else before.
const KNOWN: &[(&str, &str)] = &[
    ("condition::every_failed_condition_is_named", "all batches of a transaction together may have so many conditions"),
    ("condition::too_many_conditions_are_refused", "all batches of a transaction together may have so many conditions"),
];

async fn inside<L: AbstractLevelExt + Clone>(db: L) -> Harness {
    let (tx, end) = begun(db).await;
    Harness::new(tx).known_to_fail(KNOWN).keeping(end)
}

rave_core::conformance!(transaction, || inside(MemoryLevel::new()));
rave_core::conformance!(transaction_multi_thread, || inside(MemoryLevel::new()), multi_thread);
rave_core::conformance!(sublevel_of_a_transaction, || async {
    let (tx, end) = begun(MemoryLevel::new()).await;
    Harness::new(tx.sublevel("part").unwrap()).known_to_fail(KNOWN).keeping(end)
});
// Where nothing is ready at once, operations could overtake each other.
rave_core::conformance!(transaction_on_a_store_that_pauses, || inside(crate::probe::Probe::default()));
rave_core::conformance!(transaction_on_a_sublevel, || inside(MemoryLevel::new().sublevel("part").unwrap()));
rave_core::conformance!(transaction_in_a_transaction, || async {
    let (outer, end) = begun(MemoryLevel::new()).await;
    let (inner, inner_end) = begun(outer.sublevel("part").unwrap()).await;
    Harness::new(inner).known_to_fail(KNOWN).keeping(end).keeping(inner_end)
});
// What the suite writes is half in the database and half in the transaction, so that reads merge the two.
rave_core::conformance!(over_old_entries, || async {
    let db = MemoryLevel::new();
    let batch = rave_core::conformance::KEYS.iter().fold(rave_core::Batch::new(), |batch, key| batch.put(key, "old"));
    db.write(batch).await.unwrap();
    let (tx, end) = begun(db).await;
    tx.clear(KeyRange::all()).await.unwrap();
    Harness::new(tx).known_to_fail(KNOWN).keeping(end)
});
