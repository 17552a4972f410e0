//! Bloom filters: which keys a block does not have.
//!
//! The filter block holds one filter for every 2 KiB of the file. The filter of a data block is the one for the place
//! where the block begins.
//!
//! ```text
//! filters
//! offsets             u32 each: where the filters begin
//! offset of offsets   u32
//! base                u8: the binary logarithm of the bytes per filter, 11
//! ```

use bytes::Bytes;

/// The metaindex's name for what is built and read here.
pub(super) const FILTER_NAME: &[u8] = b"filter.leveldb.BuiltinBloomFilter2";

const BASE_LG: u8 = 11;

/// LevelDB's hash function.
fn hash(data: &[u8], seed: u32) -> u32 {
    const M: u32 = 0xc6a4_a793;
    let mut hash = seed ^ (data.len() as u32).wrapping_mul(M);
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        hash = hash.wrapping_add(u32::from_le_bytes(*word)).wrapping_mul(M);
        hash ^= hash >> 16;
    }
    if !rest.is_empty() {
        let rest = rest.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte));
        hash = hash.wrapping_add(rest).wrapping_mul(M);
        hash ^= hash >> 24;
    }
    hash
}

fn bloom_hash(key: &[u8]) -> u32 {
    hash(key, 0xbc9f_1d34)
}

/// The bits of a filter of `bits` bits that belong to a key with this hash.
fn probes(mut hash: u32, count: u8, bits: u32) -> impl Iterator<Item = (usize, u8)> {
    let delta = hash.rotate_right(17);
    (0..count).map(move |_| {
        let bit = hash % bits;
        hash = hash.wrapping_add(delta);
        ((bit / 8) as usize, 1 << (bit % 8))
    })
}

/// Gathers the filter block of a table.
pub(super) struct FilterBuilder {
    bits_per_key: usize,
    /// Of the keys since the last filter.
    hashes: Vec<u32>,
    data: Vec<u8>,
    offsets: Vec<u32>,
}

impl FilterBuilder {
    pub(super) fn new(bits_per_key: usize) -> Self {
        Self { bits_per_key, hashes: Vec::new(), data: Vec::new(), offsets: Vec::new() }
    }

    /// The keys that follow are in a data block that begins at `offset` of the file.
    pub(super) fn start_block(&mut self, offset: u64) {
        while offset >> BASE_LG > self.offsets.len() as u64 {
            self.add_filter();
        }
    }

    pub(super) fn add_key(&mut self, user_key: &[u8]) {
        self.hashes.push(bloom_hash(user_key));
    }

    /// Bytes gathered so far.
    pub(super) fn len(&self) -> usize {
        self.data.len() + 4 * self.offsets.len()
    }

    fn add_filter(&mut self) {
        let start = self.data.len();
        self.offsets.push(start as u32);
        if self.hashes.is_empty() {
            return;
        }
        let count = (self.bits_per_key as f64 * 0.69).clamp(1.0, 30.0) as u8;
        let bytes = (self.hashes.len() * self.bits_per_key).max(64).div_ceil(8);
        self.data.resize(start + bytes, 0);
        for hash in self.hashes.drain(..) {
            for (byte, bit) in probes(hash, count, 8 * bytes as u32) {
                if let Some(byte) = self.data.get_mut(start + byte) {
                    *byte |= bit;
                }
            }
        }
        self.data.push(count);
    }

    /// The filter block.
    pub(super) fn finish(mut self) -> Vec<u8> {
        if !self.hashes.is_empty() {
            self.add_filter();
        }
        let offsets_start = self.data.len() as u32;
        self.data.extend(self.offsets.iter().flat_map(|offset| offset.to_le_bytes()));
        self.data.extend_from_slice(&offsets_start.to_le_bytes());
        self.data.push(BASE_LG);
        self.data
    }
}

/// The filter block of a table.
pub(super) struct Filter {
    data: Bytes,
    offsets_start: usize,
    base_lg: u8,
}

impl Filter {
    /// `None` if the block is malformed.
    pub(super) fn new(data: Bytes) -> Option<Self> {
        let (&base_lg, rest) = data.split_last()?;
        let (rest, offsets_start) = rest.split_last_chunk::<4>()?;
        let offsets_start = u32::from_le_bytes(*offsets_start) as usize;
        (offsets_start <= rest.len() && base_lg < 64).then_some(Self { data, offsets_start, base_lg })
    }

    /// Bytes in memory.
    pub(super) fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether the data block that begins at `block_offset` may hold the key. What is malformed may hold anything.
    pub(super) fn may_contain(&self, block_offset: u64, user_key: &[u8]) -> bool {
        let Some(filter) = self.filter(block_offset) else { return true };
        match filter.split_last() {
            // No filter, no keys.
            None => false,
            Some((_, [])) => false,
            // Kept for encodings yet to come.
            Some((31.., _)) => true,
            Some((&count, bits)) => probes(bloom_hash(user_key), count, 8 * bits.len() as u32)
                .all(|(byte, bit)| bits.get(byte).is_some_and(|byte| byte & bit != 0)),
        }
    }

    fn filter(&self, block_offset: u64) -> Option<&[u8]> {
        let index = usize::try_from(block_offset >> self.base_lg).ok()?;
        let at = index.checked_mul(4)?.checked_add(self.offsets_start)?;
        // Behind the last offset is the offset of the offsets, which is where the last filter ends.
        let (start, rest) = self.data.get(at..)?.split_first_chunk::<4>()?;
        let (end, rest) = rest.split_first_chunk::<4>()?;
        if rest.is_empty() {
            return None;
        }
        let end = u32::from_le_bytes(*end) as usize;
        if end > self.offsets_start {
            return None;
        }
        self.data.get(u32::from_le_bytes(*start) as usize..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_leveldb_does() {
        assert_eq!(hash(b"", 0xbc9f1d34), 0xbc9f1d34);
        assert_eq!(hash(&[0x62], 0xbc9f1d34), 0xef1345c4);
        assert_eq!(hash(&[0xc3, 0x97], 0xbc9f1d34), 0x5b663814);
        assert_eq!(hash(&[0xe2, 0x99, 0xa5], 0xbc9f1d34), 0x323c078f);
        assert_eq!(hash(&[0xe1, 0x80, 0xb9, 0x32], 0xbc9f1d34), 0xed21633a);
        let mut long = [0; 48];
        for (at, byte) in [(0, 1), (1, 0xc0), (16, 0x14), (22, 4), (27, 0x14), (31, 0x18), (32, 0x28), (40, 2)] {
            long[at] = byte;
        }
        assert_eq!(hash(&long, 0x12345678), 0xf333dabb);
    }

    #[test]
    fn finds_every_key_and_few_others() {
        for bits_per_key in [1, 10, 50] {
            let mut builder = FilterBuilder::new(bits_per_key);
            let block = |number: u32| u64::from(number / 100) * 3000;
            for number in 0..1000u32 {
                if number % 100 == 0 {
                    builder.start_block(block(number));
                }
                builder.add_key(&number.to_le_bytes());
            }
            let filter = Filter::new(builder.finish().into()).unwrap();
            let found = |number: u32| filter.may_contain(block(number), &number.to_le_bytes());
            assert!((0..1000).all(found));
            let wrong = (0..1000).filter(|&n| filter.may_contain(block(n), &(n + 5000).to_le_bytes())).count();
            assert!(wrong < if bits_per_key == 1 { 900 } else { 30 }, "{wrong}");
        }
    }

    #[test]
    fn a_block_without_keys_has_no_filter() {
        let filter = Filter::new(FilterBuilder::new(10).finish().into()).unwrap();
        assert_eq!(filter.data, &[0, 0, 0, 0, 11][..]);
        assert!(filter.may_contain(0, b"a"));
        let mut builder = FilterBuilder::new(10);
        builder.start_block(4096);
        builder.add_key(b"a");
        let filter = Filter::new(builder.finish().into()).unwrap();
        assert!(!filter.may_contain(0, b"a"));
        assert!(filter.may_contain(4096, b"a"));
    }

    #[test]
    fn any_bytes_are_a_filter_or_none() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..100_000 {
            let mut data: Vec<u8> = (0..random.usize(..30)).map(|_| random.u8(..) * u8::from(random.bool())).collect();
            if random.bool() && data.len() > 5 {
                let at = data.len() - 5;
                data[at..at + 4].copy_from_slice(&random.u32(..20).to_le_bytes());
            }
            if let Some(filter) = Filter::new(data.into()) {
                filter.may_contain(random.u64(..10_000), b"a");
            }
        }
    }
}
