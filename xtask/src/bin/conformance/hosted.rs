//! A guest of a host, over each transport.

use crate::{part::Part, stage::Stage, store::Database};
use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use rave_level::{
    AbstractLevel, Builder,
    remote::Server,
    transport::{MemoryTransport, Transport},
};
use std::{sync::Arc, time::Duration};
use stdio_transport::StdioTransport;

/// A database that a server of this process hosts, and a guest of it.
pub struct Hosted {
    database: Database,
    /// Where the server listens.
    listening: Part<dyn Transport>,
    /// How the guest gets there.
    connecting: Part<dyn Transport>,
    server: Option<Server>,
}

impl Hosted {
    fn new(database: Database, transport: impl Transport + Clone) -> Self {
        let (listening, connecting) = (Part(Arc::new(transport.clone()) as _), Part(Arc::new(transport) as _));
        Self { database, listening, connecting, server: None }
    }

    /// Inside this process.
    pub fn over_memory(database: Database) -> Self {
        Self::new(database, MemoryTransport::new())
    }

    /// Over a local socket.
    pub fn over_ipc(database: Database) -> Result<Self> {
        let socket = database.socket()?;
        Ok(Self::new(database, socket))
    }

    /// Over stdin and stdout of the relay, which reaches the server by its local socket, whatever the server's store.
    pub fn over_stdio(database: Database) -> Result<Self> {
        let name = format!("rave-stdio{}", std::env::consts::EXE_SUFFIX);
        let relay = std::env::current_exe().context("the folder of this program")?.with_file_name(name);
        ensure!(relay.exists(), "{} does not exist; `cargo xtask conformance` builds it", relay.display());
        let command = [relay.into_os_string(), database.path.clone().into_os_string()];
        let connecting = Part(Arc::new(StdioTransport::new(command)) as _);
        Ok(Self { connecting, ..Self::over_ipc(database)? })
    }
}

#[async_trait]
impl Stage for Hosted {
    async fn open(&mut self) -> Result<Arc<dyn AbstractLevel>> {
        if let Some(server) = self.server.take() {
            // The relay is a guest too, and would inherit.
            while server.stats().guests > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            server.shutdown().await?;
        }
        self.server = Some(Server::start(&self.database.opener, &self.listening, Default::default()).await?);
        Ok(Arc::new(Builder::guest(self.connecting.clone()).open().await?))
    }
}
