//! The file system as the engine sees it.

use crate::rusty::{
    failure::{Failures, Faults, damaged},
    file::{FOOTER, Kind, OutFile, TableFile, sync},
};
use rave_core::Error;
use rusty_leveldb::{
    Result, Status,
    env::{Env, FileLock, Logger, RandomAccess},
};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Cursor, Read, Write},
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

/// What the environment and the engine's adapter share.
pub(crate) struct Files {
    pub(crate) failures: Rc<Failures>,
    pub(crate) faults: Option<Arc<Faults>>,
    /// Bytes in the present log.
    pub(crate) written: Rc<Cell<u64>>,
    /// The log that was opened last.
    log: RefCell<Option<(PathBuf, Rc<File>)>>,
    /// The directory does not know the log for sure.
    unlisted: Cell<bool>,
    /// The generation that is being opened. A table that it deletes is needed by older ones.
    generation: Cell<u64>,
    /// Tables to be deleted once no older generation than this one is in use.
    doomed: RefCell<HashMap<PathBuf, u64>>,
    born: Instant,
}

impl Files {
    pub(crate) fn new(faults: Option<Arc<Faults>>) -> Rc<Self> {
        Rc::new(Self {
            failures: Rc::default(),
            faults,
            written: Rc::default(),
            log: RefCell::default(),
            unlisted: Cell::new(false),
            generation: Cell::new(0),
            doomed: RefCell::default(),
            born: Instant::now(),
        })
    }

    /// The engine is about to open this generation.
    pub(crate) fn begin_generation(&self, generation: u64) {
        self.generation.set(generation);
    }

    /// Deletes what no generation from `oldest` on needs.
    pub(crate) fn reclaim(&self, oldest: u64) {
        self.doomed.borrow_mut().retain(|path, &mut generation| {
            if generation > oldest {
                return true;
            }
            if let Err(error) = fs::remove_file(path) {
                // The next opening tries again.
                tracing::debug!(path = %path.display(), %error, "an obsolete table could not be deleted");
            }
            false
        });
    }

    /// Brings the log to the disk.
    pub(crate) fn sync_log(&self) -> rave_core::Result<()> {
        if let Some(error) = self.failures.stopped() {
            return Err(error);
        }
        let log = self.log.borrow();
        let Some((path, file)) = &*log else { return Ok(()) };
        let synced = sync(file, self.faults.as_deref());
        let synced = synced.and_then(|()| if self.unlisted.get() { self.sync_directory(path) } else { Ok(()) });
        synced.map_err(|error| {
            self.failures.write_failed("syncing", path, error);
            self.failures.stopped().unwrap_or_else(Error::not_open)
        })
    }

    fn sync_directory(&self, of: &Path) -> io::Result<()> {
        #[cfg(unix)]
        if let Some(directory) = of.parent() {
            self.faults.as_ref().map_or(Ok(()), |faults| faults.on_sync())?;
            if self.faults.as_ref().is_none_or(|faults| !faults.skips_sync()) {
                File::open(directory)?.sync_all()?;
            }
        }
        self.unlisted.set(false);
        #[cfg(not(unix))]
        let _ = of;
        Ok(())
    }
}

/// The engine's environment. The lock is not its business: who made it holds it.
pub(crate) struct StoreEnv(pub(crate) Rc<Files>);

fn named(attempt: &str, path: &Path, error: io::Error) -> Status {
    Status::from(error).annotate(format!("{attempt} {}", path.display()))
}

fn kind_of(path: &Path) -> Kind {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if name.ends_with(".log") {
        Kind::Log
    } else if name.starts_with("MANIFEST-") {
        Kind::Manifest
    } else {
        Kind::Whole
    }
}

/// Old versions of LevelDB called their tables `.sst`.
fn table_path(path: &Path) -> PathBuf {
    if !path.exists() {
        let old = path.with_extension("sst");
        if path.extension().is_some_and(|extension| extension == "ldb") && old.exists() {
            return old;
        }
    }
    path.to_owned()
}

impl StoreEnv {
    fn create(&self, path: &Path, append: bool) -> Result<Box<dyn Write>> {
        self.0.failures.check()?;
        let mut options = OpenOptions::new();
        options.create(true);
        let options = if append { options.append(true) } else { options.write(true).truncate(true) };
        let file = options.open(path).map_err(|error| self.0.failures.write_failed("creating", path, error))?;
        let (file, kind) = (Rc::new(file), kind_of(path));
        self.0.doomed.borrow_mut().remove(path);
        if kind == Kind::Log {
            self.0.written.set(file.metadata().map_or(0, |metadata| metadata.len()));
            self.0.unlisted.set(true);
            *self.0.log.borrow_mut() = Some((path.to_owned(), file.clone()));
        }
        Ok(Box::new(OutFile {
            path: path.to_owned(),
            file,
            kind,
            buffer: Vec::new(),
            failures: self.0.failures.clone(),
            faults: self.0.faults.clone(),
            written: self.0.written.clone(),
        }))
    }
}

impl Env for StoreEnv {
    fn open_sequential_file(&self, path: &Path) -> Result<Box<dyn Read>> {
        // At once, because the engine reads in very small pieces and takes a failure for the end.
        let data = fs::read(path).map_err(|error| named("reading", path, error))?;
        Ok(Box::new(Cursor::new(data)))
    }

    fn open_random_access_file(&self, path: &Path) -> Result<Box<dyn RandomAccess>> {
        let path = table_path(path);
        let failed = |error: Error| self.0.failures.read_failed(error);
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (size, file) = opened.map_err(|error| {
            failed(match error.kind() {
                io::ErrorKind::NotFound => damaged(&path, "the file is missing"),
                _ => Error::io(format!("opening {}", path.display()), error),
            })
        })?;
        if size < FOOTER as u64 {
            return Err(failed(damaged(&path, "it is too short for a table")));
        }
        Ok(Box::new(TableFile {
            path,
            file,
            size,
            reads: Cell::new(0),
            failures: self.0.failures.clone(),
            faults: self.0.faults.clone(),
        }))
    }

    fn open_writable_file(&self, path: &Path) -> Result<Box<dyn Write>> {
        self.create(path, false)
    }

    fn open_appendable_file(&self, path: &Path) -> Result<Box<dyn Write>> {
        self.create(path, true)
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        Ok(path.exists())
    }

    fn children(&self, path: &Path) -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(path).map_err(|error| named("listing", path, error))?;
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(|error| named("listing", path, error))?.file_name();
            // The engine insists on UTF-8; its own files have such names.
            if name.to_str().is_some() {
                names.push(PathBuf::from(name));
            }
        }
        Ok(names)
    }

    fn size_of(&self, path: &Path) -> Result<usize> {
        let path = table_path(path);
        match fs::metadata(&path) {
            Ok(metadata) => usize::try_from(metadata.len())
                .map_err(|_| Status::new(rusty_leveldb::StatusCode::NotSupported, "the file is too large")),
            Err(error) if kind_of(&path) == Kind::Whole && error.kind() == io::ErrorKind::NotFound => {
                Err(self.0.failures.read_failed(damaged(&path, "the file is missing")))
            }
            Err(error) => Err(named("looking at", &path, error)),
        }
    }

    fn delete(&self, path: &Path) -> Result<()> {
        self.0.failures.check()?;
        if kind_of(path) == Kind::Whole {
            let path = table_path(path);
            self.0.doomed.borrow_mut().entry(path).or_insert(self.0.generation.get());
            return Ok(());
        }
        fs::remove_file(path).map_err(|error| named("deleting", path, error))
    }

    fn mkdir(&self, path: &Path) -> Result<()> {
        self.0.failures.check()?;
        fs::create_dir_all(path).map_err(|error| named("creating", path, error))
    }

    fn rmdir(&self, _: &Path) -> Result<()> {
        Err(Status::new(rusty_leveldb::StatusCode::NotSupported, "directories are not deleted"))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.0.failures.check()?;
        let renamed = self.0.faults.as_ref().map_or(Ok(()), |faults| faults.on_rename());
        let renamed = renamed.and_then(|()| fs::rename(from, to)).and_then(|()| self.0.sync_directory(to));
        renamed.map_err(|error| self.0.failures.write_failed("installing", to, error))
    }

    fn lock(&self, path: &Path) -> Result<FileLock> {
        Ok(FileLock { id: path.display().to_string() })
    }

    fn unlock(&self, _: FileLock) -> Result<()> {
        Ok(())
    }

    fn new_logger(&self, _: &Path) -> Result<Logger> {
        Ok(Logger::new(Box::new(io::sink())))
    }

    fn micros(&self) -> u64 {
        // Never backwards: the engine subtracts.
        u64::try_from(self.0.born.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn sleep_for(&self, micros: u32) {
        std::thread::sleep(Duration::from_micros(u64::from(micros)));
    }
}
