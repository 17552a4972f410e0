//! Logs: written, read, cut off, damaged.

use super::{
    format::{BLOCK_LEN, HEADER_LEN},
    *,
};
use crate::storage::{Storage, sim::SimulatedDisk};
use std::{
    io::IoSlice,
    path::{Path, PathBuf},
    sync::Arc,
};

fn storage() -> Arc<dyn Storage> {
    SimulatedDisk::new().storage(PathBuf::from("/db"))
}

/// A log of these records, and where each of them begins.
fn write(records: &[Vec<u8>]) -> (Vec<u8>, Vec<u64>) {
    let storage = storage();
    let mut writer = LogWriter::new(storage.create("log").unwrap());
    let mut ends = Vec::new();
    for record in records {
        writer.append(record).unwrap();
        ends.push(writer.len());
    }
    let bytes = contents(storage.as_ref());
    assert_eq!(bytes.len() as u64, writer.len());
    (bytes, ends)
}

fn contents(storage: &dyn Storage) -> Vec<u8> {
    let file = storage.open("log").unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(&mut bytes, 0, crate::storage::Access::Blocking).unwrap();
    bytes
}

#[derive(Debug, PartialEq)]
enum Event {
    Record(Vec<u8>),
    Damaged { offset: u64, lost_page: bool, intact_after: bool },
    End { whole: bool, length: u64 },
}

/// All that is in a log, damage passed over.
fn read(bytes: &[u8]) -> Vec<Event> {
    let storage = storage();
    storage.create("log").unwrap().write(&mut [IoSlice::new(bytes)]).unwrap();
    let file = storage.open("log").unwrap();
    let mut reader = LogReader::new(file.as_ref(), Path::new("/db/log")).unwrap();
    let mut events = Vec::new();
    loop {
        match reader.next().unwrap() {
            LogEntry::Record { payload, .. } => events.push(Event::Record(payload.to_vec())),
            LogEntry::Damaged { offset, lost_page, intact_after, .. } => {
                events.push(Event::Damaged { offset, lost_page, intact_after });
                assert!(events.len() <= bytes.len(), "reading does not go on");
                reader.resume().unwrap();
            }
            LogEntry::End { whole, length } => {
                events.push(Event::End { whole, length });
                return events;
            }
        }
    }
}

fn records(events: &[Event]) -> Vec<&[u8]> {
    events.iter().filter_map(|event| if let Event::Record(record) = event { Some(&record[..]) } else { None }).collect()
}

fn whole(records: &[Vec<u8>], length: usize) -> Vec<Event> {
    let mut events: Vec<_> = records.iter().cloned().map(Event::Record).collect();
    events.push(Event::End { whole: true, length: length as u64 });
    events
}

fn random_record(random: &mut fastrand::Rng) -> Vec<u8> {
    let longest = *random.choice(&[0, 10, 1000, BLOCK_LEN, 3 * BLOCK_LEN]).unwrap();
    let byte = random.u8(..);
    let mut record = vec![byte; random.usize(..=longest)];
    for _ in 0..record.len().min(10) {
        let at = random.usize(..record.len());
        record[at] = random.u8(..);
    }
    record
}

#[test]
fn checksums_are_leveldbs() {
    assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
    assert_eq!(mask(crc32c::crc32c(b"foo")), 0xfebe_8a61);
    assert_eq!(unmask(mask(0x1234_5678)), 0x1234_5678);
}

#[test]
fn bytes_are_leveldbs() {
    let (bytes, _) = write(&[b"foo".to_vec(), Vec::new()]);
    assert_eq!(bytes, b"\xdd\x5f\xb3\x7a\x03\0\x01foo\x05\x2b\x28\x43\0\0\x01");
}

#[test]
fn records_are_read_as_they_were_written() {
    for seed in 0..30 {
        let mut random = fastrand::Rng::with_seed(seed);
        let storage = storage();
        let mut writer = LogWriter::new(storage.create("log").unwrap());
        let mut written = Vec::new();
        for _ in 0..random.usize(..40) {
            if random.u8(..5) == 0 {
                writer = LogWriter::continuing(storage.append("log").unwrap(), writer.len());
            }
            let mut record = random_record(&mut random);
            let room = BLOCK_LEN - (writer.len() % BLOCK_LEN as u64) as usize;
            if random.bool() && room > 2 * HEADER_LEN {
                // Ends near the end of the block.
                record = vec![7; room - HEADER_LEN - random.usize(..HEADER_LEN + 2)];
            }
            writer.append(&record).unwrap();
            written.push(record);
        }
        let bytes = contents(storage.as_ref());
        assert_eq!(read(&bytes), whole(&written, bytes.len()), "seed {seed}");
    }
}

/// Fills most of the first block, then crosses into the second one.
fn crossing() -> (Vec<Vec<u8>>, Vec<u8>, Vec<u64>) {
    let filler = BLOCK_LEN - 100 - HEADER_LEN;
    let records = vec![b"one".to_vec(), vec![2; filler - 10], vec![3; 20], vec![4; 200], Vec::new(), b"six".to_vec()];
    let (bytes, ends) = write(&records);
    (records, bytes, ends)
}

/// Where something interesting is.
fn places(bytes: &[u8]) -> impl Iterator<Item = usize> {
    (0..40).chain(BLOCK_LEN - 130..bytes.len())
}

#[test]
fn a_log_cut_anywhere_gives_what_is_whole() {
    let (records, bytes, ends) = crossing();
    for cut in places(&bytes) {
        let kept = ends.iter().filter(|&&end| end <= cut as u64).count();
        let length = kept.checked_sub(1).map_or(0, |last| ends[last]);
        let mut expected = whole(&records[..kept], cut);
        expected[kept] = Event::End { whole: length == cut as u64, length };
        assert_eq!(read(&bytes[..cut]), expected, "cut at {cut}");
    }
}

#[test]
fn a_cut_in_the_filling_of_a_block_is_whole() {
    for left in 1..HEADER_LEN {
        let records = [vec![1; BLOCK_LEN - HEADER_LEN - left], b"two".to_vec()];
        let (bytes, ends) = write(&records);
        for cut in ends[0] as usize..=BLOCK_LEN {
            assert_eq!(read(&bytes[..cut]), whole(&records[..1], cut));
            // And a writer can go on there.
            let storage = storage();
            let mut file = storage.create("log").unwrap();
            file.write(&mut [IoSlice::new(&bytes[..cut])]).unwrap();
            LogWriter::continuing(file, cut as u64).append(b"two").unwrap();
            assert_eq!(contents(storage.as_ref()), bytes);
        }
    }
}

#[test]
fn a_flipped_byte_is_never_passed_off_as_data() {
    let (original, bytes, ends) = crossing();
    for place in places(&bytes) {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[place] ^= flip;
            let events = read(&bytes);
            let hit = ends.iter().filter(|&&end| end <= place as u64).count();
            let found = records(&events);
            assert_eq!(found[..hit], original[..hit], "flipped at {place}: what is before it is lost");
            let mut rest = original[hit + 1..].iter();
            assert!(found[hit..].iter().all(|&record| rest.any(|written| written == record)), "flipped at {place}");
            let first = &events[hit];
            let start = hit.checked_sub(1).map_or(0, |before| ends[before]);
            let last = hit + 1 == original.len();
            match *first {
                Event::Damaged { offset, intact_after, .. } => {
                    assert!(start <= offset && offset < ends[hit], "flipped at {place}: {first:?}");
                    assert_eq!(intact_after, !last, "flipped at {place}");
                }
                // What seems to go on behind the end of the file.
                Event::End { whole: false, length } => {
                    assert!(last && length == start, "flipped at {place}: {first:?}")
                }
                _ => panic!("flipped at {place}: {first:?}"),
            }
        }
    }
}

#[test]
fn zeros_at_the_end_are_an_end() {
    for records in [vec![], vec![b"one".to_vec()], vec![vec![1; BLOCK_LEN - 30]]] {
        let (mut bytes, ends) = write(&records);
        for zeros in [HEADER_LEN, 100, 3 * BLOCK_LEN] {
            bytes.truncate(ends.last().map_or(0, |&end| end as usize));
            let length = bytes.len() as u64;
            bytes.resize(bytes.len() + zeros, 0);
            let mut expected = whole(&records, 0);
            *expected.last_mut().unwrap() = Event::End { whole: false, length };
            assert_eq!(read(&bytes), expected);
        }
    }
}

#[test]
fn a_lost_page_is_told_from_damage() {
    let (original, bytes, ends) = write_three();
    // Within the second record, then all that follows its first sector, then a sector with the header of the third.
    for (zeros, lost) in [(1024..1536, 1), (1024..2600, 1), (512 * (ends[1] as usize / 512)..3072, 1)] {
        let mut torn = bytes.clone();
        torn[zeros].fill(0);
        let events = read(&torn);
        assert_eq!(events[0], Event::Record(original[0].clone()));
        assert!(matches!(events[lost], Event::Damaged { lost_page: true, .. }), "{events:?}");
    }
    let mut flipped = bytes;
    flipped[1500] ^= 1;
    assert_eq!(read(&flipped)[1], Event::Damaged { offset: ends[0], lost_page: false, intact_after: true });
}

fn write_three() -> (Vec<Vec<u8>>, Vec<u8>, Vec<u64>) {
    let records = vec![vec![1; 100], vec![2; 2000], vec![3; 2000]];
    let (bytes, ends) = write(&records);
    (records, bytes, ends)
}

#[test]
fn parts_of_a_torn_record_are_not_intact_records() {
    let records = [b"one".to_vec(), vec![2; 3 * BLOCK_LEN]];
    let (mut bytes, _) = write(&records);
    bytes[512..1024].fill(0);
    let events = read(&bytes);
    assert_eq!(events[1], Event::Damaged { offset: 10, lost_page: true, intact_after: false });
    assert_eq!(records_len(&events), 1);

    let (mut bytes, _) = write(&[records.to_vec(), vec![b"three".to_vec()]].concat());
    bytes[512..1024].fill(0);
    let events = read(&bytes);
    assert_eq!(events[1], Event::Damaged { offset: 10, lost_page: true, intact_after: true });
    assert_eq!(records_len(&events), 2);
}

fn records_len(events: &[Event]) -> usize {
    records(events).len()
}

#[test]
fn a_damaged_length_does_not_hide_what_follows() {
    let (mut bytes, ends) = write(&[b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
    bytes[ends[0] as usize + 5] = 0x40;
    let events = read(&bytes);
    assert_eq!(events[1], Event::Damaged { offset: ends[0], lost_page: false, intact_after: true });
    assert_eq!(records(&events), [b"one" as &[u8], b"three"]);
}

#[test]
fn an_empty_beginning_is_passed_over() {
    // Old versions of LevelDB wrote one where just a header fitted into the block.
    let mut bytes = format::header(format::FragmentKind::First, b"").to_vec();
    bytes.extend(write(&[b"one".to_vec()]).0);
    assert_eq!(records(&read(&bytes)), [b"one"]);
    assert_eq!(read(&bytes).len(), 2);
}

#[test]
fn beginnings_and_ends_have_to_meet() {
    use format::FragmentKind::{First, Last, Middle};
    let fragment = |kind, payload: &[u8]| [&format::header(kind, payload)[..], payload].concat();
    let full = write(&[b"whole".to_vec()]).0;
    for broken in [fragment(First, b"a"), fragment(Middle, b"b"), fragment(Last, b"c")] {
        let events = read(&[&full[..], &broken, &full].concat());
        let damage = Event::Damaged { offset: full.len() as u64, lost_page: false, intact_after: true };
        assert_eq!(events[1], damage);
        assert_eq!(records(&events), [b"whole", b"whole"]);
    }
}
