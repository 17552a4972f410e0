//! Random histories against a `BTreeMap`, with tables made all the time, long-lived iterators and snapshots, and the
//! store closed and opened in between. A failing seed is printed.

use crate::{LevelDb, hasty};
use rave_core::{
    AbstractLevel, AbstractLevelExt, Batch, ClearOptions, Code, Condition, Digester, Entry, IteratorOptions, KeyRange,
    LevelIterator, ReadOptions, Snapshot, WriteOptions,
};
use rave_leveldb::{Compression, Options};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn random_key(random: &mut fastrand::Rng) -> Vec<u8> {
    let alphabet = [0x00, b'a', b'b', 0xfe, 0xff];
    (0..random.usize(0..4)).map(|_| alphabet[random.usize(0..alphabet.len())]).collect()
}

fn random_range(random: &mut fastrand::Rng) -> KeyRange {
    let mut bound = || match random.u8(0..4) {
        0 => Bound::Included(random_key(random).into()),
        1 => Bound::Excluded(random_key(random).into()),
        _ => Bound::Unbounded,
    };
    KeyRange::new(bound(), bound())
}

fn expected(model: &Model, options: &IteratorOptions) -> Vec<Entry> {
    let inside = model.iter().filter(|(key, _)| options.range.contains(key));
    let entry = |(key, value): (&Vec<u8>, &Vec<u8>)| Entry { key: key.clone().into(), value: value.clone().into() };
    let limit = options.limit.unwrap_or(u64::MAX) as usize;
    if options.reverse {
        inside.rev().map(entry).take(limit).collect()
    } else {
        inside.map(entry).take(limit).collect()
    }
}

struct Open {
    iterator: Box<dyn LevelIterator>,
    options: IteratorOptions,
    state: Model,
    seen: Vec<Entry>,
}

async fn check(mut open: Open, seed: u64) {
    loop {
        let page = open.iterator.next_many(7).await.unwrap();
        if page.is_empty() {
            break;
        }
        open.seen.extend(page);
    }
    assert_eq!(open.seen, expected(&open.state, &open.options), "seed {seed}: {:?}", open.options);
}

/// A batch with conditions, of which about one in four does not hold.
async fn conditional_write(db: &dyn AbstractLevel, model: &mut Model, random: &mut fastrand::Rng) {
    let mut batch = Batch::new();
    let mut failing = Vec::new();
    let mut keys = BTreeSet::new();
    for index in 0..random.usize(1..4) {
        let wrong = random.u8(0..4) == 0;
        let key = random_key(random);
        if random.bool() {
            let range = random_range(random);
            let mut digester = Digester::default();
            for (key, value) in model.iter().filter(|(key, _)| range.contains(key)) {
                digester.entry(key, value);
            }
            if wrong {
                digester.entry(b"another", b"entry");
            }
            batch = batch.require(Condition::unchanged(range, digester.finish()));
        } else if !keys.insert(key.clone()) {
            // Twice the same key might contradict itself.
            break;
        } else {
            batch = match model.get(&key) {
                Some(_) if wrong => batch.if_absent(key),
                Some(value) => batch.if_equals(key, value),
                None if wrong => batch.if_equals(key, ""),
                None => batch.if_absent(key),
            };
        }
        if wrong {
            failing.push(index);
        }
    }
    let (key, value) = (random_key(random), vec![random.u8(..); random.usize(0..40)]);
    batch = batch.put(&key, &value);
    match db.write_opts(batch, WriteOptions { sync: random.bool() }).await {
        Ok(()) => {
            assert!(failing.is_empty());
            model.insert(key, value);
        }
        Err(error) => {
            assert_eq!((error.code(), error.failed_conditions()), (Code::ConditionFailed, &*failing), "{error}");
        }
    }
}

async fn history(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        write_buffer_size: [1, 60, 300, 4 << 20][random.usize(0..4)],
        block_size: [64, 4096][random.usize(0..2)],
        compression: [Compression::None, Compression::Snappy][random.usize(0..2)],
        cache_bytes: [0, 2000, 8 << 20][random.usize(0..3)],
        ..Options::default()
    };
    let opener = hasty(directory.path(), options);
    let mut db: Arc<dyn AbstractLevel> = opener.open().await.unwrap();
    let mut model = Model::new();
    let mut snapshots: Vec<(Snapshot, Model)> = Vec::new();
    let mut iterators: Vec<Open> = Vec::new();
    for step in 0..60 {
        match random.u8(0..24) {
            0..=8 => {
                let mut batch = Batch::new();
                for _ in 0..random.usize(1..5) {
                    let key = random_key(&mut random);
                    if random.u8(0..3) == 0 {
                        model.remove(&key);
                        batch = batch.del(key);
                    } else {
                        let value = vec![random.u8(..); random.usize(0..40)];
                        model.insert(key.clone(), value.clone());
                        batch = batch.put(key, value);
                    }
                }
                db.write(batch).await.unwrap();
            }
            17..=20 => conditional_write(&*db, &mut model, &mut random).await,
            9 => {
                let range = random_range(&mut random);
                let limit = random.bool().then(|| random.u64(0..4));
                let (reverse, sync) = (random.bool(), random.bool());
                let except: Vec<KeyRange> = (0..random.usize(0..3)).map(|_| random_range(&mut random)).collect();
                let within = IteratorOptions { range: range.clone(), reverse, ..IteratorOptions::default() };
                let mut doomed = expected(&model, &within);
                doomed.retain(|entry| !except.iter().any(|hole| hole.contains(&entry.key)));
                for entry in doomed.into_iter().take(limit.map_or(usize::MAX, |limit| limit as usize)) {
                    model.remove(entry.key.as_ref());
                }
                let mut and_write = Batch::new();
                if random.bool() {
                    let (key, value) = (random_key(&mut random), vec![random.u8(..); random.usize(0..40)]);
                    model.insert(key.clone(), value.clone());
                    and_write = and_write.put(key, value);
                }
                let options = ClearOptions { range, except, limit, reverse, sync, snapshot: None, and_write };
                db.clear_opts(options).await.unwrap();
            }
            10 => snapshots.push((db.snapshot().await.unwrap(), model.clone())),
            11 if !snapshots.is_empty() => {
                snapshots.swap_remove(random.usize(0..snapshots.len()));
            }
            12 => {
                iterators.clear();
                snapshots.clear();
                db.close().await.unwrap();
                db = opener.open().await.unwrap();
            }
            13 | 14 => {
                let mut state = model.clone();
                let mut options = IteratorOptions {
                    range: random_range(&mut random),
                    reverse: random.bool(),
                    limit: random.bool().then(|| random.u64(0..20)),
                    ..IteratorOptions::default()
                };
                if let Some((snapshot, old)) = random.choice(&snapshots) {
                    options.snapshot = Some(snapshot.clone());
                    state = old.clone();
                }
                let mut iterator = db.iterator_opts(options.clone()).await.unwrap();
                let seen = iterator.next().await.unwrap().into_iter().collect();
                iterators.push(Open { iterator, options, state, seen });
            }
            15 if !iterators.is_empty() => {
                let open = iterators.swap_remove(random.usize(0..iterators.len()));
                check(open, seed).await;
            }
            16 if !iterators.is_empty() => {
                // Seek an unlimited one anywhere; then it visits what lies from there on.
                let index = random.usize(0..iterators.len());
                let open = &mut iterators[index];
                if open.options.limit.is_none() {
                    let target = random_key(&mut random);
                    open.iterator.seek(target.clone().into()).await.unwrap();
                    open.seen.clear();
                    let rest = open.options.range.from_target(&target, open.options.reverse);
                    let rest = rest.unwrap_or(KeyRange::all().lt(""));
                    let wanted = IteratorOptions { range: rest, ..open.options.clone() };
                    let mut seen = Vec::new();
                    for _ in 0..3 {
                        seen.extend(open.iterator.next().await.unwrap());
                    }
                    let all = expected(&open.state, &wanted);
                    assert_eq!(seen, all[..all.len().min(3)], "seed {seed} step {step}");
                    iterators.swap_remove(index);
                }
            }
            _ => {
                let key = random_key(&mut random);
                let value = db.get(&key).await.unwrap();
                assert_eq!(value.as_deref(), model.get(&key).map(Vec::as_slice), "seed {seed} step {step} {key:?}");
                if let Some((snapshot, old)) = random.choice(&snapshots) {
                    let options = ReadOptions { snapshot: Some(snapshot.clone()) };
                    let value = db.get_opts(key.clone().into(), options).await.unwrap();
                    assert_eq!(value.as_deref(), old.get(&key).map(Vec::as_slice), "seed {seed} step {step} {key:?}");
                }
            }
        }
    }
    for open in iterators {
        check(open, seed).await;
    }
    for reverse in [false, true] {
        let options = IteratorOptions { reverse, ..IteratorOptions::default() };
        assert_eq!(db.all(options.clone()).await.unwrap(), expected(&model, &options), "seed {seed}");
    }
    db.close().await.unwrap();
}

#[test]
fn random_histories_match_a_model() {
    let seeds = std::env::var("RAVE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(60);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for seed in 0..seeds {
        runtime.block_on(history(seed));
    }
}

#[tokio::test]
async fn reverse_scans_of_uneven_keys_are_complete() {
    // Dense runs, long common prefixes and single keys far away: what halving the key space likes least.
    let directory = tempfile::tempdir().unwrap();
    let db = LevelDb::new(directory.path()).open().await.unwrap();
    let mut keys: Vec<Vec<u8>> = vec![vec![], vec![0], vec![0xff; 40]];
    let prefix = vec![b'p'; 300];
    for i in 0..3000u32 {
        keys.push([prefix.as_slice(), &i.to_be_bytes()].concat());
        keys.push(format!("user:{i}").into_bytes());
    }
    // Keys of which each is the start of the next: no fraction lies between them.
    keys.extend((1..900).map(|length| [b"z".as_slice(), &vec![0; length]].concat()));
    let batch = keys.iter().fold(Batch::new(), |batch, key| batch.put(key, "v"));
    db.write(batch).await.unwrap();
    keys.sort();
    keys.reverse();
    for size in [1000, 1 << 20] {
        let mut iterator = db.iterator(IteratorOptions::default().reversed()).await.unwrap();
        let mut seen = Vec::new();
        loop {
            let page = iterator.next_many(size).await.unwrap();
            if page.is_empty() {
                break;
            }
            seen.extend(page.into_iter().map(|entry| entry.key.to_vec()));
        }
        assert_eq!(seen.len(), keys.len());
        assert!(seen == keys);
    }
}
