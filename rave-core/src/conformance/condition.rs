//! Batches that are applied only if something holds.
//!
//! Where the manifest does not say `conditions`, each case tests that they are refused.

use super::{Harness, tools::*};
use crate::{
    AbstractLevel, AbstractLevelExt, Batch, Code, Condition, Digest, Digester, Effect, Error, Event, KeyRange,
    MAX_CONDITIONS, WriteOptions,
};
use futures::{StreamExt, future::poll_immediate};
use std::sync::Arc;

/// Whether the level checks conditions. If not, this is where it has to refuse them.
async fn checks_conditions(h: &Harness) -> bool {
    let db = &h.level;
    if db.manifest().conditions {
        return true;
    }
    let before = db.all(KeyRange::all()).await.unwrap();
    h.assert_refused("conditions", db.write(Batch::new().put("a", "1").if_absent("refused")).await);
    h.assert_refused("conditions", db.write(Batch::new().put("a", "1").del("b").if_equals("refused", "")).await);
    h.assert_refused("conditions", db.write(Batch::new().if_absent("refused")).await);
    h.assert_refused("conditions", db.write(Batch::new().require(unchanged(KeyRange::all(), &[]))).await);
    assert_eq!(db.all(KeyRange::all()).await.unwrap(), before, "a refused batch was written");
    false
}

fn digest(entries: &[(&str, &str)]) -> Digest {
    let mut digester = Digester::default();
    entries.iter().for_each(|(key, value)| digester.entry(key.as_bytes(), value.as_bytes()));
    digester.finish()
}

fn unchanged(range: KeyRange, entries: &[(&str, &str)]) -> Condition {
    Condition::unchanged(range, digest(entries))
}

/// The digest of what the level has in a range now.
async fn digest_of(db: &dyn AbstractLevel, range: &KeyRange) -> Digest {
    let mut digester = Digester::default();
    for entry in db.all(range.clone()).await.expect("all") {
        digester.entry(&entry.key, &entry.value);
    }
    digester.finish()
}

/// Asserts that these conditions failed, and that the batch certainly did nothing.
#[track_caller]
fn assert_failed(result: Result<(), Error>, conditions: &[usize]) {
    let error = result.expect_err("a condition does not hold");
    assert_eq!((error.code(), error.effect()), (Code::ConditionFailed, Effect::None), "{error}");
    assert_eq!(error.failed_conditions(), conditions, "{error}");
}

/// A batch whose conditions all hold is applied like any other.
pub async fn a_batch_is_applied_if_its_conditions_hold(h: &mut Harness) {
    let db = h.level.clone();
    if !checks_conditions(h).await {
        return;
    }
    db.write(Batch::new().put("a", "1").if_absent("a")).await.unwrap();
    db.write(Batch::new().put("a", "2").put("b", "1").if_equals("a", "1").if_absent("b")).await.unwrap();
    h.disturb().await;
    db.write(Batch::new().del("a").put("c", "1").if_equals("a", "2").if_equals("b", "1")).await.unwrap();
    db.write(Batch::new().put("a", "3").if_absent("a").if_equals("c", "1")).await.unwrap();
    // A condition may concern other keys than the operations, and may be stated twice.
    db.write(Batch::new().put("d", "1").if_equals("a", "3").if_equals("a", "3")).await.unwrap();
    let all = [("a", "3"), ("b", "1"), ("c", "1"), ("d", "1")];
    assert_eq!(texts(&db.all(KeyRange::all()).await.unwrap()), all.map(|(k, v)| (k.to_owned(), v.to_owned())));
    if db.manifest().sync_writes {
        let synced = Batch::new().put("e", "1").if_absent("e");
        db.write_opts(synced.clone(), WriteOptions::synced()).await.unwrap();
        assert_failed(db.write_opts(synced, WriteOptions::synced()).await, &[0]);
    }
}

/// If a condition does not hold nothing is written: no put, no delete, and nothing in a sublevel.
pub async fn nothing_is_written_if_a_condition_fails(h: &mut Harness) {
    let db = h.level.clone();
    if !checks_conditions(h).await {
        return;
    }
    let sub = db.sublevel("sub").unwrap();
    fill(&db, &["a", "b"]).await;
    sub.put("a", "1").await.unwrap();
    let before = db.all(KeyRange::all()).await.unwrap();
    let batch = || Batch::new().put("a", "new").del("b").put("c", "new").del_in(&sub, "a").put_in(&sub, "b", "2");
    assert_failed(db.write(batch().if_absent("a")).await, &[0]);
    assert_failed(db.write(batch().if_equals("a", "another")).await, &[0]);
    assert_failed(db.write(batch().if_equals("missing", "va")).await, &[0]);
    h.disturb().await;
    // Not even if others hold, whichever comes first.
    assert_failed(db.write(batch().if_equals("a", "va").if_absent("b")).await, &[1]);
    assert_failed(db.write(batch().if_absent("b").if_equals("a", "va")).await, &[0]);
    assert_failed(db.write(batch().if_absent("c").require(unchanged(KeyRange::all(), &[]))).await, &[1]);
    assert_eq!(db.all(KeyRange::all()).await.unwrap(), before);
    // The refusal leaves no trace.
    db.write(batch().if_equals("a", "va")).await.unwrap();
    assert_eq!(all_keys(&db).await, ["!sub!b", "a", "c"]);
}

/// The error names all conditions that do not hold, in ascending order.
pub async fn every_failed_condition_is_named(h: &mut Harness) {
    let db = h.level.clone();
    if !checks_conditions(h).await {
        return;
    }
    fill(&db, &["a", "b"]).await;
    let batch = Batch::new()
        .put("a", "new")
        .if_absent("a")
        .if_equals("b", "vb")
        .if_equals("b", "vb")
        .require(unchanged(KeyRange::all(), &[("a", "va")]))
        .if_absent("c")
        .if_equals("d", "")
        .require(unchanged(KeyRange::all(), &[("a", "va"), ("b", "vb")]));
    assert_failed(db.write(batch).await, &[0, 3, 5]);
    let many = (0..MAX_CONDITIONS).fold(Batch::new(), |batch, i| match i % 2 {
        0 => batch.if_absent(format!("missing{i}")),
        _ => batch.if_equals(format!("missing{i}"), "v"),
    });
    h.disturb().await;
    let odd: Vec<usize> = (0..MAX_CONDITIONS).filter(|i| i % 2 == 1).collect();
    assert_failed(db.write(many).await, &odd);
}

/// Conditions are about the state before the batch, not about what its own operations make of it.
pub async fn conditions_see_the_state_before_the_batch(h: &mut Harness) {
    let db = &h.level;
    if !checks_conditions(h).await {
        return;
    }
    assert_failed(db.write(Batch::new().put("a", "1").if_equals("a", "1")).await, &[0]);
    db.write(Batch::new().put("a", "1").if_absent("a")).await.unwrap();
    assert_failed(db.write(Batch::new().del("a").if_absent("a")).await, &[0]);
    let was = unchanged(KeyRange::all(), &[("a", "1")]);
    db.write(Batch::new().del("a").put("b", "1").if_equals("a", "1").require(was)).await.unwrap();
    assert_eq!(all_keys(db).await, ["b"]);
}

/// A key with an empty value exists; an empty key is a key.
pub async fn an_empty_value_is_not_absence(h: &mut Harness) {
    let db = &h.level;
    if !checks_conditions(h).await {
        return;
    }
    assert_failed(db.write(Batch::new().put("a", "1").if_equals("a", "")).await, &[0]);
    db.write(Batch::new().put("a", "").put("", "").if_absent("a").if_absent("")).await.unwrap();
    assert_failed(db.write(Batch::new().put("a", "1").if_absent("a").if_absent("")).await, &[0, 1]);
    assert_failed(db.write(Batch::new().put("b", "1").require(unchanged(KeyRange::all(), &[]))).await, &[0]);
    db.write(Batch::new().put("a", "1").if_equals("a", "").if_equals("", "")).await.unwrap();
    // Where a key ends and its value begins makes a difference.
    assert_failed(
        db.write(Batch::new().del("a").require(unchanged(KeyRange::all(), &[("", "a"), ("1", "")]))).await,
        &[0],
    );
    assert_eq!(db.get("a").await.unwrap(), Some(b("1")));
}

/// A batch without operations is only checked, and not announced.
pub async fn conditions_alone_are_checked(h: &mut Harness) {
    let db = h.level.clone();
    if !checks_conditions(h).await {
        return;
    }
    let mut events = db.events();
    db.write(Batch::new().if_absent("a")).await.unwrap();
    assert_failed(db.write(Batch::new().if_absent("b").if_equals("a", "1")).await, &[1]);
    assert_failed(db.write(Batch::new().put("a", "2").if_equals("a", "1")).await, &[0]);
    db.write(Batch::new().put("a", "1").if_absent("a")).await.unwrap();
    h.disturb().await;
    db.write(Batch::new().if_equals("a", "1").require(unchanged(KeyRange::all(), &[("a", "1")]))).await.unwrap();
    assert_failed(db.write(Batch::new().if_absent("a")).await, &[0]);
    assert_eq!(all_keys(&db).await, ["a"]);
    db.put("marker", "").await.unwrap();
    let mut announced = Vec::new();
    while announced.last() != Some(&b("marker")) {
        if let Event::Write(batch) = events.next().await.expect("the events ended") {
            assert!(!batch.writes_nothing(), "a batch that writes nothing was announced");
            announced.extend(batch.operations().map(|operation| operation.key().clone()));
        }
    }
    assert_eq!(announced, [b("a"), b("marker")], "what was not written was announced");
}

/// Conditions that cannot all hold are refused as such, whatever the state is.
pub async fn contradictions_are_refused(h: &mut Harness) {
    let db = &h.level;
    if !checks_conditions(h).await {
        return;
    }
    for batch in [
        Batch::new().if_absent("a").if_equals("a", "1"),
        Batch::new().if_equals("a", "").if_absent("b").if_absent("a"),
        Batch::new().if_equals("a", "1").if_equals("a", "2"),
    ] {
        for batch in [batch.clone(), batch.put("a", "2")] {
            let error = db.write(batch).await.expect_err("a contradiction");
            assert_eq!((error.code(), error.effect()), (Code::InvalidBatch, Effect::None), "{error}");
        }
    }
    assert_eq!(all_keys(db).await, [""; 0]);
}

/// More conditions than a batch may carry are refused; as many as it may are not.
pub async fn too_many_conditions_are_refused(h: &mut Harness) {
    let db = &h.level;
    if !checks_conditions(h).await {
        return;
    }
    let many = |count: usize| (0..count).fold(Batch::new(), |batch, i| batch.if_absent(format!("{i}")));
    let error = db.write(many(MAX_CONDITIONS + 1).put("a", "1")).await.expect_err("too many conditions");
    assert_eq!((error.code(), error.effect()), (Code::InvalidBatch, Effect::None), "{error}");
    assert_eq!(all_keys(db).await, [""; 0]);
    db.write(many(MAX_CONDITIONS).put("a", "1")).await.unwrap();
    assert_eq!(all_keys(db).await, ["a"]);
}

async fn number(db: &dyn AbstractLevel, key: &str) -> Option<u32> {
    let value = db.get(key).await.unwrap()?;
    Some(std::str::from_utf8(&value).unwrap().parse().unwrap())
}

/// Tasks that count by "compare and set" lose no count: check and write are one step.
pub async fn counters_lose_nothing(h: &mut Harness) {
    const TASKS: u32 = 8;
    const ROUNDS: u32 = 12;
    let db = h.level.clone();
    if !checks_conditions(h).await {
        return;
    }
    let count = |db: Arc<dyn AbstractLevel>| async move {
        for _ in 0..ROUNDS {
            loop {
                let old = number(&db, "count").await;
                // Others count meanwhile.
                tokio::task::yield_now().await;
                let batch = Batch::new().put("count", (old.unwrap_or(0) + 1).to_string());
                let batch = match old {
                    None => batch.if_absent("count"),
                    Some(old) => batch.if_equals("count", old.to_string()),
                };
                match db.write(batch).await {
                    Ok(()) => break,
                    Err(error) => assert_eq!(error.code(), Code::ConditionFailed, "{error}"),
                }
            }
        }
    };
    let tasks: Vec<_> = (0..TASKS).map(|_| tokio::spawn(count(db.clone()))).collect();
    h.disturb().await;
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(number(&db, "count").await, Some(TASKS * ROUNDS));
}

/// Of writes that claim the same key at once exactly one succeeds.
pub async fn a_key_is_claimed_once(h: &mut Harness) {
    let db = h.level.clone();
    if !checks_conditions(h).await {
        return;
    }
    for round in 0..10 {
        let key = format!("claim{round}");
        let claims = (0..20).map(|i| db.write(Batch::new().put(&key, i.to_string()).if_absent(&key))).collect();
        for (i, result) in in_order(claims).await.into_iter().enumerate() {
            match i {
                0 => result.unwrap(),
                _ => assert_failed(result, &[0]),
            }
        }
        assert_eq!(db.get(&key).await.unwrap(), Some(b("0")));
        h.disturb().await;
    }
}

/// Two keys whose values are swapped at once by several tasks never have the same value.
pub async fn swaps_are_one_step(h: &mut Harness) {
    let db = h.level.clone();
    if !checks_conditions(h).await {
        return;
    }
    db.write(Batch::new().put("a", "1").put("b", "2")).await.unwrap();
    let swap = |db: Arc<dyn AbstractLevel>| async move {
        let mut swaps = 0;
        while swaps < 15 {
            let values = db.get_many(vec!["a", "b"]).await.unwrap();
            let [Some(a), Some(b)] = values.as_slice() else { panic!("a key is gone") };
            tokio::task::yield_now().await;
            let batch = Batch::new().put("a", b).put("b", a).if_equals("a", a).if_equals("b", b);
            match db.write(batch).await {
                Ok(()) => {
                    assert_ne!(a, b, "half of a swap was seen, and found unchanged");
                    swaps += 1;
                }
                Err(error) => assert_eq!(error.code(), Code::ConditionFailed, "{error}"),
            }
        }
    };
    let tasks: Vec<_> = (0..4).map(|_| tokio::spawn(swap(db.clone()))).collect();
    h.disturb().await;
    for task in tasks {
        task.await.unwrap();
    }
    // Sixty swaps.
    assert_eq!(db.get_many(vec!["a", "b"]).await.unwrap(), [Some(b("1")), Some(b("2"))]);
}

/// Conditions see all writes of the handle that were submitted before, waited for or not, and none submitted later.
pub async fn conditions_keep_the_order_of_submission(h: &mut Harness) {
    let db = h.level.clone();
    if !checks_conditions(h).await {
        return;
    }
    for _ in 0..10 {
        let nothing = unchanged(KeyRange::all(), &[]);
        let results = futures::join!(
            db.put("a", "1"),
            db.write(Batch::new().put("a", "2").if_equals("a", "1")),
            db.write(Batch::new().put("a", "x").if_equals("a", "1")),
            db.put("a", "3"),
            db.write(Batch::new().del("a").put("b", "1").if_equals("a", "3")),
            db.write(Batch::new().put("a", "4").if_absent("a").require(unchanged(KeyRange::all(), &[("b", "1")]))),
            db.clear(KeyRange::all()),
            db.write(Batch::new().put("c", "1").if_absent("a").require(nothing)),
            db.get("c"),
            db.del("c"),
            db.write(Batch::new().put("d", "1").if_absent("c")),
            db.put("c", "2"),
        );
        let (one, two, wrong, three, four, five, cleared, six, seen, seven, eight, nine) = results;
        assert_failed(wrong, &[0]);
        for result in [one, two, three, four, five, cleared, six, seven, eight, nine] {
            result.unwrap();
        }
        assert_eq!(seen.unwrap(), Some(b("1")), "a read did not see a conditional write submitted before it");
        assert_eq!(all_keys(&db).await, ["c", "d"]);
        db.clear(KeyRange::all()).await.unwrap();
    }
    for round in 0..3 {
        let mut writes: Vec<_> = (0..100).map(|i| db.put("same", format!("{round}-{i}"))).collect();
        let last = format!("{round}-99");
        writes.push(db.write(Batch::new().put("end", &last).if_equals("same", &last)));
        writes.extend((0..10).map(|i| db.put("same", i.to_string())));
        for result in in_order(writes).await {
            result.unwrap();
        }
        h.disturb().await;
    }
    assert_eq!(db.get("end").await.unwrap(), Some(b("2-99")));
}

/// A conditional write whose future was dropped takes effect as a whole, or not at all, and the handle goes on.
pub async fn a_dropped_conditional_write_is_all_or_nothing(h: &mut Harness) {
    let db = h.level.clone();
    if !checks_conditions(h).await {
        return;
    }
    for i in 0..20 {
        let (one, two) = (format!("{i}-1"), format!("{i}-2"));
        let _ = poll_immediate(db.write(Batch::new().put(&one, "1").put(&two, "2").if_absent(&one))).await;
        let _ = poll_immediate(db.write(Batch::new().put(&one, "wrong").if_equals("missing", ""))).await;
        db.put("after", i.to_string()).await.unwrap();
        let values = db.get_many(vec![one, two]).await.unwrap();
        let whole = values == [Some(b("1")), Some(b("2"))];
        assert!(whole || values == [None, None] || !db.manifest().implicit_snapshots, "{values:?}");
    }
    h.disturb().await;
    db.write(Batch::new().if_equals("after", "19")).await.unwrap();
}

/// Whether a range is unchanged depends on each key and each value in it, and on nothing else.
pub async fn a_change_in_the_range_is_noticed(h: &mut Harness) {
    let db = h.level.clone();
    if !checks_conditions(h).await {
        return;
    }
    let keys = ["a", "b", "b\0", "c", "d", "e"];
    let range = || KeyRange::all().gte("b").lt("d");
    let change = |key: &str, value: Option<&str>| match value {
        Some(value) => Batch::new().put(key, value),
        None => Batch::new().del(key),
    };
    let inside =
        [("b", None), ("b\0", None), ("c", Some("vd")), ("bb", Some("")), ("c\x7f", Some("1")), ("b", Some(""))];
    let outside =
        [("a", None), ("d", None), ("d", Some("new")), ("e", Some("")), ("a\x7f", Some("1")), ("", Some("1"))];
    for (changes, noticed) in [(inside, true), (outside, false)] {
        for (key, value) in changes {
            db.clear(KeyRange::all()).await.unwrap();
            fill(&db, &keys).await;
            let condition = Condition::unchanged(range(), digest_of(&*db, &range()).await);
            db.write(Batch::new().require(condition.clone())).await.unwrap();
            db.write(change(key, value)).await.unwrap();
            let result = db.write(Batch::new().put("f", "1").require(condition)).await;
            if noticed {
                assert_failed(result, &[0]);
            } else {
                result.unwrap();
            }
            assert_eq!(db.has("f").await.unwrap(), !noticed, "{key:?}: {value:?}");
        }
        h.disturb().await;
    }
    // Written again with the same value, an entry is what it was.
    fill(&db, &keys).await;
    let condition = Condition::unchanged(range(), digest_of(&*db, &range()).await);
    db.del("c").await.unwrap();
    fill(&db, &["c"]).await;
    db.write(Batch::new().require(condition)).await.unwrap();
}

/// Ranges have the bounds they have for iterators. In one that holds nothing there is nothing to change.
pub async fn ranges_are_those_of_iterators(h: &mut Harness) {
    let db = h.level.clone();
    if !checks_conditions(h).await {
        return;
    }
    fill(&db, &KEYS).await;
    for range in [
        KeyRange::all().gt("a").lt("c"),
        KeyRange::all().gt("a").lte("c"),
        KeyRange::all().gte("a").lt("c"),
        KeyRange::all().gte("a").lte("c"),
        KeyRange::all().gt("a"),
        KeyRange::all().lte("a"),
        KeyRange::prefix("a"),
        KeyRange::prefix([0xff]),
        KeyRange::all(),
    ] {
        let digest = digest_of(&*db, &range).await;
        db.write(Batch::new().require(Condition::unchanged(range.clone(), digest))).await.unwrap();
        assert_failed(db.write(Batch::new().require(unchanged(range, &[]))).await, &[0]);
    }
    h.disturb().await;
    for range in [
        KeyRange::all().gte("c").lt("a"),
        KeyRange::all().gt("c").lte("a"),
        KeyRange::all().gt("b").lt("b"),
        KeyRange::all().gte("b").lt("b"),
        KeyRange::all().gt("a").lt("a\0"),
        KeyRange::all().lt(""),
        KeyRange::prefix("missing"),
    ] {
        db.write(Batch::new().put("b", "1").require(unchanged(range.clone(), &[]))).await.unwrap();
        assert_failed(db.write(Batch::new().require(unchanged(range, &[("b", "1")]))).await, &[0]);
    }
    // Of no range at all too.
    let none = |digest| Condition::Unchanged { ranges: Vec::new(), strip: 0, digest };
    db.write(Batch::new().require(none(digest(&[])))).await.unwrap();
    assert_failed(db.write(Batch::new().require(none(digest(&[("b", "1")])))).await, &[0]);
}

/// One condition may be about several ranges, one after the other; keys count without what is to be stripped.
pub async fn several_ranges_have_one_digest(h: &mut Harness) {
    let db = &h.level;
    if !checks_conditions(h).await {
        return;
    }
    db.write(Batch::new().put("p:a", "1").put("p:b", "2").put("p:c", "3").put("p:d", "4")).await.unwrap();
    let (upper, lower) = (KeyRange::all().gt("p:b"), KeyRange::all().lte("p:a"));
    let of = |ranges: &[&KeyRange], strip, entries: &[(&str, &str)]| {
        let ranges = ranges.iter().map(|&range| range.clone()).collect();
        Batch::new().put("p:b", "new").require(Condition::Unchanged { ranges, strip, digest: digest(entries) })
    };
    db.write(of(&[&upper, &lower], 2, &[("c", "3"), ("d", "4"), ("a", "1")])).await.unwrap();
    db.write(of(&[&lower, &upper], 2, &[("a", "1"), ("c", "3"), ("d", "4")])).await.unwrap();
    db.write(of(&[&lower, &lower], 0, &[("p:a", "1"), ("p:a", "1")])).await.unwrap();
    // Nothing is left of a key that is shorter.
    db.write(of(&[&lower], 9, &[("", "1")])).await.unwrap();
    assert_failed(db.write(of(&[&lower, &upper], 2, &[("c", "3"), ("d", "4"), ("a", "1")])).await, &[0]);
    assert_failed(db.write(of(&[&lower], 2, &[("p:a", "1")])).await, &[0]);
    assert_failed(db.write(of(&[&lower, &upper], 2, &[("a", "1")])).await, &[0]);
}

/// A range of many entries, more than any page of a store or a wire, is looked at to its end.
pub async fn large_ranges_are_compared_whole(h: &mut Harness) {
    let db = h.level.clone();
    if !checks_conditions(h).await {
        return;
    }
    let keys: Vec<String> = (0..5_000).map(|i| format!("{i:05}")).collect();
    fill(&db, &keys).await;
    db.put("02500", vec![b'x'; 200_000]).await.unwrap();
    let all = || KeyRange::all().lt("end");
    let condition = Condition::unchanged(all(), digest_of(&*db, &all()).await);
    h.disturb().await;
    db.write(Batch::new().put("end", "").require(condition.clone())).await.unwrap();
    db.put("04999", "changed").await.unwrap();
    assert_failed(db.write(Batch::new().del("end").require(condition)).await, &[0]);
}

/// Through a sublevel conditions are about what is in it, or, if they name one, in a sublevel below.
pub async fn conditions_are_about_the_sublevel(h: &mut Harness) {
    let db = h.level.clone();
    if !checks_conditions(h).await {
        return;
    }
    let (one, two) = (db.sublevel("one").unwrap(), db.sublevel("two").unwrap());
    let nested = one.sublevel("nested").unwrap();
    db.put("a", "root").await.unwrap();
    one.put("a", "one").await.unwrap();
    nested.put("a", "nested").await.unwrap();
    let batch = Batch::new().if_equals("a", "one").if_absent("b").if_equals_in(&nested, "a", "nested");
    one.write(batch.put("b", "1").if_absent_in(&nested, "b").if_equals_in(&one, "a", "one")).await.unwrap();
    assert_failed(
        one.write(Batch::new().if_absent("a").if_equals("b", "2").if_absent_in(&nested, "a")).await,
        &[0, 1, 2],
    );
    two.write(Batch::new().put("a", "two").if_absent("a")).await.unwrap();
    let through_all = Batch::new().if_equals("a", "root").if_equals_in(&one, "a", "one").if_equals_in(&two, "a", "two");
    db.write(through_all.if_equals_in(&nested, "a", "nested").if_absent_in(&nested, "b")).await.unwrap();
    h.disturb().await;
    // A digest is of keys as the sublevel shows them, and of no others.
    let condition = unchanged(KeyRange::all(), &[("a", "two")]);
    db.put("!two", "").await.unwrap();
    one.put("z", "").await.unwrap();
    two.write(Batch::new().put("b", "1").require(condition.clone())).await.unwrap();
    assert_failed(two.write(Batch::new().require(condition)).await, &[0]);
    two.write(Batch::new().require(unchanged(KeyRange::all().gt("a"), &[("b", "1")]))).await.unwrap();
    // Also through views of views that are known by the trait alone.
    let view: Arc<dyn AbstractLevel> = Arc::new(two.clone());
    let below = view.sublevel("below").unwrap();
    below.put("x", "1").await.unwrap();
    below.write(Batch::new().require(unchanged(KeyRange::all(), &[("x", "1")])).if_absent("a")).await.unwrap();
}

/// Conditions on a sublevel that is not below the view are refused, and nothing is written.
pub async fn conditions_on_a_foreign_sublevel_are_refused(h: &mut Harness) {
    let db = &h.level;
    if !checks_conditions(h).await {
        return;
    }
    let (one, two) = (db.sublevel("one").unwrap(), db.sublevel("two").unwrap());
    let nested = one.sublevel("nested").unwrap();
    for (view, foreign) in [(&one, &two), (&nested, &one), (&nested, &two)] {
        for batch in [Batch::new().if_absent_in(foreign, "a"), Batch::new().if_equals_in(foreign, "a", "1")] {
            let error = view.write(batch.put("a", "1")).await.expect_err("a foreign sublevel");
            assert_eq!((error.code(), error.effect()), (Code::InvalidPrefix, Effect::None), "{error}");
        }
    }
    assert_eq!(all_keys(db).await, [""; 0]);
}
