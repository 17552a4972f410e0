//! Placeholder.
/// Placeholder.
pub trait Encoding: Send + Sync + 'static {}
