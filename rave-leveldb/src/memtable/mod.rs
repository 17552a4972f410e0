//! The memtable: the newest writes, sorted, in memory.
