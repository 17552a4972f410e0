//! Three processes share the store; the one that leads is killed, twice; nothing that was acknowledged is lost.
//!
//! ```text
//! cargo run --package append-store --example store_failover
//! ```

use append_store::AppendStore;
use rave_level::{
    AbstractLevel, AbstractLevelExt, Builder, KeyRange, RaveLevel, Result, Role, transport::IpcTransport,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    error::Error,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The store in `directory`, shared with every other process that opens it so.
async fn open(directory: &Path) -> Result<RaveLevel> {
    Builder::new(AppendStore::new(directory), IpcTransport::for_directory(directory)?).open().await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    match arguments.as_slice() {
        [directory, name] => Ok(member(directory.as_ref(), name).await?),
        _ => conductor().await,
    }
}

/// One process of the group: writes for ever, and tells what was acknowledged and whether it leads.
async fn member(directory: &Path, name: &str) -> Result<()> {
    let db = open(directory).await?;
    let mut role = None;
    for i in 0.. {
        let key = format!("{name} {i:06}");
        db.put(&key, "value").await?;
        println!("wrote {key}");
        if db.role() == Role::Leader && role != Some(Role::Leader) {
            role = Some(Role::Leader);
            println!("leads");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// Starts the members, kills whoever leads, and looks for everything in the end.
async fn conductor() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let (sender, lines) = mpsc::channel();
    let mut members = Vec::new();
    for name in ["one", "two", "three"] {
        members.push(Member::start(folder.path(), name, sender.clone())?);
    }
    let (mut acknowledged, mut leader) = (BTreeSet::new(), None);
    loop {
        // Until each of those that live has done a hundred writes more, and one of them leads.
        let mut left: BTreeMap<_, _> = members.iter().map(|member| (member.name, 100)).collect();
        let leader = loop {
            let (name, line) = lines.recv_timeout(PATIENCE)?;
            match line.strip_prefix("wrote ") {
                Some(key) => {
                    acknowledged.insert(key.to_owned());
                    if let Some(left) = left.get_mut(name) {
                        *left -= 1;
                    }
                }
                None => leader = Some(name),
            }
            left.retain(|_, left| *left > 0);
            if left.is_empty()
                && let Some(leader) = leader.take()
            {
                break leader;
            }
        };
        print!("{leader} leads; {} writes are acknowledged", acknowledged.len());
        if members.len() == 1 {
            println!("; nobody else is left");
            break;
        }
        println!("; killing it");
        members.retain(|member| member.name != leader);
    }
    drop((members, sender));
    for (_, line) in lines {
        acknowledged.extend(line.strip_prefix("wrote ").map(str::to_owned));
    }

    let db = open(folder.path()).await?;
    let entries = db.all(KeyRange::all()).await?;
    db.close().await?;
    let there: BTreeSet<_> = entries.iter().map(|entry| String::from_utf8_lossy(&entry.key).into_owned()).collect();
    let lost: Vec<_> = acknowledged.difference(&there).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    println!("all {} acknowledged writes are there, after two leaders were killed", acknowledged.len());
    Ok(())
}

/// A process of the group; killed when it goes out of scope.
struct Member {
    name: &'static str,
    process: Child,
}

impl Member {
    fn start(
        directory: &Path,
        name: &'static str,
        lines: mpsc::Sender<(&'static str, String)>,
    ) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(env::current_exe()?);
        let mut process = command.arg(directory).arg(name).stdout(Stdio::piped()).spawn()?;
        let stdout = process.stdout.take().ok_or("no stdout")?;
        thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(|line| line.ok()).try_for_each(|line| lines.send((name, line)))
        });
        Ok(Self { name, process })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
