//! The leader's role: one [`AbstractLevel`](rave_core::AbstractLevel) served to many connections.
//!
//! | to … | look at |
//! | --- | --- |
//! | serve a store | [`Host`], [`HostOptions`] |
//! | refuse or observe writes | [`WriteHook`], [`GuardedLevel`] |
//! | say what guests may have | [`SublevelPath`], [`Rate`], and the rest of [`HostOptions`] |
//! | see the protocol's logic, without I/O | [`machine`] |
//!
//! A host knows nothing of guests' code, of elections and of locks.

mod complaints;
mod exposure;
mod farewell;
mod guard;
mod host;
pub mod machine;
mod many;
mod oversized;
mod presence;
mod rate;
mod serve;
mod sessions;
mod snapshots;

pub use exposure::SublevelPath;
pub use guard::{GuardedLevel, HostWrite, WriteHook};
pub use host::{Host, HostOptions, HostStats};
pub use rate::Rate;
