//! Explicit snapshots, or their refusal.

use super::{Harness, tools::*};
use crate::{
    AbstractLevel, AbstractLevelExt, Batch, ClearOptions, Code, Error, IteratorOptions, KeyRange, ReadOptions, Snapshot,
};

fn read(snapshot: &Snapshot) -> ReadOptions {
    ReadOptions { snapshot: Some(snapshot.clone()) }
}

/// The level's snapshot where the manifest offers one; otherwise the refusal was checked.
async fn taken(h: &Harness) -> Option<Snapshot> {
    let db = &h.level;
    let result = db.snapshot().await;
    if db.manifest().explicit_snapshots {
        Some(result.unwrap())
    } else {
        h.assert_refused("explicit_snapshots", result);
        // The refusal costs the level nothing.
        db.put("after the refusal", "1").await.unwrap();
        assert_eq!(db.get("after the refusal").await.unwrap(), Some(b("1")));
        None
    }
}

/// Reads of single and many keys see the snapshot's state.
pub async fn reads_see_the_snapshot(h: &mut Harness) {
    let db = &h.level;
    fill(db, &["a", "b", "c"]).await;
    let Some(snapshot) = taken(h).await else { return };
    db.write(Batch::new().put("a", "new").del("b").put("d", "new")).await.unwrap();
    assert_eq!(db.get_opts(b("a"), read(&snapshot)).await.unwrap(), Some(b("va")));
    assert_eq!(db.get_opts(b("b"), read(&snapshot)).await.unwrap(), Some(b("vb")));
    assert_eq!(db.get_opts(b("d"), read(&snapshot)).await.unwrap(), None);
    let keys = ["d", "c", "b", "a"].map(b).to_vec();
    let values = db.get_many_opts(keys.clone(), read(&snapshot)).await.unwrap();
    assert_eq!(values, [None, Some(b("vc")), Some(b("vb")), Some(b("va"))]);
    assert_eq!(db.has_many_opts(keys.clone(), read(&snapshot)).await.unwrap(), [false, true, true, true]);
    let values = db.get_many_opts(keys.clone(), ReadOptions::default()).await.unwrap();
    assert_eq!(values, [Some(b("new")), Some(b("vc")), None, Some(b("new"))]);
    assert_eq!(db.has_many_opts(keys, ReadOptions::default()).await.unwrap(), [true, true, false, true]);
    snapshot.close();
}

/// Iterators over a snapshot see its state, in both directions, with seeks, also when opened late.
pub async fn iterators_see_the_snapshot(h: &mut Harness) {
    let db = &h.level;
    fill(db, &["a", "b", "c"]).await;
    let Some(snapshot) = taken(h).await else { return };
    db.clear(KeyRange::all()).await.unwrap();
    fill(db, &["aa", "z"]).await;
    for reverse in [false, true] {
        let options = IteratorOptions { reverse, snapshot: Some(snapshot.clone()), ..IteratorOptions::default() };
        let mut expected = vec!["a", "b", "c"];
        if reverse {
            expected.reverse();
        }
        assert_eq!(keys_of(&db.all(options.clone()).await.unwrap()), expected);
        let mut iterator = db.iterator(options).await.unwrap();
        iterator.next().await.unwrap();
        iterator.seek(b("b")).await.unwrap();
        assert_eq!(keys_of(&rest(&mut *iterator).await), expected[1..]);
    }
    assert_eq!(all_keys(db).await, ["aa", "z"]);
    snapshot.close();
}

/// A clear with a snapshot deletes the keys that the snapshot holds and leaves later ones.
pub async fn a_clear_deletes_what_the_snapshot_holds(h: &mut Harness) {
    let db = &h.level;
    fill(db, &["a", "b", "c"]).await;
    let Some(snapshot) = taken(h).await else { return };
    db.write(Batch::new().put("b", "changed").put("bb", "later").del("a")).await.unwrap();
    let options = ClearOptions { snapshot: Some(snapshot.clone()), limit: Some(2), ..ClearOptions::default() };
    db.clear(options.clone()).await.unwrap();
    assert_eq!(all_keys(db).await, ["bb", "c"]);
    db.clear(ClearOptions { limit: None, ..options }).await.unwrap();
    assert_eq!(all_keys(db).await, ["bb"]);
    snapshot.close();
}

/// Several snapshots stay apart, whatever the order in which they close.
pub async fn several_snapshots_stay_apart(h: &mut Harness) {
    let db = &h.level;
    let mut snapshots = Vec::new();
    for i in 0..6_usize {
        db.put("count", i.to_string()).await.unwrap();
        db.put(format!("key{i}"), "").await.unwrap();
        let Some(snapshot) = taken(h).await else { return };
        snapshots.push((i, snapshot));
    }
    while !snapshots.is_empty() {
        for (i, snapshot) in &snapshots {
            assert_eq!(db.get_opts(b("count"), read(snapshot)).await.unwrap(), Some(b(i.to_string())));
            let options = IteratorOptions { snapshot: Some(snapshot.clone()), ..IteratorOptions::default() };
            assert_eq!(db.all(options).await.unwrap().len(), i + 2);
        }
        let (_, closed) = snapshots.remove(snapshots.len() / 2);
        closed.close();
    }
    assert_eq!(db.get("count").await.unwrap(), Some(b("5")));
}

/// A closed snapshot says that it is closed, through every clone and in every operation; closing twice is fine.
pub async fn a_closed_snapshot_says_so(h: &mut Harness) {
    let db = &h.level;
    fill(db, &["a"]).await;
    let Some(snapshot) = taken(h).await else { return };
    let clone = snapshot.clone();
    snapshot.close();
    snapshot.close();
    assert_code(db.get_opts(b("a"), read(&clone)).await, Code::SnapshotNotOpen);
    assert_code(db.get_many_opts(vec![b("a")], read(&clone)).await, Code::SnapshotNotOpen);
    assert_code(db.has_many_opts(vec![b("a")], read(&clone)).await, Code::SnapshotNotOpen);
    let options = IteratorOptions { snapshot: Some(clone.clone()), ..IteratorOptions::default() };
    let opened = match db.iterator(options).await {
        Err(error) => Err(error),
        // A store may notice at the first step.
        Ok(mut iterator) => iterator.next().await,
    };
    assert_code(opened, Code::SnapshotNotOpen);
    let options = ClearOptions { snapshot: Some(clone), ..ClearOptions::default() };
    assert_code(db.clear(options).await, Code::SnapshotNotOpen);
    assert_eq!(all_keys(db).await, ["a"]);
}

/// Whatever happens in between, a snapshot shows its own state or says that it is gone; it never becomes a newer one. So do
/// iterators over it. The level itself goes on, and gives new snapshots.
pub async fn a_snapshot_is_never_replaced_by_a_newer_one(h: &mut Harness) {
    let db = h.level.clone();
    fill(&db, &["a", "b", "c"]).await;
    let Some(snapshot) = taken(h).await else { return };
    let over = |snapshot: &Snapshot| IteratorOptions { snapshot: Some(snapshot.clone()), ..IteratorOptions::default() };
    let mut iterator = db.iterator(over(&snapshot)).await.unwrap();
    assert_eq!(iterator.next().await.unwrap().unwrap().key, "a");
    db.write(Batch::new().put("a", "new").del("b").put("bb", "new")).await.unwrap();
    h.disturb().await;
    let gone = |error: &Error| assert_eq!(error.code(), Code::SnapshotNotOpen, "{error}");
    match db.get_opts(b("a"), read(&snapshot)).await {
        Ok(value) => assert_eq!(value, Some(b("va"))),
        Err(error) => gone(&error),
    }
    match db.has_many_opts(vec![b("b"), b("bb")], read(&snapshot)).await {
        Ok(existing) => assert_eq!(existing, [true, false]),
        Err(error) => gone(&error),
    }
    for key in [Some("b"), Some("c"), None] {
        match iterator.next().await {
            Ok(entry) => assert_eq!(entry.map(|entry| entry.key), key.map(b)),
            Err(error) => {
                gone(&error);
                break;
            }
        }
    }
    match db.all(over(&snapshot)).await {
        Ok(entries) => assert_eq!(keys_of(&entries), ["a", "b", "c"]),
        Err(error) => gone(&error),
    }
    let of_snapshot = ClearOptions { snapshot: Some(snapshot.clone()), ..ClearOptions::default() };
    match db.clear(of_snapshot).await {
        Ok(()) => assert_eq!(all_keys(&db).await, ["bb"]),
        Err(error) => {
            gone(&error);
            assert_eq!(all_keys(&db).await, ["a", "bb", "c"]);
        }
    }
    snapshot.close();
    let another = db.snapshot().await.unwrap();
    db.clear(KeyRange::all()).await.unwrap();
    assert_eq!(db.get_opts(b("bb"), read(&another)).await.unwrap(), Some(b("new")));
    another.close();
}

/// Dropping a snapshot without closing it harms nothing; an iterator over it that is open already goes on.
pub async fn a_dropped_snapshot_leaves_its_iterators(h: &mut Harness) {
    let db = &h.level;
    fill(db, &["a", "b"]).await;
    let Some(snapshot) = taken(h).await else { return };
    let options = IteratorOptions { snapshot: Some(snapshot.clone()), ..IteratorOptions::default() };
    let mut iterator = db.iterator(options).await.unwrap();
    drop(snapshot);
    db.clear(KeyRange::all()).await.unwrap();
    assert_eq!(keys_of(&rest(&mut *iterator).await), ["a", "b"]);
    drop(iterator);
    assert_eq!(all_keys(db).await, [""; 0]);
}

/// A level's snapshot serves its sublevels, and one taken through a sublevel serves the level.
pub async fn snapshots_work_through_sublevels(h: &mut Harness) {
    let db = &h.level;
    let sub = db.sublevel("sub").unwrap();
    fill(db, &["a"]).await;
    sub.put("a", "old").await.unwrap();
    if !db.manifest().explicit_snapshots {
        assert!(!sub.manifest().explicit_snapshots);
        h.assert_refused("explicit_snapshots", sub.snapshot().await);
        return;
    }
    for snapshot in [db.snapshot().await.unwrap(), sub.snapshot().await.unwrap()] {
        sub.put("a", "new").await.unwrap();
        sub.put("b", "new").await.unwrap();
        db.put("a", "new").await.unwrap();
        assert_eq!(sub.get_opts(b("a"), read(&snapshot)).await.unwrap(), Some(b("old")));
        assert_eq!(sub.get_many_opts(vec![b("b"), b("a")], read(&snapshot)).await.unwrap(), [None, Some(b("old"))]);
        assert_eq!(db.get_opts(b("a"), read(&snapshot)).await.unwrap(), Some(b("va")));
        let options = IteratorOptions { snapshot: Some(snapshot.clone()), ..IteratorOptions::default() };
        assert_eq!(texts(&sub.all(options.clone()).await.unwrap()), [("a".to_owned(), "old".to_owned())]);
        assert_eq!(keys_of(&db.all(options).await.unwrap()), ["!sub!a", "a"]);
        let options = ClearOptions { snapshot: Some(snapshot.clone()), ..ClearOptions::default() };
        sub.clear(options).await.unwrap();
        assert_eq!(all_keys(db).await, ["!sub!b", "a"]);
        snapshot.close();
        assert_code(sub.get_opts(b("a"), read(&snapshot)).await, Code::SnapshotNotOpen);
        sub.clear(KeyRange::all()).await.unwrap();
        sub.put("a", "old").await.unwrap();
        fill(db, &["a"]).await;
        // The second snapshot was taken at the same state, which is restored here.
    }
}
