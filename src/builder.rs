//! How to open a shared database.

use crate::{Opener, RaveLevel, Result, RetryPolicy};
use rave_transport::Transport;
use std::{sync::Arc, time::Duration};

/// How to open a shared database: which store, which transport, what to do when a leader dies.
#[derive(Debug)]
pub struct Builder {
    pub(crate) opener: Arc<dyn Opener>,
    pub(crate) transport: Arc<dyn Transport>,
}

impl Builder {
    /// A database of any store and any transport.
    pub fn new(opener: impl Opener, transport: impl Transport) -> Self {
        Self { opener: Arc::new(opener), transport: Arc::new(transport) }
    }
    /// What becomes of operations in flight when the leader dies. Default: [`RetryPolicy::Always`].
    pub fn retry(self, _policy: RetryPolicy) -> Self {
        self
    }
    /// How long one operation may take in all; default: as long as it needs.
    pub fn operation_timeout(self, _timeout: Duration) -> Self {
        self
    }
    /// How long `open` waits for a leader or the lock; default 10 seconds.
    pub fn open_timeout(self, _timeout: Duration) -> Self {
        self
    }
    /// Refuse writes of this process and, while it leads, of its guests.
    pub fn read_only(self, _read_only: bool) -> Self {
        self
    }
    /// Opens: finds the leader, or becomes it.
    pub async fn open(self) -> Result<RaveLevel> {
        unimplemented!()
    }
}
