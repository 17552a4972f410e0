//! The operations that both sides apply, what a database holds after them, and digests of that.

use crate::job::{Contents, Generated, Job};
use anyhow::{Context, Result, ensure};
use bytes::{Buf, Bytes};
use fastrand::Rng;
use rave_level::Operation;
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, fs};

/// The key under which every batch puts its number.
pub const MARKER: &[u8] = b"\xff\xff\xff\xffbatches";

/// Keys to get.
const PROBES: u32 = 1000;

/// Beginnings of keys: shared ones, long ones, and bytes at both ends of the order.
const GROUPS: [&[u8]; 6] = [b"user/", b"user/profile/", b"\x00", b"\x00\x00", b"\xff\xff", &[b'x'; 90]];

/// The key of an entry; the first is empty.
fn key(number: u32) -> Vec<u8> {
    if number == 0 {
        return Vec::new();
    }
    let mut rng = Rng::with_seed(u64::from(number));
    let group = GROUPS[number as usize % GROUPS.len()];
    let mut key = [group, format!("{number:07}").as_bytes()].concat();
    key.extend((0..rng.usize(..24)).map(|_| rng.u8(..)));
    key
}

/// Of all sizes from empty to half a megabyte, and half of it compressible.
fn value(rng: &mut Rng) -> Vec<u8> {
    let len = match rng.u32(..3000) {
        0 => rng.usize(100_000..500_000),
        1..60 => 0,
        _ => rng.usize(1..1500),
    };
    let mut value: Vec<u8> = (0..len.div_ceil(2)).map(|_| rng.u8(..)).collect();
    value.extend_from_within(..len / 2);
    value
}

fn append_counted(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// The operations of one batch, as they stand in the file.
#[derive(Default)]
struct BatchBuilder {
    count: u32,
    encoded: Vec<u8>,
}

impl BatchBuilder {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.count += 1;
        self.encoded.push(1);
        append_counted(&mut self.encoded, key);
        append_counted(&mut self.encoded, value);
    }

    fn delete(&mut self, key: &[u8]) {
        self.count += 1;
        self.encoded.push(0);
        append_counted(&mut self.encoded, key);
    }
}

/// Makes the files of a set: every key is put once, in random order; in between keys that were put before are
/// overwritten and deleted.
pub fn generate(job: &Job) -> Result<Generated> {
    let mut rng = Rng::with_seed(u64::from(job.entries));
    let mut order: Vec<u32> = (0..job.entries).collect();
    rng.shuffle(&mut order);
    let (mut file, mut batches, mut written) = (Vec::new(), 0_u32, 0);
    while written < order.len() {
        let mut batch = BatchBuilder::default();
        for _ in 0..rng.u32(1..=60) {
            let mut earlier = || key(order[rng.usize(..=written.min(order.len() - 1))]);
            let again = earlier();
            match rng.u32(..100) {
                0..15 => batch.put(&again, &value(&mut rng)),
                15..25 => batch.delete(&again),
                _ if written < order.len() => {
                    batch.put(&key(order[written]), &value(&mut rng));
                    written += 1;
                }
                _ => {}
            }
        }
        batches += 1;
        batch.put(MARKER, batches.to_string().as_bytes());
        file.extend_from_slice(&batch.count.to_le_bytes());
        file.extend_from_slice(&batch.encoded);
    }
    fs::write(&job.operations, &file).with_context(|| job.operations.display().to_string())?;

    let mut probes = Vec::new();
    // Some of them were deleted, or never put.
    (0..PROBES).for_each(|_| append_counted(&mut probes, &key(rng.u32(..job.entries + job.entries / 20))));
    fs::write(&job.probes, &probes).with_context(|| job.probes.display().to_string())?;
    Ok(Generated { batches })
}

fn number(file: &mut Bytes) -> Result<u32> {
    Ok(file.try_get_u32_le()?)
}

fn byte_string(file: &mut Bytes) -> Result<Bytes> {
    let len = number(file)? as usize;
    ensure!(len <= file.len(), "a file of operations ends too soon");
    Ok(file.split_to(len))
}

/// The next batch of a file of operations.
fn next_batch(file: &mut Bytes) -> Result<Vec<Operation>> {
    (0..number(file)?)
        .map(|_| {
            let is_put = file.try_get_u8()? == 1;
            let key = byte_string(file)?;
            Ok(if is_put { Operation::Put { key, value: byte_string(file)? } } else { Operation::Del { key } })
        })
        .collect()
}

/// Calls `visit` with the number of each batch from `from` up to `to`, counted from 1, and its operations.
pub fn batches(job: &Job) -> Result<impl Iterator<Item = Result<(u32, Vec<Operation>)>>> {
    let mut file = Bytes::from(fs::read(&job.operations).with_context(|| job.operations.display().to_string())?);
    let (from, to) = (job.from, job.to);
    let all = (1..=to).map(move |number| Ok((number, next_batch(&mut file)?)));
    Ok(all.filter(move |batch| batch.as_ref().map_or(true, |(number, _)| *number > from)))
}

/// The keys to get.
pub fn probes(job: &Job) -> Result<Vec<Bytes>> {
    let mut file = Bytes::from(fs::read(&job.probes).with_context(|| job.probes.display().to_string())?);
    let mut keys = Vec::new();
    while !file.is_empty() {
        keys.push(byte_string(&mut file)?);
    }
    Ok(keys)
}

/// The digest of a scan or of gets.
#[derive(Default)]
pub struct Fingerprint(Sha256);

impl Fingerprint {
    fn counted(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u32).to_le_bytes());
        self.0.update(bytes);
    }

    pub fn entry(&mut self, key: &[u8], value: &[u8]) {
        self.counted(key);
        self.counted(value);
    }

    pub fn got(&mut self, value: Option<&[u8]>) {
        self.0.update([u8::from(value.is_some())]);
        self.counted(value.unwrap_or_default());
    }

    pub fn finish(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The number that [`MARKER`] holds.
pub fn marked(value: Option<&[u8]>) -> Result<u32> {
    value.map_or(Ok(0), |value| Ok(std::str::from_utf8(value)?.parse()?))
}

/// What a database must hold after the batches up to `to`.
pub fn expect(job: &Job) -> Result<Contents> {
    let mut model = BTreeMap::new();
    for batch in batches(&Job { from: 0, ..job.clone() })? {
        for operation in batch?.1 {
            match operation {
                Operation::Put { key, value } => model.insert(key, value),
                Operation::Del { key } => model.remove(&key),
            };
        }
    }
    let (mut forward, mut reverse, mut gets) = Default::default();
    model.iter().for_each(|(key, value)| Fingerprint::entry(&mut forward, key, value));
    model.iter().rev().for_each(|(key, value)| Fingerprint::entry(&mut reverse, key, value));
    for key in probes(job)? {
        Fingerprint::got(&mut gets, model.get(&key).map(|value| &value[..]));
    }
    Ok(Contents {
        entries: model.len() as u64,
        batches: marked(model.get(MARKER).map(|value| &value[..]))?,
        forward: forward.finish(),
        reverse: reverse.finish(),
        gets: gets.finish(),
        levels: Vec::new(),
    })
}
