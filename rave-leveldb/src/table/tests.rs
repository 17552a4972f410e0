//! Whole tables: written, read in every way, damaged.

use super::*;
use crate::{
    error::{ReadError, ReadResult},
    iterator::Cursor,
    key::{InternalKey, Kind, MAX_SEQUENCE},
    options::Compression,
    storage::{Access, OpenFiles, Storage, sim::SimulatedDisk},
};
use bytes::Bytes;
use rave_core::Code;
use std::{io::IoSlice, path::PathBuf, sync::Arc};

const NAME: &str = "000007.ldb";

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
    disk: SimulatedDisk,
    size: u64,
    files: Arc<OpenFiles>,
    cache: Arc<TableCache>,
}

impl Fixture {
    fn new(entries: &Entries, options: TableOptions, cache_bytes: usize) -> Self {
        let disk = SimulatedDisk::new();
        let mut builder = TableBuilder::new(storage(&disk).create(NAME).unwrap(), options);
        for (encoded, value) in entries {
            builder.add(key(encoded), value).unwrap();
        }
        let estimated = builder.estimated_size();
        let size = builder.finish().unwrap();
        assert!(size <= estimated + estimated / 2 + 300, "{estimated} {size}");
        Self::over(disk, size, cache_bytes)
    }

    /// A table with these bytes.
    fn of_bytes(bytes: &[u8]) -> Self {
        let disk = SimulatedDisk::new();
        storage(&disk).create(NAME).unwrap().write(&mut [IoSlice::new(bytes)]).unwrap();
        Self::over(disk, bytes.len() as u64, 1 << 20)
    }

    fn over(disk: SimulatedDisk, size: u64, cache_bytes: usize) -> Self {
        let files = Arc::new(OpenFiles::new(storage(&disk), 10));
        let cache = Arc::new(TableCache::new(files.clone(), cache_bytes));
        Self { disk, size, files, cache }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.size as usize + 1];
        assert_eq!(self.files.read_at(7, &mut bytes, 0, Access::Blocking).unwrap() as u64, self.size);
        bytes.pop();
        bytes
    }

    fn cursor(&self) -> TableCursor {
        self.cache.cursor(7, self.size, true)
    }

    fn get(&self, target: InternalKey<'_>) -> ReadResult<Option<(u64, Bytes)>> {
        self.cache.get(7, self.size, target, Access::Blocking)
    }
}

fn storage(disk: &SimulatedDisk) -> Arc<dyn Storage> {
    disk.storage(PathBuf::from("/db"))
}

fn current(cursor: &impl Cursor) -> (Vec<u8>, Vec<u8>) {
    (cursor.key().encode(), cursor.value().to_vec())
}

fn all(cursor: &mut impl Cursor) -> ReadResult<Entries> {
    let mut entries = Vec::new();
    cursor.seek_to_first()?;
    while cursor.valid() {
        entries.push(current(cursor));
        cursor.next()?;
    }
    Ok(entries)
}

fn all_backwards(cursor: &mut impl Cursor) -> ReadResult<Entries> {
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

fn numbered(count: u32, value: &[u8]) -> Entries {
    let entry =
        |number: u32| (InternalKey::new(format!("key{number:08}").as_bytes(), 9, Kind::Value).encode(), value.to_vec());
    (0..count).map(entry).collect()
}

fn assert_corrupt(error: ReadError, change: &str) {
    let ReadError::Failed(error) = error else { panic!("{change}: {error:?}") };
    assert_eq!(error.code(), Code::Corruption, "{change}: {error}");
    assert!(error.full_message().contains("000007.ldb"), "{change}: {error}");
}

/// Whatever is read from a table with these bytes is either as it was written or an error.
fn assert_never_wrong(bytes: &[u8], entries: &Entries, change: &str) {
    let fixture = Fixture::of_bytes(bytes);
    for read in [all(&mut fixture.cursor()), all_backwards(&mut fixture.cursor())] {
        match read {
            Ok(read) => assert_eq!(&read, entries, "{change}"),
            Err(error) => assert_corrupt(error, change),
        }
    }
    for (encoded, value) in entries {
        match fixture.get(key(encoded)) {
            Ok(found) => assert_eq!(found, Some((key(encoded).tag, value.clone().into())), "{change}"),
            Err(error) => assert_corrupt(error, change),
        }
    }
}

fn small() -> (Entries, Vec<u8>) {
    let mut random = fastrand::Rng::with_seed(3);
    let entries: Entries = random_entries(&mut random).into_iter().take(30).collect();
    let fixture = Fixture::new(&entries, TableOptions { block_size: 200, ..OPTIONS }, 0);
    assert!(entries.len() == 30 && fixture.size < 3000);
    (entries, fixture.bytes())
}

#[test]
fn a_flipped_byte_is_never_passed_off_as_data() {
    let (entries, bytes) = small();
    assert_never_wrong(&bytes, &entries, "nothing");
    for place in 0..bytes.len() {
        for flip in [1, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[place] ^= flip;
            assert_never_wrong(&bytes, &entries, &format!("flipped at {place}"));
        }
    }
}

#[test]
fn a_table_cut_anywhere_is_an_error() {
    let (entries, bytes) = small();
    for cut in 0..bytes.len() {
        assert_corrupt(all(&mut Fixture::of_bytes(&bytes[..cut]).cursor()).unwrap_err(), "cut");
        // The manifest knows how long it was.
        let fixture = Fixture::of_bytes(&bytes[..cut]);
        let mut cursor = fixture.cache.cursor(7, bytes.len() as u64, true);
        assert_corrupt(all(&mut cursor).unwrap_err(), "cut");
        assert_corrupt(
            fixture.cache.get(7, bytes.len() as u64, key(&entries[0].0), Access::Blocking).unwrap_err(),
            "cut",
        );
    }
}

#[test]
fn bytes_are_leveldbs() {
    let entries = vec![
        (InternalKey::new(b"key1", 1, Kind::Value).encode(), b"one".to_vec()),
        (InternalKey::new(b"key2", 2, Kind::Deletion).encode(), Vec::new()),
    ];
    let fixture = Fixture::new(&entries, TableOptions { bloom_bits: 0, ..OPTIONS }, 0);
    let expected = b"\
        \x00\x0c\x03key1\x01\x01\0\0\0\0\0\0one\
        \x03\x09\x002\x00\x02\0\0\0\0\0\0\
        \0\0\0\0\x01\0\0\0\
        \0\x28\x9f\x85\xe4\
        \0\0\0\0\x01\0\0\0\
        \0\xc0\xf2\xa1\xb0\
        \x00\x09\x02l\x01\xff\xff\xff\xff\xff\xff\xff\x00\x26\
        \0\0\0\0\x01\0\0\0\
        \0\xf5\x55\x53\xd6\
        \x2b\x08\x38\x16";
    let mut expected = expected.to_vec();
    expected.resize(expected.len() + 36, 0);
    expected.extend(0xdb47_7524_8b80_fb57_u64.to_le_bytes());
    assert_eq!(fixture.bytes(), expected);
}

#[test]
fn entries_have_to_come_in_order() {
    let disk = SimulatedDisk::new();
    let mut builder = TableBuilder::new(storage(&disk).create(NAME).unwrap(), OPTIONS);
    let mut add = |user_key, sequence| builder.add(InternalKey::new(user_key, sequence, Kind::Value), b"");
    add(b"b", 5).unwrap();
    add(b"b", 4).unwrap();
    for (user_key, sequence) in [(b"b", 4), (b"b", 5), (b"a", 1)] {
        assert!(add(user_key, sequence).is_err());
    }
}

#[test]
fn memory_is_bounded_by_the_option() {
    let mut random = fastrand::Rng::with_seed(1);
    let value: Vec<u8> = (0..1000).map(|_| random.u8(..)).collect();
    let entries = numbered(3000, &value);
    let limit = 300_000;
    let fixture = Fixture::new(&entries, OPTIONS, limit);
    assert_eq!(fixture.cache.cached_bytes(), 0);
    for round in 0..3 {
        for (encoded, value) in &entries {
            assert_eq!(fixture.get(key(encoded)).unwrap().unwrap().1, value);
            assert!(fixture.cache.cached_bytes() <= limit);
        }
        assert!(fixture.cache.cached_bytes() > limit / 2, "round {round}");
    }
    fixture.cache.forget(7);
    assert_eq!(fixture.cache.cached_bytes(), 0);
    assert_eq!(fixture.files.open_count(), 0);
    let mut cursor = fixture.cache.cursor(7, fixture.size, false);
    all(&mut cursor).unwrap();
    assert!(fixture.cache.cached_bytes() < limit / 2, "a scan that must not fill the cache did");
}

#[test]
fn what_is_cached_is_not_read_again() {
    let entries = numbered(500, &[7; 100]);
    let fixture = Fixture::new(&entries, OPTIONS, 1 << 20);
    let from_memory = |target: &[u8]| fixture.cache.get(7, fixture.size, key(target), Access::InMemory);
    fixture.disk.cold(true);
    assert!(matches!(from_memory(&entries[3].0), Err(ReadError::WouldBlock)));
    fixture.get(key(&entries[3].0)).unwrap();
    assert_eq!(from_memory(&entries[3].0).unwrap().unwrap().1, entries[3].1);
    assert!(matches!(from_memory(&entries[400].0), Err(ReadError::WouldBlock)));
    // The filter says that there is nothing to be read.
    assert!(from_memory(&InternalKey::seek(b"key00000400x", MAX_SEQUENCE).encode()).unwrap().is_none());
    let mut cursor = fixture.cursor();
    assert_eq!(all(&mut cursor).unwrap(), entries);
    cursor.set_access(Access::InMemory);
    assert_eq!(all(&mut cursor).unwrap(), entries);
}

#[test]
fn a_cursor_goes_on_after_it_would_have_had_to_wait() {
    for cache_bytes in [0, 1 << 20] {
        let entries = numbered(2000, &[7; 100]);
        let fixture = Fixture::new(&entries, OPTIONS, cache_bytes);
        fixture.disk.cold_sometimes(30);
        let mut cursor = fixture.cursor();
        let mut waits = 0;
        let mut read = Entries::new();
        loop {
            cursor.set_access(Access::InMemory);
            let moved = match read.last() {
                None => cursor.seek_to_first(),
                Some(_) => cursor.next(),
            };
            if let Err(error) = moved {
                assert!(matches!(error, ReadError::WouldBlock));
                waits += 1;
                cursor.set_access(Access::Blocking);
                match read.last() {
                    None => cursor.seek_to_first().unwrap(),
                    Some((last, _)) => {
                        cursor.seek(key(last)).unwrap();
                        cursor.next().unwrap();
                    }
                }
            }
            if !cursor.valid() {
                break;
            }
            read.push(current(&cursor));
        }
        assert!(waits > 0);
        assert_eq!(read, entries);
    }
}

#[test]
fn offsets_grow_with_the_keys() {
    let mut random = fastrand::Rng::with_seed(1);
    let value: Vec<u8> = (0..1000).map(|_| random.u8(..)).collect();
    let fixture = Fixture::new(&numbered(1000, &value), OPTIONS, 1 << 20);
    let offset = |user_key: &[u8]| {
        fixture.cache.approximate_offset(7, fixture.size, InternalKey::seek(user_key, MAX_SEQUENCE)).unwrap()
    };
    assert_eq!(offset(b""), 0);
    for number in 0..1000u32 {
        let expected = u64::from(number) * fixture.size / 1000;
        let found = offset(format!("key{number:08}").as_bytes());
        assert!(found <= expected + 6000 && expected <= found + 20_000, "{number}: {found} {expected}");
    }
    assert!((fixture.size - 30_000..fixture.size).contains(&offset(b"z")));
}

#[test]
fn an_unknown_filter_is_ignored() {
    let (entries, bytes) = small();
    let name = bytes.windows(filter::FILTER_NAME.len()).position(|window| window == filter::FILTER_NAME).unwrap();
    let mut renamed = bytes;
    renamed[name + 8] = b'x';
    // The block that holds the name: from the entry's header to the trailer.
    let start = name - 3;
    let end = name + filter::FILTER_NAME.len() + usize::from(renamed[name - 1]) + 8;
    let crc = crate::log::mask(crc32c::crc32c(&renamed[start..=end]));
    renamed[end + 1..end + 5].copy_from_slice(&crc.to_le_bytes());
    let fixture = Fixture::of_bytes(&renamed);
    assert_eq!(all(&mut fixture.cursor()).unwrap(), entries);
    for (encoded, _) in &entries {
        assert!(fixture.get(key(encoded)).unwrap().is_some());
    }
}

#[test]
fn compressed_data_cannot_ask_for_more_memory_than_it_could_fill() {
    // A block that claims to be of four gigabytes.
    let mut block = vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 1];
    let crc = crate::log::mask(crc32c::crc32c(&block));
    let length = block.len() as u64 - 1;
    block.extend(crc.to_le_bytes());
    let handle = footer::BlockHandle { offset: 0, length };
    footer::Footer { metaindex: handle, index: handle }.encode_to(&mut block);
    assert_corrupt(all(&mut Fixture::of_bytes(&block).cursor()).unwrap_err(), "a bomb");
}

#[test]
fn many_threads_read_at_once() {
    let entries = numbered(3000, &[7; 100]);
    let fixture = Fixture::new(&entries, OPTIONS, 20_000);
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let (fixture, entries) = (&fixture, &entries);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                assert_eq!(&all(&mut fixture.cursor()).unwrap(), entries);
                for _ in 0..1000 {
                    let (encoded, value) = random.choice(entries).unwrap();
                    assert_eq!(fixture.get(key(encoded)).unwrap().unwrap().1, value);
                }
            });
        }
    });
}

#[test]
fn long_keys_that_begin_alike_are_read_backwards() {
    let entry = |number: u32| {
        let user_key = [&[b'k'; 2000][..], &number.to_be_bytes()].concat();
        (InternalKey::new(&user_key, 9, Kind::Value).encode(), number.to_le_bytes().to_vec())
    };
    let entries: Entries = (0..100).map(entry).collect();
    let fixture = Fixture::new(&entries, TableOptions { block_size: 1 << 20, restart_interval: 1000, ..OPTIONS }, 0);
    assert_eq!(all_backwards(&mut fixture.cursor()).unwrap(), entries);
}
