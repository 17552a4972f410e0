//! A whole directory: opened, read, written to, closed, and opened again.
#![no_main]

#[path = "../files.rs"]
mod files;

use libfuzzer_sys::fuzz_target;
use rave_core::{AbstractLevel, AbstractLevelExt, IteratorOptions};
use rave_leveldb::{
    LevelDb, Options,
    testing::{SimulatedDisk, disk_of, mend},
};
use std::{
    path::Path,
    sync::{LazyLock, atomic::AtomicU64, atomic::Ordering},
};

/// Entries after which a scan is given up: an index may name the same block over and over.
const MOST_ENTRIES: usize = 5000;

static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().build().unwrap());

/// For the lock files alone; all others are on the simulated disk.
static DIRECTORY: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());

static OPENED: AtomicU64 = AtomicU64::new(0);

fuzz_target!(|input: &[u8]| {
    let mut files = files::unpack(input);
    for (name, mends, content) in &mut files {
        if *mends {
            mend(name, content);
        }
    }
    let disk = disk_of(files.iter().map(|(name, _, content)| (*name, content.as_slice())));
    // The lock of the one before may still be on its way to being released.
    let directory = DIRECTORY.path().join((OPENED.fetch_add(1, Ordering::Relaxed) % 64).to_string());
    RUNTIME.block_on(async {
        visit(&directory, &disk).await;
        visit(&directory, &disk).await;
    });
});

async fn visit(directory: &Path, disk: &SimulatedDisk) {
    let options = Options { write_buffer_size: 64 << 10, disk: Some(disk.clone()), ..Options::default() };
    let Ok(db) = LevelDb::with_options(directory, options).open().await else { return };
    for reverse in [false, true] {
        let options = IteratorOptions { reverse, ..IteratorOptions::default() };
        if let Ok(mut iterator) = db.iterator(options).await {
            let mut entries = 0;
            while entries < MOST_ENTRIES
                && let Ok(Some(entry)) = iterator.next().await
            {
                entries += 1;
                if entries.is_power_of_two() {
                    let _ = db.get(&entry.key).await;
                }
            }
            let _ = iterator.close().await;
        }
    }
    let _ = db.put("key", "value").await;
    let _ = db.get("key").await;
    let _ = db.del("key").await;
    let _ = db.close().await;
}
