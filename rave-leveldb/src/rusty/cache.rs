//! Values that can be read without asking the owner thread, which costs more than the reading.
//!
//! The owner keeps the cache exact: a write is in it before it is acknowledged. What was submitted earlier must be seen,
//! too, so a lookup is only answered while no write is on its way.

use bytes::Bytes;
use rave_core::{Batch, Operation};
use std::{
    collections::HashMap,
    mem,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// The present state of some keys; `None` is a key that does not exist.
pub(crate) struct Cache {
    spaces: Mutex<Spaces>,
    /// Writes that were submitted and are not done.
    writes: AtomicUsize,
    /// Bytes of one space.
    capacity: usize,
}

/// New entries go to the young space; when it is full it becomes the old one, whose entries are forgotten.
#[derive(Default)]
struct Spaces {
    young: HashMap<Bytes, Option<Bytes>>,
    old: HashMap<Bytes, Option<Bytes>>,
    bytes: usize,
}

/// Batches of more operations are taken for bulk loads, whose values are not worth a copy each: they are only forgotten.
const BULK: usize = 32;

/// What an entry costs beside its bytes, about.
const OVERHEAD: usize = 128;

impl Cache {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { spaces: Mutex::default(), writes: AtomicUsize::new(0), capacity: bytes / 2 }
    }

    /// The value of `key`, if it is known and certain to be the present one.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Option<Bytes>> {
        if self.writes.load(Ordering::SeqCst) > 0 {
            return None;
        }
        let spaces = self.lock();
        spaces.young.get(key).or_else(|| spaces.old.get(key)).cloned()
    }

    /// The values of `keys`, all of one state, if all are known and certain to be the present ones.
    pub(crate) fn get_all(&self, keys: &[Bytes]) -> Option<Vec<Option<Bytes>>> {
        let spaces = self.lock();
        // The owner writes to the cache under this lock before it calls a write done, so none comes in between.
        if self.writes.load(Ordering::SeqCst) > 0 {
            return None;
        }
        keys.iter().map(|key| spaces.young.get(key).or_else(|| spaces.old.get(key)).cloned()).collect()
    }

    /// A write is about to be submitted.
    pub(crate) fn begin_write(&self) {
        self.writes.fetch_add(1, Ordering::SeqCst);
    }

    /// A write is done, or was not submitted.
    pub(crate) fn end_write(&self) {
        self.writes.fetch_sub(1, Ordering::SeqCst);
    }

    /// The owner has read this.
    pub(crate) fn learn(&self, key: &[u8], value: Option<&Bytes>) {
        self.lock().insert(key, value, self.capacity);
    }

    /// The owner has written this.
    pub(crate) fn wrote(&self, batch: &Batch) {
        let mut spaces = self.lock();
        if batch.len() > BULK {
            for operation in batch.operations() {
                spaces.remove(operation.key());
            }
            return;
        }
        for operation in batch.operations() {
            let value = match operation {
                Operation::Put { value, .. } => Some(value),
                Operation::Del { .. } => None,
            };
            spaces.insert(operation.key(), value, self.capacity);
        }
    }

    /// Much has changed, or nobody knows what.
    pub(crate) fn forget(&self) {
        *self.lock() = Spaces::default();
    }

    fn lock(&self) -> MutexGuard<'_, Spaces> {
        self.spaces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spaces {
    fn remove(&mut self, key: &[u8]) {
        self.old.remove(key);
        self.young.remove(key);
    }

    /// Copies: what is given may be a small part of a large buffer, which must not be kept for it.
    fn insert(&mut self, key: &[u8], value: Option<&Bytes>, capacity: usize) {
        self.old.remove(key);
        let size = key.len() + value.map_or(0, Bytes::len) + OVERHEAD;
        if size > capacity {
            self.young.remove(key);
            return;
        }
        self.bytes += size;
        self.young.insert(Bytes::copy_from_slice(key), value.map(|value| Bytes::copy_from_slice(value)));
        if self.bytes > capacity {
            self.old = mem::take(&mut self.young);
            self.bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_and_never_stale() {
        let cache = Cache::new(20_000);
        for round in 0..10_000u32 {
            let key = Bytes::from((round % 333).to_string());
            let value = Bytes::from(round.to_string());
            cache.wrote(&Batch::new().put(&key, &value));
            assert_eq!(cache.get(&key), Some(Some(value)));
            let spaces = cache.lock();
            assert!(spaces.young.len() + spaces.old.len() < 200);
        }
        cache.wrote(&Batch::new().put("1", [0; 20_000]));
        assert_eq!(cache.get(b"1"), None, "a value too large is not kept, nor the one before it");
        cache.begin_write();
        cache.learn(b"2", None);
        assert_eq!(cache.get(b"2"), None);
        assert_eq!(cache.get_all(&["2".into()]), None);
        cache.end_write();
        assert_eq!(cache.get(b"2"), Some(None));
        cache.learn(b"3", Some(&"x".into()));
        assert_eq!(cache.get_all(&["3".into(), "2".into()]), Some(vec![Some("x".into()), None]));
        assert_eq!(cache.get_all(&["3".into(), "never seen".into()]), None, "one of them is not known");
        let bulk = (0..=BULK).fold(Batch::new(), |batch, i| batch.put(i.to_string(), "bulk"));
        cache.wrote(&bulk);
        assert_eq!(cache.get(b"3"), None, "a bulk write makes known values unknown");
    }
}
