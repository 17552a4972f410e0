//! The clock by which everything is dated: it counts alike in all processes of the machine, and never jumps.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of CLOCK_MONOTONIC.
pub type Nanos = u64;

/// Later than everything.
pub const NEVER: Nanos = Nanos::MAX;

const SECOND: Nanos = 1_000_000_000;

/// How long the keys of one generation are in use. Short, so that the history of a key is short, too.
pub const GENERATION: Nanos = 3 * SECOND;

/// The time.
pub fn now() -> Nanos {
    // It fails only for a clock that does not exist.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| time.tv_sec() as Nanos * SECOND + time.tv_nsec() as Nanos)
}

/// The generation whose keys are in use at a time: every process finds it without asking.
pub fn generation(at: Nanos) -> u64 {
    at / GENERATION
}

/// When a generation goes out of use.
pub fn end_of(generation: u64) -> Nanos {
    (generation + 1) * GENERATION
}

/// For people: seconds since `start`.
pub fn seconds(start: Nanos, at: Nanos) -> String {
    match at {
        NEVER => "never".to_owned(),
        _ => format!("{:.6}", (at as f64 - start as f64) / SECOND as f64),
    }
}
