//! What a host stands while it serves a good guest. The guest's speed is printed, for people (`--nocapture`): on one machine
//! attackers also take the processor away. What is checked is that everything it asks for is answered.

use super::{
    Host, Secrets, finish,
    support::{Dir, eventually, rave},
};
use rave_level::{
    AbstractLevel, AbstractLevelExt, Builder, RaveLevel,
    transport::{Connect, TcpTransport, TlsGuest, Token, Transport as _},
};
use std::{
    ffi::OsStr,
    net::SocketAddr,
    path::Path,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

/// How long the guest works under each attack.
const SPELL: Duration = Duration::from_secs(2);

/// What attackers have to go on.
#[derive(Clone)]
struct Target {
    address: SocketAddr,
    /// A guest's way in, without a token.
    way: TcpTransport,
    token: Token,
}

/// Round trips of the good guest per second: one write and one read each.
async fn speed(guest: &RaveLevel) -> f64 {
    let start = Instant::now();
    let mut trips = 0_u32;
    while start.elapsed() < SPELL {
        let value = trips.to_string();
        guest.put("k", value.clone()).await.unwrap();
        assert_eq!(guest.get("k").await.unwrap().as_deref(), Some(value.as_bytes()));
        trips += 1;
    }
    f64::from(trips) / start.elapsed().as_secs_f64()
}

/// One attacker, for ever. Each time it is done the count goes up.
async fn attack(kind: &str, target: Target, count: Arc<AtomicU64>) {
    loop {
        match kind {
            "idle" => {
                if let Ok(mut stream) = TcpStream::connect(target.address).await {
                    while matches!(stream.read(&mut [0; 64]).await, Ok(1..)) {}
                }
            }
            "noise" => {
                if let Ok(mut stream) = TcpStream::connect(target.address).await {
                    let _ = stream.write_all(&[0xa5; 2048]).await;
                    while matches!(stream.read(&mut [0; 64]).await, Ok(1..)) {}
                }
            }
            "wrong tokens" => {
                // A clone is another guest, which has not been refused yet.
                let guest = target.way.clone().token(Token::generate().unwrap());
                assert!(guest.connect().await.is_err(), "nobody gets in with a wrong token");
            }
            "oversized frames" => {
                let guest = target.way.clone().token(target.token.clone());
                if let Ok(Connect::Connected(mut connection)) = guest.connect().await {
                    // Four gigabytes are to come.
                    let _ = connection.writer.write_all(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0]).await;
                    while matches!(connection.reader.read(&mut [0; 64]).await, Ok(1..)) {}
                }
            }
            _ => unreachable!("{kind}"),
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_guest_is_served_whatever_others_do() {
    let (dir, secrets) = (Dir::new(), Secrets::new("127.0.0.1"));
    let (db, mut arguments) = (dir.db(), secrets.of_host().to_vec());
    arguments.extend([&db as &dyn AsRef<OsStr>, &"--listen", &"tcp:127.0.0.1:0"]);
    let mut command = rave();
    // It has much to tell, and a pipe that nobody reads would stop it.
    command.stderr(Stdio::null());
    let host = Host::of(command, &arguments);
    let place = host.address.strip_prefix("tcp:").unwrap();
    let tls = TlsGuest::trusting(secrets.authority.ca()).unwrap();
    let target = Target {
        address: place.parse().unwrap(),
        way: TcpTransport::at(place.parse().unwrap()).tls_guest(tls),
        token: Token::from_file(&secrets.token).unwrap(),
    };
    let guest = Builder::guest(target.way.clone().token(target.token.clone())).open().await.unwrap();
    let memory = || resident(Path::new("/proc").join(host.process.pid().to_string()).as_path());
    speed(&guest).await;
    let (alone, before) = (speed(&guest).await, memory());
    println!("alone: {alone:.0} round trips per second; the host has {before} KiB");
    for (kind, attackers) in [("idle", 200), ("noise", 4), ("wrong tokens", 4), ("oversized frames", 4)] {
        let count = Arc::new(AtomicU64::new(0));
        let mut attacks = JoinSet::new();
        for _ in 0..attackers {
            attacks.spawn(attack(kind, target.clone(), count.clone()));
        }
        let speed = speed(&guest).await;
        println!(
            "{attackers} × {kind}: {speed:.0} round trips per second, {:.0} %; {} attacks were over; the host has {} KiB",
            100.0 * speed / alone,
            count.load(Ordering::Relaxed),
            memory()
        );
        attacks.shutdown().await;
        // A new guest gets in, too.
        let options = secrets.of_guest(&secrets.token);
        let mut all: Vec<&dyn AsRef<OsStr>> = vec![&"get", &host.address, &"k"];
        all.extend(options.iter().map(|option| option as &dyn AsRef<OsStr>));
        tokio::task::spawn_blocking({
            let all: Vec<_> = all.iter().map(|argument| argument.as_ref().to_owned()).collect();
            move || {
                let all: Vec<&dyn AsRef<OsStr>> = all.iter().map(|argument| argument as &dyn AsRef<OsStr>).collect();
                finish(rave(), &all).succeeded();
            }
        })
        .await
        .unwrap();
    }
    assert!(memory() < before + (256 << 10), "what strangers say is not kept");
    guest.close().await.unwrap();
    // Nobody of them is taken for a guest.
    let options = secrets.of_guest(&secrets.token);
    let options: Vec<&dyn AsRef<OsStr>> = options.iter().map(|option| option as &dyn AsRef<OsStr>).collect();
    eventually("all have gone", || (host.guests(rave(), &options) == 0).then_some(()));
}

/// KiB of memory that a process has.
fn resident(process: &Path) -> u64 {
    let status = std::fs::read_to_string(process.join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}
