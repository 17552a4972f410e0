//! The suite that every store has to pass.

use append_store::AppendStore;
use rave_level::{AbstractLevel, LockAttempt, Opener, conformance::Harness};
use std::{path::PathBuf, sync::Arc};

/// Opens the store alone: no other process, no transport.
async fn open(directory: PathBuf) -> Arc<dyn AbstractLevel> {
    match AppendStore::new(directory).try_lock().await.unwrap() {
        LockAttempt::Acquired(locked) => locked.open().await.unwrap(),
        LockAttempt::Held { holder } => panic!("process {holder:?} has the lock"),
    }
}

async fn setup() -> Harness {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().to_path_buf();
    let level = open(directory.clone()).await;
    Harness::new(level).reopening(move || open(directory.clone())).keeping(folder)
}

rave_level::conformance!(one_thread, setup);
rave_level::conformance!(many_threads, setup, multi_thread);
