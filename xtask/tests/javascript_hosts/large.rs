//! Many entries and long values.

use crate::host::Database;
use rave_level::{AbstractLevelExt, Batch, Bytes, IteratorOptions, KeyRange};
use std::sync::Arc;

const ENTRIES: u32 = 100_000;
const BATCH: u32 = 10_000;
const PAGE: usize = 1_000;
const LONG: usize = 10 << 20;

fn key(number: u32) -> Bytes {
    format!("{number:08}").into()
}

fn value(number: u32) -> Bytes {
    format!("value {number} {}", "x".repeat(number as usize % 50)).into()
}

/// Batches of ten thousand operations, scans of a hundred thousand entries, and reads of ten thousand keys at once.
pub async fn many_entries_pass(database: Arc<Database>) {
    let level = database.guest().await;
    for first in (0..ENTRIES).step_by(BATCH as usize) {
        let batch = (first..first + BATCH).fold(Batch::new(), |batch, i| batch.put(key(i), value(i)));
        level.write(batch).await.unwrap();
    }
    for reverse in [false, true] {
        let options = IteratorOptions { reverse, ..IteratorOptions::default() };
        let mut iterator = level.iterator(options).await.unwrap();
        let mut seen = 0;
        loop {
            let page = iterator.next_many(PAGE).await.unwrap();
            if page.is_empty() {
                break;
            }
            for entry in page {
                let number = if reverse { ENTRIES - 1 - seen } else { seen };
                assert_eq!((entry.key, entry.value), (key(number), value(number)), "reverse {reverse}");
                seen += 1;
            }
        }
        assert_eq!(seen, ENTRIES, "reverse {reverse}");
    }
    // Every second of them is not there.
    let numbers = || (ENTRIES - BATCH / 2..ENTRIES + BATCH / 2).rev();
    let values = level.get_many(numbers().map(key).collect::<Vec<_>>()).await.unwrap();
    let expected: Vec<_> = numbers().map(|number| (number < ENTRIES).then(|| value(number))).collect();
    assert!(values == expected, "get_many");
    level.clear(KeyRange::all().gte(key(10))).await.unwrap();
    assert_eq!(level.all(KeyRange::all()).await.unwrap().len(), 10);
}

/// Values of ten megabytes, alone and in scans, beside empty ones.
pub async fn long_values_pass(database: Arc<Database>) {
    let level = database.guest().await;
    let long = |byte: u8| Bytes::from(vec![byte; LONG]);
    level.put("a", long(b'a')).await.unwrap();
    level.write(Batch::new().put("b", "").put("c", long(b'c')).put("", long(b'-'))).await.unwrap();
    assert!(level.get("a").await.unwrap() == Some(long(b'a')), "get");
    let expected = [("", long(b'-')), ("a", long(b'a')), ("b", Bytes::new()), ("c", long(b'c'))];
    for reverse in [false, true] {
        let options = IteratorOptions { reverse, ..IteratorOptions::default() };
        let mut entries = level.all(options).await.unwrap();
        if reverse {
            entries.reverse();
        }
        let equal =
            entries.iter().zip(&expected).all(|(entry, (key, value))| entry.key == *key && entry.value == value);
        assert!(equal && entries.len() == expected.len(), "reverse {reverse}");
    }
    let values = level.get_many(vec!["c", "b", "x"]).await.unwrap();
    assert!(values == [Some(long(b'c')), Some(Bytes::new()), None], "get_many");
}
