//! What others do to ranges that were read: only what was really read must not change.

use rave_core::{
    AbstractLevelExt, Batch, ClearOptions, Error, IteratorOptions, KeyRange, LevelIterator, MemoryLevel, Transaction,
};
use std::sync::atomic::{AtomicUsize, Ordering};

fn letters() -> Vec<String> {
    ('b'..='y').step_by(2).map(String::from).collect()
}

/// A database with every second letter from b to x.
async fn database() -> MemoryLevel {
    let db = MemoryLevel::new();
    db.write(letters().iter().fold(Batch::new(), |batch, key| batch.put(key, "1"))).await.unwrap();
    db
}

/// Whether a transaction that does `read` and then writes something conflicts with `change`.
async fn conflicts<R: Future<Output = Result<(), Error>> + Send>(
    read: impl Fn(Transaction) -> R + Send + Sync,
    change: Batch,
) -> bool {
    let db = database().await;
    let runs = AtomicUsize::new(0);
    let (read, outside, count, change) = (&read, &db, &runs, &change);
    db.transaction(|tx| async move {
        read(tx.clone()).await?;
        if count.fetch_add(1, Ordering::SeqCst) == 0 {
            outside.write(change.clone()).await?;
        }
        tx.put("written", "1").await
    })
    .await
    .unwrap();
    runs.into_inner() == 2
}

/// Which insertions, changes and deletions a reading notices: one of each key from a to z.
async fn noticed<R: Future<Output = Result<(), Error>> + Send>(
    read: impl Fn(Transaction) -> R + Send + Sync,
) -> String {
    let mut noticed = String::new();
    for key in 'a'..='z' {
        let name = key.to_string();
        let changed = conflicts(&read, Batch::new().put(&name, "2")).await;
        if letters().contains(&name) {
            assert_eq!(conflicts(&read, Batch::new().del(&name)).await, changed, "deleting {name}");
        }
        noticed.extend(changed.then_some(key));
    }
    noticed
}

fn options(range: KeyRange, reverse: bool, limit: Option<u64>) -> IteratorOptions {
    IteratorOptions { range, reverse, limit, ..IteratorOptions::default() }
}

async fn take(iterator: &mut dyn LevelIterator, count: usize) -> Result<(), Error> {
    for _ in 0..count {
        iterator.next().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_range_read_to_its_end_is_read_whole() {
    for (range, expected) in [
        (KeyRange::all(), "abcdefghijklmnopqrstuvwxyz"),
        (KeyRange::all().gte("f").lt("j"), "fghi"),
        (KeyRange::all().gt("f").lte("j"), "ghij"),
        (KeyRange::all().gt("x"), "yz"),
        (KeyRange::all().gte("e").lte("e"), "e"),
        (KeyRange::all().gt("e").lt("e"), ""),
    ] {
        for reverse in [false, true] {
            let all = |tx: Transaction| {
                let options = options(range.clone(), reverse, None);
                async move { tx.all(options).await.map(drop) }
            };
            assert_eq!(noticed(all).await, expected, "{range:?}, reverse: {reverse}");
        }
    }
}

#[tokio::test]
async fn a_range_read_in_part_is_read_up_to_the_last_key() {
    let up_to_three = |reverse| {
        move |tx: Transaction| async move {
            tx.all(options(KeyRange::all().gte("f").lte("p"), reverse, Some(3))).await.map(drop)
        }
    };
    assert_eq!(noticed(up_to_three(false)).await, "fghij");
    assert_eq!(noticed(up_to_three(true)).await, "lmnop");
    let three_steps = |reverse| {
        move |tx: Transaction| async move {
            let mut iterator = tx.iterator(options(KeyRange::all().gte("f").lte("p"), reverse, None)).await?;
            take(&mut *iterator, 3).await
        }
    };
    assert_eq!(noticed(three_steps(false)).await, "fghij");
    assert_eq!(noticed(three_steps(true)).await, "lmnop");
    let opened = |tx: Transaction| async move { tx.iterator(KeyRange::all()).await.map(drop) };
    assert_eq!(noticed(opened).await, "");
}

#[tokio::test]
async fn what_a_seek_passes_over_is_not_read() {
    let jump = |reverse, target: &'static str| {
        move |tx: Transaction| async move {
            let mut iterator = tx.iterator(options(KeyRange::all(), reverse, None)).await?;
            take(&mut *iterator, 2).await?;
            iterator.seek(target.into()).await?;
            take(&mut *iterator, 2).await?;
            // Out of the range: nothing is learned of it.
            iterator.seek("zz".into()).await?;
            iterator.seek("u".into()).await
        }
    };
    assert_eq!(noticed(jump(false, "m")).await, "abcdmnop");
    assert_eq!(noticed(jump(true, "m")).await, "jklmvwxyz");
    // Back again over what was read.
    assert_eq!(noticed(jump(false, "c")).await, "abcdef");
}

/// Own writes hide what the database has, and are there where it has nothing: what was read of it still counts.
#[tokio::test]
async fn own_writes_count_as_places_in_the_range() {
    let own = |reverse| {
        move |tx: Transaction| async move {
            tx.write(Batch::new().del("f").del("h").put("i", "own").put("j", "own").del("l")).await?;
            let options = options(KeyRange::all().gte("f").lte("p"), reverse, Some(3));
            tx.all(options).await.map(drop)
        }
    };
    assert_eq!(noticed(own(false)).await, "fghijklmn");
    assert_eq!(noticed(own(true)).await, "jklmnop");
}

#[tokio::test]
async fn a_clear_reads_what_it_deletes() {
    let clear = |reverse, limit| {
        move |tx: Transaction| async move {
            let options =
                ClearOptions { range: KeyRange::all().gte("f").lte("p"), reverse, limit, ..ClearOptions::default() };
            tx.clear(options).await
        }
    };
    assert_eq!(noticed(clear(false, None)).await, "fghijklmnop");
    assert_eq!(noticed(clear(false, Some(2))).await, "fgh");
    assert_eq!(noticed(clear(true, Some(2))).await, "nop");
    assert_eq!(noticed(clear(true, Some(0))).await, "");
}

#[tokio::test]
async fn clears_and_what_is_written_with_them_take_effect_at_the_commit() {
    for (reverse, limit, left) in [
        (false, None, "b new x"),
        (false, Some(3), "b j l n new p r t v x"),
        (true, Some(3), "b d f h j l n new p x"),
        (true, Some(0), "b d f h j l n new p r t v x"),
    ] {
        let db = database().await;
        let outside = &db;
        db.transaction(|tx| async move {
            tx.put("e", "own").await?;
            tx.clear(ClearOptions {
                range: KeyRange::all().gt("b").lt("x"),
                reverse,
                limit: limit.map(|limit| limit + u64::from(!reverse)),
                and_write: Batch::new().put("new", "1"),
                ..ClearOptions::default()
            })
            .await?;
            tx.del("e").await?;
            assert!(outside.has("f").await?);
            Ok::<_, Error>(())
        })
        .await
        .unwrap();
        let keys: Vec<_> = db.all(KeyRange::all()).await.unwrap().into_iter().map(|entry| entry.key).collect();
        assert_eq!(keys, left.split(' ').collect::<Vec<_>>(), "reverse: {reverse}, limit: {limit:?}");
    }
}

/// Long ranges, backwards too, come in several pieces; they must fit together.
#[tokio::test]
async fn long_ranges_are_read_in_pieces_that_fit() {
    let db = MemoryLevel::new();
    let key = |number: u32| format!("{number:06}");
    db.write((0..5_500).fold(Batch::new(), |batch, number| batch.put(key(number), "1"))).await.unwrap();
    for reverse in [false, true] {
        for changed in [0, 999, 1000, 1001, 4_499, 4_500, 5_499] {
            let runs = AtomicUsize::new(0);
            let (outside, count) = (&db, &runs);
            db.transaction(|tx| async move {
                let read = tx.all(options(KeyRange::all().gte("0").lt("1"), reverse, None)).await?.len();
                assert_eq!(read, 5_500);
                if count.fetch_add(1, Ordering::SeqCst) == 0 {
                    let value = outside.get(key(changed)).await?.unwrap();
                    outside.put(key(changed), [value.as_ref(), b"1"].concat()).await?;
                }
                tx.put("written", "1").await
            })
            .await
            .unwrap();
            assert_eq!(runs.into_inner(), 2, "{changed}, reverse: {reverse}");
        }
    }
}
