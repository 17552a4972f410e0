//! Guests and hosts that are what they should be.

use super::{DEADLINE, Secured, address, connect, local, meet, nobody_home, pki::Authority, talk};
use rave_core::Code;
use rave_transport::{Connect, TcpAddress, TcpTransport, TlsGuest, TlsHost, Transport as _};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

#[tokio::test]
async fn guests_of_this_user_meet_the_host_and_find_nobody_after_it() {
    let transport = local();
    assert!(nobody_home(&transport).await, "no port is known yet");
    let mut listener = transport.listen().await.unwrap();
    assert_ne!(address(&transport).port(), 0);
    let (guest, host) = meet(&transport.clone(), &mut listener).await;
    let address = transport.address();
    assert_eq!(guest.peer.address.as_deref(), address.strip_prefix("tcp:"));
    assert!(host.peer.address.as_deref().unwrap().starts_with("127.0.0.1:"), "{:?}", host.peer);
    assert_eq!((host.peer.name.as_deref(), host.peer.read_only), (None, false));
    talk((guest, host)).await;
    talk(meet(&transport, &mut listener).await).await;

    let taken = TcpTransport::at(address.strip_prefix("tcp:").unwrap().parse().unwrap());
    let error = taken.listen().await.err().unwrap();
    assert_eq!(error.code(), Code::Locked, "{error}");
    listener.close().await.unwrap();
    assert!(nobody_home(&transport).await);
    // The port can be had again at once, also while old connections linger.
    let mut listener = taken.listen().await.unwrap();
    talk(meet(&taken, &mut listener).await).await;
    drop(listener);
    assert!(nobody_home(&taken).await, "dropping a listener closes it");
}

#[tokio::test]
async fn names_and_ipv6_lead_there() {
    for host in ["localhost", "::1"] {
        let transport = TcpTransport::at(TcpAddress::new(host, 0));
        let mut listener = match transport.listen().await {
            Ok(listener) => listener,
            Err(error) => {
                eprintln!("skipped: this machine has no {host}: {error}");
                continue;
            }
        };
        talk(meet(&transport, &mut listener).await).await;
    }
    let nowhere = TcpTransport::at(TcpAddress::new("no-such-name.invalid", 1));
    assert!(connect(&nowhere).await.unwrap_err().message().contains("no-such-name.invalid"));
}

#[tokio::test]
async fn tls_and_a_token_tell_who_a_guest_is() {
    let mut secured = Secured::start().await;
    let (guest, host) = meet(&secured.guest, &mut secured.listener).await;
    assert_eq!((host.peer.name.as_deref(), host.peer.read_only), (Some("alice"), false));
    talk((guest, host)).await;
    assert!(nobody_home(&secured.host).await, "who has only a host's things does not dial");
}

#[tokio::test]
async fn a_certificate_tells_who_a_guest_is() {
    let authority = Authority::new();
    let pair = authority.issue("host", &["127.0.0.1", "db.example.org"]);
    let tls = TlsHost::new(&pair.cert, &pair.key).unwrap().client_ca(authority.ca()).unwrap();
    let host = local().tls_host(tls);
    let mut listener = host.listen().await.unwrap();
    for (common_name, names, expected) in [
        ("carol", &[][..], Some("carol")),
        ("carol", &["carol.example.org"], Some("carol")),
        ("", &["dave.example.org"], Some("dave.example.org")),
        ("", &["192.0.2.1"], None),
    ] {
        let pair = authority.issue(common_name, names);
        let tls = TlsGuest::trusting(authority.ca()).unwrap().certificate(&pair.cert, &pair.key).unwrap();
        let tls = tls.host_name("db.example.org").unwrap();
        let (guest, host) = meet(&host.for_guests().tls_guest(tls), &mut listener).await;
        assert_eq!(host.peer.name.as_deref(), expected);
        talk((guest, host)).await;
    }
}

#[tokio::test]
async fn written_bytes_arrive_without_a_flush_in_both_directions_however_slowly_they_are_read() {
    const BYTES: usize = 4 << 20;
    let mut secured = Secured::start().await;
    let plain = local();
    let mut plain_listener = plain.listen().await.unwrap();
    for (guest, host) in [meet(&secured.guest, &mut secured.listener).await, meet(&plain, &mut plain_listener).await] {
        // As the protocol's drivers do: one task each, that writes all and then reads.
        let side = |mut connection: rave_transport::Connection, first: bool| {
            tokio::spawn(async move {
                let bytes: Vec<u8> = (0..BYTES).map(|at| (at % 251) as u8).collect();
                for turn in [first, !first] {
                    if turn {
                        connection.writer.write_all(&bytes).await.unwrap();
                    } else {
                        let mut got = vec![0; 1];
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        connection.reader.read_exact(&mut got).await.unwrap();
                        got.resize(BYTES, 0);
                        connection.reader.read_exact(&mut got[1..]).await.unwrap();
                        assert!(got == bytes, "what arrives is what was sent");
                    }
                }
                // A last word, after which nobody writes, and only one still reads.
                if first {
                    assert_eq!(connection.reader.read_u8().await.unwrap(), 7);
                } else {
                    connection.writer.write_all(&[7]).await.unwrap();
                    assert_eq!(connection.reader.read(&mut [0]).await.unwrap(), 0);
                }
            })
        };
        let both = async { tokio::try_join!(side(guest, true), side(host, false)) };
        timeout(DEADLINE, both).await.expect("everything arrives").unwrap();
    }
}

#[tokio::test]
async fn what_was_taken_when_the_socket_was_full_goes_out_while_its_writer_only_reads() {
    let mut secured = Secured::start().await;
    let (mut guest, mut host) = meet(&secured.guest, &mut secured.listener).await;
    // Nobody reads, until nothing more is taken.
    let mut taken = 0;
    while let Ok(written) = timeout(Duration::from_millis(200), guest.writer.write(&[7; 10_000])).await {
        taken += written.unwrap();
    }
    let reading = tokio::spawn(async move { guest.reader.read_u8().await.unwrap() });
    let mut got = vec![0; taken];
    timeout(DEADLINE, host.reader.read_exact(&mut got)).await.expect("all of it arrives").unwrap();
    host.writer.write_all(&[9]).await.unwrap();
    assert_eq!(timeout(DEADLINE, reading).await.unwrap().unwrap(), 9);
}

#[tokio::test]
async fn cancelling_accept_loses_nobody() {
    let mut secured = Secured::start().await;
    let guest = secured.guest.clone();
    let connecting = tokio::spawn(async move { connect(&guest).await });
    let mut host = None;
    timeout(DEADLINE, async {
        while host.is_none() {
            host = timeout(Duration::from_micros(200), secured.listener.accept()).await.ok();
        }
    })
    .await
    .expect("the guest comes");
    let Ok(Connect::Connected(guest)) = connecting.await.unwrap() else { panic!("not connected") };
    talk((guest, host.unwrap().unwrap())).await;
}

#[tokio::test]
async fn there_are_at_most_as_many_guests_as_there_may_be() {
    let transport = local().max_connections(2);
    let mut listener = transport.listen().await.unwrap();
    let first = meet(&transport, &mut listener).await;
    let second = meet(&transport, &mut listener).await;
    assert!(nobody_home(&transport.clone()).await, "later perhaps");
    talk(second).await;
    // The host's end of the second is gone, and so there is room.
    talk(meet(&transport.clone(), &mut listener).await).await;
    talk(first).await;
}
