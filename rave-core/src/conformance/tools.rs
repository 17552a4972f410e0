//! What many cases need.

use crate::{AbstractLevel, AbstractLevelExt, Batch, Code, Entry, LevelIterator, Result};
use bytes::Bytes;
use futures::future::maybe_done;
use std::{fmt::Debug, future::poll_fn, sync::Arc, task::Poll};

/// Keys of different lengths, some of them prefixes of others, with the lowest and the highest bytes.
pub const KEYS: [&[u8]; 18] = [
    b"",
    b"\0",
    b"\0\0",
    b"\0\xff",
    b"a",
    b"a\0",
    b"aa",
    b"aab",
    b"aaz",
    b"a\xff",
    b"ab",
    b"b",
    b"ba",
    b"c",
    b"\x7f",
    b"\xff",
    b"\xff\0",
    b"\xff\xff",
];

pub(super) fn b(data: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(data.as_ref())
}

/// Entries as `(key, value)` texts, for assertions that a person reads.
pub(super) fn texts(entries: &[Entry]) -> Vec<(String, String)> {
    let text = |data: &Bytes| data.escape_ascii().to_string();
    entries.iter().map(|entry| (text(&entry.key), text(&entry.value))).collect()
}

pub(super) fn keys_of(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| entry.key.escape_ascii().to_string()).collect()
}

/// Puts `keys`, each with itself behind `v` as its value, in one batch.
pub(super) async fn fill<K: AsRef<[u8]>>(level: &Arc<dyn AbstractLevel>, keys: &[K]) {
    let batch = keys.iter().fold(Batch::new(), |batch, key| batch.put(key, value_of(key)));
    level.write(batch).await.expect("write");
}

/// The value that [`fill`] stores.
pub(super) fn value_of(key: impl AsRef<[u8]>) -> Bytes {
    [b"v", key.as_ref()].concat().into()
}

/// What is left of an iterator, by `next`, to an end that stays.
pub(super) async fn rest(iterator: &mut dyn LevelIterator) -> Vec<Entry> {
    let mut entries = Vec::new();
    while let Some(entry) = iterator.next().await.expect("next") {
        entries.push(entry);
        assert!(entries.len() < 1_000_000, "the iterator does not end");
    }
    entries
}

/// All keys of the level, as texts.
pub(super) async fn all_keys(level: &Arc<dyn AbstractLevel>) -> Vec<String> {
    keys_of(&level.all(crate::KeyRange::all()).await.expect("all"))
}

pub(super) fn code_of<T>(result: Result<T>) -> Option<Code> {
    result.err().map(|error| error.code())
}

#[track_caller]
pub(super) fn assert_code<T: Debug>(result: Result<T>, code: Code) {
    match result {
        Err(error) => assert_eq!(error.code(), code, "{error}"),
        Ok(value) => panic!("expected {code}, got {value:?}"),
    }
}

/// Polls all futures for the first time in their order, then to their ends.
pub(super) async fn in_order<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.into_iter().map(|future| Box::pin(maybe_done(future))).collect();
    poll_fn(|context| {
        let mut pending = false;
        for future in &mut futures {
            pending |= future.as_mut().poll(context).is_pending();
        }
        if pending { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    futures.iter_mut().filter_map(|future| future.as_mut().take_output()).collect()
}
