//! What part a process plays.

use std::time::Duration;

/// The part this process plays at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It holds the lock and hosts the database.
    Leader,
    /// It reaches the database through a leader.
    Guest {
        /// The leader's process, where the transport tells.
        leader_pid: Option<u32>,
    },
    /// There is no leader at the moment; a new one is being found.
    Electing,
}

/// How the leader fares, as told by [`RaveLevel::leader_status`](crate::RaveLevel::leader_status).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaderStatus {
    /// Its process, where known.
    pub pid: Option<u32>,
    /// Connected guests.
    pub guests: u64,
    /// Requests served to guests since it leads.
    pub operations: u64,
    /// How long it has led.
    pub leading: Duration,
    /// What the store is called.
    pub store: String,
}
