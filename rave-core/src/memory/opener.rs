//! A place in memory where a store can be locked, opened and closed again and again, like a directory of files.

use super::{Data, MemoryLevel};
use crate::{AbstractLevel, Error, LockAttempt, LockedStore, Opener, Result};
use async_trait::async_trait;
use std::{
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::watch;

/// Opens a store in the memory of this process, with a lock and with data that outlives its handles: elections and
/// failovers can be tested without files. Clones are the same place; another [`new`](Self::new) is another place.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use rave_core::{AbstractLevel, AbstractLevelExt, LockAttempt, MemoryOpener, Opener};
/// let place = MemoryOpener::new();
/// let LockAttempt::Acquired(locked) = place.try_lock().await? else { panic!("nobody else has it") };
/// let db = locked.open().await?;
/// db.put("a", "1").await?;
/// assert!(matches!(place.try_lock().await?, LockAttempt::Held { .. }));
/// db.close().await?;
///
/// let LockAttempt::Acquired(locked) = place.try_lock().await? else { panic!("it was closed") };
/// assert_eq!(locked.open().await?.get("a").await?.as_deref(), Some(&b"1"[..]));
/// # Ok::<(), rave_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct MemoryOpener(Arc<Place>);

struct Place {
    data: Arc<RwLock<Data>>,
    locked: AtomicBool,
    /// How many [`HeldOpening`]s there are.
    holds: watch::Sender<usize>,
}

impl Default for MemoryOpener {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryOpener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryOpener").field("locked", &self.0.locked).finish_non_exhaustive()
    }
}

impl MemoryOpener {
    /// A new, empty and unlocked place.
    pub fn new() -> Self {
        Self(Arc::new(Place { data: Arc::default(), locked: AtomicBool::new(false), holds: watch::Sender::new(0) }))
    }

    /// From now on every write and clear at this place fails with `error` and does nothing; `None` ends that. For tests
    /// of what happens when a store breaks.
    pub fn fail_writes(&self, error: Option<Error>) {
        self.0.data.write().unwrap_or_else(PoisonError::into_inner).fault = error;
    }

    /// Opening waits, with the lock held, until all guards are dropped: a recovery as slow as a test needs it.
    pub fn hold_opening(&self) -> HeldOpening {
        self.0.holds.send_modify(|holds| *holds += 1);
        HeldOpening(self.0.clone())
    }
}

/// Keeps a [`MemoryOpener`] from opening until it is dropped; see [`MemoryOpener::hold_opening`].
#[must_use = "dropping it lets the opening proceed"]
pub struct HeldOpening(Arc<Place>);

impl fmt::Debug for HeldOpening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeldOpening")
    }
}

impl Drop for HeldOpening {
    fn drop(&mut self) {
        self.0.holds.send_modify(|holds| *holds -= 1);
    }
}

/// The lock of a place; dropping it releases the place.
pub(super) struct PlaceLock(Arc<Place>);

impl Drop for PlaceLock {
    fn drop(&mut self) {
        self.0.locked.store(false, Ordering::Release);
    }
}

#[async_trait]
impl Opener for MemoryOpener {
    async fn try_lock(&self) -> Result<LockAttempt> {
        if self.0.locked.swap(true, Ordering::AcqRel) {
            return Ok(LockAttempt::Held { holder: Some(std::process::id()) });
        }
        Ok(LockAttempt::Acquired(Box::new(LockedMemory(PlaceLock(self.0.clone())))))
    }

    fn location(&self) -> String {
        "memory".into()
    }
}

struct LockedMemory(PlaceLock);

#[async_trait]
impl LockedStore for LockedMemory {
    async fn open(self: Box<Self>) -> Result<Arc<dyn AbstractLevel>> {
        let Self(lock) = *self;
        // The sender lives as long as the lock, so waiting cannot fail.
        let _ = lock.0.holds.subscribe().wait_for(|holds| *holds == 0).await;
        Ok(Arc::new(MemoryLevel::with(lock.0.data.clone(), Some(lock))))
    }
}
