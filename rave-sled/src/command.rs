//! What can be asked of the thread that owns the engine.

use bytes::Bytes;
use rave_core::{Batch, ClearOptions, Entry, KeyRange, Result};
use tokio::sync::oneshot;

pub(crate) type Reply<T> = oneshot::Sender<Result<T>>;

/// An operation, and where its answer goes. One that nobody waits for any more is thrown away undone.
pub(crate) enum Command {
    Write { batch: Batch, reply: Reply<()> },
    Clear { options: ClearOptions, reply: Reply<()> },
    Read(Read),
}

/// An operation that changes nothing.
pub(crate) enum Read {
    Get { key: Bytes, reply: Reply<Option<Bytes>> },
    GetMany { keys: Vec<Bytes>, reply: Reply<Vec<Option<Bytes>>> },
    HasMany { keys: Vec<Bytes>, reply: Reply<Vec<bool>> },
    Page { request: PageRequest, reply: Reply<Page> },
}

/// Part of a range, for an iterator.
#[derive(Clone)]
pub(crate) struct PageRequest {
    pub(crate) range: KeyRange,
    pub(crate) reverse: bool,
    /// At most so many entries, at least one.
    pub(crate) want: usize,
    pub(crate) values: bool,
}

/// What an iterator gets.
pub(crate) struct Page {
    pub(crate) entries: Vec<Entry>,
    /// Nothing of the range is behind them.
    pub(crate) done: bool,
}

impl Command {
    /// Whether nobody waits for the answer.
    pub(crate) fn is_abandoned(&self) -> bool {
        match self {
            Self::Write { reply, .. } | Self::Clear { reply, .. } => reply.is_closed(),
            Self::Read(Read::Get { reply, .. }) => reply.is_closed(),
            Self::Read(Read::GetMany { reply, .. }) => reply.is_closed(),
            Self::Read(Read::HasMany { reply, .. }) => reply.is_closed(),
            Self::Read(Read::Page { reply, .. }) => reply.is_closed(),
        }
    }
}
