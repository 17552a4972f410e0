//! What a listener has to do beyond passing bytes.

use rave_level::{
    AbstractLevel, AbstractLevelExt, Builder, MemoryOpener, Role,
    transport::{Connect, Transport},
};
use std::{fs, net::Ipv4Addr, path::Path, time::Duration};
use stdio_transport::Loopback;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(60);

fn port(file: &Path) -> u16 {
    fs::read_to_string(file).unwrap().split_once(' ').unwrap().0.parse().unwrap()
}

#[tokio::test]
async fn the_next_leader_is_found_at_the_same_place() {
    let folder = tempfile::tempdir().unwrap();
    let transport = Loopback::new(folder.path().join("port"));
    // Two handles in one process, for brevity; handles of two processes need a store in files.
    let store = MemoryOpener::new();
    let leader = Builder::new(store.clone(), transport.clone()).open().await.unwrap();
    let guest = Builder::new(store, transport).open().await.unwrap();
    guest.put("over", "tcp").await.unwrap();
    assert_eq!(leader.get("over").await.unwrap().unwrap(), "tcp");
    leader.close().await.unwrap();
    assert_eq!(guest.get("over").await.unwrap().unwrap(), "tcp");
    assert_eq!(guest.role(), Role::Leader);
    guest.close().await.unwrap();
}

#[tokio::test]
async fn nobody_is_home_before_and_after() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("port");
    let transport = Loopback::new(&file);
    let is_deserted = async || matches!(transport.connect().await.unwrap(), Connect::NobodyHome);
    assert!(is_deserted().await);
    transport.listen().await.unwrap().close().await.unwrap();
    assert!(is_deserted().await && !file.exists());
    drop(transport.listen().await.unwrap());
    assert!(is_deserted().await && !file.exists());
    // What a dead leader left is replaced.
    fs::write(&file, format!("1 {:032x}\n", 0)).unwrap();
    assert!(is_deserted().await);
    let mut listener = transport.listen().await.unwrap();
    let (accepted, connected) = tokio::join!(timeout(PATIENCE, listener.accept()), transport.connect());
    assert!(accepted.unwrap().is_ok() && matches!(connected.unwrap(), Connect::Connected(_)));
}

#[tokio::test]
async fn who_does_not_know_the_secret_is_turned_away_and_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("port");
    let transport = Loopback::new(&file);
    let mut listener = transport.listen().await.unwrap();
    let stranger = async || TcpStream::connect((Ipv4Addr::LOCALHOST, port(&file))).await.unwrap();
    let (mut wrong, mut silent) = (stranger().await, stranger().await);
    wrong.write_all(&[0; 16]).await.unwrap();
    let (accepted, connected) = tokio::join!(timeout(PATIENCE, listener.accept()), transport.connect());
    let (mut accepted, Connect::Connected(mut friend)) = (accepted.unwrap().unwrap(), connected.unwrap()) else {
        panic!("a leader listens")
    };
    accepted.writer.write_all(b"hello").await.unwrap();
    for stranger in [&mut wrong, &mut silent] {
        // The end, or a reset: nothing in any case.
        assert_eq!(timeout(PATIENCE, stranger.read(&mut [0; 5])).await.unwrap().unwrap_or(0), 0);
    }
    let mut heard = [0; 5];
    timeout(PATIENCE, friend.reader.read_exact(&mut heard)).await.unwrap().unwrap();
    assert_eq!(&heard, b"hello");
}
