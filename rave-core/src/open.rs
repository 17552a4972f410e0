//! Opening a store in two steps: lock, then open.

use crate::{AbstractLevel, Result};
use async_trait::async_trait;
use std::{fmt, sync::Arc};

/// Opens one store at one place. The lock is separate from the opening, so that a new leader can listen before a long
/// recovery ends.
#[async_trait]
pub trait Opener: Send + Sync + fmt::Debug + 'static {
    /// Takes the lock if nobody holds it; never waits. Touches nothing but the lock (and creates the directory that
    /// holds it).
    ///
    /// Requires: the lock excludes every other opener of the same store, in this process and in others, and the kernel
    /// releases it when the process dies. "Held elsewhere" is a value. A place that cannot be locked, such as a file
    /// system without locks, is an error.
    async fn try_lock(&self) -> Result<LockAttempt>;

    /// The place, for people: a path or a name.
    fn location(&self) -> String;
}

/// What came of an attempt to lock.
pub enum LockAttempt {
    /// The lock is ours; dropping the value releases it.
    Acquired(Box<dyn LockedStore>),
    /// Somebody else has it.
    Held {
        /// The process that holds it, where the system tells.
        holder: Option<u32>,
    },
}

impl fmt::Debug for LockAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acquired(_) => f.write_str("Acquired"),
            Self::Held { holder } => f.debug_struct("Held").field("holder", holder).finish(),
        }
    }
}

/// A store whose lock is held and that is not yet open.
#[async_trait]
pub trait LockedStore: Send + 'static {
    /// Recovers and opens the store. The store keeps the lock; its `close` releases the lock as its last deed. On an
    /// error the lock is released.
    async fn open(self: Box<Self>) -> Result<Arc<dyn AbstractLevel>>;
}

/// A process, for people: "process 4711", or "another process" where it is not known which.
pub fn process_name(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
