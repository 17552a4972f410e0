//! What a store can do.

use std::borrow::Cow;

/// What a store promises and offers. Asking for what it does not offer gives `LEVEL_NOT_SUPPORTED`.
///
/// The default offers nothing: an author states each capability.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The store's name for people, such as `leveldb` or `memory`.
    pub store: Cow<'static, str>,
    /// An iterator sees the state at its creation.
    pub implicit_snapshots: bool,
    /// [`AbstractLevel::snapshot`](crate::AbstractLevel::snapshot) works.
    pub explicit_snapshots: bool,
    /// What was written is there after closing and opening again.
    pub permanence: bool,
    /// `sync` is honoured: such a write survives power loss.
    pub sync_writes: bool,
    /// `clear` is one atomic step.
    pub atomic_clear: bool,
    /// Batches may carry conditions.
    pub conditions: bool,
    /// A write is applied exactly once, whatever leaders come and go. Only handles of shared databases promise that; for a
    /// store that is used alone there is nothing to promise.
    pub exactly_once: bool,
    /// Writes are refused with `LEVEL_READONLY`.
    pub read_only: bool,
    /// The other side speaks only the legacy protocol, with legacy guarantees.
    pub legacy: bool,
}
