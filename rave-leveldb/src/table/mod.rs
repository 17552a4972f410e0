//! Tables: sorted, immutable files.
pub(crate) mod varint;
