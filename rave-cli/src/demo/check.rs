//! Reading every acknowledged write and the shared counter, after all the processes have gone.

use super::{
    troop::Told,
    worker::{COUNTER, increments_key, key, latest_key, parse_count},
};
use crate::failure::Failure;
use rave_level::{AbstractLevel, AbstractLevelExt, KeyRange, Location, Sublevel};
use std::collections::BTreeMap;

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// Acknowledged writes that are not there.
    pub lost: u64,
    /// The shared counter.
    pub counter: u64,
}

/// Looks for all that each process was told of.
pub async fn check(
    location: &Location,
    run: &str,
    told: &BTreeMap<u64, Told>,
    complaints: &mut Vec<String>,
) -> Result<Found, Failure> {
    let db = location.builder()?.open().await?;
    let keys = db.sublevel(run)?;
    let mut lost = 0;
    for (&worker, told) in told {
        lost += check_one(&keys, worker, told.writes, complaints).await?;
    }
    let counter = check_counter(&keys, told, complaints).await?;
    db.close().await?;
    Ok(Found { lost, counter })
}

/// The counter is what the processes together have added to it, each of them exactly as often as it was told; or once more, if
/// it died before it was told of the last time.
async fn check_counter(
    keys: &Sublevel,
    told: &BTreeMap<u64, Told>,
    complaints: &mut Vec<String>,
) -> Result<u64, Failure> {
    let counter = parse_count(keys.get(COUNTER).await?.as_deref());
    let mut sum = 0;
    for (worker, Told { increments, .. }) in told {
        let own = parse_count(keys.get(increments_key(*worker)).await?.as_deref());
        if own != *increments && own != increments + 1 {
            complaints.push(format!("process {worker}: told of {increments} increments, but made {own}"));
        }
        sum += own;
    }
    if counter != sum {
        complaints.push(format!("the shared counter is {counter}, but was incremented {sum} times"));
    }
    Ok(counter)
}

async fn check_one(keys: &Sublevel, worker: u64, last: u64, complaints: &mut Vec<String>) -> Result<u64, Failure> {
    // A write behind the last may be there: it was applied, and its process died before it could tell.
    let range = KeyRange::all().gte(key(worker, 0)).lte(key(worker, last));
    let mut iterator = keys.iterator(range).await?;
    let (mut expected, mut found) = (1, 0);
    loop {
        let page = iterator.next_many(1000).await?;
        if page.is_empty() {
            break;
        }
        for entry in page {
            while expected <= last && entry.key != key(worker, expected).as_bytes() {
                expected += 1;
            }
            if expected <= last && entry.value == expected.to_string().as_bytes() {
                found += 1;
            } else {
                complaints.push(format!("process {worker}: a wrong entry near write {expected}"));
            }
            expected += 1;
        }
    }
    iterator.close().await?;
    let latest = parse_count(keys.get(latest_key(worker)).await?.as_deref());
    if latest < last {
        complaints.push(format!("process {worker}: overwritten up to {last}, but write {latest} is what is stored"));
    }
    Ok(last - found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rave_level::{Batch, RaveLevel};

    /// What is complained of if the workers 1 and 2 were told of 3 and 5 increments, and this is stored.
    async fn complaints(counter: u64, own: [u64; 2]) -> usize {
        let dir = tempfile::tempdir().unwrap();
        let db = RaveLevel::open(dir.path().join("db")).await.unwrap();
        let keys = db.sublevel("run").unwrap();
        let batch = Batch::new().put(COUNTER, counter.to_string());
        let batch = batch.put(increments_key(1), own[0].to_string()).put(increments_key(2), own[1].to_string());
        keys.write(batch).await.unwrap();
        db.close().await.unwrap();
        let told = [(1, 3), (2, 5)].map(|(worker, increments)| (worker, Told { writes: 0, increments }));
        let mut complaints = Vec::new();
        let found =
            check(&Location::LevelDb(dir.path().join("db")), "run", &told.into(), &mut complaints).await.unwrap();
        assert_eq!(found, Found { lost: 0, counter });
        complaints.len()
    }

    #[tokio::test]
    async fn the_counter_is_exact_or_complained_of() {
        assert_eq!(complaints(8, [3, 5]).await, 0);
        assert_eq!(complaints(9, [4, 5]).await, 0, "one that died before it was told");
        assert_eq!(complaints(7, [3, 5]).await, 1, "lost");
        assert_eq!(complaints(9, [3, 5]).await, 1, "doubled");
        assert_eq!(complaints(7, [2, 5]).await, 1, "an acknowledged one is lost");
        assert_eq!(complaints(10, [3, 7]).await, 1, "two more than told");
    }
}
