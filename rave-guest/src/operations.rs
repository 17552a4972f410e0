//! One operation from its submission to its end, wherever the data is.

use crate::{
    Guest,
    machine::{Drained, Operation, Reply, SnapshotRef},
    shared::{InPlace, Route, Shared},
};
use rave_core::{AbstractLevel, ClearOptions, Code, Effect, Error, Result, Status, WriteOptions};
use std::{future::Future, sync::Arc};
use tokio::sync::oneshot;

impl Guest {
    /// Runs `operation` wherever the data is.
    pub(crate) async fn run_operation(&self, operation: Operation) -> Result<Reply> {
        let deadline = self.timeout().map(|timeout| tokio::time::Instant::now() + timeout);
        let shared = &*self.shared;
        let in_place = {
            let mut state = shared.lock();
            Self::check_open(&state)?;
            match &state.route {
                Route::Local(store) => Some((store.clone(), InPlace::new(shared), state.machine.reserve())),
                Route::Remote => None,
            }
        };
        let Some((store, in_place, number)) = in_place else { return self.perform(operation, None, deadline).await };
        match local(&*store, operation.clone(), deadline).await {
            // This process stopped leading in this very moment, and nothing was applied: the next leader will do it.
            Err(error) if gave_back(&error) => self.perform(operation, Some((number, in_place)), deadline).await,
            result => {
                drop(in_place);
                // What is answered in place waits for nothing. A user who asks again and again must not keep the runtime
                // from what it does for guests and for the election. Not before the operation, which would lose its turn.
                tokio::task::consume_budget().await;
                result
            }
        }
    }

    /// Runs `operation` through the machine; in its old place, if it was under way in a store that closed.
    async fn perform(
        &self,
        operation: Operation,
        earlier: Option<(u64, InPlace<'_>)>,
        deadline: Option<tokio::time::Instant>,
    ) -> Result<Reply> {
        let shared = &*self.shared;
        let is_write = operation.is_write();
        let (answer, answered) = oneshot::channel();
        enum Submitted {
            Remote(u64),
            Local(Arc<dyn AbstractLevel>, Box<Operation>),
        }
        let submitted = shared.with(|state| {
            // What was accepted is finished, also while closing.
            if earlier.is_none() || state.status == Status::Closed {
                Self::check_open(state)?;
            }
            Ok(match (&state.route, &earlier) {
                (Route::Local(store), _) => Submitted::Local(store.clone(), Box::new(operation)),
                (Route::Remote, Some((number, _))) => {
                    let (number, policy) = (*number, self.retry());
                    let drained = Drained { number, operation, policy, token: answer, uncertain: false };
                    Submitted::Remote(state.machine.resubmit(drained))
                }
                (Route::Remote, None) => Submitted::Remote(state.machine.submit(operation, self.retry(), answer)),
            })
        })?;
        drop(earlier);
        let number = match submitted {
            Submitted::Local(store, operation) => return local(&*store, *operation, deadline).await,
            Submitted::Remote(number) => number,
        };
        let mut waiting = Waiting { shared, number: Some(number) };
        match until(deadline, answered).await {
            Some(result) => {
                waiting.completed();
                result.unwrap_or_else(|_| Err(Error::not_open().with_effect(unknown_if(is_write))))
            }
            // None: it completed in the very moment, or is being applied by a promotion.
            None => Err(deadline_passed(waiting.give_up().unwrap_or_else(|| unknown_if(is_write)))),
        }
    }
}

/// Takes an operation out of the machine when nobody waits for it any more, also because the future was dropped.
struct Waiting<'a> {
    shared: &'a Shared,
    /// `None` once it has completed.
    number: Option<u64>,
}

impl Waiting<'_> {
    fn completed(&mut self) {
        self.number = None;
    }

    fn abandon(&mut self) -> Option<Effect> {
        let number = self.number.take()?;
        self.shared.with(|state| state.machine.abandon(number)).map(|(_, effect)| effect)
    }

    /// Its deadline has passed.
    fn give_up(&mut self) -> Option<Effect> {
        let number = self.number.take()?;
        self.shared.with(|state| state.machine.give_up(number)).map(|(_, effect)| effect)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.abandon();
    }
}

/// Whether a store closed before it did anything of the operation.
pub(crate) fn gave_back(error: &Error) -> bool {
    error.code() == Code::DatabaseNotOpen && error.effect() == Effect::None
}

fn unknown_if(write: bool) -> Effect {
    if write { Effect::Unknown } else { Effect::None }
}

async fn until<F: Future>(deadline: Option<tokio::time::Instant>, future: F) -> Option<F::Output> {
    match deadline {
        None => Some(future.await),
        Some(deadline) => tokio::time::timeout_at(deadline, future).await.ok(),
    }
}

pub(crate) fn deadline_passed(effect: Effect) -> Error {
    Error::new(Code::Aborted, "the operation's deadline passed before the leader answered").with_effect(effect)
}

pub(crate) fn unexpected() -> Error {
    Error::new(Code::Remote, "the leader's answer does not fit the request")
}

async fn local(
    store: &dyn AbstractLevel,
    operation: Operation,
    deadline: Option<tokio::time::Instant>,
) -> Result<Reply> {
    let effect = unknown_if(operation.is_write());
    until(deadline, execute(store, operation)).await.unwrap_or_else(|| Err(deadline_passed(effect)))
}

pub(crate) async fn execute(store: &dyn AbstractLevel, operation: Operation) -> Result<Reply> {
    match operation {
        Operation::Get { key, snapshot } => {
            Ok(Reply::Value(store.get_opts(key, SnapshotRef::read(snapshot.as_ref())?).await?))
        }
        Operation::GetMany { keys, snapshot } => {
            Ok(Reply::Values(store.get_many_opts(keys, SnapshotRef::read(snapshot.as_ref())?).await?))
        }
        Operation::HasMany { keys, snapshot } => {
            Ok(Reply::Existing(store.has_many_opts(keys, SnapshotRef::read(snapshot.as_ref())?).await?))
        }
        Operation::Snapshot(_) => Ok(Reply::Snapshot(store.snapshot().await?)),
        Operation::Write { batch, sync } => {
            store.write_opts(batch, WriteOptions { sync }).await?;
            Ok(Reply::Done)
        }
        Operation::Clear { options, snapshot } => {
            let snapshot = SnapshotRef::local_of(snapshot.as_ref())?;
            store.clear_opts(ClearOptions { snapshot, ..options }).await?;
            Ok(Reply::Done)
        }
        Operation::Status => Err(Error::not_supported("asking this process for a leader: it leads itself;")),
    }
}
