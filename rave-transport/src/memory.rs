//! Placeholder.
/// Placeholder.
#[derive(Debug)]
pub struct MemoryTransport;
/// Placeholder.
#[derive(Debug)]
pub struct Faults;
