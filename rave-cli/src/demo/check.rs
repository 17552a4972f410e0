//! Reading every acknowledged write, after all the processes have gone.

use super::worker::{key, latest_key};
use crate::failure::Failure;
use rave_level::{AbstractLevel, AbstractLevelExt, KeyRange, RaveLevel, Sublevel};
use std::{collections::BTreeMap, path::Path};

/// How many acknowledged writes are lost. `acknowledged` has the last such write of each process.
pub async fn check(
    dir: &Path,
    run: &str,
    acknowledged: &BTreeMap<u64, u64>,
    complaints: &mut Vec<String>,
) -> Result<u64, Failure> {
    let db = RaveLevel::open(dir).await?;
    let keys = db.sublevel(run)?;
    let mut lost = 0;
    for (&worker, &last) in acknowledged {
        lost += check_one(&keys, worker, last, complaints).await?;
    }
    db.close().await?;
    Ok(lost)
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
    let latest = keys.get(latest_key(worker)).await?;
    let latest = latest.and_then(|value| std::str::from_utf8(&value).ok()?.parse::<u64>().ok()).unwrap_or(0);
    if latest < last {
        complaints.push(format!("process {worker}: overwritten up to {last}, but write {latest} is what is stored"));
    }
    Ok(last - found)
}
