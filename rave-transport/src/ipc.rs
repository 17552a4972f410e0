//! Placeholder.
/// Placeholder.
#[derive(Debug)]
pub struct IpcTransport;
