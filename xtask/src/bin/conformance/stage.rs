//! What a view sets up around a database, and the views of one process alone.

use crate::{
    facade::{Failover, Follower, Leader},
    hosted::Hosted,
    store::Database,
    typed::Typed,
    view::View,
};
use anyhow::Result;
use async_trait::async_trait;
use rave_level::{AbstractLevel, AbstractLevelExt, conformance::Harness};
use std::sync::Arc;
use tokio::sync::Mutex;

/// Everything around the level under test.
#[async_trait]
pub trait Stage: Send + 'static {
    /// Opens the level under test. If there was one before, it was closed: then everything around it ends too, in good
    /// order, and begins anew, so that what was written can only come from the store.
    async fn open(&mut self) -> Result<Arc<dyn AbstractLevel>>;

    /// Does what the level under test must not notice.
    async fn disturb(&mut self) {}
}

/// A harness of the database behind the view.
pub async fn harness(view: View, database: Database) -> Result<Harness> {
    match view {
        View::Direct => on(Direct(database)).await,
        View::Sublevel => on(Within { database, whole: None }).await,
        View::Typed => on(ThroughTyped(database)).await,
        View::OverMemory => on(Hosted::over_memory(database)).await,
        View::OverIpc => on(Hosted::over_ipc(database)?).await,
        View::OverTcp => on(Hosted::over_tcp(database)).await,
        View::OverTls => on(Hosted::over_tls(database)?).await,
        View::OverStdio => on(Hosted::over_stdio(database)?).await,
        View::FacadeLeader => on(Leader(database)).await,
        View::FacadeGuest => on(Follower::new(database)).await,
        View::FacadeFailover => on(Failover::new(database)).await,
    }
}

async fn on(mut stage: impl Stage) -> Result<Harness> {
    let level = stage.open().await?;
    let stage = Arc::new(Mutex::new(stage));
    let reopened = stage.clone();
    let reopen = move || {
        let stage = reopened.clone();
        async move { stage.lock().await.open().await.unwrap_or_else(|error| panic!("opening again: {error:#}")) }
    };
    let disturb = move || {
        let stage = stage.clone();
        async move { stage.lock().await.disturb().await }
    };
    Ok(Harness::new(level).reopening(reopen).disturbing(disturb))
}

/// The store itself.
struct Direct(Database);

#[async_trait]
impl Stage for Direct {
    async fn open(&mut self) -> Result<Arc<dyn AbstractLevel>> {
        self.0.open().await
    }
}

/// A sublevel.
struct Within {
    database: Database,
    whole: Option<Arc<dyn AbstractLevel>>,
}

#[async_trait]
impl Stage for Within {
    async fn open(&mut self) -> Result<Arc<dyn AbstractLevel>> {
        if let Some(whole) = self.whole.take() {
            whole.close().await?;
        }
        let whole = self.database.open().await?;
        // Around the sublevel's keys, so that a wrong bound shows.
        whole.put("!par", "before").await?;
        whole.put("!part\"", "behind").await?;
        let part = whole.sublevel("part")?;
        self.whole = Some(whole);
        Ok(Arc::new(part))
    }
}

/// A typed view.
struct ThroughTyped(Database);

#[async_trait]
impl Stage for ThroughTyped {
    async fn open(&mut self) -> Result<Arc<dyn AbstractLevel>> {
        Ok(Arc::new(Typed::new(self.0.open().await?)))
    }
}
