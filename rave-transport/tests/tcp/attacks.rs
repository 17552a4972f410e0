//! What strangers may do to a port, and that guests are served all the while.

use super::{DEADLINE, Secured, address, local, meet, talk};
use rave_transport::Transport as _;
use std::{io, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};

/// What a stranger says.
const NOISE: &[&[u8]] = &[
    b"",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"rave\xff\x00\x00",
    b"rave\x01\xff\xff",
    b"rav",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\x16\x03\x01\xff\xff",
    b"\x15\x03\x03\x00\x02\x02\x28",
    &[0xff; 4096],
    &[0; 4096],
];

/// Waits for the end of a connection, whatever is said until then.
async fn end(stream: &mut TcpStream) {
    let ended = async { while matches!(stream.read(&mut [0; 4096]).await, Ok(1..)) {} };
    timeout(DEADLINE, ended).await.expect("the host ends it");
}

async fn say(address: std::net::SocketAddr, bytes: &[u8]) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    // The host may have heard enough already.
    let _ = stream.write_all(bytes).await;
    Ok(stream)
}

#[tokio::test]
async fn noise_is_cut_off_and_hurts_nobody() {
    let mut secured = Secured::start().await;
    let plain = local();
    let mut listener = plain.listen().await.unwrap();
    for noise in NOISE {
        for address in [address(&secured.host), address(&plain)] {
            let mut stream = say(address, noise).await.unwrap();
            let _ = stream.shutdown().await;
            end(&mut stream).await;
        }
        secured.still_serves().await;
        talk(meet(&plain, &mut listener).await).await;
    }
}

#[tokio::test]
async fn who_is_slow_to_say_who_it_is_holds_up_nobody_and_is_cut_off() {
    let mut secured = Secured::start().await;
    let plain = local();
    let mut listener = plain.listen().await.unwrap();
    let mut idle = Vec::new();
    for address in [address(&secured.host), address(&plain)] {
        for _ in 0..50 {
            idle.push(say(address, b"").await.unwrap());
        }
    }
    // One that says a byte from time to time.
    let mut drip = say(address(&plain), b"").await.unwrap();
    let dripping = tokio::spawn(async move {
        for byte in b"rave\x01\x00\x30ccccccccccccccccccccccccccccccccccccccccccccc" {
            if drip.write_all(&[*byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(500)).await;
        }
        end(&mut drip).await;
    });
    for _ in 0..20 {
        secured.still_serves().await;
        talk(meet(&plain, &mut listener).await).await;
    }
    for stream in &mut idle {
        end(stream).await;
    }
    timeout(DEADLINE, dripping).await.expect("the host ends it").unwrap();
    secured.still_serves().await;
}

#[tokio::test]
async fn more_strangers_than_there_may_be_push_out_each_other_and_no_guest() {
    let mut secured = Secured::start().await;
    let guest = meet(&secured.guest, &mut secured.listener).await;
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(say(address(&secured.host), b"").await.unwrap());
    }
    for _ in 0..20 {
        secured.still_serves().await;
    }
    // The first have gone long before their time, and a guest that was there has not noticed.
    for stream in idle.iter_mut().take(30) {
        end(stream).await;
    }
    talk(guest).await;
}
