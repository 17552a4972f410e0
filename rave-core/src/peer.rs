//! Who is at the other end of a connection.

use crate::process_name;
use std::{fmt, sync::Arc};

/// Who is at the other end of a connection, as far as the transport tells, and what they may do there.
///
/// ```
/// use rave_core::PeerIdentity;
/// assert_eq!(PeerIdentity::of_process(Some(4711)).to_string(), "process 4711");
/// let mut peer = PeerIdentity::default();
/// peer.address = Some("192.0.2.7:50123".into());
/// peer.name = Some("backup".into());
/// assert_eq!(peer.to_string(), "\"backup\" at 192.0.2.7:50123");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerIdentity {
    /// Its process id, if it is on this machine and the transport tells.
    pub pid: Option<u32>,
    /// Where it is, for people, such as a network address and port. `None`: on this machine.
    pub address: Option<Arc<str>>,
    /// The name under which it has proved who it is: that of its token or its certificate.
    pub name: Option<Arc<str>>,
    /// It may only read: the host refuses its writes with `LEVEL_READONLY`.
    pub read_only: bool,
}

impl PeerIdentity {
    /// A process of this machine, with its id where that is known, which may do everything.
    pub fn of_process(pid: Option<u32>) -> Self {
        Self { pid, ..Self::default() }
    }
}

impl fmt::Display for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, &self.address) {
            (Some(name), Some(address)) => write!(f, "{name:?} at {address}"),
            (Some(name), None) => write!(f, "{name:?} ({})", process_name(self.pid)),
            (None, Some(address)) => f.write_str(address),
            (None, None) => f.write_str(&process_name(self.pid)),
        }
    }
}
