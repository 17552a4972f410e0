//! The floor: 100 bytes there and back over a bare Unix socket, between two processes.

use anyhow::{Result, bail};
use std::{
    path::Path,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::mpsc::UnboundedReceiver,
};

const SIZE: usize = 100;

/// Sends back what comes, until the client leaves.
pub async fn server(path: &Path, _commands: UnboundedReceiver<String>) -> Result<()> {
    let listener = UnixListener::bind(path)?;
    println!("ready leader");
    let (mut stream, _) = listener.accept().await?;
    let mut buffer = [0; SIZE];
    while stream.read_exact(&mut buffer).await.is_ok() {
        stream.write_all(&buffer).await?;
    }
    Ok(())
}

/// Asks one at a time.
pub async fn client(path: &Path, mut commands: UnboundedReceiver<String>) -> Result<()> {
    let mut stream = UnixStream::connect(path).await?;
    println!("ready guest");
    let mut buffer = [7; SIZE];
    while let Some(line) = commands.recv().await {
        let ["run", "echo", millis] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            bail!("cannot do {line:?}");
        };
        let start = Instant::now();
        let deadline = start + Duration::from_millis(millis.parse()?);
        let mut operations = 0;
        while Instant::now() < deadline {
            stream.write_all(&buffer).await?;
            stream.read_exact(&mut buffer).await?;
            operations += 1;
        }
        println!("ran {operations} {}", start.elapsed().as_nanos());
    }
    Ok(())
}
