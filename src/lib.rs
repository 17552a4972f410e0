//! One embedded ordered key-value database, opened by any number of processes at once, with seamless failover.
//!
//! The first process to take the store's lock leads and hosts the database; the others are guests over a local socket.
//! Kill any of them and another takes over; pending operations finish, iterators go on behind their last key.
//!
//! ```no_run
//! # async fn example() -> rave_level::Result<()> {
//! use rave_level::{AbstractLevel, AbstractLevelExt, KeyRange, RaveLevel};
//!
//! let db = RaveLevel::open("./db").await?;
//! db.put("hello", "world").await?;
//! for entry in db.all(KeyRange::prefix("h")).await? {
//!     println!("{:?} = {:?}", entry.key, entry.value);
//! }
//! db.close().await
//! # }
//! ```
//!
//! | to … | look at |
//! | --- | --- |
//! | open a shared database | [`RaveLevel`], [`Builder`] |
//! | leave store and place to the configuration | [`Location`], [`RaveLevel::at`] |
//! | read and write | [`AbstractLevelExt`], [`Batch`], [`KeyRange`], [`LevelIterator`], [`Sublevel`], [`TypedLevel`] |
//! | know who leads | [`Role`], [`LeaderStatus`], [`Event`] |
//! | decide what a lost leader means | [`RetryPolicy`], [`Builder::operation_timeout`], [`Effect`] |
//! | refuse or observe writes | [`Builder::hook`], [`WriteHook`] |
//! | host a store, or reach one, without an election | [`remote::Server`], [`Builder::guest`] |
//! | bring another store or transport | [`Opener`], [`transport::Transport`], [`Builder::new`] |
//! | prove a store | the module `conformance` (feature `testing`) |

// What a feature brings is not there to be linked to without it.
#![cfg_attr(
    not(all(
        feature = "ipc",
        feature = "json",
        feature = "leveldb",
        feature = "memory",
        feature = "sled",
        feature = "testing",
        feature = "tls"
    )),
    allow(rustdoc::broken_intra_doc_links)
)]

mod builder;
mod driver;
mod election;
mod level;
mod location;
mod role;
mod server;

pub use builder::Builder;
pub use level::RaveLevel;
pub use location::Location;
pub use role::{LeaderStatus, Role};

pub use rave_core::*;
pub use rave_guest::RetryPolicy;
pub use rave_host::{HostWrite, WriteHook};
#[cfg(feature = "leveldb")]
pub use rave_leveldb as leveldb;
#[cfg(feature = "sled")]
pub use rave_sled as sled;
pub use rave_transport as transport;

pub mod remote {
    //! The two roles without an election, for processes that know which one they play.
    //!
    //! [`Server`] hosts a store; [`RaveLevel::connect`](crate::RaveLevel::connect) and
    //! [`Builder::guest`](crate::Builder::guest) reach one. [`Host`] and [`Guest`] are what both are made of.
    pub use crate::server::Server;
    pub use rave_guest::{Guest, GuestOptions};
    pub use rave_host::{Host, HostOptions, HostStats, Rate, SublevelPath};
}
