//! What a lost connection means for what is under way.

/// What becomes of operations in flight when the connection to the leader is lost.
///
/// Operations that were not sent yet are sent to the next leader under every policy but `Never`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetryPolicy {
    /// Send them again to the next leader. A write that the dying leader had applied is then applied once more.
    #[default]
    Always,
    /// Send again only what cannot be applied twice: reads, and writes that were not sent yet or that the leader gave
    /// back. Other writes fail with effect `Unknown`.
    Safe,
    /// Fail them all: writes that were sent with effect `Unknown`, everything else with effect `None`. Open iterators
    /// fail too.
    Never,
}
