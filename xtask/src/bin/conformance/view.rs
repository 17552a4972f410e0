//! The ways to a store.

use clap::ValueEnum;

/// How the suite reaches the store: a row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum View {
    /// The store itself.
    Direct,
    /// A part of it, between other entries.
    Sublevel,
    /// Through keys in hexadecimal and values in Base64.
    Typed,
    /// A guest of a host in this process, over the transport in memory.
    OverMemory,
    /// … over a local socket.
    OverIpc,
    /// … over TCP, between processes of one user on one machine.
    OverTcp,
    /// … over TCP with TLS and a token, as between machines.
    OverTls,
    /// … over stdin and stdout of a child process, as `docs/custom-transport.md` builds it.
    OverStdio,
    /// A shared handle that leads.
    FacadeLeader,
    /// A shared handle that follows another one.
    FacadeGuest,
    /// A shared handle that has lost one leader before the case, and loses the next in its midst and leads itself.
    FacadeFailover,
}
