//! Placeholder.
/// Placeholder.
pub struct TypedLevel<D,K,V>(D,K,V);
impl<D,K,V> TypedLevel<D,K,V> { pub(crate) fn new(db: D, k: K, v: V) -> Self { Self(db,k,v) } }
