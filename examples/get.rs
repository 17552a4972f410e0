//! The other half of the classic pair: reads what `put` writes, while `put` has the same database open. Kill `put`, and
//! this process goes on: it has become the leader.
//!
//! ```text
//! cargo run --example get -- ./my-db
//! ```

use rave_level::{AbstractLevel, AbstractLevelExt, RaveLevel, Result};
use std::time::Duration;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "./my-db".into());
    // How many values to read; without it, as long as this runs.
    let times: u64 = std::env::args().nth(2).and_then(|times| times.parse().ok()).unwrap_or(u64::MAX);

    let db = RaveLevel::open(&path).await?;
    println!("{path} is open; this process is {:?}", db.role());
    let mut read = 0;
    while read < times {
        match db.get("count").await? {
            None => println!("nothing yet; start `put`"),
            Some(count) => {
                println!("got {} ({:?})", String::from_utf8_lossy(&count), db.role());
                read += 1;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    db.close().await
}
