//! Where iterators go on after their connection was cut.

use crate::host::Database;
use rave_core::conformance::KEYS;
use rave_level::{AbstractLevelExt, Batch, Bytes, Entry, IteratorOptions, KeyRange, LevelIterator, RaveLevel};
use std::sync::Arc;

struct Scene {
    database: Arc<Database>,
    level: RaveLevel,
    keys: Vec<Bytes>,
}

impl Scene {
    async fn new(database: Arc<Database>) -> Self {
        let level = database.guest().await;
        level.write(KEYS.iter().fold(Batch::new(), |batch, key| batch.put(key, key))).await.unwrap();
        let mut keys: Vec<_> = KEYS.iter().map(|key| Bytes::from_static(key)).collect();
        keys.sort();
        Self { database, level, keys }
    }

    /// Cuts the connection; the guest has another when this returns.
    async fn cut(&self) {
        self.database.cut();
        assert_eq!(self.level.get("aab").await.unwrap(), Some(Bytes::from_static(b"aab")));
    }

    /// The keys in the order of visiting.
    fn visited(&self, reverse: bool) -> Vec<Bytes> {
        let keys = self.keys.iter().cloned();
        if reverse { keys.rev().collect() } else { keys.collect() }
    }

    /// What a seek leaves of the keys.
    fn from(&self, target: &Bytes, reverse: bool) -> Vec<Bytes> {
        let mut keys = self.visited(reverse);
        keys.retain(|key| if reverse { key <= target } else { key >= target });
        keys
    }

    async fn iterator(&self, reverse: bool) -> Box<dyn LevelIterator> {
        self.level.iterator(IteratorOptions { reverse, ..IteratorOptions::default() }).await.unwrap()
    }

    /// Targets of seeks: every key, and what lies beside it.
    fn targets(&self) -> Vec<Bytes> {
        let beside = |key: &Bytes, more: u8| [&key[..], &[more]].concat().into();
        self.keys.iter().flat_map(|key| [key.clone(), beside(key, 0), beside(key, 0x62)]).collect()
    }
}

async fn take(iterator: &mut dyn LevelIterator, count: usize) -> Vec<Bytes> {
    let mut keys = Vec::new();
    while keys.len() < count
        && let Some(Entry { key, value }) = iterator.next().await.unwrap()
    {
        assert_eq!(key, value);
        keys.push(key);
    }
    keys
}

/// An iterator whose connection is cut behind any one of its keys, and one that is cut behind each, miss and repeat
/// nothing.
pub async fn iterators_go_on_behind_every_key(database: Arc<Database>) {
    let scene = Scene::new(database).await;
    for reverse in [false, true] {
        let expected = scene.visited(reverse);
        for behind in 0..=expected.len() {
            let mut iterator = scene.iterator(reverse).await;
            let mut seen = take(&mut *iterator, behind).await;
            scene.cut().await;
            seen.extend(take(&mut *iterator, usize::MAX).await);
            assert_eq!(seen, expected, "reverse {reverse}, cut behind {behind} entries");
        }
        let mut iterator = scene.iterator(reverse).await;
        let mut seen = Vec::new();
        loop {
            let next = take(&mut *iterator, 1).await;
            if next.is_empty() {
                break;
            }
            seen.extend(next);
            scene.cut().await;
        }
        assert_eq!(seen, expected, "reverse {reverse}, cut behind each entry");
    }
}

/// A seek whose answer is cut off is asked again, and what it found goes on like any other iterator.
pub async fn seeks_are_asked_again(database: Arc<Database>) {
    let scene = Scene::new(database).await;
    for reverse in [false, true] {
        for target in scene.targets() {
            let expected = scene.from(&target, reverse);
            for (before, behind) in [(0, 0), (3, 0), (0, 1), (3, 2)] {
                let mut iterator = scene.iterator(reverse).await;
                take(&mut *iterator, before).await;
                iterator.seek(target.clone()).await.unwrap();
                let mut seen = take(&mut *iterator, behind).await;
                scene.cut().await;
                seen.extend(take(&mut *iterator, usize::MAX).await);
                assert_eq!(seen, expected, "reverse {reverse}, sought {target:?} behind {before}, cut behind {behind}");
            }
        }
    }
}

/// After a cut the host knows only the rest of the range; a seek goes anywhere in the whole of it all the same.
pub async fn a_seek_leaves_the_rest_of_the_range(database: Arc<Database>) {
    let scene = Scene::new(database).await;
    for reverse in [false, true] {
        for target in scene.targets() {
            let mut iterator = scene.iterator(reverse).await;
            take(&mut *iterator, 8).await;
            scene.cut().await;
            take(&mut *iterator, 1).await;
            iterator.seek(target.clone()).await.unwrap();
            let seen = take(&mut *iterator, usize::MAX).await;
            assert_eq!(seen, scene.from(&target, reverse), "reverse {reverse}, sought {target:?}");
        }
    }
}

/// A limit counts what was delivered over all connections, and nothing else; also within a range, and over a seek.
pub async fn limits_count_across_connections(database: Arc<Database>) {
    let scene = Scene::new(database).await;
    for reverse in [false, true] {
        for limit in 0..=KEYS.len() + 1 {
            let range = KeyRange::all().gt("").lte("\u{7f}");
            let mut expected = scene.visited(reverse);
            expected.retain(|key| !key.is_empty() && key[..] <= b"\x7f"[..]);
            expected.truncate(limit);
            let options = IteratorOptions { range, reverse, limit: Some(limit as u64), ..IteratorOptions::default() };
            let mut iterator = scene.level.iterator(options).await.unwrap();
            let mut seen = Vec::new();
            for size in 1.. {
                let page = iterator.next_many(size).await.unwrap();
                if page.is_empty() {
                    break;
                }
                seen.extend(page.into_iter().map(|entry| entry.key));
                scene.cut().await;
            }
            assert_eq!(seen, expected, "reverse {reverse}, limit {limit}");
            iterator.seek("b".into()).await.unwrap();
            let left = limit - seen.len();
            let mut expected = scene.from(&Bytes::from_static(b"b"), reverse);
            expected.retain(|key| !key.is_empty() && key[..] <= b"\x7f"[..]);
            expected.truncate(left);
            assert_eq!(
                take(&mut *iterator, usize::MAX).await,
                expected,
                "reverse {reverse}, limit {limit}, after a seek"
            );
        }
    }
}
