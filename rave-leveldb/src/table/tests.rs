//! Whole tables: written, read in every way, damaged.

use super::*;
use crate::{
    error::ReadError,
    iterator::Cursor,
    key::{InternalKey, Kind, MAX_SEQUENCE},
    options::Compression,
    storage::{Access, OpenFiles, OsStorage, Storage},
};
use rave_core::Code;
use std::{collections::BTreeMap, sync::Arc};
use tempfile::TempDir;

const OPTIONS: TableOptions =
    TableOptions { compression: Compression::Snappy, block_size: 4096, restart_interval: 16, bloom_bits: 10 };

/// Encoded entries, sorted as internal keys are.
type Entries = Vec<(Vec<u8>, Vec<u8>)>;

fn key(encoded: &[u8]) -> InternalKey<'_> {
    InternalKey::decode(encoded).unwrap()
}

fn sorted(mut entries: Entries) -> Entries {
    entries.sort_by(|(a, _), (b, _)| key(a).cmp(&key(b)));
    entries.dedup_by(|(a, _), (b, _)| a == b);
    entries
}

fn random_entries(random: &mut fastrand::Rng) -> Entries {
    let count = random.usize(..300);
    let letters = random.u8(1..4);
    let longest = *random.choice(&[1, 4, 20, 200]).unwrap();
    let entry = |_| {
        let user_key: Vec<u8> = (0..random.usize(..=longest))
            .map(|_| *random.choice([b'a', 0xff, 0].get(..letters as usize).unwrap()).unwrap())
            .collect();
        let kind = if random.u8(..4) == 0 { Kind::Deletion } else { Kind::Value };
        let value = match kind {
            Kind::Deletion => Vec::new(),
            Kind::Value => (0..random.usize(..100)).map(|_| random.u8(..3)).collect(),
        };
        (InternalKey::new(&user_key, random.u64(..50), kind).encode(), value)
    };
    sorted((0..count).map(entry).collect())
}

struct Fixture {
    directory: TempDir,
    size: u64,
    files: Arc<OpenFiles>,
    cache: Arc<TableCache>,
}

impl Fixture {
    fn new(entries: &Entries, options: TableOptions, cache_bytes: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let storage = OsStorage::new(directory.path().to_owned());
        let mut builder = TableBuilder::new(storage.create("000007.ldb").unwrap(), options);
        for (encoded, value) in entries {
            builder.add(key(encoded), value).unwrap();
        }
        assert_eq!(builder.entries(), entries.len() as u64);
        let size = builder.finish().unwrap();
        Self::over(directory, size, cache_bytes)
    }

    fn over(directory: TempDir, size: u64, cache_bytes: usize) -> Self {
        let storage = Arc::new(OsStorage::new(directory.path().to_owned()));
        let files = Arc::new(OpenFiles::new(storage, 10));
        let cache = Arc::new(TableCache::new(files.clone(), cache_bytes));
        Self { directory, size, files, cache }
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.directory.path().join("000007.ldb")).unwrap()
    }

    fn cursor(&self) -> TableCursor {
        self.cache.cursor(7, self.size, true)
    }

    fn get(&self, target: InternalKey<'_>) -> Result<Option<(u64, bytes::Bytes)>, ReadError> {
        self.cache.get(7, self.size, target, Access::Blocking)
    }
}

fn current(cursor: &impl Cursor) -> (Vec<u8>, Vec<u8>) {
    (cursor.key().encode(), cursor.value().to_vec())
}

fn all(cursor: &mut impl Cursor) -> Result<Entries, ReadError> {
    let mut entries = Vec::new();
    cursor.seek_to_first()?;
    while cursor.valid() {
        entries.push(current(cursor));
        cursor.next()?;
    }
    Ok(entries)
}

fn all_backwards(cursor: &mut impl Cursor) -> Result<Entries, ReadError> {
    let mut entries = Vec::new();
    cursor.seek_to_last()?;
    while cursor.valid() {
        entries.push(current(cursor));
        cursor.prev()?;
    }
    entries.reverse();
    Ok(entries)
}

fn options(random: &mut fastrand::Rng) -> TableOptions {
    TableOptions {
        compression: if random.bool() { Compression::Snappy } else { Compression::None },
        block_size: *random.choice(&[1, 50, 300, 4096]).unwrap(),
        restart_interval: *random.choice(&[1, 2, 3, 16, 1000]).unwrap(),
        bloom_bits: *random.choice(&[0, 1, 10]).unwrap(),
    }
}

#[test]
fn random_tables_are_read_as_they_were_written() {
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let entries = random_entries(&mut random);
        let cache_bytes = *random.choice(&[0, 2000, 1 << 20]).unwrap();
        let fixture = Fixture::new(&entries, options(&mut random), cache_bytes);
        let mut cursor = fixture.cursor();
        assert_eq!(all(&mut cursor).unwrap(), entries, "seed {seed}");
        assert_eq!(all_backwards(&mut cursor).unwrap(), entries, "seed {seed}");
        let mut at: Option<usize> = None;
        for _ in 0..300 {
            match (random.u8(..10), at) {
                (0, _) => {
                    cursor.seek_to_first().unwrap();
                    at = (!entries.is_empty()).then_some(0);
                }
                (1, _) => {
                    cursor.seek_to_last().unwrap();
                    at = entries.len().checked_sub(1);
                }
                (2..5, Some(index)) => {
                    cursor.next().unwrap();
                    at = (index + 1 < entries.len()).then_some(index + 1);
                }
                (5..8, Some(index)) => {
                    cursor.prev().unwrap();
                    at = index.checked_sub(1);
                }
                _ => {
                    let target = random_entries(&mut random).pop().unwrap_or_else(|| (vec![1; 8], vec![])).0;
                    cursor.seek(key(&target)).unwrap();
                    at = Some(entries.partition_point(|(entry, _)| key(entry) < key(&target)));
                    at = at.filter(|&index| index < entries.len());
                    let expected = at
                        .and_then(|index| entries.get(index))
                        .filter(|(found, _)| key(found).user_key == key(&target).user_key)
                        .map(|(found, value)| (key(found).tag, value.clone().into()));
                    assert_eq!(fixture.get(key(&target)).unwrap(), expected, "seed {seed}");
                }
            }
            assert_eq!(cursor.valid().then(|| current(&cursor)).as_ref(), at.and_then(|index| entries.get(index)));
        }
        for (encoded, value) in &entries {
            assert_eq!(fixture.get(key(encoded)).unwrap(), Some((key(encoded).tag, value.clone().into())));
        }
    }
}
