//! How processes reach each other: transports and the wire protocol of rave-level.
//!
//! | to … | look at |
//! | --- | --- |
//! | reach or host a meeting point | [`Transport`], [`Listener`], [`Connection`], [`Connect`] |
//! | meet over a local socket | [`IpcTransport`] (feature `ipc`) |
//! | name a meeting point in text | [`Address`] |
//! | meet inside one process, with faults | [`MemoryTransport`] (feature `memory`) |
//! | speak the protocol | [`wire`] |

mod address;
#[cfg(feature = "ipc")]
mod ipc;
#[cfg(feature = "memory")]
mod memory;
mod transport;
pub mod wire;

pub use address::Address;
#[cfg(feature = "ipc")]
pub use ipc::IpcTransport;
#[cfg(feature = "memory")]
pub use memory::{Faults, MemoryTransport};
pub use rave_core::PeerIdentity;
pub use transport::{Connect, Connection, Listener, Transport};
