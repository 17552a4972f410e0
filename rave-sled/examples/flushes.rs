//! Writes entries one after the other and many at once, for measuring: how long that takes, and what the operating system
//! is asked to do meanwhile.
//!
//! ```sh
//! cargo build --release -p rave-sled --example flushes
//! strace -f -y -e trace=pwrite64,write,fsync,fdatasync,sync_file_range -o calls target/release/examples/flushes DIR 500
//! grep -oE '(pwrite64|fsync|fdatasync|sync_file_range)\(' calls | sort | uniq -c
//! ```

use rave_core::{AbstractLevel, AbstractLevelExt};
use rave_sled::SledDb;
use std::{env, time::Instant};

#[tokio::main(flavor = "current_thread")]
async fn main() -> rave_core::Result<()> {
    let mut arguments = env::args().skip(1);
    let (Some(path), count) = (arguments.next(), arguments.next().and_then(|count| count.parse().ok())) else {
        println!("flushes DIRECTORY [COUNT]");
        return Ok(());
    };
    let count = count.unwrap_or(1000);
    let db = SledDb::new(path).open().await?;
    let start = Instant::now();
    for number in 0..count {
        db.put(format!("one by one {number:08}"), [b'x'; 100]).await?;
    }
    println!("{count} puts, one after the other: {:.1?} each", start.elapsed() / count);
    let start = Instant::now();
    let puts = (0..count).map(|number| db.put(format!("at once {number:08}"), [b'x'; 100]));
    futures::future::try_join_all(puts).await?;
    println!("{count} puts at once: {:.1?} each", start.elapsed() / count);
    let start = Instant::now();
    for number in 0..count {
        db.get(format!("at once {number:08}")).await?;
    }
    println!("{count} gets, one after the other: {:.1?} each", start.elapsed() / count);
    db.close().await
}
