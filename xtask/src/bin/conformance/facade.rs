//! Shared handles, which elect their leader over the default transport.

use crate::{stage::Stage, store::Database};
use anyhow::{Result, ensure};
use async_trait::async_trait;
use rave_level::{AbstractLevel, AbstractLevelExt, Builder, LockAttempt, Opener, RaveLevel, Role};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

async fn share(database: &Database) -> Result<RaveLevel> {
    Ok(Builder::new(database.opener.clone(), database.socket()?).open().await?)
}

/// Waits until the handle has this role; the deadline is the case's.
async fn until(level: &RaveLevel, role: impl Fn(Role) -> bool) {
    while !role(level.role()) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn leads(role: Role) -> bool {
    role == Role::Leader
}

fn follows(role: Role) -> bool {
    matches!(role, Role::Guest { .. })
}

/// A handle that leads.
pub struct Leader(pub Database);

#[async_trait]
impl Stage for Leader {
    async fn open(&mut self) -> Result<Arc<dyn AbstractLevel>> {
        let level = share(&self.0).await?;
        ensure!(leads(level.role()), "the only handle is {:?}", level.role());
        Ok(Arc::new(level))
    }
}

/// A handle that follows another one.
pub struct Follower {
    database: Database,
    leader: Option<RaveLevel>,
}

impl Follower {
    pub fn new(database: Database) -> Self {
        Self { database, leader: None }
    }
}

#[async_trait]
impl Stage for Follower {
    async fn open(&mut self) -> Result<Arc<dyn AbstractLevel>> {
        if let Some(leader) = self.leader.take() {
            leader.close().await?;
        }
        self.leader = Some(share(&self.database).await?);
        let level = share(&self.database).await?;
        ensure!(follows(level.role()), "the second handle is {:?}", level.role());
        Ok(Arc::new(level))
    }
}

/// A handle that has been through a failover when the case begins, as a guest of the first leader and then of its heir. In
/// the midst of the case the heir goes too, and the handle under test is promoted. Leaders go without a word, as those that
/// are killed do.
pub struct Failover {
    database: Database,
    heir: Option<RaveLevel>,
    level: Option<RaveLevel>,
}

impl Failover {
    pub fn new(database: Database) -> Self {
        Self { database, heir: None, level: None }
    }
}

#[async_trait]
impl Stage for Failover {
    async fn open(&mut self) -> Result<Arc<dyn AbstractLevel>> {
        if let Some(heir) = self.heir.take() {
            heir.close().await?;
        }
        let first = share(&self.database).await?;
        let may_lead = Arc::new(AtomicBool::new(false));
        let opener = LaterLeader { database: self.database.clone(), may_lead: may_lead.clone() };
        let level = Builder::new(opener, self.database.socket()?).open().await?;
        let heir = share(&self.database).await?;
        ensure!(leads(first.role()) && follows(level.role()) && follows(heir.role()), "the first handle does not lead");
        drop(first);
        until(&heir, leads).await;
        // Answered by the heir: there is nobody else.
        level.get("").await?;
        until(&level, follows).await;
        may_lead.store(true, Ordering::Release);
        self.heir = Some(heir);
        self.level = Some(level.clone());
        Ok(Arc::new(level))
    }

    async fn disturb(&mut self) {
        if let (Some(heir), Some(level)) = (self.heir.take(), &self.level) {
            drop(heir);
            until(level, leads).await;
        }
    }
}

/// Finds the lock taken until it may lead, so that it is certain who inherits.
#[derive(Debug)]
struct LaterLeader {
    database: Database,
    may_lead: Arc<AtomicBool>,
}

#[async_trait]
impl Opener for LaterLeader {
    async fn try_lock(&self) -> rave_level::Result<LockAttempt> {
        if self.may_lead.load(Ordering::Acquire) {
            self.database.opener.try_lock().await
        } else {
            Ok(LockAttempt::Held { holder: None })
        }
    }

    fn location(&self) -> String {
        self.database.opener.location()
    }
}
