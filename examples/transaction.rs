//! Transactions: money moves between accounts, and none is made or lost, whoever else moves money at the same time. Start
//! it in several terminals at once, and kill whichever you want.
//!
//! ```text
//! cargo run --example transaction -- ./my-db
//! ```

use rave_level::{
    AbstractLevel, AbstractLevelExt, KeyRange, RaveLevel, Transaction,
    encoding::{Json, Utf8},
};
use std::fmt;

const ACCOUNTS: [&str; 3] = ["ada", "alan", "grace"];
const EACH: u64 = 100;

/// An error of one's own: all it needs is that those of the database become one.
#[derive(Debug)]
enum Failure {
    /// The account does not have as much as that.
    Poor(u64),
    Database(rave_level::Error),
}

impl From<rave_level::Error> for Failure {
    fn from(error: rave_level::Error) -> Self {
        Self::Database(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Poor(balance) => write!(f, "there are only {balance}"),
            Self::Database(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Failure {}

/// It may run several times, until nobody was in between: so it does nothing but read and write through `tx`.
async fn transfer(tx: Transaction, from: &str, to: &str, amount: u64) -> Result<(), Failure> {
    let accounts = tx.sublevel("accounts")?.typed(Utf8, Json::<u64>::new());
    let balance = accounts.get(from).await?.unwrap_or(0);
    // An error leaves nothing behind, so it may come at any place.
    let left = balance.checked_sub(amount).ok_or(Failure::Poor(balance))?;
    accounts.put(from, &left).await?;
    // From here on `tx` knows of the write, and nobody else does.
    let received = accounts.get(to).await?.unwrap_or(0) + amount;
    accounts.put(to, &received).await?;
    Ok(())
}

/// Reading all of them in a transaction gives what they were at one moment.
async fn total(db: &RaveLevel) -> Result<u64, Failure> {
    db.transaction(|tx| async move {
        let accounts = tx.sublevel("accounts")?.typed(Utf8, Json::<u64>::new());
        let balances = accounts.all(accounts.range()).await?;
        Ok(balances.iter().map(|(_, balance)| balance).sum())
    })
    .await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "./my-db".into());
    let db = RaveLevel::open(&path).await?;

    // Whoever is first opens the accounts. The others find the range no longer empty, and leave it as it is.
    db.transaction(|tx| async move {
        let accounts = tx.sublevel("accounts")?;
        if accounts.all(KeyRange::all()).await?.is_empty() {
            for name in ACCOUNTS {
                accounts.put(name, EACH.to_string()).await?;
            }
        }
        Ok::<_, rave_level::Error>(())
    })
    .await?;

    for round in 0..300 {
        let (from, to) = (ACCOUNTS[round % 3], ACCOUNTS[(round / 3) % 3]);
        match db.transaction(|tx| transfer(tx, from, to, 30)).await {
            Err(Failure::Poor(balance)) if round < 9 => println!("{from} cannot give 30: there are only {balance}"),
            Ok(()) | Err(Failure::Poor(_)) => {}
            Err(failure) => return Err(failure),
        }
        assert_eq!(total(&db).await?, ACCOUNTS.len() as u64 * EACH);
    }
    println!("the accounts have {} together, as ever; this process is {:?}", total(&db).await?, db.role());
    Ok(db.close().await?)
}
