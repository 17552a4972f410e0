//! One half of the classic pair: writes a counter into a shared database. Start it in one terminal and `get` in another,
//! in any order, as often as you like, and stop whichever you want.
//!
//! ```text
//! cargo run --example put -- ./my-db
//! ```

use rave_level::{AbstractLevel, AbstractLevelExt, RaveLevel, Result};
use std::time::Duration;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "./my-db".into());
    // How many times to count; without it, as long as this runs.
    let times: u64 = std::env::args().nth(2).and_then(|times| times.parse().ok()).unwrap_or(u64::MAX);

    let db = RaveLevel::open(&path).await?;
    println!("{path} is open; this process is {:?}", db.role());
    for _ in 0..times {
        let before = db.get("count").await?.and_then(|text| std::str::from_utf8(&text).ok()?.parse::<u64>().ok());
        let count = before.unwrap_or(0) + 1;
        db.put("count", count.to_string()).await?;
        println!("put {count} ({:?})", db.role());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    db.close().await
}
