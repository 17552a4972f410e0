//! The meeting point inside one process, and its faults.

use rave_transport::{Connect, Connection, Listener, MemoryTransport, Transport};
use std::{io::ErrorKind, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, timeout},
};

const DEADLINE: Duration = Duration::from_secs(60);

async fn connected(transport: &MemoryTransport) -> Connection {
    match transport.connect().await.unwrap() {
        Connect::Connected(connection) => connection,
        Connect::NobodyHome => panic!("nobody home"),
    }
}

async fn pair(transport: &MemoryTransport, listener: &mut Box<dyn Listener>) -> (Connection, Connection) {
    let guest = connected(transport).await;
    (guest, listener.accept().await.unwrap())
}

async fn nobody_home(transport: &MemoryTransport) -> bool {
    matches!(transport.connect().await.unwrap(), Connect::NobodyHome)
}

async fn rest(connection: &mut Connection) -> Vec<u8> {
    let mut bytes = Vec::new();
    timeout(DEADLINE, connection.reader.read_to_end(&mut bytes)).await.unwrap().unwrap();
    bytes
}

/// Lets tasks that were spawned reach their wait.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn guests_find_the_one_who_listens_and_nobody_else() {
    let transport = MemoryTransport::new();
    assert!(nobody_home(&transport).await);
    let mut listener = transport.listen().await.unwrap();
    assert!(transport.clone().listen().await.is_err(), "a live listener is not displaced");
    assert!(nobody_home(&MemoryTransport::new()).await, "another meeting point");

    let (mut guest, mut host) = pair(&transport.clone(), &mut listener).await;
    guest.writer.write_all(b"question").await.unwrap();
    host.writer.write_all(b"answer").await.unwrap();
    let mut bytes = [0; 8];
    host.reader.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"question");
    drop(host);
    assert_eq!(rest(&mut guest).await, b"answer", "what was written before the end still arrives");
    assert_eq!(guest.writer.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);

    listener.close().await.unwrap();
    assert!(nobody_home(&transport).await);
    drop(transport.listen().await.unwrap());
    assert!(nobody_home(&transport).await, "dropping a listener closes it");
}

#[tokio::test]
async fn connections_never_accepted_end_with_their_listener() {
    let transport = MemoryTransport::new();
    let listener = transport.listen().await.unwrap();
    let mut guest = connected(&transport).await;
    assert_eq!(transport.faults().connections(), 1);
    drop(listener);
    assert_eq!(rest(&mut guest).await, b"");
    assert_eq!(transport.faults().connections(), 0);
}

#[tokio::test]
async fn a_writer_waits_for_a_reader_and_nothing_is_lost_or_reordered() {
    let transport = MemoryTransport::new();
    let mut listener = transport.listen().await.unwrap();
    let (guest, mut host) = pair(&transport, &mut listener).await;
    let sent: Vec<u8> = (0..1_000_000_u32).map(|number| (number % 251) as u8).collect();
    let expected = sent.clone();
    let mut writer = guest.writer;
    let accepted = timeout(Duration::from_millis(50), writer.write_all(&sent)).await;
    assert!(accepted.is_err(), "an unread megabyte must not be buffered");
    let mut start = vec![0; 64 << 10];
    host.reader.read_exact(&mut start).await.unwrap();
    let writing = tokio::spawn(async move { writer.write_all(&sent[64 << 10..]).await });
    start.extend(rest(&mut host).await);
    writing.await.unwrap().unwrap();
    assert!(start == expected);
}

#[tokio::test]
async fn a_cut_ends_every_connection_at_both_ends_and_loses_what_is_on_its_way() {
    let transport = MemoryTransport::new();
    let faults = transport.faults();
    let mut listener = transport.listen().await.unwrap();
    let (mut guest, mut host) = pair(&transport, &mut listener).await;
    let (mut waiting, _other) = pair(&transport, &mut listener).await;
    assert_eq!(faults.connections(), 2);
    let reader = tokio::spawn(async move { rest(&mut waiting).await });
    guest.writer.write_all(b"lost").await.unwrap();
    settle().await;
    faults.cut_all();
    assert_eq!(faults.connections(), 0);
    assert_eq!(rest(&mut host).await, b"");
    assert_eq!(rest(&mut guest).await, b"");
    assert_eq!(reader.await.unwrap(), b"", "a read that waits learns of it");
    for end in [&mut guest, &mut host] {
        assert_eq!(end.writer.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
    let (mut guest, mut host) = pair(&transport, &mut listener).await;
    guest.writer.write_all(b"later").await.unwrap();
    drop(guest);
    assert_eq!(rest(&mut host).await, b"later", "later connections are whole");
}

#[tokio::test]
async fn the_next_connection_ends_after_so_many_bytes() {
    let transport = MemoryTransport::new();
    let mut listener = transport.listen().await.unwrap();
    transport.faults().cut_after(10);
    let (mut guest, mut host) = pair(&transport, &mut listener).await;
    host.writer.write_all(b"1234").await.unwrap();
    guest.writer.write_all(b"abcdefghij").await.unwrap();
    assert_eq!(rest(&mut host).await, b"abcdef");
    assert_eq!(rest(&mut guest).await, b"1234");
    assert!(guest.writer.write(b"x").await.is_err());
    let (mut guest, mut host) = pair(&transport, &mut listener).await;
    guest.writer.write_all(&[7; 100]).await.unwrap();
    drop(guest);
    assert_eq!(rest(&mut host).await, [7; 100], "only the next one");
}

#[tokio::test]
async fn a_stalled_connection_stays_open_and_goes_on_later() {
    let transport = MemoryTransport::new();
    let faults = transport.faults();
    let mut listener = transport.listen().await.unwrap();
    let (mut guest, mut host) = pair(&transport, &mut listener).await;
    faults.stall(true);
    guest.writer.write_all(b"late").await.unwrap();
    drop(guest.writer);
    assert!(timeout(Duration::from_millis(50), host.reader.read_u8()).await.is_err());
    assert_eq!(faults.connections(), 1);
    let reader = tokio::spawn(async move { rest(&mut host).await });
    settle().await;
    faults.stall(false);
    assert_eq!(reader.await.unwrap(), b"late");

    faults.stall(true);
    let (mut guest, _host) = pair(&transport, &mut listener).await;
    let reader = tokio::spawn(async move { rest(&mut guest).await });
    settle().await;
    faults.cut_all();
    assert_eq!(reader.await.unwrap(), b"", "a cut ends a stalled connection too");
}

#[tokio::test(start_paused = true)]
async fn bytes_and_the_end_are_delayed() {
    let transport = MemoryTransport::new();
    let mut listener = transport.listen().await.unwrap();
    transport.faults().delay(Duration::from_secs(5));
    let (mut guest, mut host) = pair(&transport, &mut listener).await;
    let start = Instant::now();
    guest.writer.write_all(b"a").await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    drop(guest);
    assert_eq!(host.reader.read_u8().await.unwrap(), b'a');
    assert_eq!(start.elapsed().as_secs(), 5);
    assert_eq!(rest(&mut host).await, b"");
    assert_eq!(start.elapsed().as_secs(), 7);
}

#[tokio::test]
async fn connects_and_listens_can_be_made_to_fail() {
    let transport = MemoryTransport::new();
    let faults = transport.faults();
    faults.fail_listen(true);
    assert!(transport.listen().await.is_err());
    assert!(!faults.is_listening());
    faults.fail_listen(false);
    let _listener = transport.listen().await.unwrap();
    assert!(faults.is_listening());
    faults.refuse(true);
    assert!(nobody_home(&transport).await);
    faults.refuse(false);
    assert!(!nobody_home(&transport).await);
}
