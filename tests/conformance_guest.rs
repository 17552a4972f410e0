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
