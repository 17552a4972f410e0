//! Whose process is at the other end of a connection within this machine, as the operating system tells it.

use std::{io, net::SocketAddr};

/// Whether this system tells.
pub(super) fn is_told() -> bool {
    system::is_told()
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "other systems do not tell"))]
pub(super) enum Owner {
    /// A process of this user.
    ThisUser,
    /// A process of this other user.
    Other(u32),
    /// Nobody any more, or a process that has not accepted yet.
    Nobody,
}

/// Whose the socket at `peer` is that is connected with this process's socket at `local`.
///
/// Requires: the system tells.
pub(super) async fn owner(local: SocketAddr, peer: SocketAddr) -> io::Result<Owner> {
    // The system's list may be long, and it is written while it is read.
    tokio::task::spawn_blocking(move || system::owner(local, peer)).await.unwrap_or_else(|error| Err(error.into()))
}

#[cfg(target_os = "linux")]
mod system {
    use super::Owner;
    use nix::unistd::geteuid;
    use procfs::ProcError;
    use std::{io, net::SocketAddr, path::Path};

    pub(super) fn is_told() -> bool {
        Path::new("/proc/self/net/tcp").exists()
    }

    pub(super) fn owner(local: SocketAddr, peer: SocketAddr) -> io::Result<Owner> {
        // One end's socket may be for IPv6 and have IPv4 addresses.
        let canonical = |address: SocketAddr| (address.ip().to_canonical(), address.port());
        let (local, peer) = (canonical(local), canonical(peer));
        for list in [procfs::net::tcp(), procfs::net::tcp6()] {
            let list = match list {
                Ok(list) => list,
                // A system without IPv6.
                Err(ProcError::NotFound(_)) => continue,
                Err(error) => return Err(io::Error::other(error)),
            };
            let found = list
                .into_iter()
                .find(|entry| canonical(entry.local_address) == peer && canonical(entry.remote_address) == local);
            match found {
                // Without an inode it has no process: closed, or not accepted yet.
                Some(entry) if entry.inode == 0 => return Ok(Owner::Nobody),
                Some(entry) if entry.uid == geteuid().as_raw() => return Ok(Owner::ThisUser),
                Some(entry) => return Ok(Owner::Other(entry.uid)),
                None => {}
            }
        }
        Ok(Owner::Nobody)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::Owner;
    use std::{io, net::SocketAddr};

    pub(super) fn is_told() -> bool {
        false
    }

    pub(super) fn owner(_: SocketAddr, _: SocketAddr) -> io::Result<Owner> {
        Ok(Owner::Nobody)
    }
}
