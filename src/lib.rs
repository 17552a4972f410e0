//! One embedded ordered key-value database, opened by any number of processes at once, with seamless failover.

mod builder;
mod level;
mod role;

pub use builder::Builder;
pub use level::RaveLevel;
pub use role::{LeaderStatus, Role};

pub use rave_core::*;
pub use rave_guest::RetryPolicy;
#[cfg(feature = "leveldb")]
pub use rave_leveldb as leveldb;
pub use rave_transport as transport;
