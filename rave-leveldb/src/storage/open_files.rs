//! Open tables: keeps those read last open, and the number of open descriptors bounded.

use super::{Access, FileName, ReadFile, Storage};
use crate::error::{ReadError, ReadResult, damaged, io_failed};
use lru::LruCache;
use parking_lot::Mutex;
use std::{
    fmt, io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// The tables that are open for reading, at most a given number of them.
///
/// A table that is pushed out while a thread reads from it stays open until that read is done. So there are never more
/// descriptors than the capacity and one for each thread that reads at the moment.
pub(crate) struct OpenFiles {
    storage: Arc<dyn Storage>,
    capacity: usize,
    tables: Mutex<LruCache<u64, Arc<OpenTable>>>,
    open: Arc<AtomicUsize>,
}

struct OpenTable {
    file: Box<dyn ReadFile>,
    path: PathBuf,
    open: Arc<AtomicUsize>,
}

impl Drop for OpenTable {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for OpenFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenFiles").field("storage", &self.storage).field("open", &self.open_count()).finish()
    }
}

impl OpenFiles {
    /// Keeps at most `capacity` tables of `storage` open, and at least one.
    pub(crate) fn new(storage: Arc<dyn Storage>, capacity: usize) -> Self {
        // A bounded cache would allocate room for all of them at once.
        Self { storage, capacity: capacity.max(1), tables: Mutex::new(LruCache::unbounded()), open: Arc::default() }
    }

    /// Fills `buffer` from `offset` of a table on, or as much of it as the table has, and says how much that was.
    ///
    /// A table that is not open is opened, also with [`Access::InMemory`]: that needs no data of the file.
    pub(crate) fn read_at(&self, table: u64, buffer: &mut [u8], offset: u64, access: Access) -> ReadResult<usize> {
        let open = self.get(table)?;
        open.file.read_at(buffer, offset, access).map_err(|error| match (error.kind(), access) {
            (io::ErrorKind::WouldBlock, Access::InMemory) => ReadError::WouldBlock,
            _ => io_failed("reading", &open.path, error).into(),
        })
    }

    /// The length of a table in bytes.
    pub(crate) fn len(&self, table: u64) -> ReadResult<u64> {
        let open = self.get(table)?;
        Ok(open.file.len().map_err(|error| io_failed("reading the length of", &open.path, error))?)
    }

    /// Closes a table that is not needed any more.
    pub(crate) fn forget(&self, table: u64) {
        self.tables.lock().pop(&table);
    }

    /// Closes all tables; what is read later is opened again.
    pub(crate) fn forget_all(&self) {
        self.tables.lock().clear();
    }

    /// How many descriptors there are.
    pub(crate) fn open_count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Where a table is, for messages.
    pub(crate) fn path(&self, table: u64) -> PathBuf {
        let open = self.tables.lock().peek(&table).map(|open| open.path.clone());
        open.unwrap_or_else(|| self.storage.directory().join(FileName::Table(table).to_string()))
    }

    fn get(&self, table: u64) -> ReadResult<Arc<OpenTable>> {
        if let Some(open) = self.tables.lock().get(&table) {
            return Ok(open.clone());
        }
        // Without the lock, so that the others go on. Several threads may do this for one table; one handle is kept.
        let opened = Arc::new(self.open(table)?);
        let mut tables = self.tables.lock();
        if let Some(open) = tables.get(&table) {
            return Ok(open.clone());
        }
        // Closed before anybody else can push out `opened`: that would make it two descriptors for one reading thread.
        while tables.len() >= self.capacity {
            tables.pop_lru();
        }
        tables.put(table, opened.clone());
        Ok(opened)
    }

    fn open(&self, table: u64) -> ReadResult<OpenTable> {
        let new_name = FileName::Table(table).to_string();
        for name in [&new_name, &format!("{table:06}.sst")] {
            let path = self.storage.directory().join(name);
            match self.storage.open(name) {
                Ok(file) => {
                    self.open.fetch_add(1, Ordering::Relaxed);
                    return Ok(OpenTable { file, path, open: self.open.clone() });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(io_failed("opening", &path, error).into()),
            }
        }
        Err(damaged(&self.storage.directory().join(new_name), 0, "the table is missing").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::OsStorage;
    use rave_core::Code;
    use std::io::IoSlice;

    fn tables(count: u64, capacity: usize) -> (tempfile::TempDir, Arc<dyn Storage>, OpenFiles) {
        let directory = tempfile::tempdir().unwrap();
        let storage: Arc<dyn Storage> = Arc::new(OsStorage::new(directory.path().to_owned()));
        for table in 0..count {
            let name = if table % 2 == 0 { format!("{table:06}.ldb") } else { format!("{table:06}.sst") };
            storage.create(&name).unwrap().write(&mut [IoSlice::new(format!("table {table}").as_bytes())]).unwrap();
        }
        (directory, storage.clone(), OpenFiles::new(storage, capacity))
    }

    fn check(files: &OpenFiles, table: u64) {
        let expected = format!("table {table}");
        let mut buffer = vec![0; 20];
        let count = files.read_at(table, &mut buffer, 0, Access::Blocking).unwrap();
        assert_eq!(&buffer[..count], expected.as_bytes());
        assert_eq!(files.len(table).unwrap(), expected.len() as u64);
    }

    #[test]
    fn those_read_last_stay_open() {
        let (directory, storage, files) = tables(6, 3);
        for table in [0, 1, 2, 0, 3] {
            check(&files, table);
        }
        assert_eq!(files.open_count(), 3);
        // What is open is read without its name, so it shows which are.
        for name in storage.list().unwrap() {
            storage.remove(&name).unwrap();
        }
        for table in [0, 2, 3] {
            check(&files, table);
        }
        assert!(files.path(3).ends_with("000003.sst"));
        let Err(ReadError::Failed(error)) = files.len(1) else { panic!() };
        assert_eq!(error.code(), Code::Corruption);
        assert!(error.to_string().contains(&directory.path().join("000001.ldb").display().to_string()), "{error}");
        files.forget(0);
        assert_eq!(files.open_count(), 2);
        assert!(files.len(0).is_err());
        drop(files);
    }

    #[test]
    fn a_failure_to_open_is_not_a_missing_table() {
        let (directory, _, files) = tables(0, 3);
        // A name that is too long fails, but not because there is no such file; so does a link to itself.
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("000007.ldb", directory.path().join("000007.ldb")).unwrap();
            let Err(ReadError::Failed(error)) = files.len(7) else { panic!() };
            assert_eq!(error.code(), Code::Io, "{error}");
            assert!(error.to_string().contains("000007.ldb"), "{error}");
        }
        assert_eq!(files.open_count(), 0);
        drop(directory);
    }

    #[test]
    fn descriptors_are_bounded_while_threads_read() {
        const READERS: usize = 4;
        const CAPACITY: usize = 3;
        let (_directory, _, files) = tables(20, CAPACITY);
        std::thread::scope(|scope| {
            for seed in 0..READERS {
                let files = &files;
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(seed as u64);
                    for _ in 0..2000 {
                        check(files, random.u64(0..20));
                        assert!(files.open_count() <= CAPACITY + READERS);
                        if random.u8(..) < 20 {
                            files.forget(random.u64(0..20));
                        }
                    }
                });
            }
        });
        assert!(files.open_count() <= CAPACITY);
        files.forget_all();
        assert_eq!(files.open_count(), 0);
    }
}
