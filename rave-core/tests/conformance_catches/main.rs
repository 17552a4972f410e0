//! Proof that the conformance suite can fail: stores with one deliberate mistake each, and the cases that notice it.

use async_trait::async_trait;
use rave_core::{
    AbstractLevel, Batch, Bytes, ClearOptions, Code, Entry, Error, EventStream, IteratorOptions, KeyRange,
    LevelIterator, Manifest, MemoryLevel, ReadOptions, Result, Snapshot, Status, WriteOptions,
    conformance::{self, Flavor, Harness},
};
use std::{
    collections::HashMap,
    ops::Bound,
    panic,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Whether the case accepts a store with that mistake.
macro_rules! accepts {
    ($fault:expr, $group:ident::$case:ident) => {{
        let fault = $fault;
        panic::catch_unwind(move || {
            let setup = async move || Harness::new(Broken::new(fault));
            conformance::run(stringify!($case), Flavor::CurrentThread, setup, conformance::$group::$case);
        })
        .is_ok()
    }};
}

/// One test of each mistake: every case named accepts the wrapper without one, and not the one with it. `Broken` and
/// `Fault` are those of the place where this is used.
macro_rules! caught {
    ($($test:ident: $fault:ident by $($group:ident::$case:ident),+;)*) => {
        $(#[test]
        fn $test() {
            $(
                assert!(accepts!(Fault::None, $group::$case), "a right store fails {}", stringify!($case));
                assert!(!accepts!(Fault::$fault, $group::$case), "{} accepts it", stringify!($case));
            )+
        })*
    };
}

mod clear;
mod condition;
mod outcomes;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The same wrapper without a mistake.
    None,
    /// No mistake either: it offers no snapshots and refuses them.
    NoSnapshots,
    ReverseSkipsShorterKeys,
    LimitIgnored,
    SeekStartsAnew,
    EndNotSticky,
    DroppedStepLosesEntry,
    PagesTooLong,
    BatchReordered,
    BatchNotAtomic,
    WritesOvertake,
    StaleGet,
    EmptyValueMissing,
    ManyReordered,
    ClearIgnoresLimitZero,
    ClearIgnoresReverse,
    ClearIgnoresExcept,
    CloseDoesNothing,
    SnapshotSeesThePresent,
    UndeclaredCapability,
    EventsSilent,
    SyncRefusedThoughDeclared,
}

#[derive(Clone, Debug)]
struct Broken {
    inner: MemoryLevel,
    fault: Fault,
    seen: Arc<Mutex<HashMap<Bytes, Option<Bytes>>>>,
    writes: Arc<AtomicUsize>,
}

impl Broken {
    fn new(fault: Fault) -> Self {
        Self { inner: MemoryLevel::new(), fault, seen: Arc::default(), writes: Arc::default() }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }
}

#[async_trait]
impl AbstractLevel for Broken {
    fn manifest(&self) -> Manifest {
        let mut manifest = self.inner.manifest();
        if self.is(Fault::UndeclaredCapability) || self.is(Fault::NoSnapshots) {
            manifest.explicit_snapshots = false;
        }
        if self.is(Fault::SyncRefusedThoughDeclared) {
            manifest.sync_writes = !manifest.sync_writes;
        }
        manifest
    }

    fn status(&self) -> Status {
        self.inner.status()
    }

    fn events(&self) -> EventStream {
        if self.is(Fault::EventsSilent) { MemoryLevel::new().events() } else { self.inner.events() }
    }

    async fn get_opts(&self, key: Bytes, mut options: ReadOptions) -> Result<Option<Bytes>> {
        if self.is(Fault::SnapshotSeesThePresent) {
            options.snapshot = None;
        }
        let value = self.inner.get_opts(key.clone(), options).await?;
        match self.fault {
            Fault::StaleGet => Ok(self.seen.lock().unwrap().entry(key).or_insert(value).clone()),
            Fault::EmptyValueMissing => Ok(value.filter(|value| !value.is_empty())),
            _ => Ok(value),
        }
    }

    async fn get_many_opts(&self, mut keys: Vec<Bytes>, options: ReadOptions) -> Result<Vec<Option<Bytes>>> {
        if self.is(Fault::ManyReordered) {
            keys.sort();
        }
        self.inner.get_many_opts(keys, options).await
    }

    async fn write_opts(&self, batch: Batch, options: WriteOptions) -> Result<()> {
        match self.fault {
            Fault::BatchReordered => {
                let mut operations: Vec<_> = batch.into_operations().collect();
                operations.reverse();
                self.inner.write_opts(operations.into_iter().collect(), options).await
            }
            Fault::BatchNotAtomic => {
                for operation in batch.into_operations() {
                    self.inner.write_opts([operation].into_iter().collect(), options).await?;
                    tokio::task::yield_now().await;
                }
                Ok(())
            }
            Fault::WritesOvertake => {
                if self.writes.fetch_add(1, Ordering::SeqCst) % 10 == 3 {
                    tokio::task::yield_now().await;
                    tokio::task::yield_now().await;
                }
                self.inner.write_opts(batch, options).await
            }
            _ => self.inner.write_opts(batch, options).await,
        }
    }

    async fn clear_opts(&self, mut options: ClearOptions) -> Result<()> {
        if self.is(Fault::ClearIgnoresLimitZero) {
            options.limit = options.limit.filter(|&limit| limit > 0);
        }
        if self.is(Fault::ClearIgnoresReverse) {
            options.reverse = false;
        }
        if self.is(Fault::ClearIgnoresExcept) {
            options.except.clear();
        }
        self.inner.clear_opts(options).await
    }

    async fn iterator_opts(&self, options: IteratorOptions) -> Result<Box<dyn LevelIterator>> {
        let given = match self.fault {
            Fault::LimitIgnored => IteratorOptions { limit: None, ..options.clone() },
            _ => options.clone(),
        };
        let inner = self.inner.iterator_opts(given).await?;
        Ok(Box::new(BrokenIterator { level: self.clone(), inner, options, last: None }))
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        if self.is(Fault::NoSnapshots) {
            return Err(Error::new(Code::NotSupported, "no snapshots"));
        }
        self.inner.snapshot().await
    }

    async fn close(&self) -> Result<()> {
        if self.is(Fault::CloseDoesNothing) { Ok(()) } else { self.inner.close().await }
    }
}

struct BrokenIterator {
    level: Broken,
    inner: Box<dyn LevelIterator>,
    options: IteratorOptions,
    last: Option<Bytes>,
}

#[async_trait]
impl LevelIterator for BrokenIterator {
    async fn next(&mut self) -> Result<Option<Entry>> {
        if let (Fault::ReverseSkipsShorterKeys, true, Some(last)) =
            (self.level.fault, self.options.reverse, self.last.take())
        {
            // Where a naive resumption continues: below the bookmark with its last byte less by one.
            let mut below = last.to_vec();
            match below.pop() {
                Some(byte) if byte > 0 => below.push(byte - 1),
                Some(_) => {}
                None => return Ok(None),
            }
            let range = KeyRange::new(self.options.range.lower().cloned(), Bound::Included(below.into()));
            self.inner = self.level.inner.iterator_opts(IteratorOptions { range, ..self.options.clone() }).await?;
        }
        let entry = self.inner.next().await?;
        if self.level.is(Fault::DroppedStepLosesEntry) {
            tokio::task::yield_now().await;
        }
        if entry.is_none() && self.level.is(Fault::EndNotSticky) {
            self.inner = self.level.inner.iterator_opts(self.options.clone()).await?;
        }
        self.last = entry.as_ref().map(|entry| entry.key.clone());
        Ok(entry)
    }

    async fn next_many(&mut self, size: usize) -> Result<Vec<Entry>> {
        let size = if self.level.is(Fault::PagesTooLong) { size + 1 } else { size };
        self.inner.next_many(size).await
    }

    async fn seek(&mut self, target: Bytes) -> Result<()> {
        if self.level.is(Fault::SeekStartsAnew) {
            self.inner = self.level.inner.iterator_opts(self.options.clone()).await?;
        }
        self.inner.seek(target).await
    }

    async fn close(&mut self) -> Result<()> {
        self.inner.close().await
    }
}

caught! {
    reverse_skips_shorter_keys: ReverseSkipsShorterKeys
        by iterator::reverse_misses_no_shorter_key, iterator::keys_come_in_the_order_of_their_bytes,
        random::random_operations_match_a_model;
    limit_ignored: LimitIgnored by iterator::a_limit_ends_the_iterator, iterator::every_range_is_right;
    seek_starts_anew: SeekStartsAnew by seek::a_seek_does_not_reset_the_limit, seek::a_seek_takes_no_newer_view,
        random::random_operations_match_a_model;
    end_not_sticky: EndNotSticky by iterator::the_end_is_sticky;
    dropped_step_loses_entry: DroppedStepLosesEntry by iterator::a_dropped_step_loses_nothing;
    pages_too_long: PagesTooLong by iterator::pages_are_never_too_long;
    batch_reordered: BatchReordered by write::the_last_operation_on_a_key_wins, chained::steps_take_effect_at_write,
        random::random_operations_match_a_model;
    batch_not_atomic: BatchNotAtomic by write::readers_never_see_half_a_batch,
        write::a_dropped_write_is_all_or_nothing;
    writes_overtake: WritesOvertake by write::writes_take_effect_in_the_order_submitted;
    stale_get: StaleGet by get::a_value_comes_back, random::random_operations_match_a_model;
    empty_value_missing: EmptyValueMissing by get::empty_keys_and_values_are_legal;
    many_reordered: ManyReordered by get::many_keys_keep_their_order;
    clear_ignores_limit_zero: ClearIgnoresLimitZero by clear::a_limit_of_zero_deletes_nothing;
    clear_ignores_reverse: ClearIgnoresReverse by clear::a_limit_takes_the_nearest_keys;
    clear_ignores_except: ClearIgnoresExcept by clear::what_is_excepted_stays;
    close_does_nothing: CloseDoesNothing by close::operations_after_close_are_refused,
        close::open_iterators_end_with_an_error, sublevel::closing_the_level_closes_its_views;
    snapshot_sees_the_present: SnapshotSeesThePresent by snapshot::reads_see_the_snapshot;
    undeclared_capability: UndeclaredCapability by snapshot::iterators_see_the_snapshot;
    sync_not_as_declared: SyncRefusedThoughDeclared by write::sync_is_honoured_or_refused;
    events_silent: EventsSilent by events::nothing_is_announced_for_nothing;
}

/// Whether a case that is said to fail is accepted on a store with or without the mistake that it notices.
fn accepts_as_known(fault: Fault, name: &'static str) -> bool {
    panic::catch_unwind(move || {
        let known = &[("get::a_value_comes_back", "it gives what it gave before")];
        let setup = async move || Harness::new(Broken::new(fault)).known_to_fail(known);
        conformance::run(name, Flavor::CurrentThread, setup, conformance::get::a_value_comes_back);
    })
    .is_ok()
}

#[test]
fn a_case_known_to_fail_must_fail() {
    assert!(accepts_as_known(Fault::StaleGet, "tests::get::a_value_comes_back"));
    assert!(!accepts_as_known(Fault::None, "tests::get::a_value_comes_back"));
    assert!(!accepts_as_known(Fault::StaleGet, "tests::get::another_case"), "only what is listed may fail");
}
