//! Memtables against a sorted map, and while they grow.

use super::*;
use crate::{
    iterator::Cursor,
    key::{TAG_LEN, tag},
};
use rave_core::Operation;
use std::collections::BTreeMap;

fn put(key: &[u8], value: &[u8]) -> Operation {
    Operation::Put { key: Bytes::copy_from_slice(key), value: Bytes::copy_from_slice(value) }
}

fn del(key: &[u8]) -> Operation {
    Operation::Del { key: Bytes::copy_from_slice(key) }
}

fn record(sequence: u64, operations: &[Operation]) -> Bytes {
    let mut record = Vec::new();
    batch::encode(sequence, operations.iter(), &mut record);
    record.into()
}

/// The key in a form whose order is that of internal keys: the tags, inverted, behind a key that no key continues.
fn model_key(key: InternalKey<'_>) -> (Vec<u8>, u64) {
    (key.user_key.to_vec(), !key.tag)
}

type Model = BTreeMap<(Vec<u8>, u64), Vec<u8>>;

fn apply(table: &MemTable, model: &mut Model, sequence: u64, operations: &[Operation]) {
    assert_eq!(table.apply(&record(sequence, operations)), Ok(operations.len() as u32));
    for (number, operation) in (sequence..).zip(operations) {
        let (kind, value) = match operation {
            Operation::Put { value, .. } => (Kind::Value, value.to_vec()),
            Operation::Del { .. } => (Kind::Deletion, Vec::new()),
        };
        model.insert(model_key(InternalKey::new(operation.key(), number, kind)), value);
    }
}

/// Keys that differ before, at and behind the end of what a node has of them.
fn random_key(random: &mut fastrand::Rng) -> Vec<u8> {
    let alike = random.choice([0, 0, PREFIX_LEN - 1, PREFIX_LEN]).unwrap();
    let differing = (0..random.usize(..4)).map(|_| *random.choice(b"\0a\xff").unwrap());
    std::iter::repeat_n(0, alike).chain(differing).collect()
}

#[test]
fn behaves_like_a_sorted_map() {
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let table = Arc::new(MemTable::new());
        let mut model = Model::new();
        let mut sequence = 1;
        let mut cursor = table.cursor();
        let mut at: Option<(Vec<u8>, u64)> = None;
        for _ in 0..400 {
            if random.u8(..6) == 0 {
                let operations: Vec<_> = (0..random.usize(..8))
                    .map(|_| {
                        let key = random_key(&mut random);
                        if random.u8(..3) == 0 { del(&key) } else { put(&key, &random.u64(..).to_le_bytes()) }
                    })
                    .collect();
                apply(&table, &mut model, sequence, &operations);
                sequence += operations.len() as u64;
                // A cursor may or may not see what came after it: look anew.
                (cursor, at) = (table.cursor(), None);
                assert!(!cursor.valid());
            }
            let key = random_key(&mut random);
            let seen = random.u64(..=sequence);
            let found = model.range((key.clone(), !InternalKey::seek(&key, seen).tag)..).next();
            let expected = found
                .filter(|((found, _), _)| *found == key)
                .map(|((_, tag), value)| (!tag & 0xff == Kind::Value as u64).then(|| Bytes::copy_from_slice(value)));
            assert_eq!(table.get(&Bytes::from(key.clone()), seen), expected, "seed {seed}");
            match (random.u8(..12), at.take()) {
                (0, _) => {
                    cursor.seek_to_first().unwrap();
                    at = model.keys().next().cloned();
                }
                (1, _) => {
                    cursor.seek_to_last().unwrap();
                    at = model.keys().next_back().cloned();
                }
                (2..6, Some(here)) => {
                    cursor.next().unwrap();
                    at = model.range((Bound::Excluded(here), Bound::Unbounded)).next().map(|(key, _)| key.clone());
                }
                (6..10, Some(here)) => {
                    cursor.prev().unwrap();
                    at = model.range(..here).next_back().map(|(key, _)| key.clone());
                }
                _ => {
                    let target = InternalKey::seek(&key, seen);
                    cursor.seek(target).unwrap();
                    at = model.range(model_key(target)..).next().map(|(key, _)| key.clone());
                }
            }
            assert_eq!(cursor.valid().then(|| model_key(cursor.key())), at, "seed {seed}");
            if let Some(at) = &at {
                assert_eq!(cursor.value(), model[at]);
            }
        }
        assert_eq!(table.is_empty(), model.is_empty());
    }
}

#[test]
fn long_scans_see_everything_once() {
    let table = Arc::new(MemTable::new());
    let mut model = Model::new();
    let operations: Vec<_> = (0..1000u32).map(|n| put(&(n * 7919 % 1009).to_be_bytes(), b"v")).collect();
    apply(&table, &mut model, 1, &operations);
    let mut cursor = table.cursor();
    cursor.seek_to_first().unwrap();
    for key in model.keys() {
        assert_eq!(&model_key(cursor.key()), key);
        cursor.next().unwrap();
    }
    assert!(!cursor.valid());
    cursor.seek_to_last().unwrap();
    for key in model.keys().rev() {
        assert_eq!(&model_key(cursor.key()), key);
        cursor.prev().unwrap();
    }
    assert!(!cursor.valid());
}

#[test]
fn batches_are_leveldbs() {
    let record = record(0x0102, &[put(b"ab", b"xyz"), del(b""), put(b"c", &[7; 130])]);
    let mut expected = b"\x02\x01\0\0\0\0\0\0\x03\0\0\0\x01\x02ab\x03xyz\x00\x00\x01\x01c\x82\x01".to_vec();
    expected.extend([7; 130]);
    assert_eq!(record, expected);
    assert_eq!(batch::header(&record), Some((0x0102, 3)));
    let read: Vec<_> = batch::operations(&record).unwrap().map(Result::unwrap).collect();
    assert_eq!(read[0], batch::BatchEntry { tag: tag(0x0102, Kind::Value), key: 14..16, value: 17..20 });
    assert_eq!((read[1].tag, &record[read[1].key.clone()]), (tag(0x0103, Kind::Deletion), &b""[..]));
    assert_eq!((read[2].tag, &record[read[2].value.clone()]), (tag(0x0104, Kind::Value), &[7; 130][..]));
}

#[test]
fn a_malformed_batch_leaves_no_trace() {
    let good = record(5, &[put(b"ab", b"xyz"), del(b"c"), put(b"d", b"")]);
    let longer = [&good[..], b"\0"].concat();
    let mut unknown = good.to_vec();
    unknown[batch::HEADER_LEN] = 2;
    let mut many = good.to_vec();
    many[8] = 4;
    let mut few = good.to_vec();
    few[8] = 2;
    let mut beyond = good.to_vec();
    beyond[..8].copy_from_slice(&(MAX - 1).to_le_bytes());
    const MAX: u64 = crate::key::MAX_SEQUENCE;
    let cuts = (0..good.len()).map(|cut| good[..cut].to_vec());
    for bad in cuts.chain([longer, unknown, many, few, beyond]) {
        let table = MemTable::new();
        assert!(table.apply(&bad.clone().into()).is_err(), "{bad:?}");
        assert!(table.is_empty() && table.memory() == 0);
    }
    let table = MemTable::new();
    assert_eq!(table.apply(&good), Ok(3));
    assert_eq!(table.apply(&record(8, &[])), Ok(0));
}

#[test]
fn memory_is_counted() {
    let table = MemTable::new();
    table.apply(&record(1, &[put(&[1; 100], &[2; 1000])])).unwrap();
    assert!((1100..1400).contains(&table.memory()), "{}", table.memory());
    for sequence in 2..1002 {
        table.apply(&record(sequence, &[del(b"")])).unwrap();
    }
    assert!(table.memory() > 1000 * (TAG_LEN + 64));
}

#[test]
fn readers_go_on_while_it_grows() {
    use std::sync::atomic::{AtomicU64, Ordering};
    let table = Arc::new(MemTable::new());
    let published = AtomicU64::new(0);
    let key = |sequence: u64| (sequence * 0x9e37_79b9 % 1000).to_be_bytes();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut random = fastrand::Rng::with_seed(9);
                loop {
                    let sequence = published.load(Ordering::Acquire);
                    // Of each key that was written, the newest visible write is there, in the order of keys.
                    let mut cursor = table.cursor();
                    cursor.seek_to_first().unwrap();
                    let mut before: Option<Vec<u8>> = None;
                    let mut visible = 0;
                    while cursor.valid() {
                        let encoded = cursor.key().encode();
                        if let Some(before) = &before {
                            assert!(InternalKey::decode(before).unwrap() < cursor.key());
                        }
                        visible += u64::from(cursor.key().sequence() <= sequence);
                        assert_eq!(cursor.value(), cursor.key().sequence().to_le_bytes().as_slice());
                        before = Some(encoded);
                        cursor.next().unwrap();
                    }
                    assert_eq!(visible, sequence);
                    if sequence > 0 {
                        let any = random.u64(1..=sequence);
                        let found = table.get(&Bytes::copy_from_slice(&key(any)), any).flatten().unwrap();
                        assert_eq!(found, any.to_le_bytes().as_slice());
                    }
                    if sequence == 3000 {
                        return;
                    }
                }
            });
        }
        for sequence in 1..=3000u64 {
            table.apply(&record(sequence, &[put(&key(sequence), &sequence.to_le_bytes())])).unwrap();
            published.store(sequence, Ordering::Release);
        }
    });
}
