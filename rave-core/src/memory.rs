//! Placeholder.
/// Placeholder.
pub struct MemoryLevel;
/// Placeholder.
pub struct MemoryOpener;
