//! One operation, from telling that it begins to telling what came of it.

use super::{
    sabotage::{Sabotage, strikes},
    tell::Teller,
};
use crate::{
    clock,
    key::{Key, Kind, decode, encode, range},
    record::{Call, Outcome, Record},
};
use rave_level::{
    AbstractLevel, AbstractLevelExt, Batch, Code, Effect, Entry, Error, IteratorOptions, RaveLevel, Transaction,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// What a sabotaged write waits before it is made.
const LATE: Duration = Duration::from_millis(30);

/// The database, and everything done with it told.
#[derive(Clone)]
pub struct Operator {
    pub db: RaveLevel,
    pub teller: Arc<Teller>,
    sabotage: Option<Sabotage>,
    /// What was read first, for stale reads.
    first: Arc<Mutex<HashMap<Key, u64>>>,
}

impl Operator {
    pub fn new(db: RaveLevel, teller: Arc<Teller>, sabotage: Option<Sabotage>) -> Self {
        Self { db, teller, sabotage, first: Arc::default() }
    }

    /// Does this, under this number.
    pub async fn perform(&self, id: u64, call: Call) -> Outcome {
        self.teller.tell(&Record::Begin { id, at: clock::now(), call: call.clone() });
        let outcome = match self.execute(id, &call).await {
            Ok(outcome) => outcome,
            Err(error) => {
                Outcome::Failed { code: error.code().as_str().to_owned(), maybe: error.effect() == Effect::Unknown }
            }
        };
        self.teller.tell(&Record::End { id, at: clock::now(), outcome: outcome.clone() });
        outcome
    }

    async fn execute(&self, id: u64, call: &Call) -> Result<Outcome, Error> {
        match call {
            Call::Write(batch) => self.write(batch).await,
            Call::Clear { from, to } => {
                self.db.clear(range(*from, *to)).await?;
                Ok(Outcome::Done)
            }
            Call::Read(keys) => self.read(keys).await,
            Call::Scan { from, to, reverse, .. } => self.scan(*from, *to, *reverse).await,
            Call::Swap { key, expected, value } => self.swap(*key, *expected, *value).await,
            Call::Add { counter, increment } => self.add(id, *counter, *increment).await,
        }
    }

    async fn swap(&self, key: Key, expected: u64, value: u64) -> Result<Outcome, Error> {
        let batch = match expected {
            0 => batch_of(&[(key, value)]).if_absent(key.to_string()),
            _ => batch_of(&[(key, value)]).if_equals(key.to_string(), encode(expected)),
        };
        match self.db.write(batch).await {
            Ok(()) => Ok(Outcome::Done),
            // An unknown effect says that it may have been this swap itself, made once before, that changed the value.
            Err(error) if error.code() == Code::ConditionFailed && error.effect() == Effect::None => {
                if error.failed_conditions() != [0] {
                    self.teller.wrong(format!("of one condition {:?} failed: {error}", error.failed_conditions()));
                }
                Ok(Outcome::Refused)
            }
            Err(error) => Err(error),
        }
    }

    async fn add(&self, id: u64, counter: Key, increment: Key) -> Result<Outcome, Error> {
        let careless = strikes(self.sabotage, Sabotage::Raced, 5);
        let from = if careless {
            let from = self.count(&self.db, counter).await?;
            self.db.write(batch_of(&[(counter, from + 1), (increment, id)])).await?;
            from
        } else {
            let this = self.clone();
            let body = move |transaction: Transaction| {
                let this = this.clone();
                async move {
                    let from = this.count(&transaction, counter).await?;
                    transaction.write(batch_of(&[(counter, from + 1), (increment, id)])).await?;
                    Ok::<_, Error>(from)
                }
            };
            self.db.transaction(body).await?
        };
        Ok(Outcome::Added { from })
    }

    async fn count(&self, db: &impl AbstractLevelExt, counter: Key) -> Result<u64, Error> {
        Ok(db.get(counter.to_string()).await?.map_or(0, |bytes| self.value(&bytes)))
    }

    async fn write(&self, batch: &[(Key, u64)]) -> Result<Outcome, Error> {
        if strikes(self.sabotage, Sabotage::Lost, 500) {
            return Ok(Outcome::Done);
        }
        if strikes(self.sabotage, Sabotage::Order, 20) && batch.iter().any(|(key, _)| key.kind == Kind::Sequence) {
            tokio::time::sleep(LATE).await;
        }
        if strikes(self.sabotage, Sabotage::Torn, 20)
            && let Some((first, rest)) = batch.split_at_checked(1)
            && !rest.is_empty()
        {
            self.db.write(batch_of(first)).await?;
            tokio::time::sleep(LATE).await;
            self.db.write(batch_of(rest)).await?;
            return Ok(Outcome::Done);
        }
        match batch {
            [(key, 0)] => self.db.del(key.to_string()).await?,
            [(key, value)] => self.db.put(key.to_string(), encode(*value)).await?,
            _ => self.db.write(batch_of(batch)).await?,
        }
        if strikes(self.sabotage, Sabotage::Doubled, 100) {
            let (db, batch) = (self.db.clone(), batch_of(batch));
            tokio::spawn(async move {
                tokio::time::sleep(LATE).await;
                // It may fail like any other.
                let _ = db.write(batch).await;
            });
        }
        if strikes(self.sabotage, Sabotage::Denied, 200) {
            return Ok(Outcome::Failed { code: "sabotage".to_owned(), maybe: false });
        }
        Ok(Outcome::Done)
    }

    async fn read(&self, keys: &[Key]) -> Result<Outcome, Error> {
        let found = match keys {
            [key] => vec![self.db.get(key.to_string()).await?],
            _ => self.db.get_many(keys.iter().map(Key::to_string).collect()).await?,
        };
        let mut values: Vec<_> =
            found.iter().map(|bytes| bytes.as_ref().map_or(0, |bytes| self.value(bytes))).collect();
        if let (Some(Sabotage::Stale), [key], [value]) = (self.sabotage, keys, values.as_mut_slice()) {
            let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
            let first = *first.entry(*key).or_insert(*value);
            if strikes(self.sabotage, Sabotage::Stale, 50) {
                *value = first;
            }
        }
        Ok(Outcome::Values(values))
    }

    async fn scan(&self, from: Key, to: Key, reverse: bool) -> Result<Outcome, Error> {
        let options = IteratorOptions { reverse, ..IteratorOptions::from(range(from, to)) };
        let mut iterator = self.db.iterator_opts(options).await?;
        // Some take so long that the leader changes meanwhile.
        let slow = fastrand::u32(0..4) == 0;
        let page = if slow { 10 } else { fastrand::usize(1..200) };
        let mut entries = Vec::new();
        loop {
            let found = iterator.next_many(page).await?;
            if found.is_empty() {
                break;
            }
            entries.extend(found.iter().filter_map(|entry| self.entry(entry)));
            if slow {
                tokio::time::sleep(Duration::from_millis(fastrand::u64(0..8))).await;
            }
        }
        iterator.close().await?;
        if entries.len() > 2 && strikes(self.sabotage, Sabotage::Skipped, 10) {
            entries.remove(entries.len() / 2);
        }
        Ok(Outcome::Entries(entries))
    }

    fn entry(&self, entry: &Entry) -> Option<(Key, u64)> {
        let key = std::str::from_utf8(&entry.key).map_err(|error| error.to_string()).and_then(str::parse);
        match key {
            Ok(key) => Some((key, self.value(&entry.value))),
            Err(what) => {
                self.teller.wrong(what);
                None
            }
        }
    }

    fn value(&self, bytes: &[u8]) -> u64 {
        decode(bytes).unwrap_or_else(|what| {
            self.teller.wrong(what);
            0
        })
    }
}

fn batch_of(batch: &[(Key, u64)]) -> Batch {
    batch.iter().fold(Batch::new(), |batch, (key, value)| match value {
        0 => batch.del(key.to_string()),
        _ => batch.put(key.to_string(), encode(*value)),
    })
}
