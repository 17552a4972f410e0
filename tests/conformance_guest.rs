//! The conformance suite through a plain guest and a plain host, over each transport.

use rave_core::{MemoryLevel, conformance::Harness};
use rave_level::{
    AbstractLevel, Builder,
    remote::{Host, HostOptions},
    transport::{MemoryTransport, Transport},
};
use std::sync::Arc;

async fn over(transport: impl Transport + Clone) -> Harness {
    let store = MemoryLevel::new();
    let host = Host::start(transport.listen().await.unwrap(), HostOptions::default());
    host.serve(Arc::new(store));
    let guest = Builder::guest(transport).open().await.unwrap();
    assert_eq!(guest.manifest().store, "memory");
    Harness::new(guest).keeping(host).without_reopening()
}

async fn over_memory() -> Harness {
    over(MemoryTransport::new()).await
}

async fn with_a_hook() -> Harness {
    // A hook keeps the host from merging writes: the other way through its machine.
    #[derive(Debug)]
    struct Lets;
    impl rave_level::WriteHook for Lets {
        fn before(&self, _: rave_level::HostWrite<'_>) -> rave_level::Result<()> {
            Ok(())
        }
        fn after(&self, _: rave_level::HostWrite<'_>) {}
    }
    let transport = MemoryTransport::new();
    let options = HostOptions { hook: Some(Arc::new(Lets)), ..HostOptions::default() };
    let host = Host::start(transport.listen().await.unwrap(), options);
    host.serve(Arc::new(MemoryLevel::new()));
    Harness::new(Builder::guest(transport).open().await.unwrap()).keeping(host)
}

rave_core::conformance!(guest_over_memory, over_memory);
rave_core::conformance!(guest_over_memory_many_threads, over_memory, multi_thread);
rave_core::conformance!(guest_of_a_host_with_a_hook, with_a_hook);

#[cfg(all(unix, feature = "ipc"))]
mod ipc {
    use super::*;

    async fn over_ipc() -> Harness {
        let directory = tempfile::tempdir().unwrap();
        let transport = rave_level::transport::IpcTransport::for_directory(directory.path()).unwrap();
        over(transport).await.keeping(directory)
    }

    rave_core::conformance!(guest_over_ipc, over_ipc);
}

#[cfg(feature = "tcp")]
mod tcp {
    use super::*;
    use rave_level::transport::{Access, TcpAddress, TcpTransport, Token, Tokens};

    async fn over_tcp() -> Harness {
        // With a token, so that it works where the system does not tell whose sockets are.
        let token = Token::generate().unwrap();
        let tokens = Tokens::new().with("guest", Access::ReadWrite, &token).unwrap();
        over(TcpTransport::at(TcpAddress::new("127.0.0.1", 0)).tokens(tokens).token(token)).await
    }

    rave_core::conformance!(guest_over_tcp, over_tcp);
}

#[cfg(feature = "tls")]
#[path = "../rave-transport/tests/tcp/pki.rs"]
mod pki;

#[cfg(feature = "tls")]
mod tls {
    use super::*;
    use rave_level::transport::{TcpAddress, TcpTransport, TlsGuest, TlsHost};

    async fn over_tls() -> Harness {
        let authority = pki::Authority::new();
        let (host, guest) = (authority.issue("host", &["127.0.0.1"]), authority.issue("guest", &[]));
        let transport = TcpTransport::at(TcpAddress::new("127.0.0.1", 0))
            .tls_host(TlsHost::new(host.cert, host.key).unwrap().client_ca(authority.ca()).unwrap())
            .tls_guest(TlsGuest::trusting(authority.ca()).unwrap().certificate(guest.cert, guest.key).unwrap());
        over(transport).await
    }

    rave_core::conformance!(guest_over_tls, over_tls);
}
