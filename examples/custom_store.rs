//! A store of one's own: a journal, that is a file of batches, each appended as one record, and a map in memory.
//!
//! What it takes: an [`AbstractLevel`] that does the work, an [`Opener`] that locks and then opens, and a manifest that
//! promises no more than is true. The conformance suite at the end proves it; then any number of processes can share it.
//!
//! ```text
//! cargo run --example custom_store
//! cargo test --example custom_store
//! ```

use async_trait::async_trait;
use bytes::Bytes;
use rave_level::{
    AbstractLevel, AbstractLevelExt, Batch, Builder, ClearOptions, Code, Effect, Entry, Error, Event, EventHub,
    EventStream, FileLock, FileLockAttempt, IteratorOptions, KeyRange, LevelIterator, LockAttempt, LockedStore,
    Manifest, MemoryLevel, Opener, Operation, ReadOptions, Result, Snapshot, Status, WriteOptions, failed_conditions,
    transport::IpcTransport,
};
use std::{
    fs::{self, File},
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The file, beside the map that it makes when it is read from its start. The map is a [`MemoryLevel`], which brings
/// iterators and snapshots; a store that keeps its data elsewhere makes these itself.
#[derive(Debug)]
struct JournalLevel {
    map: MemoryLevel,
    journal: Mutex<Journal>,
    events: EventHub,
}

#[derive(Debug)]
struct Journal {
    path: PathBuf,
    /// `None` once closed.
    open: Option<(File, FileLock)>,
    /// A record could not be written: how much of it is in the file is not known, so nothing may follow it.
    broken: bool,
}

impl JournalLevel {
    fn read_from(path: PathBuf, lock: FileLock) -> Result<(Self, Vec<Batch>)> {
        let failed = |error| Error::io(format!("opening {}", path.display()), error);
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        let data = fs::read(&path).map_err(failed)?;
        let mut batches = Vec::new();
        let mut rest = data.as_slice();
        while let Some(batch) = read_record(&mut rest) {
            batches.push(batch);
        }
        // What is left is a record whose writer died: it was never acknowledged. What comes next takes its place.
        let end = (data.len() - rest.len()) as u64;
        file.set_len(end).and_then(|()| file.seek(SeekFrom::Start(end))).map_err(failed)?;
        let journal = Mutex::new(Journal { path, open: Some((file, lock)), broken: false });
        Ok((Self { map: MemoryLevel::new(), journal, events: EventHub::new() }, batches))
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails if a condition of the batch does not hold. Called with the journal locked: nobody writes meanwhile.
    fn check(&self, batch: &Batch) -> Result<()> {
        let get = |key: &Bytes| futures::executor::block_on(self.map.get(key));
        let failed = failed_conditions(batch.conditions(), get, |range, show| {
            let entries = futures::executor::block_on(self.map.all(range.clone()))?;
            entries.iter().for_each(|entry| show(&entry.key, &entry.value));
            Ok(())
        })?;
        if failed.is_empty() { Ok(()) } else { Err(Error::condition_failed(failed)) }
    }
}

impl Journal {
    /// Appends a record: in the hands of the system, or with `sync` on the disk.
    fn append(&mut self, record: &[u8], sync: bool) -> Result<()> {
        let Some((file, _)) = &mut self.open else { return Err(Error::not_open()) };
        if self.broken {
            let message = format!("an earlier write to {} failed; open it again", self.path.display());
            return Err(Error::new(Code::Io, message));
        }
        let written = file.write_all(record).and_then(|()| if sync { file.sync_data() } else { Ok(()) });
        written.map_err(|error| {
            self.broken = true;
            Error::io(format!("writing {}", self.path.display()), error).with_effect(Effect::Unknown)
        })
    }
}

/// A record: the length of what follows, then for each operation the lengths of key and value, key and value. A length
/// of `u32::MAX` in the place of the value's says "delete". There are no checksums: a grown-up store has them.
fn write_record(batch: &Batch) -> Result<Vec<u8>> {
    let length = |bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).ok().filter(|&length| length < u32::MAX);
        length.map(u32::to_le_bytes).ok_or_else(|| Error::new(Code::InvalidValue, "too long for the journal"))
    };
    let mut body = Vec::new();
    for operation in batch.operations() {
        let (key, value) = match operation {
            Operation::Put { key, value } => (key, Some(value)),
            Operation::Del { key } => (key, None),
        };
        body.extend(length(key)?);
        body.extend(value.map_or(Ok([0xff; 4]), |value| length(value))?);
        body.extend_from_slice(key);
        body.extend_from_slice(value.map_or(&[], |value| value));
    }
    Ok([length(&body)?.as_slice(), &body].concat())
}

/// The first record of `data`, which then begins behind it; `None` if it is not complete.
fn read_record(data: &mut &[u8]) -> Option<Batch> {
    fn take<'a>(data: &mut &'a [u8], count: u32) -> Option<&'a [u8]> {
        let (taken, rest) = data.split_at_checked(usize::try_from(count).ok()?)?;
        *data = rest;
        Some(taken)
    }
    fn number(data: &mut &[u8]) -> Option<u32> {
        take(data, 4)?.try_into().ok().map(u32::from_le_bytes)
    }
    let mut rest = *data;
    let length = number(&mut rest)?;
    let mut body = take(&mut rest, length)?;
    let mut batch = Batch::new();
    while !body.is_empty() {
        let (key, value) = (number(&mut body)?, number(&mut body)?);
        let key = take(&mut body, key)?;
        batch = if value == u32::MAX { batch.del(key) } else { batch.put(key, take(&mut body, value)?) };
    }
    *data = rest;
    Some(batch)
}

#[async_trait]
impl AbstractLevel for JournalLevel {
    fn manifest(&self) -> Manifest {
        Manifest {
            store: "journal".into(),
            implicit_snapshots: true,
            explicit_snapshots: true,
            permanence: true,
            sync_writes: true,
            atomic_clear: true,
            conditions: true,
            // What is not named is not promised.
            ..Manifest::default()
        }
    }

    fn status(&self) -> Status {
        self.map.status()
    }

    fn events(&self) -> EventStream {
        self.events.subscribe()
    }

    async fn get_opts(&self, key: Bytes, options: ReadOptions) -> Result<Option<Bytes>> {
        self.map.get_opts(key, options).await
    }

    async fn get_many_opts(&self, keys: Vec<Bytes>, options: ReadOptions) -> Result<Vec<Option<Bytes>>> {
        self.map.get_many_opts(keys, options).await
    }

    async fn write_opts(&self, batch: Batch, options: WriteOptions) -> Result<()> {
        if batch.is_empty() && self.status() == Status::Open {
            return Ok(());
        }
        batch.validate()?;
        let record = write_record(&batch)?;
        // Appending takes microseconds and blocks the runtime for so long. With `sync` it is milliseconds: a store that
        // minds does its work on a thread of its own.
        //
        // File and map change under one lock, so that they have the same order. The map's write never waits.
        let mut journal = self.journal();
        self.check(&batch)?;
        if batch.writes_nothing() {
            return Ok(());
        }
        journal.append(&record, options.sync)?;
        let announced = self.events.has_listeners().then(|| Arc::new(batch.clone()));
        futures::executor::block_on(self.map.write(batch.into_operations().collect()))?;
        if let Some(batch) = announced {
            self.events.emit(|| Event::Write(batch));
        }
        Ok(())
    }

    async fn clear_opts(&self, options: ClearOptions) -> Result<()> {
        options.validate()?;
        let mut journal = self.journal();
        let mut batch = Batch::new();
        for range in options.ranges() {
            let wanted = IteratorOptions {
                range,
                reverse: options.reverse,
                limit: options.limit.map(|limit| limit - batch.len() as u64),
                values: false,
                snapshot: options.snapshot.clone(),
                ..IteratorOptions::default()
            };
            let keys: Vec<Entry> = futures::executor::block_on(self.map.all(wanted))?;
            batch.extend(keys.into_iter().map(|entry| Operation::Del { key: entry.key }));
        }
        batch.append(options.and_write.clone());
        journal.append(&write_record(&batch)?, options.sync)?;
        futures::executor::block_on(self.map.write_opts(batch, WriteOptions::default()))?;
        self.events.emit(|| Event::Clear(Arc::new(options)));
        Ok(())
    }

    async fn iterator_opts(&self, options: IteratorOptions) -> Result<Box<dyn LevelIterator>> {
        self.map.iterator_opts(options).await
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        self.map.snapshot().await
    }

    async fn close(&self) -> Result<()> {
        let mut journal = self.journal();
        if let Some((file, lock)) = journal.open.take() {
            self.events.emit(|| Event::Closing);
            futures::executor::block_on(self.map.close())?;
            drop(file);
            // The last deed.
            drop(lock);
            self.events.emit(|| Event::Closed);
        }
        Ok(())
    }
}

/// Opens the journal in a directory.
#[derive(Clone, Debug)]
struct JournalOpener {
    directory: PathBuf,
}

#[async_trait]
impl Opener for JournalOpener {
    async fn try_lock(&self) -> Result<LockAttempt> {
        fs::create_dir_all(&self.directory)
            .map_err(|error| Error::io(format!("creating {}", self.location()), error))?;
        Ok(match FileLock::try_acquire(&self.directory.join("LOCK"))? {
            FileLockAttempt::Held { holder } => LockAttempt::Held { holder },
            FileLockAttempt::Acquired(lock) => {
                LockAttempt::Acquired(Box::new(LockedJournal { path: self.directory.join("journal"), lock }))
            }
        })
    }

    fn location(&self) -> String {
        self.directory.display().to_string()
    }
}

struct LockedJournal {
    path: PathBuf,
    lock: FileLock,
}

#[async_trait]
impl LockedStore for LockedJournal {
    async fn open(self: Box<Self>) -> Result<Arc<dyn AbstractLevel>> {
        let (level, batches) = JournalLevel::read_from(self.path, self.lock)?;
        for batch in batches {
            level.map.write(batch).await?;
        }
        Ok(Arc::new(level))
    }
}

/// A handle on the journal in `directory`, shared with every other process that opens it.
async fn open(directory: &Path) -> Result<rave_level::RaveLevel> {
    let opener = JournalOpener { directory: directory.into() };
    Builder::new(opener, IpcTransport::for_directory(directory)?).open().await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let folder = tempfile::tempdir().map_err(|error| Error::io("a temporary directory", error))?;
    let leader = open(folder.path()).await?;
    let guest = open(folder.path()).await?;
    println!("{:?} and {:?} share a store called {}", leader.role(), guest.role(), leader.manifest().store);

    guest.put("a", "1").await?;
    leader.write(Batch::new().put("b", "2").del("a")).await?;
    leader.close().await?;
    // The guest has become the leader and has read the journal.
    let entries = guest.all(KeyRange::all()).await?;
    println!("after the leader's leave: {:?} with {entries:?}", guest.role());
    assert_eq!(entries, [Entry { key: "b".into(), value: "2".into() }]);
    guest.close().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use rave_level::conformance::Harness;

    async fn open_alone(directory: &Path) -> Arc<dyn AbstractLevel> {
        let LockAttempt::Acquired(locked) = JournalOpener { directory: directory.into() }.try_lock().await.unwrap()
        else {
            panic!("the lock is held")
        };
        locked.open().await.unwrap()
    }

    async fn setup() -> Harness {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_path_buf();
        let reopen = move || {
            let path = path.clone();
            async move { open_alone(&path).await }
        };
        Harness::new(open_alone(folder.path()).await).reopening(reopen).keeping(folder)
    }

    rave_level::conformance!(journal, setup);

    #[test]
    fn an_incomplete_record_counts_for_nothing() {
        let whole = write_record(&Batch::new().put("a", "1").del("b").put("", "")).unwrap();
        for length in 0..whole.len() {
            let mut torn = &whole[..length];
            assert_eq!(read_record(&mut torn), None);
            assert_eq!(torn.len(), length);
        }
        let mut rest = whole.as_slice();
        assert_eq!(read_record(&mut rest), Some(Batch::new().put("a", "1").del("b").put("", "")));
        assert!(rest.is_empty());
    }
}
