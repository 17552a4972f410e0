//! Many operations at once, more than go into one flush.

use rave_core::{AbstractLevel, AbstractLevelExt, Batch, ClearOptions, KeyRange};
use rave_sled::SledDb;
use std::{future::Future, pin::Pin};

/// Each read sees the writes that were submitted before it, and none behind it.
#[tokio::test]
async fn operations_take_effect_in_their_order_across_groups() {
    let directory = tempfile::tempdir().unwrap();
    let db = SledDb::new(directory.path()).open().await.unwrap();
    let db = &db;
    let mut operations: Vec<Pin<Box<dyn Future<Output = ()> + '_>>> = Vec::new();
    for number in 0..1500_u32 {
        let key = format!("key {}", number % 3);
        let read = key.clone();
        operations.push(match number % 5 {
            0 => Box::pin(async move {
                db.write(Batch::new().put(key, number.to_string()).put("all", number.to_string())).await.unwrap()
            }),
            1 => {
                let and_write = Batch::new().put(key, number.to_string()).put("all", number.to_string());
                let options = ClearOptions { and_write, ..KeyRange::prefix("key").into() };
                Box::pin(async move { db.clear_opts(options).await.unwrap() })
            }
            _ => {
                let condition = (number > 0).then(|| (number - 1).to_string());
                let batch = Batch::new().put(key, number.to_string()).put("all", number.to_string());
                let batch = match condition {
                    Some(before) => batch.if_equals("all", before),
                    None => batch,
                };
                Box::pin(async move { db.write(batch).await.unwrap() })
            }
        });
        operations.push(match number % 3 {
            0 => Box::pin(async move { assert_eq!(db.get(read).await.unwrap().unwrap(), number.to_string()) }),
            1 => Box::pin(async move {
                let found = db.get_many(vec!["all", &read]).await.unwrap();
                assert!(found.iter().all(|found| found.as_deref() == Some(number.to_string().as_bytes())), "{number}");
            }),
            _ => Box::pin(async move {
                assert_eq!(db.has_many(vec!["none", &read]).await.unwrap(), [false, true]);
            }),
        });
    }
    futures::future::join_all(operations).await;
    assert_eq!(db.get("all").await.unwrap().unwrap(), "1499");
    db.close().await.unwrap();
}
