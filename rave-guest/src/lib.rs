//! The guest's role: an [`AbstractLevel`](rave_core::AbstractLevel) over one connection at a time.
//!
//! | to … | look at |
//! | --- | --- |
//! | use a database over connections that somebody else makes | [`Guest`], [`GuestOptions`] |
//! | choose what a lost connection means | [`RetryPolicy`] |
//! | see the protocol's logic, without I/O | [`machine`] |
//!
//! A guest knows nothing of hosts' code, of elections and of locks. It can be promoted: then it serves the same
//! operations from a store in this process, in the same order.

mod driver;
mod guest;
mod iterator;
mod level;
pub mod machine;
mod operations;
mod ping;
mod policy;
mod promotion;
mod shared;
mod snapshot;

pub use driver::{Disconnect, LeaderInfo};
pub use guest::{Guest, GuestOptions};
pub use policy::RetryPolicy;
