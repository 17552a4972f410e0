//! Real TCP sockets: who may meet whom, and what strangers can do.

mod attacks;
mod credentials;
mod meeting;
mod pki;
#[cfg(target_os = "linux")]
mod users;

use rave_transport::{
    Access, Connect, Connection, Listener, TcpAddress, TcpTransport, TlsGuest, TlsHost, Token, Tokens, Transport,
};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(60);

/// A free port of this machine.
fn local() -> TcpTransport {
    TcpTransport::at(TcpAddress::new("127.0.0.1", 0))
}

/// Where a listening transport is.
fn address(transport: &TcpTransport) -> SocketAddr {
    transport.address().strip_prefix("tcp:").unwrap().parse().unwrap()
}

async fn connect(guest: &TcpTransport) -> rave_core::Result<Connect> {
    timeout(DEADLINE, guest.connect()).await.expect("connecting ends")
}

/// The error that a guest gets.
async fn refusal(guest: &TcpTransport) -> String {
    match connect(guest).await {
        Err(error) => error.to_string(),
        Ok(Connect::Connected(_)) => panic!("it was let in"),
        Ok(Connect::NobodyHome) => panic!("nobody is home"),
    }
}

async fn nobody_home(guest: &TcpTransport) -> bool {
    matches!(connect(guest).await.unwrap(), Connect::NobodyHome)
}

/// Both ends of a new connection.
async fn meet(guest: &TcpTransport, listener: &mut Box<dyn Listener>) -> (Connection, Connection) {
    let connecting = async {
        match guest.connect().await? {
            Connect::Connected(connection) => Ok(connection),
            Connect::NobodyHome => panic!("nobody home at {}", guest.address()),
        }
    };
    let both = async { tokio::try_join!(connecting, listener.accept()) };
    timeout(DEADLINE, both).await.expect("they meet").unwrap()
}

/// Checks that bytes pass in both directions and that the guest sees the end.
async fn talk((mut guest, mut host): (Connection, Connection)) {
    guest.writer.write_all(b"ping").await.unwrap();
    assert_eq!(host.reader.read_u32().await.unwrap().to_be_bytes(), *b"ping");
    host.writer.write_all(b"pong").await.unwrap();
    assert_eq!(guest.reader.read_u32().await.unwrap().to_be_bytes(), *b"pong");
    drop(host);
    let end = timeout(DEADLINE, guest.reader.read(&mut [0])).await.unwrap();
    assert_eq!(end.unwrap(), 0, "dropping ends it");
}

/// A host with TLS that wants a token, and a guest that has one.
struct Secured {
    authority: pki::Authority,
    token: Token,
    host: TcpTransport,
    guest: TcpTransport,
    listener: Box<dyn Listener>,
}

impl Secured {
    async fn start() -> Self {
        let authority = pki::Authority::new();
        let pair = authority.issue("host", &["127.0.0.1"]);
        let token = Token::generate().unwrap();
        let tokens = Tokens::new().with("alice", Access::ReadWrite, &token).unwrap();
        let host = local().tls_host(TlsHost::new(&pair.cert, &pair.key).unwrap()).tokens(tokens);
        let listener = host.listen().await.unwrap();
        let tls = TlsGuest::trusting(authority.ca()).unwrap();
        let guest = host.for_guests().tls_guest(tls).token(token.clone());
        Self { authority, token, host, guest, listener }
    }

    /// Whatever happened: who has a token is served.
    async fn still_serves(&mut self) {
        talk(meet(&self.guest, &mut self.listener).await).await;
    }
}
