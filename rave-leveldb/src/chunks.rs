//! Many small byte strings in few allocations.

use bytes::{Bytes, BytesMut};

/// Copies byte strings one behind the other into allocations that they share. Each allocation lives as long as any of
/// its strings; it is twice as large as the one before, up to a bound, so that a few strings take little.
#[derive(Debug)]
pub(crate) struct Chunks {
    chunk: BytesMut,
    next: usize,
    largest: usize,
}

impl Chunks {
    /// Allocates `first` bytes at first, and up to `largest` at once later.
    pub(crate) fn new(first: usize, largest: usize) -> Self {
        Self { chunk: BytesMut::new(), next: first, largest }
    }

    /// A copy of `bytes`. What would take much of an allocation gets one of its own.
    pub(crate) fn copy(&mut self, bytes: &[u8]) -> Bytes {
        if bytes.len() > self.chunk.capacity() {
            if bytes.len() > self.largest / 4 {
                return Bytes::copy_from_slice(bytes);
            }
            self.chunk = BytesMut::with_capacity(self.next.max(4 * bytes.len()));
            self.next = (2 * self.next).min(self.largest);
        }
        self.chunk.extend_from_slice(bytes);
        self.chunk.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_whole_and_small_ones_share() {
        let mut chunks = Chunks::new(64, 256);
        let strings: Vec<Vec<u8>> = (0..200).map(|number: u8| vec![number; usize::from(number) % 100]).collect();
        let copies: Vec<Bytes> = strings.iter().map(|string| chunks.copy(string)).collect();
        for (string, copy) in strings.iter().zip(&copies) {
            assert_eq!(string, copy);
        }
        let (a, b) = (chunks.copy(b"a"), chunks.copy(b"b"));
        assert_eq!(a.as_ptr().wrapping_add(1), b.as_ptr());
    }
}
