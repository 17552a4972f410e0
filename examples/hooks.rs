//! Judging and observing writes, whoever makes them: `cargo run --example hooks -- DIRECTORY`.
//!
//! While this process leads or hosts, every write comes past its hook: its own, and those of all guests. The hook sees the keys
//! of the whole database, also of writes through a sublevel.

use rave_level::{
    AbstractLevel, AbstractLevelExt, Code, Error, HostWrite, KeyRange, Operation, RaveLevel, Result, WriteHook,
};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Lets nobody write a user without an @ in its address, or clear all users at once; and counts what is written.
#[derive(Debug, Default)]
struct Users {
    written: AtomicU64,
}

impl WriteHook for Users {
    fn before(&self, write: HostWrite<'_>) -> Result<()> {
        let refuse = |why: &str| Err(Error::new(Code::Hook, why));
        match write {
            HostWrite::Batch(batch) => {
                // The sublevel "users", as it is in the whole database.
                let of_a_user = |operation: &&Operation| operation.key().starts_with(b"!users!");
                for operation in batch.operations().filter(of_a_user) {
                    if let Operation::Put { value, .. } = operation
                        && !value.contains(&b'@')
                    {
                        return refuse("a user needs an address with an @");
                    }
                }
                Ok(())
            }
            HostWrite::Clear(options) if options.limit.is_none() && options.range.contains(b"!users!") => {
                refuse("all users at once are not cleared")
            }
            HostWrite::Clear(_) => Ok(()),
        }
    }

    fn after(&self, write: HostWrite<'_>) {
        if let HostWrite::Batch(batch) = write {
            self.written.fetch_add(batch.len() as u64, Ordering::Relaxed);
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let directory = std::env::args_os().nth(1).unwrap_or_else(|| "./hooks-db".into());
    let hook = Arc::new(Users::default());
    // All processes of a database should have the same hook: whoever leads judges.
    let db = RaveLevel::builder(directory)?.hook(hook.clone()).open().await?;
    let users = db.sublevel("users")?;
    users.put("ada", "ada@example.org").await?;
    for refused in [users.put("bob", "nowhere").await, db.clear(KeyRange::all()).await] {
        match refused {
            Err(error) => println!("refused: {error}"),
            Ok(()) => println!("this process does not lead, and the one that does lets it pass"),
        }
    }
    println!("{} operations were written while this process led", hook.written.load(Ordering::Relaxed));
    db.close().await
}
