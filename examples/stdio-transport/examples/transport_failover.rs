//! A guest reaches a database through a command. Whoever leads over there is killed, and so is the command; the guest goes
//! on, and what it counts stays exact.
//!
//! ```text
//! cargo run --package stdio-transport --example transport_failover
//! ```

use rave_level::{AbstractLevel, AbstractLevelExt, Builder, Bytes, RaveLevel, Result};
use std::{
    env,
    error::Error,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
};
use stdio_transport::{StdioTransport, far_end};

const ROUNDS: u64 = 3;
const STEPS: u64 = 50;

/// This program plays all three parts; by its own name it conducts.
fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    match arguments.as_slice() {
        [part, directory] if part == "lead" => runtime()?.block_on(lead(directory.as_ref()))?,
        [part, directory] if part == "far-end" => {
            let directory: &Path = directory.as_ref();
            fs::write(directory.with_extension("pid"), std::process::id().to_string())?;
            return Ok(far_end(directory));
        }
        _ => runtime()?.block_on(conduct())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Runtime::new()
}

/// A process of the far machine that has the database open, until it is killed.
async fn lead(directory: &Path) -> Result<()> {
    let _db = RaveLevel::open(directory).await?;
    println!("open");
    std::future::pending().await
}

async fn conduct() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let directory = folder.path().join("db");
    let mut leader = Killed::start(&directory)?;

    // With ssh this would be ["ssh", "example.org", "rave-stdio", "/srv/db"].
    let program = env::current_exe()?;
    let command = [program.as_os_str(), "far-end".as_ref(), directory.as_os_str()];
    let guest = Builder::guest(StdioTransport::new(command)).open().await?;
    println!("the guest is {:?}, through `{} far-end …`", guest.role(), program.display());

    for _ in 0..ROUNDS {
        count(&guest).await?;
        leader = leader.replace(&directory)?;
        println!("the leader was killed");
        count(&guest).await?;
        let pid = fs::read_to_string(directory.with_extension("pid"))?;
        assert!(Command::new("kill").args(["-KILL", &pid]).status()?.success());
        println!("the command was killed");
        count(&guest).await?;
    }
    let count = guest.get("count").await?;
    println!("counted to {count:?} in {} steps", ROUNDS * 3 * STEPS);
    assert_eq!(count, Some(Bytes::from((ROUNDS * 3 * STEPS).to_string())));
    guest.close().await?;
    Ok(())
}

/// So many steps, each of them exactly once.
async fn count(db: &RaveLevel) -> Result<()> {
    for _ in 0..STEPS {
        db.transaction(|tx| async move {
            let count = tx.get("count").await?.unwrap_or_default();
            let count: u64 = String::from_utf8_lossy(&count).parse().unwrap_or(0);
            tx.put("count", (count + 1).to_string()).await
        })
        .await?;
    }
    Ok(())
}

/// A process that is killed when it goes out of scope.
struct Killed(Child);

impl Killed {
    /// A process that has the database open.
    fn start(directory: &Path) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(env::current_exe()?);
        let mut process = Self(command.arg("lead").arg(directory).stdout(Stdio::piped()).spawn()?);
        let stdout = process.0.stdout.as_mut().ok_or("no stdout")?;
        BufReader::new(stdout).read_line(&mut String::new())?;
        Ok(process)
    }

    /// Kills this one; then somebody else leads. Starts another, which follows.
    fn replace(self, directory: &Path) -> Result<Self, Box<dyn Error>> {
        drop(self);
        Self::start(directory)
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
