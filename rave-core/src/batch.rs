//! Several writes as one atomic step.

use crate::{Code, Error, Result, Sublevel};
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

    /// Bytes of key and value.
    pub fn byte_len(&self) -> usize {
        match self {
            Self::Put { key, value } => key.len() + value.len(),
            Self::Del { key } => key.len(),
        }
    }
}

/// A sequence of puts and deletes that takes effect as one atomic step, in its order.
///
/// ```
/// use rave_core::Batch;
/// let batch = Batch::new().put("a", "1").del("b");
/// assert_eq!(batch.len(), 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    operations: Vec<Scoped>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Scoped {
    operation: Operation,
    /// The key already carries the prefixes of its sublevel, counted from the root.
    absolute: bool,
}

fn bytes(data: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(data.as_ref())
}

impl Batch {
    /// An empty batch.
    pub const fn new() -> Self {
        Self { operations: Vec::new() }
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
        self.operations.push(Scoped { operation, absolute: true });
        self
    }

    /// The batch with a delete from `sublevel` behind; see [`put_in`](Self::put_in).
    #[must_use]
    pub fn del_in(mut self, sublevel: &Sublevel, key: impl AsRef<[u8]>) -> Self {
        let operation = Operation::Del { key: sublevel.absolute_key(key.as_ref()) };
        self.operations.push(Scoped { operation, absolute: true });
        self
    }

    /// Adds an operation at the end.
    pub fn push(&mut self, operation: Operation) {
        self.operations.push(Scoped { operation, absolute: false });
    }

    /// Moves the operations of `other` to the end of this batch.
    pub fn append(&mut self, mut other: Batch) {
        self.operations.append(&mut other.operations);
    }

    /// Drops all operations.
    pub fn clear(&mut self) {
        self.operations.clear();
    }

    /// The number of operations.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether there are no operations.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Bytes of all keys and values.
    pub fn byte_len(&self) -> usize {
        self.operations().map(Operation::byte_len).sum()
    }

    /// The operations in order.
    pub fn operations(&self) -> impl ExactSizeIterator<Item = &Operation> {
        self.operations.iter().map(|scoped| &scoped.operation)
    }

    /// The operations in order, by value.
    pub fn into_operations(self) -> impl ExactSizeIterator<Item = Operation> {
        self.operations.into_iter().map(|scoped| scoped.operation)
    }

    /// The batch as the root database has to write it, when it was given to the view whose keys carry `prefix` there.
    /// For the root its operations are operations like any other, so that it may itself be a view of something.
    pub(crate) fn into_absolute(self, prefix: &[u8]) -> Result<Self> {
        let operations = self
            .operations
            .into_iter()
            .map(|Scoped { operation, absolute }| {
                if !absolute {
                    let operation = operation.map_key(|key| Bytes::from([prefix, &key].concat()));
                    return Ok(Scoped { operation, absolute: false });
                }
                if !operation.key().starts_with(prefix) {
                    return Err(Error::new(
                        Code::InvalidPrefix,
                        "a batch operation names a sublevel that is not below the one it is written through",
                    ));
                }
                Ok(Scoped { operation, absolute: false })
            })
            .collect::<Result<_>>()?;
        Ok(Self { operations })
    }
}

impl FromIterator<Operation> for Batch {
    fn from_iter<I: IntoIterator<Item = Operation>>(operations: I) -> Self {
        let operations = operations.into_iter().map(|operation| Scoped { operation, absolute: false }).collect();
        Self { operations }
    }
}

impl Extend<Operation> for Batch {
    fn extend<I: IntoIterator<Item = Operation>>(&mut self, operations: I) {
        operations.into_iter().for_each(|operation| self.push(operation));
    }
}
