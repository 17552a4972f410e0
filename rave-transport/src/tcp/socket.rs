//! The settings of sockets, and dialing.

use socket2::{SockRef, TcpKeepalive};
use std::{io, net::SocketAddr, time::Duration};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    time::timeout,
};

/// How long dialing one address may take.
const DIAL: Duration = Duration::from_secs(5);
/// After so long a silence the system asks the other machine whether it is there, …
const IDLE: Duration = Duration::from_secs(5);
/// … so often …
const PROBES: u32 = 3;
/// … with this pause in between.
const BETWEEN: Duration = Duration::from_secs(3);
/// How long the other machine may leave unanswered what was sent to it, as long as the probes take in all.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNANSWERED: Duration = Duration::from_secs(14);
/// Connections that the system takes in before they are accepted here. It may allow fewer.
const BACKLOG: u32 = 1024;

/// Small frames go out at once, and a machine that has gone without a word is noticed.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(IDLE).with_interval(BETWEEN);
    #[cfg(not(target_os = "openbsd"))]
    let keepalive = keepalive.with_retries(PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(UNANSWERED))?;
    Ok(())
}

/// Connects to one address; `None` if nobody is there for now.
pub(super) async fn dial(address: SocketAddr) -> io::Result<Option<TcpStream>> {
    let connected = async {
        let stream = TcpStream::connect(address).await?;
        prepare(&stream)?;
        io::Result::Ok(stream)
    };
    match timeout(DIAL, connected).await {
        Ok(Ok(stream)) => Ok(Some(stream)),
        Ok(Err(error)) if says_nobody_home(&error) => Ok(None),
        Ok(Err(error)) => Err(error),
        Err(_) => Ok(None),
    }
}

/// Whether it may be otherwise later.
pub(super) fn says_nobody_home(error: &io::Error) -> bool {
    use io::ErrorKind::{
        AddrNotAvailable, BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable,
        Interrupted, NetworkDown, NetworkUnreachable, NotConnected, TimedOut, UnexpectedEof,
    };
    matches!(
        error.kind(),
        AddrNotAvailable
            | BrokenPipe
            | ConnectionAborted
            | ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | Interrupted
            | NetworkDown
            | NetworkUnreachable
            | NotConnected
            | TimedOut
            | UnexpectedEof
    )
}

/// Listens at the first of the addresses that can be had.
pub(super) fn bind(addresses: &[SocketAddr]) -> io::Result<TcpListener> {
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match bind_one(*address) {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A dead leader's last connections do not keep the port. On Windows the option would let others take it.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
