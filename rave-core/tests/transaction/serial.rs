//! Random transactions at once give what they would have given one after the other, in the order of their commits.

use crate::probe::Probe;
use fastrand::Rng;
use rave_core::{
    AbstractLevel, AbstractLevelExt, Batch, Bytes, ClearOptions, Code, Entry, Error, IteratorOptions, KeyRange,
    Transaction,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

const TASKS: usize = 4;
const EACH: usize = 6;

/// What a body did, and what it was told.
#[derive(Clone, Debug, PartialEq)]
enum Done {
    Get(Bytes, Option<Bytes>),
    GetMany(Vec<Bytes>, Vec<Option<Bytes>>),
    Scan(Query, Vec<Entry>),
    /// Of an iterator: steps taken, then a seek, then steps again.
    Walk(Query, usize, Bytes, usize, Vec<Entry>),
    Write(Vec<(Bytes, Option<Bytes>)>),
    /// A batch that was to be written only if a key was absent, and whether it was.
    WriteIfAbsent(Bytes, Vec<(Bytes, Option<Bytes>)>, bool),
    Clear(Query),
}

/// Range, direction and limit.
type Query = (Option<Bytes>, Option<Bytes>, bool, Option<u64>);

fn key(rng: &mut Rng) -> Bytes {
    (0..rng.usize(1..3)).filter_map(|_| rng.choice(*b"abc")).collect()
}

fn writes(rng: &mut Rng) -> Vec<(Bytes, Option<Bytes>)> {
    let value = |rng: &mut Rng| Bytes::from(vec![rng.u8(b'0'..=b'9'); if rng.u8(..) < 60 { 100 } else { 1 }]);
    (0..rng.usize(1..4)).map(|_| (key(rng), (rng.u8(..) < 180).then(|| value(rng)))).collect()
}

fn batch(writes: &[(Bytes, Option<Bytes>)]) -> Batch {
    writes.iter().fold(Batch::new(), |batch, (key, value)| match value {
        Some(value) => batch.put(key, value),
        None => batch.del(key),
    })
}

fn query(rng: &mut Rng) -> Query {
    let bound = |rng: &mut Rng| rng.bool().then(|| key(rng));
    (bound(rng), bound(rng), rng.bool(), (rng.u8(..) < 100).then(|| rng.u64(0..5)))
}

fn options((from, to, reverse, limit): &Query) -> IteratorOptions {
    let mut range = KeyRange::all();
    if let Some(from) = from {
        range = range.gte(from);
    }
    if let Some(to) = to {
        range = range.lt(to);
    }
    IteratorOptions { range, reverse: *reverse, limit: *limit, ..IteratorOptions::default() }
}

/// A few random steps, the same for the same generator.
async fn body(tx: Transaction, mut rng: Rng, read_only: bool, log: &Mutex<Vec<Done>>) -> Result<(), Error> {
    log.lock().unwrap().clear();
    for _ in 0..rng.usize(1..6) {
        let done = match rng.u32(0..if read_only { 50 } else { 100 }) {
            0..12 => {
                let key = key(&mut rng);
                Done::Get(key.clone(), tx.get(key).await?)
            }
            12..20 => {
                let keys: Vec<Bytes> = (0..rng.usize(0..4)).map(|_| key(&mut rng)).collect();
                Done::GetMany(keys.clone(), tx.get_many(keys).await?)
            }
            20..35 => {
                let query = query(&mut rng);
                let entries = tx.all(options(&query)).await?;
                Done::Scan(query, entries)
            }
            35..50 => {
                let (query, before, target, after) = (query(&mut rng), rng.usize(0..4), key(&mut rng), rng.usize(0..4));
                let mut iterator = tx.iterator(options(&query)).await?;
                let mut entries = Vec::new();
                for _ in 0..before {
                    entries.extend(iterator.next().await?);
                }
                iterator.seek(target.clone()).await?;
                for _ in 0..after {
                    entries.extend(iterator.next().await?);
                }
                Done::Walk(query, before, target, after, entries)
            }
            50..80 => {
                let writes = writes(&mut rng);
                tx.write(batch(&writes)).await?;
                Done::Write(writes)
            }
            80..88 => {
                let (absent, writes) = (key(&mut rng), writes(&mut rng));
                let written = match tx.write(batch(&writes).if_absent(&absent)).await {
                    Ok(()) => true,
                    Err(error) if error.code() == Code::ConditionFailed => false,
                    Err(error) => return Err(error),
                };
                Done::WriteIfAbsent(absent, writes, written)
            }
            _ => {
                let query = query(&mut rng);
                let IteratorOptions { range, reverse, limit, .. } = options(&query);
                tx.clear(ClearOptions { range, reverse, limit, ..ClearOptions::default() }).await?;
                Done::Clear(query)
            }
        };
        log.lock().unwrap().push(done);
    }
    Ok(())
}

#[derive(Default)]
struct Model(BTreeMap<Bytes, Bytes>);

impl Model {
    fn entries(&self, (from, to, reverse, _): &Query) -> Vec<Entry> {
        let inside =
            |key: &Bytes| from.as_ref().is_none_or(|from| key >= from) && to.as_ref().is_none_or(|to| key < to);
        let entries = self.0.iter().filter(|(key, _)| inside(key));
        let mut entries: Vec<Entry> =
            entries.map(|(key, value)| Entry { key: key.clone(), value: value.clone() }).collect();
        if *reverse {
            entries.reverse();
        }
        entries
    }

    fn scan(&self, query: &Query) -> Vec<Entry> {
        let mut entries = self.entries(query);
        entries.truncate(query.3.map_or(usize::MAX, |limit| limit as usize));
        entries
    }

    fn walk(&self, query: &Query, before: usize, target: &Bytes, after: usize) -> Vec<Entry> {
        let limit = query.3.map_or(usize::MAX, |limit| limit as usize);
        let entries = self.entries(query);
        let mut walked: Vec<Entry> = entries.iter().take(before.min(limit)).cloned().collect();
        let (from, to, reverse, _) = query;
        let inside = from.as_ref().is_none_or(|from| target >= from) && to.as_ref().is_none_or(|to| target < to);
        if inside {
            let behind = |entry: &&Entry| if *reverse { entry.key <= target } else { entry.key >= target };
            let left = after.min(limit - walked.len());
            walked.extend(entries.iter().filter(behind).take(left).cloned());
        }
        walked
    }

    fn write(&mut self, writes: &[(Bytes, Option<Bytes>)]) {
        for (key, value) in writes {
            match value {
                Some(value) => self.0.insert(key.clone(), value.clone()),
                None => self.0.remove(key),
            };
        }
    }

    /// What would have been told at this place of the serial order.
    fn replay(&mut self, done: &Done) -> Done {
        let get = |key: &Bytes| self.0.get(key).cloned();
        match done {
            Done::Get(key, _) => Done::Get(key.clone(), get(key)),
            Done::GetMany(keys, _) => Done::GetMany(keys.clone(), keys.iter().map(get).collect()),
            Done::Scan(query, _) => Done::Scan(query.clone(), self.scan(query)),
            Done::Walk(query, before, target, after, _) => {
                Done::Walk(query.clone(), *before, target.clone(), *after, self.walk(query, *before, target, *after))
            }
            Done::Write(writes) => {
                self.write(writes);
                done.clone()
            }
            Done::WriteIfAbsent(absent, writes, _) => {
                let written = get(absent).is_none();
                if written {
                    self.write(writes);
                }
                Done::WriteIfAbsent(absent.clone(), writes.clone(), written)
            }
            Done::Clear(query) => {
                for entry in self.scan(query) {
                    self.0.remove(&entry.key);
                }
                done.clone()
            }
        }
    }
}

/// Runs random transactions of several tasks at once, on one thread and so the same for the same seed, and replays those
/// that were committed or checked, in that order, on the model. Gives how many runs were in vain.
async fn history(seed: u64) -> usize {
    fastrand::seed(seed);
    let db = Probe::default();
    let logs: Arc<Vec<Mutex<Vec<Done>>>> = Arc::new((0..TASKS * EACH).map(|_| Mutex::default()).collect());
    let runs = Arc::new(Mutex::new(0));
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (db, logs, runs) = (db.clone(), logs.clone(), runs.clone());
            tokio::spawn(async move {
                for number in task * EACH..(task + 1) * EACH {
                    let rng = Rng::with_seed(seed * 1000 + number as u64);
                    let (log, runs, rng) = (&logs[number], &runs, &rng);
                    db.named(number)
                        .transaction(|tx| {
                            *runs.lock().unwrap() += 1;
                            body(tx, rng.clone(), number % 3 == 0, log)
                        })
                        .await
                        .unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let mut model = Model::default();
    let order = db.settled.lock().unwrap().clone();
    for number in &order {
        for done in logs[*number].lock().unwrap().iter() {
            assert_eq!(*done, model.replay(done), "seed {seed}, transaction {number} in the order {order:?}");
        }
    }
    let entries: BTreeMap<Bytes, Bytes> =
        db.inner.all(KeyRange::all()).await.unwrap().into_iter().map(|entry| (entry.key, entry.value)).collect();
    assert_eq!(entries, model.0, "seed {seed}");
    db.close().await.unwrap();
    let runs = *runs.lock().unwrap();
    runs - TASKS * EACH
}

#[test]
fn random_transactions_are_serializable() {
    let mut in_vain = 0;
    for seed in 0..300 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        in_vain += runtime.block_on(history(seed));
    }
    assert!(in_vain > 500, "only {in_vain} conflicts");
}
