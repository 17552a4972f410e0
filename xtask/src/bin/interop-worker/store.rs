//! This project's store, opened as its users open it.

use crate::{
    content::{Fingerprint, MARKER, batches, marked, probes},
    job::{Contents, Job},
    say,
};
use anyhow::{Result, ensure};
use rave_level::{
    AbstractLevel, AbstractLevelExt, Batch, IteratorOptions, KeyRange,
    leveldb::{Compression, LevelDb, Options, Store},
};
use std::sync::Arc;

const PAGE: usize = 1000;

async fn open(job: &Job) -> Result<Arc<Store>> {
    let options = Options {
        compression: if job.compression { Compression::Snappy } else { Compression::None },
        write_buffer_size: job.write_buffer_bytes,
        block_size: job.block_bytes,
        ..Options::default()
    };
    Ok(LevelDb::with_options(&job.directory, options).open_store().await?)
}

pub async fn write(job: &Job) -> Result<()> {
    let database = open(job).await?;
    for batch in batches(job)? {
        let (number, operations) = batch?;
        database.write(Batch::from_iter(operations)).await?;
        say(&number)?;
    }
    Ok(database.close().await?)
}

async fn scan(database: &Store, reverse: bool) -> Result<(u64, String)> {
    let mut iterator = database.iterator(IteratorOptions { reverse, ..IteratorOptions::default() }).await?;
    let (mut entries, mut fingerprint) = (0, Fingerprint::default());
    loop {
        let page = iterator.next_many(PAGE).await?;
        if page.is_empty() {
            return Ok((entries, fingerprint.finish()));
        }
        entries += page.len() as u64;
        page.iter().for_each(|entry| fingerprint.entry(&entry.key, &entry.value));
    }
}

pub async fn read(job: &Job) -> Result<Contents> {
    let database = open(job).await?;
    let (entries, forward) = scan(&database, false).await?;
    let (backwards, reverse) = scan(&database, true).await?;
    ensure!(entries == backwards, "{entries} entries forwards, {backwards} in reverse");
    let mut gets = Fingerprint::default();
    for key in probes(job)? {
        gets.got(database.get(key).await?.as_deref());
    }
    let batches = marked(database.get(MARKER).await?.as_deref())?;
    let levels = database.stats().levels.iter().map(|level| level.tables as u32).collect();
    database.close().await?;
    Ok(Contents { entries, batches, forward, reverse, gets: gets.finish(), levels })
}

pub async fn compact(job: &Job) -> Result<()> {
    let database = open(job).await?;
    database.compact_range(KeyRange::all()).await?;
    Ok(database.close().await?)
}
