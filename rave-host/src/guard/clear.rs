//! Clearing with the means of any store.

use rave_core::{AbstractLevel, Batch, ClearOptions, IteratorOptions, Operation, Result, WriteOptions};

/// Keys read at once.
const PAGE: usize = 1024;

/// Deletes by one batch what `options` name, and applies `record` with it. In a store without `atomic_clear`: what others
/// write between the reading of the keys and their deletion may come before or after it, key by key; but it happens once.
pub(super) async fn clear_by_batch(store: &dyn AbstractLevel, options: &ClearOptions, record: Operation) -> Result<()> {
    let mut batch = Batch::new();
    let mut left = options.limit.unwrap_or(u64::MAX);
    for range in options.ranges() {
        let iterator = IteratorOptions {
            range,
            reverse: options.reverse,
            limit: Some(left),
            values: false,
            snapshot: options.snapshot.clone(),
            internal: true,
            ..IteratorOptions::default()
        };
        let mut keys = store.iterator_opts(iterator).await?;
        loop {
            let page = keys.next_many(PAGE).await?;
            if page.is_empty() {
                break;
            }
            left = left.saturating_sub(page.len() as u64);
            batch.extend(page.into_iter().map(|entry| Operation::Del { key: entry.key }));
        }
        keys.close().await?;
    }
    batch.push(record);
    store.write_opts(batch, WriteOptions { sync: options.sync }).await
}
