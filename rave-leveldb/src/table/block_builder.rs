//! Building a block in memory.

use super::varint;

/// Gathers the entries of one block.
pub(super) struct BlockBuilder {
    restart_interval: usize,
    data: Vec<u8>,
    restarts: Vec<u32>,
    /// Entries since the last restart.
    since_restart: usize,
    last_key: Vec<u8>,
}

impl BlockBuilder {
    /// Every `restart_interval`th key will be whole.
    pub(super) fn new(restart_interval: usize) -> Self {
        Self {
            restart_interval: restart_interval.max(1),
            data: Vec::new(),
            restarts: vec![0],
            since_restart: 0,
            last_key: Vec::new(),
        }
    }

    /// Adds an entry. Keys have to come in their order.
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        let shared = if self.since_restart < self.restart_interval {
            self.last_key.iter().zip(key).take_while(|(a, b)| a == b).count()
        } else {
            self.restarts.push(self.data.len() as u32);
            self.since_restart = 0;
            0
        };
        let unshared = key.get(shared..).unwrap_or_default();
        varint::put_u64(&mut self.data, shared as u64);
        varint::put_u64(&mut self.data, unshared.len() as u64);
        varint::put_u64(&mut self.data, value.len() as u64);
        self.data.extend_from_slice(unshared);
        self.data.extend_from_slice(value);
        self.last_key.truncate(shared);
        self.last_key.extend_from_slice(unshared);
        self.since_restart += 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// The length that the block would have.
    pub(super) fn estimated_size(&self) -> usize {
        self.data.len() + 4 * self.restarts.len() + 4
    }

    /// The contents of the block, until the builder is used again.
    pub(super) fn finish(&mut self) -> &[u8] {
        self.data.extend(self.restarts.iter().flat_map(|restart| restart.to_le_bytes()));
        self.data.extend_from_slice(&(self.restarts.len() as u32).to_le_bytes());
        &self.data
    }

    /// Begins another block.
    pub(super) fn reset(&mut self) {
        self.data.clear();
        self.restarts.clear();
        self.restarts.push(0);
        self.since_restart = 0;
        self.last_key.clear();
    }
}
