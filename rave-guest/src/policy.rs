//! What a lost connection means for what is under way.

/// What becomes of operations in flight when the connection to the leader is lost.
///
/// Operations that were not sent yet are sent to the next leader under every policy but `Never`. Of writes that were, the
/// next leader tells whether they were applied, if both it and the lost one keep sessions
/// ([`Manifest::exactly_once`](rave_core::Manifest::exactly_once)); leaders of the legacy protocol do not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetryPolicy {
    /// Finish them all with the next leader. Writes are applied exactly once where leaders keep sessions; among leaders of
    /// the legacy protocol a write that the dying one had applied is applied once more.
    #[default]
    Always,
    /// Finish what cannot be applied twice: everything where leaders keep sessions; among leaders of the legacy protocol
    /// reads, and writes that were not sent yet or that the leader gave back. Other writes fail with effect `Unknown`.
    Safe,
    /// Fail them all: writes that were sent with effect `Unknown`, everything else with effect `None`. Open iterators
    /// fail too.
    Never,
}
