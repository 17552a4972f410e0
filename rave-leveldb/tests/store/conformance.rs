//! The conformance suite on the store, with buffers so small that tables are made and compacted all the time, and on a
//! sublevel.

use crate::hasty;
use rave_core::{AbstractLevelExt, conformance::Harness};
use rave_leveldb::{Compression, Options};

async fn store(options: Options) -> Harness {
    let directory = tempfile::tempdir().unwrap();
    let opener = hasty(&directory.path().join("db"), options);
    let level = opener.open().await.unwrap();
    let reopen = move || {
        let opener = opener.clone();
        async move { opener.open().await.unwrap() }
    };
    Harness::new(level).keeping(directory).reopening(reopen)
}

fn tiny() -> Options {
    Options {
        write_buffer_size: 600,
        block_size: 64,
        compression: Compression::None,
        cache_bytes: 0,
        ..Options::default()
    }
}

async fn part_of(options: Options) -> Harness {
    let directory = tempfile::tempdir().unwrap();
    let opener = hasty(&directory.path().join("db"), options);
    let level = opener.open().await.unwrap();
    // Around the sublevel's keys, so that a wrong bound shows.
    level.put("!par", "before").await.unwrap();
    level.put("!part\"", "behind").await.unwrap();
    let sublevel = level.sublevel("part").unwrap();
    Harness::new(sublevel).keeping(level).keeping(directory).without_reopening()
}

rave_core::conformance!(leveldb, || store(Options::default()));
rave_core::conformance!(leveldb_multi_thread, || store(Options::default()), multi_thread);
rave_core::conformance!(tiny_buffers, || store(tiny()));
rave_core::conformance!(sublevel, || part_of(Options::default()));
rave_core::conformance!(sublevel_tiny_buffers, || part_of(tiny()));
