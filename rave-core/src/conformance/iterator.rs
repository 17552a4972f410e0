//! Visiting entries.

use super::{
    Harness,
    model::{Bounds, Model, Query},
    tools::*,
};
use crate::{AbstractLevel, AbstractLevelExt, Batch, Code, Entry, IteratorOptions, KeyRange};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future::poll_immediate};
use std::{sync::Arc, task::Poll};

async fn fill_model(db: &Arc<dyn AbstractLevel>) -> Model {
    fill(db, &KEYS).await;
    Model(KEYS.iter().map(|key| (b(key), value_of(key))).collect())
}

fn digits() -> Vec<String> {
    (0..100).map(|i| format!("{i:03}")).collect()
}

/// Nothing gives nothing, in both directions.
pub async fn an_empty_level_has_no_entries(h: &mut Harness) {
    for reverse in [false, true] {
        let options = IteratorOptions { reverse, ..IteratorOptions::default() };
        let mut iterator = h.level.iterator(options.clone()).await.unwrap();
        assert_eq!(iterator.next().await.unwrap(), None);
        assert_eq!(iterator.next_many(10).await.unwrap(), []);
        assert_eq!(h.level.all(options).await.unwrap(), []);
    }
}

/// Keys come in the order of their bytes, whatever the order of writing, and backwards in reverse.
pub async fn keys_come_in_the_order_of_their_bytes(h: &mut Harness) {
    let db = h.level.clone();
    let model = fill_model(&db).await;
    for reverse in [false, true] {
        let query = Query { reverse, ..Query::default() };
        let mut iterator = db.iterator(query.iterator()).await.unwrap();
        let mut seen = Vec::new();
        for step in 0..1_000 {
            if step == 5 {
                h.disturb().await;
            }
            match iterator.next().await.unwrap() {
                Some(entry) => seen.push(entry),
                None => break,
            }
        }
        assert_eq!(texts(&seen), texts(&model.entries(&query)));
    }
}

/// Reverse iterators that pause at every key pass over none, also where shorter keys follow.
pub async fn reverse_misses_no_shorter_key(h: &mut Harness) {
    let db = h.level.clone();
    fill(&db, &["aa", "aab", "aaz", "ab", "b", "ba", "c"]).await;
    let mut iterator = db.iterator(IteratorOptions::default().reversed()).await.unwrap();
    let mut seen = Vec::new();
    while let Some(entry) = iterator.next().await.unwrap() {
        seen.push(entry.key.escape_ascii().to_string());
        if seen.len() == 3 {
            h.disturb().await;
        }
        // A round trip between two entries, so that nothing was only buffered.
        assert_eq!(db.get("c").await.unwrap(), Some(b("vc")));
    }
    assert_eq!(seen, ["c", "ba", "b", "ab", "aaz", "aab", "aa"]);
}

/// Every combination of bounds, in both directions, with and without limits.
pub async fn every_range_is_right(h: &mut Harness) {
    let db = h.level.clone();
    let model = fill_model(&db).await;
    for (step, bounds) in Bounds::combinations(&[b"", b"a", b"aaa", b"ab", b"\xff"]).into_iter().enumerate() {
        for reverse in [false, true] {
            for limit in [None, Some(0), Some(2)] {
                let query = Query { bounds: bounds.clone(), reverse, limit };
                let entries = db.all(query.iterator()).await.unwrap();
                assert_eq!(texts(&entries), texts(&model.entries(&query)), "{query:?}");
            }
        }
        if step == 60 {
            h.disturb().await;
        }
    }
}

/// `gte` beats `gt` and `lte` beats `lt`, whatever comes first and whatever is narrower.
pub async fn inclusive_bounds_beat_exclusive_ones(h: &mut Harness) {
    let db = &h.level;
    fill(db, &["a", "b", "c", "d"]).await;
    for range in [KeyRange::all().gt("c").gte("b"), KeyRange::all().gte("b").gt("c")] {
        assert_eq!(keys_of(&db.all(range).await.unwrap()), ["b", "c", "d"]);
    }
    for range in [KeyRange::all().lt("b").lte("c"), KeyRange::all().lte("c").lt("b")] {
        assert_eq!(keys_of(&db.all(range).await.unwrap()), ["a", "b", "c"]);
    }
    let range = KeyRange::all().gt("a").gte("b").lt("d").lte("c");
    assert_eq!(keys_of(&db.all(IteratorOptions::from(range).reversed()).await.unwrap()), ["c", "b"]);
}

/// A range that can hold nothing holds nothing.
pub async fn an_empty_range_has_no_entries(h: &mut Harness) {
    let db = &h.level;
    fill(db, &["a", "b", "c"]).await;
    for range in [
        KeyRange::all().gt("b").lt("b"),
        KeyRange::all().gte("b").lt("b"),
        KeyRange::all().gt("b").lte("b"),
        KeyRange::all().gte("c").lte("a"),
        KeyRange::all().gt("a").lt("a\0"),
        KeyRange::all().lt(""),
        KeyRange::all().gt("c"),
    ] {
        for reverse in [false, true] {
            let options = IteratorOptions { range: range.clone(), reverse, ..IteratorOptions::default() };
            let mut iterator = db.iterator(options).await.unwrap();
            assert_eq!(iterator.next().await.unwrap(), None, "{range:?}");
            assert_eq!(iterator.next_many(3).await.unwrap(), [], "{range:?}");
        }
    }
}

/// A limit ends the iterator; zero at once; in reverse it leaves the highest keys.
pub async fn a_limit_ends_the_iterator(h: &mut Harness) {
    let db = h.level.clone();
    fill(&db, &["a", "b", "c", "d"]).await;
    let all = IteratorOptions::default();
    for (options, expected) in [
        (all.clone().limited(0), &[][..]),
        (all.clone().limited(1), &["a"]),
        (all.clone().limited(3), &["a", "b", "c"]),
        (all.clone().limited(4), &["a", "b", "c", "d"]),
        (all.clone().limited(u64::MAX), &["a", "b", "c", "d"]),
        (all.clone().reversed().limited(0), &[]),
        (all.clone().reversed().limited(1), &["d"]),
        (all.clone().reversed().limited(3), &["d", "c", "b"]),
        (all.clone().reversed().limited(9), &["d", "c", "b", "a"]),
    ] {
        let mut iterator = db.iterator(options.clone()).await.unwrap();
        assert_eq!(keys_of(&rest(&mut *iterator).await), expected, "next, {options:?}");
        assert_eq!(iterator.next().await.unwrap(), None, "the end stays, {options:?}");
        assert_eq!(keys_of(&db.all(options.clone()).await.unwrap()), expected, "next_many, {options:?}");
        // Mixed, so that both count against the same limit.
        let mut iterator = db.iterator(options.clone()).await.unwrap();
        let mut seen: Vec<Entry> = iterator.next().await.unwrap().into_iter().collect();
        h.disturb().await;
        loop {
            let page = iterator.next_many(2).await.unwrap();
            if page.is_empty() {
                break;
            }
            seen.extend(page);
        }
        assert_eq!(keys_of(&seen), expected, "mixed, {options:?}");
    }
}

/// What the options leave out is empty, and the order stays.
pub async fn keys_or_values_can_be_left_out(h: &mut Harness) {
    let db = &h.level;
    fill(db, &["a", "b"]).await;
    for reverse in [false, true] {
        for (keys, values) in [(true, false), (false, true), (false, false)] {
            let options = IteratorOptions { keys, values, reverse, ..IteratorOptions::default() };
            let mut expected = vec![("a", "va"), ("b", "vb")];
            if reverse {
                expected.reverse();
            }
            let expected: Vec<(String, String)> = expected
                .into_iter()
                .map(|(key, value)| {
                    (if keys { key.into() } else { "".into() }, if values { value.into() } else { "".into() })
                })
                .collect();
            assert_eq!(texts(&db.all(options.clone()).await.unwrap()), expected, "{options:?}");
            let mut iterator = db.iterator(options.clone()).await.unwrap();
            assert_eq!(texts(&rest(&mut *iterator).await), expected, "{options:?}");
        }
    }
}

/// `next_many` gives at least one entry unless at the end, never more than asked, and 0 counts as 1.
pub async fn pages_are_never_too_long(h: &mut Harness) {
    let db = h.level.clone();
    fill(&db, &digits()).await;
    for size in [0, 1, 2, 7, 99, 100, 1_000] {
        let mut iterator = db.iterator(KeyRange::all()).await.unwrap();
        let mut seen = Vec::new();
        loop {
            let page = iterator.next_many(size).await.unwrap();
            assert!(page.len() <= size.max(1), "{} entries for {size}", page.len());
            if page.is_empty() {
                break;
            }
            seen.extend(page);
            if size == 7 && seen.len() == 14 {
                h.disturb().await;
            }
        }
        assert_eq!(keys_of(&seen), digits(), "pages of {size}");
        assert_eq!(iterator.next_many(size).await.unwrap(), [], "the end stays");
    }
}

/// `next` and `next_many` share one position.
pub async fn single_steps_and_pages_mix(h: &mut Harness) {
    let db = &h.level;
    fill(db, &digits()).await;
    let mut iterator = db.iterator(IteratorOptions::default().reversed()).await.unwrap();
    let mut seen = Vec::new();
    for size in (0..5).cycle() {
        let page = match size {
            0 => iterator.next().await.unwrap().into_iter().collect(),
            size => iterator.next_many(size).await.unwrap(),
        };
        if page.is_empty() {
            break;
        }
        seen.extend(page);
    }
    let mut expected = digits();
    expected.reverse();
    assert_eq!(keys_of(&seen), expected);
}

/// Many entries with values of many sizes, more than any page of a store or a wire.
pub async fn long_scans_are_complete(h: &mut Harness) {
    let db = h.level.clone();
    let keys: Vec<String> = (0..3_000).map(|i| format!("{i:05}")).collect();
    for chunk in keys.chunks(500) {
        let batch =
            chunk.iter().enumerate().fold(Batch::new(), |batch, (i, key)| batch.put(key, vec![b'x'; i * 7 % 1500]));
        db.write(batch).await.unwrap();
    }
    for reverse in [false, true] {
        let mut iterator = db.iterator(IteratorOptions { reverse, ..IteratorOptions::default() }).await.unwrap();
        let mut seen = Vec::new();
        loop {
            let page = iterator.next_many(700).await.unwrap();
            if page.is_empty() {
                break;
            }
            let before = seen.len();
            seen.extend(page);
            if before < 1_000 && seen.len() >= 1_000 {
                h.disturb().await;
            }
        }
        if reverse {
            seen.reverse();
        }
        assert_eq!(keys_of(&seen), keys);
        assert!(seen.iter().enumerate().all(|(i, entry)| entry.value.len() == i % 500 * 7 % 1500));
    }
}

/// The end stays the end, whatever is written behind it.
pub async fn the_end_is_sticky(h: &mut Harness) {
    let db = h.level.clone();
    fill(&db, &["a", "b"]).await;
    let mut forward = db.iterator(KeyRange::all()).await.unwrap();
    let mut reverse = db.iterator(IteratorOptions::default().reversed()).await.unwrap();
    assert_eq!(rest(&mut *forward).await.len(), 2);
    assert_eq!(rest(&mut *reverse).await.len(), 2);
    fill(&db, &["", "c", "d"]).await;
    for round in 0..3 {
        for iterator in [&mut forward, &mut reverse] {
            assert_eq!(iterator.next().await.unwrap(), None);
            assert_eq!(iterator.next_many(5).await.unwrap(), []);
        }
        if round == 1 {
            h.disturb().await;
        }
    }
}

/// An iterator sees the state at its creation; without implicit snapshots it is at least strictly monotonic and misses
/// no key that existed throughout.
pub async fn later_writes_do_not_disturb(h: &mut Harness) {
    let db = &h.level;
    for reverse in [false, true] {
        db.clear(KeyRange::all()).await.unwrap();
        fill(db, &digits()).await;
        let mut iterator = db.iterator(IteratorOptions { reverse, ..IteratorOptions::default() }).await.unwrap();
        let mut seen = iterator.next_many(10).await.unwrap();
        let mut batch = Batch::new().put("", "new").put("zzz", "new");
        for key in digits().iter().skip(1).step_by(2) {
            batch = batch.del(key).put(format!("{key}x"), "new");
        }
        for key in digits().iter().step_by(4) {
            batch = batch.put(key, "changed");
        }
        db.write(batch).await.unwrap();
        let (some, others) = (iterator.next_many(20).await.unwrap(), rest(&mut *iterator).await);
        seen.extend(some.into_iter().chain(others));
        if reverse {
            seen.reverse();
        }
        if db.manifest().implicit_snapshots {
            assert_eq!(keys_of(&seen), digits());
            assert!(seen.iter().all(|entry| entry.value == value_of(&entry.key)), "{:?}", texts(&seen));
        } else {
            let seen = keys_of(&seen);
            assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{seen:?}");
            for key in digits().iter().step_by(2) {
                assert!(seen.contains(key), "{key} existed throughout");
            }
        }
    }
}

/// An iterator sees every write that was acknowledged before it, and is fixed at the call, not at its first step.
pub async fn acknowledged_writes_are_seen(h: &mut Harness) {
    let db = &h.level;
    for i in 0..20 {
        db.put(format!("{i:03}"), "").await.unwrap();
        let mut iterator = db.iterator(KeyRange::all()).await.unwrap();
        if db.manifest().implicit_snapshots {
            db.put(format!("{i:03}+"), "").await.unwrap();
            assert_eq!(rest(&mut *iterator).await.len(), 2 * i + 1);
        } else {
            assert_eq!(rest(&mut *iterator).await.len(), i + 1);
        }
    }
}

/// Iterators do not share anything.
pub async fn several_iterators_at_once(h: &mut Harness) {
    let db = h.level.clone();
    fill(&db, &digits()).await;
    let mut iterators = Vec::new();
    for i in 0..10_usize {
        let options = IteratorOptions { reverse: i % 2 == 1, ..KeyRange::all().gte(format!("{:03}", i * 3)).into() };
        iterators.push((db.iterator(options).await.unwrap(), Vec::new()));
    }
    for step in 0..100 {
        for (iterator, seen) in &mut iterators {
            seen.extend(iterator.next().await.unwrap());
        }
        if step == 20 {
            h.disturb().await;
        }
    }
    for (i, (mut iterator, mut seen)) in iterators.into_iter().enumerate() {
        if i % 2 == 1 {
            seen.reverse();
        }
        assert_eq!(keys_of(&seen), digits()[i * 3..]);
        assert_eq!(iterator.next().await.unwrap(), None);
        iterator.close().await.unwrap();
    }
}

/// Iterators of several tasks at once are all complete.
pub async fn several_tasks_iterate_at_once(h: &mut Harness) {
    let db = h.level.clone();
    fill(&db, &digits()).await;
    let tasks: Vec<_> = (0..8)
        .map(|i| {
            let db = db.clone();
            tokio::spawn(async move {
                let mut iterator = db.iterator(KeyRange::all()).await.unwrap();
                for key in digits() {
                    assert_eq!(iterator.next().await.unwrap().unwrap().key, key);
                    if i % 2 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                assert_eq!(iterator.next().await.unwrap(), None);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// Closing twice is fine; a closed iterator says that it is closed; the level goes on.
pub async fn a_closed_iterator_says_so(h: &mut Harness) {
    let db = h.level.clone();
    fill(&db, &["a", "b"]).await;
    for steps in 0..4 {
        let mut iterator = db.iterator(KeyRange::all()).await.unwrap();
        for _ in 0..steps {
            iterator.next().await.unwrap();
        }
        iterator.close().await.unwrap();
        iterator.close().await.unwrap();
        assert_code(iterator.next().await, Code::IteratorNotOpen);
        assert_code(iterator.next_many(2).await, Code::IteratorNotOpen);
        assert_code(iterator.seek(b("a")).await, Code::IteratorNotOpen);
        iterator.close().await.unwrap();
    }
    h.disturb().await;
    assert_eq!(all_keys(&db).await, ["a", "b"]);
}

/// Dropping iterators, at any point, harms nothing.
pub async fn dropped_iterators_leave_no_trace(h: &mut Harness) {
    let db = &h.level;
    fill(db, &digits()).await;
    for i in 0..200 {
        let mut iterator = db.iterator(KeyRange::all()).await.unwrap();
        if i % 3 > 0 {
            iterator.next_many(i % 7).await.unwrap();
        }
        if i % 3 > 1 {
            let _ = poll_immediate(iterator.next_many(10)).await;
        }
    }
    let _ = poll_immediate(db.iterator(KeyRange::all())).await;
    assert_eq!(all_keys(db).await, digits());
}

/// A future of `next` or `next_many` that was dropped after polling loses no entry.
pub async fn a_dropped_step_loses_nothing(h: &mut Harness) {
    let db = h.level.clone();
    fill(&db, &digits()).await;
    for reverse in [false, true] {
        let mut iterator = db.iterator(IteratorOptions { reverse, ..IteratorOptions::default() }).await.unwrap();
        let mut seen = Vec::new();
        for step in 0.. {
            // One that was ready has delivered; one that was not has delivered nothing.
            if let Poll::Ready(Some(entry)) = immediate(iterator.next()).await {
                seen.push(entry.unwrap());
            }
            if step % 3 == 0 {
                tokio::task::yield_now().await;
            }
            if let Poll::Ready(page) = immediate(iterator.next_many(3)).await {
                seen.extend(page.unwrap());
            }
            let page = if step % 2 == 0 {
                iterator.next().await.unwrap().into_iter().collect()
            } else {
                iterator.next_many(2).await.unwrap()
            };
            if page.is_empty() {
                break;
            }
            seen.extend(page);
        }
        if reverse {
            seen.reverse();
        }
        assert_eq!(keys_of(&seen), digits());
    }
}

/// Polls once and drops.
async fn immediate<T: Transposed>(future: impl Future<Output = T>) -> Poll<T::Item> {
    poll_immediate(future).await.map_or(Poll::Pending, |output| Poll::Ready(output.transposed()))
}

/// So that the two kinds of steps are told apart in one place: the end of `next` is no entry.
trait Transposed {
    type Item;
    fn transposed(self) -> Self::Item;
}

impl Transposed for crate::Result<Option<Entry>> {
    type Item = Option<crate::Result<Entry>>;
    fn transposed(self) -> Self::Item {
        self.transpose()
    }
}

impl Transposed for crate::Result<Vec<Entry>> {
    type Item = Self;
    fn transposed(self) -> Self::Item {
        self
    }
}

/// Streams give what iterators give: entries, keys, values; they can be left early.
pub async fn streams_give_the_same(h: &mut Harness) {
    let db = h.level.clone();
    let keys: Vec<String> = (0..2_500).map(|i| format!("{i:05}")).collect();
    fill(&db, &keys).await;
    let range = || KeyRange::all().gte("00100").lt("02400");
    let expected = &keys[100..2_400];

    let entries: Vec<Entry> = db.stream(range()).try_collect().await.unwrap();
    assert_eq!(keys_of(&entries), expected);
    assert!(entries.iter().all(|entry| entry.value == value_of(&entry.key)));

    let mut stream = db.keys(IteratorOptions::from(range()).reversed());
    let mut seen: Vec<Bytes> = Vec::new();
    while let Some(key) = stream.try_next().await.unwrap() {
        seen.push(key);
        if seen.len() == 1_500 {
            h.disturb().await;
        }
    }
    drop(stream);
    seen.reverse();
    assert_eq!(seen, expected);

    let values: Vec<Bytes> = db.values(IteratorOptions::from(range()).limited(1_200)).try_collect().await.unwrap();
    assert_eq!(values, expected[..1_200].iter().map(value_of).collect::<Vec<_>>());

    let few: Vec<Bytes> = db.keys(range()).take(3).try_collect().await.unwrap();
    assert_eq!(few, expected[..3]);
    assert!(db.stream(KeyRange::all().lt("")).next().await.is_none());
    assert_eq!(db.get("00000").await.unwrap(), Some(b("v00000")));
}
