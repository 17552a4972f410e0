//! The conformance suite on the store, with segments so small that they are filled and used again all the time, and on
//! a sublevel.

use crate::small;
use rave_core::{AbstractLevelExt, conformance::Harness};
use rave_sled::{Options, SledDb};

async fn store(options: Options) -> Harness {
    let directory = tempfile::tempdir().unwrap();
    let opener = SledDb::with_options(directory.path().join("db"), options);
    let level = opener.open().await.unwrap();
    let reopen = move || {
        let opener = opener.clone();
        async move { opener.open().await.unwrap() }
    };
    Harness::new(level).keeping(directory).reopening(reopen)
}

async fn part_of(options: Options) -> Harness {
    let directory = tempfile::tempdir().unwrap();
    let level = SledDb::with_options(directory.path().join("db"), options).open().await.unwrap();
    // Around the sublevel's keys, so that a wrong bound shows.
    level.put("!par", "before").await.unwrap();
    level.put("!part\"", "behind").await.unwrap();
    let sublevel = level.sublevel("part").unwrap();
    Harness::new(sublevel).keeping(level).keeping(directory).without_reopening()
}

rave_core::conformance!(sled, || store(Options::default()));
rave_core::conformance!(sled_multi_thread, || store(Options::default()), multi_thread);
rave_core::conformance!(small_segments, || store(small()));
rave_core::conformance!(sublevel, || part_of(Options::default()));
rave_core::conformance!(sublevel_multi_thread, || part_of(small()), multi_thread);
