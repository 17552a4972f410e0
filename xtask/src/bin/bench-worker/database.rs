//! A process of a shared database, as leader or as guest.

use crate::workload::Workload;
use anyhow::{Result, bail};
use futures::StreamExt;
use rave_level::{AbstractLevel, Event, RaveLevel, Role};
use std::{path::Path, time::Duration};
use tokio::sync::mpsc::UnboundedReceiver;

pub async fn serve(path: &Path, sessions: bool, mut commands: UnboundedReceiver<String>) -> Result<()> {
    let db = RaveLevel::builder(path)?.sessions(sessions).open().await?;
    let mut events = db.events();
    println!("ready {}", if db.role() == Role::Leader { "leader" } else { "guest" });
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if matches!(event, Event::Leader) {
                println!("leader");
            }
        }
    });

    let mut workload = Workload::new();
    while let Some(line) = commands.recv().await {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["fill", entries] => {
                workload.fill(&db, entries.parse()?).await?;
                println!("filled");
            }
            ["expect", entries] => workload.expect(entries.parse()?),
            ["run", name, millis] => {
                let (operations, time) = workload.run(&db, name, Duration::from_millis(millis.parse()?)).await?;
                println!("ran {operations} {}", time.as_nanos());
            }
            ["put"] => {
                workload.put(&db).await?;
                println!("ack");
            }
            _ => bail!("cannot do {line:?}"),
        }
    }
    Ok(db.close().await?)
}
