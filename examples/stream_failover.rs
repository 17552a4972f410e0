//! Reads a stream while the leader dies: this process is a guest at first; it kills the leader in the middle of the
//! stream, becomes the leader itself, and the stream goes on behind the last key it delivered.
//!
//! ```text
//! cargo run --example stream_failover
//! ```

use futures::TryStreamExt;
use rave_level::{AbstractLevel, AbstractLevelExt, Batch, KeyRange, RaveLevel, Role};
use std::{
    error::Error,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

const ENTRIES: usize = 20_000;
const KILL_AFTER: usize = 5_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("lead") => lead(arguments.get(2).ok_or("lead where?")?.as_ref()).await,
        _ => read().await,
    }
}

/// The process that will be killed: it fills the database, and waits for its end.
async fn lead(path: &Path) -> Result<(), Box<dyn Error>> {
    let db = RaveLevel::open(path).await?;
    for start in (0..ENTRIES).step_by(1000) {
        let batch = (start..start + 1000).fold(Batch::new(), |batch, i| batch.put(key(i), format!("value {i}")));
        db.write(batch).await?;
    }
    println!("ready");
    std::future::pending().await
}

async fn read() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("db");
    let mut leader = Command::new(std::env::current_exe()?).arg("lead").arg(&path).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(leader.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;

    let db = RaveLevel::open(&path).await?;
    println!("reading {ENTRIES} entries; this process is {:?}", db.role());
    assert_ne!(db.role(), Role::Leader);

    let mut read = 0;
    let mut stream = db.stream(KeyRange::all());
    while let Some(entry) = stream.try_next().await? {
        // No key is missing, none comes twice, and their order holds.
        assert_eq!(entry.key, key(read));
        read += 1;
        if read == KILL_AFTER {
            leader.kill()?;
            leader.wait()?;
            println!("killed the leader after {read} entries");
        }
    }
    drop(stream);
    assert_eq!(read, ENTRIES);
    println!("read {read} entries in all; this process is {:?}", db.role());
    db.close().await?;
    Ok(())
}

fn key(index: usize) -> String {
    format!("key {index:08}")
}
