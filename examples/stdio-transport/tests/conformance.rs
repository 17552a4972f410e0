//! The suite through a guest, over each transport; with and without a far end that is killed in the middle.

use rave_level::{AbstractLevel, Builder, MemoryLevel, conformance::Harness, remote::Host, transport::Transport};
use std::sync::Arc;
use stdio_transport::{Loopback, StdioTransport};

const FAR_END: &str = env!("CARGO_BIN_EXE_rave-stdio");

async fn over_stdio() -> Harness {
    let folder = tempfile::tempdir().unwrap();
    let transport = StdioTransport::new([FAR_END.as_ref(), folder.path().as_os_str()]);
    let guest = Builder::guest(transport).open_timeout(PATIENCE).open().await.unwrap();
    assert_eq!(guest.manifest().store, "leveldb");
    // What is permanent is the store over there.
    Harness::new(guest).keeping(folder).without_reopening()
}

async fn over_loopback() -> Harness {
    let folder = tempfile::tempdir().unwrap();
    let transport = Loopback::new(folder.path().join("port"));
    let host = Host::start(transport.listen().await.unwrap(), Default::default());
    host.serve(Arc::new(MemoryLevel::new()));
    Harness::new(Builder::guest(transport).open().await.unwrap()).keeping(folder).keeping(host)
}

rave_level::conformance!(stdio, over_stdio);
rave_level::conformance!(stdio_many_threads, over_stdio, multi_thread);
rave_level::conformance!(loopback, over_loopback);

/// How long a process may take on a busy machine.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

#[cfg(unix)]
mod killed {
    use super::*;
    use std::{fs, process::Command};

    /// The far end tells its process id in a file, and is killed by it.
    async fn over_stdio_with_kills() -> Harness {
        let folder = tempfile::tempdir().unwrap();
        let (db, pid) = (folder.path().join("db"), folder.path().join("pid"));
        let script = "echo $$ >\"$1\"; exec \"$2\" \"$3\"";
        let command = ["sh".as_ref(), "-c".as_ref(), script.as_ref(), "-".as_ref(), pid.as_os_str()];
        let command = command.into_iter().chain([FAR_END.as_ref(), db.as_os_str()]);
        let guest = Builder::guest(StdioTransport::new(command)).open_timeout(PATIENCE).open().await.unwrap();
        let kill = move || {
            let pid = fs::read_to_string(&pid).unwrap();
            let status = Command::new("kill").args(["-KILL", pid.trim()]).status().unwrap();
            assert!(status.success(), "the far end was gone already");
            async {}
        };
        Harness::new(guest).keeping(folder).without_reopening().disturbing(kill)
    }

    rave_level::conformance!(stdio, over_stdio_with_kills);
}
