//! How much of everything there is in a run.

use crate::clock::Nanos;

/// So often all clients of all processes write and read at once. Leaders are mostly killed in the midst of such a
/// surge, when much is on its way.
pub const SURGE: Nanos = 250_000_000;

/// Rounds of each client in a surge: it reads and writes one key, and then another. Several, so that some follow at
/// once when a new leader serves again, while others still have to find it.
pub const ROUNDS: u64 = 4;

/// Registers that are used in one surge, apart from others. Many write to one of them at once, so they are only put.
pub const HOT: u64 = 4;

/// All of these of a generation.
pub const HOT_REGISTERS: u64 = HOT * crate::clock::GENERATION / SURGE;

/// Registers that are deleted, cleared and swapped, too. Enough that not too many meet at one.
pub const COLD_REGISTERS: u64 = 40;

/// Registers of a generation; the hot ones come first.
pub const REGISTERS: u64 = HOT_REGISTERS + COLD_REGISTERS;

/// Pairs of a generation.
pub const PAIRS: u64 = 10;

/// Counters of a generation.
pub const COUNTERS: u64 = 3;

/// Clients of each process.
pub const CLIENTS: u64 = 8;

/// The beginning of the next surge.
pub fn next_surge(now: Nanos) -> Nanos {
    (now / SURGE + 1) * SURGE
}
