//! C++ LevelDB through its C interface, `leveldb/c.h`.
#![allow(unsafe_code, reason = "the interface is C's; only the benchmark links it, and only this file calls it")]

use super::{Direction, Engine, Seen};
use crate::{data::Key, job::Job};
use anyhow::{Context, Result, bail};
use std::{
    ffi::{CStr, CString, c_char, c_int, c_uchar, c_void},
    path::Path,
    ptr, slice, thread,
    time::Duration,
};

/// Types of the library that are only ever pointed to.
macro_rules! opaque {
    ($($name:ident)*) => { $(#[repr(C)] struct $name { _opaque: [u8; 0] })* };
}

opaque! { RawDb RawOptions RawReadOptions RawWriteOptions RawBatch RawIterator RawCache RawFilter }

#[link(name = "leveldb")]
unsafe extern "C" {
    fn leveldb_open(options: *const RawOptions, name: *const c_char, error: *mut *mut c_char) -> *mut RawDb;
    fn leveldb_close(db: *mut RawDb);
    fn leveldb_put(
        db: *mut RawDb,
        options: *const RawWriteOptions,
        key: *const c_char,
        key_len: usize,
        value: *const c_char,
        value_len: usize,
        error: *mut *mut c_char,
    );
    fn leveldb_write(db: *mut RawDb, options: *const RawWriteOptions, batch: *mut RawBatch, error: *mut *mut c_char);
    fn leveldb_get(
        db: *mut RawDb,
        options: *const RawReadOptions,
        key: *const c_char,
        key_len: usize,
        value_len: *mut usize,
        error: *mut *mut c_char,
    ) -> *mut c_char;
    fn leveldb_property_value(db: *mut RawDb, name: *const c_char) -> *mut c_char;
    fn leveldb_free(pointer: *mut c_void);

    fn leveldb_create_iterator(db: *mut RawDb, options: *const RawReadOptions) -> *mut RawIterator;
    fn leveldb_iter_destroy(iterator: *mut RawIterator);
    fn leveldb_iter_valid(iterator: *const RawIterator) -> c_uchar;
    fn leveldb_iter_seek_to_first(iterator: *mut RawIterator);
    fn leveldb_iter_seek_to_last(iterator: *mut RawIterator);
    fn leveldb_iter_seek(iterator: *mut RawIterator, key: *const c_char, len: usize);
    fn leveldb_iter_next(iterator: *mut RawIterator);
    fn leveldb_iter_prev(iterator: *mut RawIterator);
    fn leveldb_iter_key(iterator: *const RawIterator, len: *mut usize) -> *const c_char;
    fn leveldb_iter_value(iterator: *const RawIterator, len: *mut usize) -> *const c_char;
    fn leveldb_iter_get_error(iterator: *const RawIterator, error: *mut *mut c_char);

    fn leveldb_writebatch_create() -> *mut RawBatch;
    fn leveldb_writebatch_destroy(batch: *mut RawBatch);
    fn leveldb_writebatch_put(
        batch: *mut RawBatch,
        key: *const c_char,
        key_len: usize,
        value: *const c_char,
        value_len: usize,
    );

    fn leveldb_options_create() -> *mut RawOptions;
    fn leveldb_options_destroy(options: *mut RawOptions);
    fn leveldb_options_set_create_if_missing(options: *mut RawOptions, value: c_uchar);
    fn leveldb_options_set_write_buffer_size(options: *mut RawOptions, bytes: usize);
    fn leveldb_options_set_compression(options: *mut RawOptions, kind: c_int);
    fn leveldb_options_set_cache(options: *mut RawOptions, cache: *mut RawCache);
    fn leveldb_options_set_filter_policy(options: *mut RawOptions, filter: *mut RawFilter);
    fn leveldb_cache_create_lru(bytes: usize) -> *mut RawCache;
    fn leveldb_cache_destroy(cache: *mut RawCache);
    fn leveldb_filterpolicy_create_bloom(bits: c_int) -> *mut RawFilter;
    fn leveldb_filterpolicy_destroy(filter: *mut RawFilter);
    fn leveldb_readoptions_create() -> *mut RawReadOptions;
    fn leveldb_readoptions_destroy(options: *mut RawReadOptions);
    fn leveldb_writeoptions_create() -> *mut RawWriteOptions;
    fn leveldb_writeoptions_destroy(options: *mut RawWriteOptions);
    fn leveldb_writeoptions_set_sync(options: *mut RawWriteOptions, sync: c_uchar);
}

const SNAPPY: c_int = 1;

/// An open database and what has to live as long as it does.
pub struct LevelDb {
    db: *mut RawDb,
    options: *mut RawOptions,
    cache: *mut RawCache,
    filter: *mut RawFilter,
    read: *mut RawReadOptions,
    write: *mut RawWriteOptions,
    write_synced: *mut RawWriteOptions,
}

// SAFETY: the library allows every call on a database from any thread and from several at once; the options are only
// read after they were made. What is not so (iterators, batches) never leaves the method that makes it.
unsafe impl Send for LevelDb {}
// SAFETY: as above.
unsafe impl Sync for LevelDb {}

/// Gives up a text that the library allocated.
fn take_text(text: *mut c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: not null, so it is a text that the library ended with 0 and handed over to us; it is not used again.
    unsafe {
        let owned = CStr::from_ptr(text).to_string_lossy().into_owned();
        leveldb_free(text.cast());
        Some(owned)
    }
}

/// Calls with a place for an error, and looks at it.
fn checked<T>(call: impl FnOnce(*mut *mut c_char) -> T) -> Result<T> {
    let mut error = ptr::null_mut();
    let result = call(&mut error);
    match take_text(error) {
        None => Ok(result),
        Some(text) => bail!("C++ LevelDB: {text}"),
    }
}

impl LevelDb {
    pub fn open(job: &Job) -> Result<Self> {
        let name = c_path(&job.directory)?;
        let bloom_bits = c_int::try_from(job.bloom_bits)?;
        // SAFETY: each is made by its maker; pointers are passed on to what is destroyed before them (`Drop`).
        let mut opened = unsafe {
            let opened = Self {
                db: ptr::null_mut(),
                options: leveldb_options_create(),
                cache: leveldb_cache_create_lru(job.cache_bytes),
                filter: leveldb_filterpolicy_create_bloom(bloom_bits),
                read: leveldb_readoptions_create(),
                write: leveldb_writeoptions_create(),
                write_synced: leveldb_writeoptions_create(),
            };
            leveldb_options_set_create_if_missing(opened.options, 1);
            leveldb_options_set_write_buffer_size(opened.options, job.write_buffer_bytes);
            leveldb_options_set_compression(opened.options, SNAPPY);
            leveldb_options_set_cache(opened.options, opened.cache);
            leveldb_options_set_filter_policy(opened.options, opened.filter);
            leveldb_writeoptions_set_sync(opened.write_synced, 1);
            opened
        };
        // SAFETY: options and name are valid; the library copies the options and the name.
        opened.db = checked(|error| unsafe { leveldb_open(opened.options, name.as_ptr(), error) })?;
        Ok(opened)
    }

    fn put_with(&self, options: *const RawWriteOptions, key: &[u8], value: &[u8]) -> Result<()> {
        // SAFETY: the slices are valid for the call, which copies them.
        checked(|error| unsafe {
            leveldb_put(self.db, options, key.as_ptr().cast(), key.len(), value.as_ptr().cast(), value.len(), error);
        })
    }

    fn property(&self, name: &CStr) -> Result<String> {
        // SAFETY: the database is open, the name ends with 0.
        take_text(unsafe { leveldb_property_value(self.db, name.as_ptr()) })
            .context("C++ LevelDB knows no such property")
    }

    fn iterator(&self) -> Iterator<'_> {
        // SAFETY: the database is open and outlives the iterator, which borrows it.
        Iterator { raw: unsafe { leveldb_create_iterator(self.db, self.read) }, database: self }
    }
}

impl Drop for LevelDb {
    fn drop(&mut self) {
        // SAFETY: each was made by its maker, is destroyed once, and after what points to it. A database that failed to
        // open is null.
        unsafe {
            if !self.db.is_null() {
                leveldb_close(self.db);
            }
            leveldb_options_destroy(self.options);
            leveldb_cache_destroy(self.cache);
            leveldb_filterpolicy_destroy(self.filter);
            leveldb_readoptions_destroy(self.read);
            leveldb_writeoptions_destroy(self.write);
            leveldb_writeoptions_destroy(self.write_synced);
        }
    }
}

/// An iterator, destroyed before its database is closed.
struct Iterator<'a> {
    raw: *mut RawIterator,
    #[allow(dead_code, reason = "keeps the database open")]
    database: &'a LevelDb,
}

impl Iterator<'_> {
    /// Notes the entry it stands at, if there is one.
    fn note(&self, seen: &mut Seen) -> bool {
        // SAFETY: key and value may be asked for and point to valid bytes as long as the iterator is valid and not moved;
        // the slices are gone before it moves.
        unsafe {
            if leveldb_iter_valid(self.raw) == 0 {
                return false;
            }
            let mut len = 0;
            let key = leveldb_iter_key(self.raw, &mut len);
            let key = slice::from_raw_parts(key.cast(), len);
            let value = leveldb_iter_value(self.raw, &mut len);
            seen.note(key, slice::from_raw_parts(value.cast(), len));
            true
        }
    }

    /// Notes all entries from here to the end, or as many as `limit`.
    fn run(&self, direction: Direction, limit: usize) -> Result<Seen> {
        let mut seen = Seen::default();
        while seen.entries < limit && self.note(&mut seen) {
            // SAFETY: it is valid, or nothing would have been noted.
            unsafe {
                match direction {
                    Direction::Forward => leveldb_iter_next(self.raw),
                    Direction::Reverse => leveldb_iter_prev(self.raw),
                }
            }
        }
        // SAFETY: the iterator lives.
        checked(|error| unsafe { leveldb_iter_get_error(self.raw, error) })?;
        Ok(seen)
    }
}

impl Drop for Iterator<'_> {
    fn drop(&mut self) {
        // SAFETY: made by its maker, destroyed once.
        unsafe { leveldb_iter_destroy(self.raw) }
    }
}

impl Engine for LevelDb {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.put_with(self.write, key, value)
    }

    fn put_synced(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.put_with(self.write_synced, key, value)
    }

    fn write(&self, entries: &[(Key, &[u8])]) -> Result<()> {
        // SAFETY: the slices are valid for the calls, which copy them; the batch is destroyed once.
        unsafe {
            let batch = leveldb_writebatch_create();
            for (key, value) in entries {
                leveldb_writebatch_put(batch, key.as_ptr().cast(), key.len(), value.as_ptr().cast(), value.len());
            }
            let result = checked(|error| leveldb_write(self.db, self.write, batch, error));
            leveldb_writebatch_destroy(batch);
            result
        }
    }

    fn get(&self, key: &[u8]) -> Result<Option<usize>> {
        let mut len = 0;
        // SAFETY: the slice is valid for the call.
        let value = checked(|error| unsafe {
            leveldb_get(self.db, self.read, key.as_ptr().cast(), key.len(), &mut len, error)
        })?;
        if value.is_null() {
            return Ok(None);
        }
        // SAFETY: not null, so ours, and not used again.
        unsafe { leveldb_free(value.cast()) };
        Ok(Some(len))
    }

    fn scan(&self, direction: Direction) -> Result<Seen> {
        let iterator = self.iterator();
        // SAFETY: the iterator lives.
        unsafe {
            match direction {
                Direction::Forward => leveldb_iter_seek_to_first(iterator.raw),
                Direction::Reverse => leveldb_iter_seek_to_last(iterator.raw),
            }
        }
        iterator.run(direction, usize::MAX)
    }

    fn seek(&self, key: &[u8], entries: usize) -> Result<Seen> {
        let iterator = self.iterator();
        // SAFETY: the iterator lives; the slice is valid for the call.
        unsafe { leveldb_iter_seek(iterator.raw, key.as_ptr().cast(), key.len()) };
        iterator.run(Direction::Forward, entries)
    }

    fn settle(&self) -> Result<()> {
        // The table of all compactions changes with each that ends.
        let mut before = String::new();
        let mut quiet = 0;
        while quiet < 10 {
            let now = self.property(c"leveldb.stats")?;
            quiet = if now == before { quiet + 1 } else { 0 };
            before = now;
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        // Dropping waits for the compaction in progress.
        Ok(())
    }
}

fn c_path(path: &Path) -> Result<CString> {
    let text = path.to_str().with_context(|| format!("{} is no UTF-8", path.display()))?;
    Ok(CString::new(text)?)
}
