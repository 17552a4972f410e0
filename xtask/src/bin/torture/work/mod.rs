//! A worker: one of the processes that share the database, and that may end at any moment.
//!
//! | command on stdin | does |
//! | --- | --- |
//! | `audit G` | reads the generation G as a whole, as an operation like any other |
//! | `drop G` | deletes all generations up to G |
//! | `rest` | ends its clients and says so; it goes on serving others |
//! | `leave` | ends its clients, closes the database and ends |
//! | (end of stdin) | it ends |

mod client;
mod operation;
mod sabotage;
mod tell;

pub use sabotage::Sabotage;

use crate::{
    clock,
    key::{of_generation, range},
    record::{Call, Record},
    workload::CLIENTS,
};
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use client::Client;
use fastrand::Rng;
use futures::StreamExt;
use nix::sys::{prctl, signal::Signal};
use operation::Operator;
use rave_level::{
    AbstractLevel, AbstractLevelExt, Builder, Event, EventStream, RaveLevel, leveldb::rusty::RustyLevelDb,
    transport::IpcTransport,
};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tell::Teller;
use tokio::{sync::mpsc, task::JoinSet};

/// How often a worker says that it is alive.
const ALIVE: Duration = Duration::from_millis(100);

/// Which engine writes the files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Store {
    /// Our own.
    #[default]
    Leveldb,
    /// `rusty-leveldb`.
    Rusty,
}

#[derive(Args, Debug)]
pub struct WorkOptions {
    /// The database.
    #[arg(long)]
    pub db: PathBuf,
    /// Which engine writes its files.
    #[arg(long)]
    pub store: Store,
    /// The number of this process; no other has it.
    #[arg(long)]
    pub process: u64,
    /// How many clients it has.
    #[arg(long)]
    pub clients: u64,
    /// Decides which operations it chooses.
    #[arg(long)]
    pub seed: u64,
    /// Milliseconds that an operation may take.
    #[arg(long)]
    pub deadline: u64,
    /// Microseconds that a client waits on average before its next operation.
    #[arg(long)]
    pub pause: u64,
    /// A fault on purpose.
    #[arg(long)]
    pub sabotage: Option<Sabotage>,
}

/// Works until told to leave, or until nobody is there to tell it.
pub fn run(options: &WorkOptions) -> Result<()> {
    // Frozen, it would not notice that the conductor is gone.
    prctl::set_pdeathsig(Signal::SIGKILL).context("asking to end with the conductor")?;
    let commands = commands();
    // One thread: between choosing an operation and telling of it nothing else happens here.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(work(options, commands))
}

async fn work(options: &WorkOptions, mut commands: mpsc::UnboundedReceiver<String>) -> Result<()> {
    let teller = Arc::new(Teller::new(options.process));
    tokio::spawn(tell_alive(teller.clone()));
    let db = open(options, &teller).await?;
    let operator = Operator::new(db.clone(), teller.clone(), options.sabotage);
    let rest = Arc::new(AtomicBool::new(false));
    let mut random = Rng::with_seed(options.seed ^ options.process.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut clients = JoinSet::new();
    for number in 0..options.clients {
        let client = Client::new(operator.clone(), options.process * CLIENTS + number, random.fork());
        let (rest, pause) = (rest.clone(), Duration::from_micros(options.pause));
        clients.spawn(async move { client.run(&rest, pause).await });
    }
    while let Some(command) = commands.recv().await {
        match command.split(' ').collect::<Vec<_>>()[..] {
            ["audit", generation] => {
                let (from, to) = of_generation(generation.parse()?);
                let (id, operator) = (teller.number(), operator.clone());
                let scan = Call::Scan { from, to, reverse: id % 2 == 0, audit: true };
                tokio::spawn(async move { operator.perform(id, scan).await });
            }
            ["drop", generation] => {
                let (db, teller, (_, to)) = (db.clone(), teller.clone(), of_generation(generation.parse()?));
                tokio::spawn(async move {
                    let first = of_generation(0).0;
                    if let Err(error) = db.clear(range(first, to)).await {
                        teller.note(format!("dropping what was checked: {error}"));
                    }
                });
            }
            [command @ ("rest" | "leave")] => {
                rest.store(true, Ordering::Relaxed);
                while clients.join_next().await.is_some() {}
                teller.tell(&Record::Resting);
                if command == "leave" {
                    if let Err(error) = db.close().await {
                        teller.note(format!("closing: {error}"));
                    }
                    return Ok(());
                }
            }
            _ => teller.wrong(format!("a command that is none: {command:?}")),
        }
    }
    // Nobody is there any more.
    std::process::exit(1);
}

async fn open(options: &WorkOptions, teller: &Arc<Teller>) -> Result<RaveLevel> {
    loop {
        let builder = match options.store {
            Store::Leveldb => RaveLevel::builder(&options.db)?,
            Store::Rusty => Builder::new(RustyLevelDb::new(&options.db), IpcTransport::for_directory(&options.db)?),
        };
        let builder = builder
            .sessions(options.sabotage != Some(Sabotage::Sessionless))
            .operation_timeout(Duration::from_millis(options.deadline))
            .open_timeout(Duration::from_secs(30));
        let events = builder.events();
        match builder.open().await {
            Ok(db) => {
                tokio::spawn(tell_roles(events, teller.clone()));
                return Ok(db);
            }
            // Nothing can be opened on a full disk.
            Err(error) => teller.note(format!("opening: {error}")),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn tell_roles(mut events: EventStream, teller: Arc<Teller>) {
    while let Some(event) = events.next().await {
        match event {
            Event::Leader => teller.tell(&Record::Role { at: clock::now(), leads: true }),
            Event::Following { .. } => teller.tell(&Record::Role { at: clock::now(), leads: false }),
            _ => {}
        }
    }
}

async fn tell_alive(teller: Arc<Teller>) {
    loop {
        teller.tell(&Record::Alive { at: clock::now() });
        tokio::time::sleep(ALIVE).await;
    }
}

/// The lines of stdin. A thread reads them, because a pipe cannot be polled everywhere.
fn commands() -> mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            if line.is_err() || line.is_ok_and(|line| sender.send(line).is_err()) {
                break;
            }
        }
    });
    receiver
}
