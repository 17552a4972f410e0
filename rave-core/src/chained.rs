//! Placeholder.
/// Placeholder.
pub struct ChainedBatch<D>(D);
impl<D> ChainedBatch<D> { pub(crate) fn new(db: D) -> Self { Self(db) } }
