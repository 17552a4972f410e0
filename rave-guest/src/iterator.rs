//! Iterators of a guest, over connections and promotions.

use crate::{
    Guest, RetryPolicy,
    machine::{SnapshotRef, Taken},
    operations::deadline_passed,
};
use async_trait::async_trait;
use rave_core::{Bytes, Code, Effect, Entry, Error, IteratorOptions, LevelIterator, Position, Result, resume_iterator};
use std::{sync::Arc, time::Duration};
use tokio::sync::Notify;

/// Goes on behind the last key delivered, wherever the data is at the moment.
pub(crate) struct GuestIterator {
    guest: Guest,
    id: u32,
    news: Arc<Notify>,
    options: IteratorOptions,
    /// What it reads. Once it is open, it needs that no longer; and it cannot be opened again.
    snapshot: Option<SnapshotRef>,
    /// After a promotion: the store's own iterator, and where it stands.
    local: Option<Local>,
    closed: bool,
}

struct Local {
    inner: Box<dyn LevelIterator>,
    position: Position,
    ended: bool,
}

impl GuestIterator {
    /// Opens the iterator. Returns once its view is fixed: when the store has opened it, here or at the leader.
    pub(crate) async fn open(guest: Guest, options: IteratorOptions, snapshot: Option<SnapshotRef>) -> Result<Self> {
        // The snapshot lives at least until the iterator is open.
        let held = options.snapshot.clone();
        let options = IteratorOptions { snapshot: None, ..options };
        let name = snapshot.as_ref().map(|snapshot| snapshot.id);
        let id = guest.shared.with(|state| state.machine.open_iterator(options.clone(), name, guest.retry()));
        let news = guest.waiter(id);
        let mut iterator = Self { guest, id, news, options, snapshot, local: None, closed: false };
        let timeout = iterator.guest.timeout();
        within(timeout, iterator.opened()).await?;
        if let Some(snapshot) = &mut iterator.snapshot {
            snapshot.local = None;
        }
        drop(held);
        Ok(iterator)
    }

    async fn opened(&mut self) -> Result<()> {
        loop {
            match self.go_local().await {
                Ok(true) => return Ok(()),
                Ok(false) if self.guest.shared.with(|state| state.machine.iterator_opened(self.id)) => return Ok(()),
                Ok(false) => self.news.notified().await,
                Err(error) => self.go_elsewhere(error).await?,
            }
        }
    }

    /// Makes sure that the store's own iterator is open if the store is in this process.
    async fn go_local(&mut self) -> Result<bool> {
        if self.guest.is_closed() {
            return Err(Error::not_open());
        }
        let Some(store) = self.guest.local()? else {
            self.leave_local();
            return Ok(false);
        };
        if self.local.is_none() {
            let position = self.guest.shared.with(|state| state.machine.position_to_resume(self.id))?;
            // What has arrived up to the end is delivered from there; the end is sticky.
            let Some(position) = position else { return Ok(false) };
            // Keys are the bookmarks, so the store's iterator always has them.
            let snapshot = SnapshotRef::local_of(self.snapshot.as_ref())?;
            let options = IteratorOptions { keys: true, snapshot, ..self.options.clone() };
            let inner = resume_iterator(&*store, options, position.clone()).await?;
            self.local = Some(Local { inner, position, ended: false });
            self.guest.shared.with(|state| state.machine.depart(self.id));
        }
        Ok(true)
    }

    fn leave_local(&mut self) {
        if let Some(local) = self.local.take() {
            self.guest.shared.with(|state| state.machine.reposition(self.id, local.position, local.ended));
        }
    }

    async fn fetch(&mut self, size: usize) -> Result<Vec<Entry>> {
        loop {
            if self.closed {
                return Err(closed());
            }
            match self.go_local().await {
                Ok(false) => {}
                Ok(true) => {
                    let Some(local) = &mut self.local else { continue };
                    // As after other operations in place; but here nothing may be lost in between.
                    tokio::task::consume_budget().await;
                    match local.inner.next_many(size).await {
                        Ok(mut entries) => {
                            if let Some(last) = entries.last() {
                                local.position.delivered += entries.len() as u64;
                                local.position.bookmark = Some(last.key.clone());
                                local.position.seek = None;
                            } else {
                                local.ended = true;
                            }
                            if !self.options.keys {
                                entries.iter_mut().for_each(|entry| entry.key = Bytes::new());
                            }
                            return Ok(entries);
                        }
                        Err(error) => self.go_elsewhere(error).await?,
                    }
                    continue;
                }
                Err(error) => {
                    self.go_elsewhere(error).await?;
                    continue;
                }
            }
            match self.guest.shared.with(|state| state.machine.take(self.id, size)) {
                Taken::Entries(entries) => return Ok(entries),
                Taken::End => return Ok(Vec::new()),
                Taken::Failed(error) => return Err(error),
                Taken::Wait => self.news.notified().await,
            }
        }
    }

    /// The store of this process failed with `error`. If that is because this process no longer leads, it is time to go on
    /// wherever the data is.
    async fn go_elsewhere(&mut self, error: Error) -> Result<()> {
        if error.code() != Code::DatabaseNotOpen || !self.guest.is_open() {
            return Err(error);
        }
        if self.guest.retry() == RetryPolicy::Never {
            // The handle is open; it is the leader that is gone.
            let message = "this process no longer leads, and its iterators ended with that";
            return Err(Error::new(Code::ConnectionLost, message));
        }
        self.leave_local();
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(())
    }

    async fn move_to(&mut self, target: Bytes) -> Result<()> {
        loop {
            let moved = match self.go_local().await {
                Ok(true) => match &mut self.local {
                    Some(local) => local.inner.seek(target.clone()).await,
                    None => continue,
                },
                Ok(false) => {
                    self.guest.shared.with(|state| state.machine.seek(self.id, target));
                    return Ok(());
                }
                Err(error) => Err(error),
            };
            match moved {
                Ok(()) => break,
                Err(error) => self.go_elsewhere(error).await?,
            }
        }
        if let Some(local) = &mut self.local {
            local.position.seek = Some(target);
            local.position.bookmark = None;
            local.ended = false;
        }
        Ok(())
    }
}

fn closed() -> Error {
    Error::new(Code::IteratorNotOpen, "the iterator is closed")
}

async fn within<R>(timeout: Option<Duration>, work: impl Future<Output = Result<R>>) -> Result<R> {
    match timeout {
        None => work.await,
        Some(timeout) => {
            tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| Err(deadline_passed(Effect::None)))
        }
    }
}

#[async_trait]
impl LevelIterator for GuestIterator {
    async fn next(&mut self) -> Result<Option<Entry>> {
        Ok(self.next_many(1).await?.pop())
    }

    async fn next_many(&mut self, size: usize) -> Result<Vec<Entry>> {
        let timeout = self.guest.timeout();
        within(timeout, self.fetch(size)).await
    }

    async fn seek(&mut self, target: Bytes) -> Result<()> {
        if self.closed {
            return Err(closed());
        }
        let timeout = self.guest.timeout();
        within(timeout, self.move_to(target)).await
    }

    async fn close(&mut self) -> Result<()> {
        if !std::mem::replace(&mut self.closed, true) {
            self.guest.forget_waiter(self.id);
            if let Some(mut local) = self.local.take() {
                local.inner.close().await?;
            }
        }
        Ok(())
    }
}

impl Drop for GuestIterator {
    fn drop(&mut self) {
        if !self.closed {
            self.guest.forget_waiter(self.id);
        }
    }
}
