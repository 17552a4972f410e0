//! A guest whose process leads from now on: its operations go to the store in this process.

use crate::{
    Guest,
    machine::Drained,
    operations::{execute, gave_back},
    shared::{Answer, Promoting, Route},
};
use futures::{StreamExt, stream::FuturesUnordered};
use rave_core::{AbstractLevel, Effect, Error, Manifest, Status};
use rave_transport::wire::message::SessionState;
use std::sync::Arc;

impl Guest {
    /// From now on, serve from `store`. What was on its way is applied to it first, in order; it returns when that is
    /// done. `state` tells how far lost leaders got with the writes of this handle's session, if that is known: these are
    /// not applied again.
    ///
    /// Requires: no connection is running.
    pub async fn promote(&self, store: Arc<dyn AbstractLevel>, state: Option<SessionState>) {
        self.shared.nothing_in_place().await;
        self.shared.with(|shared| shared.machine.resume(state.as_ref()));
        let mut promoting = None;
        let mut applying = FuturesUnordered::new();
        // What a store that closes gives back waits for the next one.
        while store.status() == Status::Open {
            let queued = self.shared.with(|shared| {
                let queued = shared.machine.drain();
                shared.promoting |= !queued.is_empty();
                if queued.is_empty() {
                    // Under the same lock: nothing can slip in between the last queued operation and the first direct one.
                    shared.manifest = Manifest { exactly_once: state.is_some(), ..store.manifest() };
                    shared.route = Route::Local(store.clone());
                    shared.machine.wake_iterators();
                }
                queued
            });
            if queued.is_empty() {
                break;
            }
            let first = promoting.is_none();
            promoting.get_or_insert_with(|| Promoting(&self.shared));
            for drained in queued {
                let mut applied = Box::pin(self.apply(&*store, drained));
                if first {
                    applied.await;
                } else if futures::poll!(&mut applied).is_pending() {
                    // The first poll has fixed the order. Waiting for the outcomes here too would never end under load:
                    // each answer brings the next operation.
                    applying.push(applied);
                }
            }
        }
        while applying.next().await.is_some() {}
        drop(promoting);
    }

    /// Does an operation that waited for a leader. If the store closes before it is done, it waits for the next one.
    async fn apply(&self, store: &dyn AbstractLevel, drained: Drained<Answer>) {
        let result = execute(store, drained.operation.clone()).await;
        let mut drained = Some(drained);
        if result.as_ref().is_err_and(gave_back) {
            self.shared.with(|state| {
                if state.status != Status::Closed {
                    drained.take().map(|drained| state.machine.resubmit(drained));
                }
            });
        }
        let Some(Drained { token, uncertain, .. }) = drained else { return };
        let judge = |error: Error| if uncertain { error.with_effect(Effect::Unknown) } else { error };
        let _ = token.send(result.map_err(judge));
    }

    /// The store of the promotion is gone: operations wait for a connection or another promotion.
    pub fn demote(&self) {
        self.shared.with(|state| {
            state.route = Route::Remote;
            state.machine.forget_snapshots();
            state.machine.wake_iterators();
        });
    }
}
