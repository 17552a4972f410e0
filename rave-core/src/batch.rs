//! Several writes as one atomic step.

use crate::{Code, Condition, Error, Result, Sublevel, condition};
use bytes::Bytes;

/// One write of a [`Batch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Store a value.
    Put {
        /// Its key.
        key: Bytes,
        /// The value.
        value: Bytes,
    },
    /// Delete a key, whether it exists or not.
    Del {
        /// The key.
        key: Bytes,
    },
}

impl Operation {
    /// The key written or deleted.
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Put { key, .. } | Self::Del { key } => key,
        }
    }

    fn map_key(self, f: impl FnOnce(Bytes) -> Bytes) -> Self {
        match self {
            Self::Put { key, value } => Self::Put { key: f(key), value },
            Self::Del { key } => Self::Del { key: f(key) },
        }
    }

    fn try_map_key(self, f: impl FnOnce(Bytes) -> Option<Bytes>) -> Option<Self> {
        Some(match self {
            Self::Put { key, value } => Self::Put { key: f(key)?, value },
            Self::Del { key } => Self::Del { key: f(key)? },
        })
    }

    /// Bytes of key and value.
    pub fn byte_len(&self) -> usize {
        match self {
            Self::Put { key, value } => key.len() + value.len(),
            Self::Del { key } => key.len(),
        }
    }
}

/// A sequence of puts and deletes that takes effect as one atomic step, in its order; with conditions, only if all of
/// them hold right before it.
///
/// ```
/// use rave_core::Batch;
/// let batch = Batch::new().put("a", "1").del("b").if_absent("a").if_equals("b", "2");
/// assert_eq!((batch.len(), batch.conditions().len()), (2, 2));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    operations: Vec<Scoped<Operation>>,
    conditions: Vec<Scoped<Condition>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Scoped<T> {
    part: T,
    /// Its key already carries the prefixes of its sublevel, counted from the root.
    absolute: bool,
}

impl<T> Scoped<T> {
    const fn relative(part: T) -> Self {
        Self { part, absolute: false }
    }

    const fn absolute(part: T) -> Self {
        Self { part, absolute: true }
    }
}

fn bytes(data: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(data.as_ref())
}

impl Batch {
    /// An empty batch.
    pub const fn new() -> Self {
        Self { operations: Vec::new(), conditions: Vec::new() }
    }

    /// The batch with a put behind.
    #[must_use]
    pub fn put(mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.push(Operation::Put { key: bytes(key), value: bytes(value) });
        self
    }

    /// The batch with a delete behind.
    #[must_use]
    pub fn del(mut self, key: impl AsRef<[u8]>) -> Self {
        self.push(Operation::Del { key: bytes(key) });
        self
    }

    /// The batch with a put into `sublevel` behind. The batch may be written through any ancestor of the sublevel; through
    /// another view the write is refused with `LEVEL_INVALID_PREFIX`.
    #[must_use]
    pub fn put_in(mut self, sublevel: &Sublevel, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        let operation = Operation::Put { key: sublevel.absolute_key(key.as_ref()), value: bytes(value) };
        self.operations.push(Scoped::absolute(operation));
        self
    }

    /// The batch with a delete from `sublevel` behind; see [`put_in`](Self::put_in).
    #[must_use]
    pub fn del_in(mut self, sublevel: &Sublevel, key: impl AsRef<[u8]>) -> Self {
        let operation = Operation::Del { key: sublevel.absolute_key(key.as_ref()) };
        self.operations.push(Scoped::absolute(operation));
        self
    }

    /// The batch, only if `key` does not exist.
    #[must_use]
    pub fn if_absent(self, key: impl AsRef<[u8]>) -> Self {
        self.require(Condition::Absent { key: bytes(key) })
    }

    /// The batch, only if `key` has exactly this value.
    #[must_use]
    pub fn if_equals(self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.require(Condition::Equals { key: bytes(key), value: bytes(value) })
    }

    /// The batch, only if `key` does not exist in `sublevel`; see [`put_in`](Self::put_in).
    #[must_use]
    pub fn if_absent_in(mut self, sublevel: &Sublevel, key: impl AsRef<[u8]>) -> Self {
        let key = sublevel.absolute_key(key.as_ref());
        self.conditions.push(Scoped::absolute(Condition::Absent { key }));
        self
    }

    /// The batch, only if `key` has exactly this value in `sublevel`; see [`put_in`](Self::put_in).
    #[must_use]
    pub fn if_equals_in(mut self, sublevel: &Sublevel, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        let key = sublevel.absolute_key(key.as_ref());
        self.conditions.push(Scoped::absolute(Condition::Equals { key, value: bytes(value) }));
        self
    }

    /// The batch, only if `condition` holds.
    #[must_use]
    pub fn require(mut self, condition: Condition) -> Self {
        self.conditions.push(Scoped::relative(condition));
        self
    }

    /// Adds an operation at the end.
    pub fn push(&mut self, operation: Operation) {
        self.operations.push(Scoped::relative(operation));
    }

    /// Moves the operations and conditions of `other` to the end of this batch.
    pub fn append(&mut self, mut other: Batch) {
        self.operations.append(&mut other.operations);
        self.conditions.append(&mut other.conditions);
    }

    /// Drops all operations and conditions.
    pub fn clear(&mut self) {
        self.operations.clear();
        self.conditions.clear();
    }

    /// The number of operations.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether there are neither operations nor conditions.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty() && self.conditions.is_empty()
    }

    /// Whether there are conditions.
    pub fn is_conditional(&self) -> bool {
        !self.conditions.is_empty()
    }

    /// Whether there are no operations, so that the batch is at most checked.
    pub fn writes_nothing(&self) -> bool {
        self.operations.is_empty()
    }

    /// Bytes of all keys and values, those of conditions too.
    pub fn byte_len(&self) -> usize {
        let conditions: usize = self.conditions().map(Condition::byte_len).sum();
        self.operations().map(Operation::byte_len).sum::<usize>() + conditions
    }

    /// The operations in order.
    pub fn operations(&self) -> impl ExactSizeIterator<Item = &Operation> {
        self.operations.iter().map(|scoped| &scoped.part)
    }

    /// The operations in order, by value.
    pub fn into_operations(self) -> impl ExactSizeIterator<Item = Operation> {
        self.operations.into_iter().map(|scoped| scoped.part)
    }

    /// The conditions in order.
    pub fn conditions(&self) -> impl ExactSizeIterator<Item = &Condition> {
        self.conditions.iter().map(|scoped| &scoped.part)
    }

    /// The batch with other conditions in place of its own, each in its place. They mean the same keys as those did.
    #[must_use]
    pub fn map_conditions(mut self, mut f: impl FnMut(Condition) -> Condition) -> Self {
        let map = |Scoped { part, absolute }| Scoped { part: f(part), absolute };
        self.conditions = self.conditions.into_iter().map(map).collect();
        self
    }

    /// Checks what can be said of the batch by itself; stores and leaders do so before anything else.
    ///
    /// Errors: `LEVEL_INVALID_BATCH` if there are more than [`MAX_CONDITIONS`](crate::MAX_CONDITIONS) conditions, or if two
    /// contradict each other.
    pub fn validate(&self) -> Result<()> {
        // Most batches have none, and writing them must not cost more because others do.
        if self.is_conditional() { condition::validate(self.conditions()) } else { Ok(()) }
    }

    /// For stores that cannot check conditions.
    ///
    /// Errors: `LEVEL_NOT_SUPPORTED` if there are any.
    pub fn refuse_conditions(&self) -> Result<()> {
        if self.is_conditional() { Err(Error::not_supported("a condition on a batch")) } else { Ok(()) }
    }

    /// The batch as the root of some views has to write it, when it was given to the view whose keys carry `prefix` there,
    /// and the keys of that root carry `origin` in the database: then it is no longer told which sublevels were named.
    pub(crate) fn into_absolute(self, origin: &[u8], prefix: &[u8]) -> Result<Self> {
        let outside = || {
            let message = "a batch names a sublevel that is not below the one it is written through";
            Error::new(Code::InvalidPrefix, message)
        };
        let below = |key: Bytes| {
            let is_below = key.strip_prefix(origin).is_some_and(|key| key.starts_with(prefix));
            is_below.then(|| key.slice(origin.len()..))
        };
        let operations = self.operations.into_iter().map(|Scoped { part, absolute }| match absolute {
            false => Ok(Scoped::relative(part.map_key(|key| Bytes::from([prefix, &key].concat())))),
            true => part.try_map_key(below).map(Scoped::relative).ok_or_else(outside),
        });
        let conditions = self.conditions.into_iter().map(|Scoped { part, absolute }| match absolute {
            false => Ok(Scoped::relative(part.within_prefix(prefix))),
            true => part.try_map_key(below).map(Scoped::relative).ok_or_else(outside),
        });
        Ok(Self { operations: operations.collect::<Result<_>>()?, conditions: conditions.collect::<Result<_>>()? })
    }
}

impl FromIterator<Operation> for Batch {
    fn from_iter<I: IntoIterator<Item = Operation>>(operations: I) -> Self {
        Self { operations: operations.into_iter().map(Scoped::relative).collect(), conditions: Vec::new() }
    }
}

impl Extend<Operation> for Batch {
    fn extend<I: IntoIterator<Item = Operation>>(&mut self, operations: I) {
        operations.into_iter().for_each(|operation| self.push(operation));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{KeyRange, MAX_CONDITIONS, MemoryLevel};
    use std::sync::Arc;

    #[test]
    fn conditions_are_part_of_a_batch() {
        let condition = Condition::unchanged(KeyRange::all(), [0; 32].into());
        let mut batch = Batch::new().if_absent("ab").if_equals("c", "12");
        assert!(!batch.is_empty() && batch.is_conditional() && batch.writes_nothing());
        assert_eq!((batch.len(), batch.byte_len()), (0, 5));
        batch.append(Batch::new().put("d", "1").require(condition.clone()));
        assert_eq!((batch.len(), batch.conditions().len(), batch.byte_len()), (1, 3, 39));
        assert_eq!(batch.conditions().nth(2), Some(&condition));
        // What is made of its operations alone has none.
        let unconditional: Batch = batch.clone().into_operations().collect();
        assert!(!unconditional.is_conditional() && unconditional.refuse_conditions().is_ok());
        assert_eq!(batch.refuse_conditions().unwrap_err().code(), Code::NotSupported);
        batch.clear();
        assert!(batch.is_empty() && !batch.is_conditional());
    }

    #[test]
    fn a_batch_has_at_most_so_many_conditions() {
        let many = |count: usize| (0..count).fold(Batch::new(), |batch, i| batch.if_absent(i.to_string()));
        assert!(many(MAX_CONDITIONS).validate().is_ok());
        assert_eq!(many(MAX_CONDITIONS + 1).validate().unwrap_err().code(), Code::InvalidBatch);
    }

    #[test]
    fn conditions_of_a_view_are_made_absolute_like_operations() {
        let sublevel = |names: &[&str]| Sublevel::new(Arc::new(MemoryLevel::new()), names, Default::default()).unwrap();
        let (one, nested, other) = (sublevel(&["one"]), sublevel(&["one", "nested"]), sublevel(&["two"]));
        let batch = Batch::new().put("k", "").if_absent("a").if_equals_in(&nested, "b", "1").if_absent_in(&one, "c");
        let absolute = batch.clone().into_absolute(b"", one.prefix()).unwrap();
        let expected = Batch::new().put("!one!k", "").if_absent("!one!a").if_equals("!one!!nested!b", "1");
        assert_eq!(absolute, expected.if_absent("!one!c"));
        for outside in [batch.clone().if_absent_in(&other, "a"), batch.if_equals_in(&other, "a", "1")] {
            assert_eq!(outside.into_absolute(b"", one.prefix()).unwrap_err().code(), Code::InvalidPrefix);
        }
    }
}
