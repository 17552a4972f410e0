//! Faults on purpose, each of a kind that the checks must find.

use clap::ValueEnum;

/// What goes wrong now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sabotage {
    /// A write is acknowledged and not made.
    Lost,
    /// A write is made once more, a little later.
    Doubled,
    /// A read gives what an earlier one gave.
    Stale,
    /// Of several writes of one client at once, one is made late.
    Order,
    /// A batch is written in two parts.
    Torn,
    /// An iterator leaves a key out.
    Skipped,
    /// A counter is increased without a transaction.
    Raced,
    /// Leaders do not remember which writes of others they have applied.
    Sessionless,
    /// A write is made, and said to have failed without effect.
    Denied,
}

/// Whether it is time for this one, which happens once in so many operations.
pub fn strikes(chosen: Option<Sabotage>, this: Sabotage, once_in: u32) -> bool {
    chosen == Some(this) && fastrand::u32(0..once_in) == 0
}
