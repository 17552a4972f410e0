//! Placeholder.
/// What becomes of operations in flight when the connection to the leader is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetryPolicy {
    /// Send them again to the next leader.
    #[default]
    Always,
    /// Send again only what cannot be applied twice: reads, and writes that were not sent yet. Other writes fail with effect `Unknown`.
    Safe,
    /// Fail them all: writes that were sent with effect `Unknown`, everything else with effect `None`. Iterators fail.
    Never,
}
