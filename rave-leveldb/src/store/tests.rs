//! Operations that overlap: their order, and what one leaves behind whose future is dropped.

use super::*;
use crate::{LevelDb, Options, testing::SimulatedDisk};
use rave_core::AbstractLevelExt;
use std::{future::Future, pin::pin, sync::mpsc, task::Context, task::Poll, task::Waker};

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// A runtime with one thread for blocking work, and a store whose tables are in no cache.
fn with_store<F: Future<Output = ()>>(test: impl FnOnce(Arc<Store>, SimulatedDisk) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let (directory, disk) = (tempfile::tempdir().unwrap(), SimulatedDisk::new());
        let options = Options { disk: Some(disk.clone()), cache_bytes: 0, ..Options::default() };
        let store = LevelDb::with_options(directory.path(), options).open_store().await.unwrap();
        test(store.clone(), disk).await;
        store.close().await.unwrap();
    });
}

#[test]
fn a_read_that_waits_for_the_disk_does_not_see_writes_that_came_after_it() {
    with_store(|store, disk| async move {
        store.put("key", "before").await.unwrap();
        store.compact_range(KeyRange::all()).await.unwrap();
        disk.cold(true);
        let (go, blocked) = mpsc::channel::<()>();
        let blocker = tokio::task::spawn_blocking(move || blocked.recv());
        let mut one = pin!(store.get_opts("key".into(), ReadOptions::default()));
        let mut many = pin!(store.get_many_opts(vec!["key".into()], ReadOptions::default()));
        assert!(poll(one.as_mut()).is_pending() && poll(many.as_mut()).is_pending());
        store.put("key", "after").await.unwrap();
        go.send(()).unwrap();
        assert_eq!(one.await.unwrap().as_deref(), Some(&b"before"[..]));
        assert_eq!(many.await.unwrap(), [Some(Bytes::from("before"))]);
        blocker.await.unwrap().unwrap();
    });
}

#[test]
fn a_snapshot_that_nobody_waits_for_any_more_is_released() {
    with_store(|store, _| async move {
        let (go, blocked) = mpsc::channel::<()>();
        let busy = move || blocked.recv().unwrap();
        store.submit(Work::Read(Box::new(busy))).unwrap().detach();
        let mut write = pin!(store.write_opts(Batch::new().put("key", "value"), WriteOptions::default()));
        assert!(poll(write.as_mut()).is_pending());
        {
            let mut snapshot = pin!(store.snapshot());
            assert!(poll(snapshot.as_mut()).is_pending());
        }
        go.send(()).unwrap();
        write.await.unwrap();
        // Behind the snapshot in the queue.
        store.clear(KeyRange::all()).await.unwrap();
        assert_eq!(store.stats().snapshots, 0);
    });
}
