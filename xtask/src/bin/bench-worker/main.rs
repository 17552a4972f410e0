//! One process of a benchmark: started by `cargo xtask bench`, takes commands on stdin, tells figures on stdout.
//!
//! Its JavaScript twin, `xtask/bench-js/worker.mjs`, speaks the same lines:
//!
//! | command | answer |
//! | --- | --- |
//! | (started) | `ready leader` or `ready guest`; `leader` whenever it becomes one later |
//! | `fill N` | `filled`, when N entries are written |
//! | `expect N` | none; another process has filled in N entries |
//! | `run WORKLOAD MILLIS` | `ran OPERATIONS NANOSECONDS` |
//! | `put` | `ack`, when one put was acknowledged |
//! | (end of stdin) | it closes and ends |

mod database;
mod echo;
mod workload;

use anyhow::{Result, bail};
use std::{path::Path, thread};
use tokio::sync::mpsc;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["database", path] => runtime.block_on(database::serve(Path::new(path), true, commands())),
        ["database-without-sessions", path] => runtime.block_on(database::serve(Path::new(path), false, commands())),
        ["echo-server", path] => runtime.block_on(echo::server(Path::new(path), commands())),
        ["echo-client", path] => runtime.block_on(echo::client(Path::new(path), commands())),
        _ => bail!("this program is started by `cargo xtask bench`"),
    }
}

/// The lines of stdin. A thread reads them, because a terminal or a pipe cannot be polled everywhere.
fn commands() -> mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    thread::spawn(move || {
        for line in std::io::stdin().lines() {
            if line.is_err() || line.is_ok_and(|line| sender.send(line).is_err()) {
                break;
            }
        }
    });
    receiver
}
