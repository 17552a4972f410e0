//! A guest of a host, over each transport.

use crate::{part::Part, stage::Stage, store::Database};
use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use rave_level::{
    AbstractLevel, Builder,
    remote::Server,
    transport::{Access, MemoryTransport, TcpAddress, TcpTransport, TlsGuest, TlsHost, Token, Tokens, Transport},
};
use std::{fs, io, path::Path, sync::Arc, time::Duration};
use stdio_transport::StdioTransport;

const LOCALHOST: &str = "localhost";

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
    fn new(database: Database, listening: impl Transport, connecting: impl Transport) -> Self {
        let (listening, connecting) = (Part(Arc::new(listening) as _), Part(Arc::new(connecting) as _));
        Self { database, listening, connecting, server: None }
    }

    /// Inside this process.
    pub fn over_memory(database: Database) -> Self {
        let transport = MemoryTransport::new();
        Self::new(database, transport.clone(), transport)
    }

    /// Over a local socket.
    pub fn over_ipc(database: Database) -> Result<Self> {
        let socket = database.socket()?;
        Ok(Self::new(database, socket.clone(), socket))
    }

    /// Over a port of this machine.
    pub fn over_tcp(database: Database) -> Self {
        let transport = TcpTransport::at(TcpAddress::new(LOCALHOST, 0));
        Self::new(database, transport.clone(), transport)
    }

    /// The same with all that other machines would need.
    pub fn over_tls(database: Database) -> Result<Self> {
        let made = rcgen::generate_simple_self_signed([LOCALHOST.to_owned()]).context("a certificate")?;
        let (certificate, key) = (database.beside("cert.pem"), database.beside("key.pem"));
        fs::write(&certificate, made.cert.pem())?;
        write_private(&key, &made.signing_key.serialize_pem())?;
        let token = Token::generate()?;
        let tokens = Tokens::new().with("guest", Access::ReadWrite, &token)?;
        let port = TcpTransport::at(TcpAddress::new(LOCALHOST, 0));
        let host = port.clone().tls_host(TlsHost::new(&certificate, &key)?).tokens(tokens);
        let guest = port.for_guests().tls_guest(TlsGuest::trusting(&certificate)?).token(token);
        Ok(Self::new(database, host, guest))
    }

    /// Over stdin and stdout of the relay, which reaches the server by its local socket, whatever the server's store.
    pub fn over_stdio(database: Database) -> Result<Self> {
        let name = format!("rave-stdio{}", std::env::consts::EXE_SUFFIX);
        let relay = std::env::current_exe().context("the folder of this program")?.with_file_name(name);
        ensure!(relay.exists(), "{} does not exist; `cargo xtask conformance` builds it", relay.display());
        let command = [relay.into_os_string(), database.path.clone().into_os_string()];
        let socket = database.socket()?;
        Ok(Self::new(database, socket, StdioTransport::new(command)))
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

/// Writes a file that nobody else can read.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    io::Write::write_all(&mut options.open(path)?, text.as_bytes())
}
