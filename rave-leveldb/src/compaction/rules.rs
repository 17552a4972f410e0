//! The numbers that give the levels their shape.

use crate::version::LEVELS;

/// Tables of level 0 from which on it is compacted.
pub(crate) const LEVEL0_COMPACTION_TRIGGER: usize = 4;

/// Tables of level 0 from which on every write is slowed down.
pub(crate) const LEVEL0_SLOWDOWN_TRIGGER: usize = 8;

/// Tables of level 0 from which on writes wait.
pub(crate) const LEVEL0_STOP_TRIGGER: usize = 12;

/// The deepest level that a memtable's table is put into when nothing above it overlaps.
pub(crate) const DEEPEST_FLUSH_LEVEL: usize = 2;

/// How the levels are shaped, all of it in proportion to one size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LevelRules {
    /// Bytes at which a compaction's output table ends.
    pub(crate) max_file_size: u64,
}

impl Default for LevelRules {
    fn default() -> Self {
        Self { max_file_size: 2 << 20 }
    }
}

impl LevelRules {
    /// Bytes that `level` may hold before it is compacted: five tables in level 1, ten times the one above in a deeper
    /// one. Level 0 is bounded by its number of tables instead.
    pub(crate) fn max_bytes(&self, level: usize) -> u64 {
        (1..level.min(LEVELS)).fold(self.max_file_size.saturating_mul(5), |bytes, _| bytes.saturating_mul(10))
    }

    /// Bytes of the level after next that one output table may overlap, lest compacting it becomes expensive.
    pub(crate) fn max_grandparent_overlap(&self) -> u64 {
        self.max_file_size.saturating_mul(10)
    }

    /// Bytes that a compaction may have when it takes more tables than it must.
    pub(crate) fn max_expanded_compaction(&self) -> u64 {
        self.max_file_size.saturating_mul(25)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_grow_tenfold() {
        let rules = LevelRules::default();
        assert_eq!(rules.max_bytes(1), 10 << 20);
        assert_eq!(rules.max_bytes(2), 100 << 20);
        assert_eq!(rules.max_bytes(6), (10 << 20) * 100_000);
        assert_eq!(LevelRules { max_file_size: u64::MAX }.max_bytes(6), u64::MAX);
    }
}
