//! How processes reach each other: transports and the wire protocol of rave-level.
//!
//! | to … | look at |
//! | --- | --- |
//! | reach or host a meeting point | [`Transport`], [`Listener`], [`Connection`], [`Connect`] |
//! | meet over a local socket | [`IpcTransport`] (feature `ipc`) |
//! | meet over TCP | [`TcpTransport`] (feature `tcp`), [`Token`], [`Tokens`]; [`TlsHost`], [`TlsGuest`] (feature `tls`) |
//! | name a meeting point in text | [`Address`] |
//! | meet inside one process, with faults | [`MemoryTransport`] (feature `memory`) |
//! | speak the protocol | [`wire`] |

// What a feature brings is not there to be linked to without it.
#![cfg_attr(not(all(feature = "ipc", feature = "memory", feature = "tls")), allow(rustdoc::broken_intra_doc_links))]

mod address;
#[cfg(feature = "ipc")]
mod ipc;
#[cfg(feature = "memory")]
mod memory;
#[cfg(feature = "tcp")]
mod tcp;
mod transport;
pub mod wire;

pub use address::Address;
#[cfg(feature = "ipc")]
pub use ipc::IpcTransport;
#[cfg(feature = "memory")]
pub use memory::{Faults, MemoryTransport};
pub use rave_core::PeerIdentity;
#[cfg(feature = "tcp")]
pub use tcp::{Access, TcpAddress, TcpTransport, Token, Tokens};
#[cfg(feature = "tls")]
pub use tcp::{TlsGuest, TlsHost};
pub use transport::{Connect, Connection, Listener, Transport};
