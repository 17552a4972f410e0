//! What the fuzz targets call: the readers of single files, which must not panic, hang or ask for memory without bound,
//! whatever the files hold.

use crate::{
    error::ReadResult,
    iterator::Cursor,
    key::InternalKey,
    log::{LogEntry, LogReader, LogWriter, mend_log},
    memtable::{MemTable, batch},
    storage::{Access, FileName, OpenFiles, Storage, sim::SimulatedDisk},
    table::{TableCache, TableCursor, mend_table},
    version::{SetOptions, VersionEdit, VersionSet},
};
use std::{
    io::IoSlice,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Steps after which a walk through a table is given up: an index may name the same block over and over.
const MOST_STEPS: usize = 20_000;

/// A disk with these files, by name. Files whose names cannot be are left out.
pub fn disk_of<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    let storage = storage(&disk);
    for (name, content) in files {
        let written = storage.create(name).and_then(|mut file| {
            file.write(&mut [IoSlice::new(content)])?;
            file.sync()
        });
        debug_assert!(written.is_ok());
    }
    disk
}

fn storage(disk: &SimulatedDisk) -> Arc<dyn Storage> {
    disk.storage(PathBuf::from("/db"))
}

/// Makes the checksums of a file right, if its name says that it has any. What is damaged is then not found at the
/// first look.
pub fn mend(name: &str, content: &mut [u8]) {
    match FileName::parse(name) {
        Some(FileName::Log(_) | FileName::Manifest(_)) => mend_log(content),
        Some(FileName::Table(_)) => mend_table(content),
        _ => {}
    }
}

/// Reads a log to its end, past all damage, and applies what it holds. What was read, written again, must be read again.
pub fn read_log(content: &[u8]) {
    let disk = disk_of([("000001.log", content)]);
    let records = records(&disk, "000001.log");
    let table = Arc::new(MemTable::new());
    for record in &records {
        if table.apply(record).is_ok() {
            let entries = batch::operations(record).into_iter().flatten();
            assert!(entries.flatten().all(|entry| entry.key.end <= record.len() && entry.value.end <= record.len()));
        }
    }
    walk(&mut table.cursor()).unwrap_or_else(|error| panic!("a memtable gave {error:?}"));
    let storage = storage(&disk);
    let file = storage.create("000002.log").unwrap_or_else(|error| panic!("{error}"));
    let mut writer = LogWriter::new(file);
    for record in &records {
        assert!(writer.append(record).is_ok());
    }
    assert!(self::records(&disk, "000002.log") == records, "a log is not read as it was written");
}

fn records(disk: &SimulatedDisk, name: &str) -> Vec<bytes::Bytes> {
    let storage = storage(disk);
    let file = storage.open(name).unwrap_or_else(|error| panic!("{error}"));
    let length = file.len().unwrap_or_default();
    let mut reader = LogReader::new(file.as_ref(), Path::new(name)).unwrap_or_else(|error| panic!("{error}"));
    let mut records = Vec::new();
    for _ in 0..=2 * length + 1 {
        match reader.next().unwrap_or_else(|error| panic!("{error}")) {
            LogEntry::Record { payload, .. } => records.push(payload),
            LogEntry::Damaged { offset, .. } => {
                assert!(offset < length);
                reader.resume().unwrap_or_else(|error| panic!("{error}"));
            }
            LogEntry::End { length: end, .. } => {
                assert!(end <= length);
                return records;
            }
        }
    }
    panic!("a log without an end");
}

/// Reads a table in all ways there are.
pub fn read_table(content: &[u8]) {
    let disk = disk_of([("000007.ldb", content)]);
    let size = content.len() as u64;
    for cache_bytes in [0, 1 << 20] {
        let cache = Arc::new(TableCache::new(Arc::new(OpenFiles::new(storage(&disk), 4)), cache_bytes));
        let cursor = || cache.cursor(7, size, true);
        let keys = walk(&mut cursor()).unwrap_or_default();
        for key in &keys {
            let Some(key) = InternalKey::decode(key) else { panic!("a cursor gave a malformed key") };
            let _ = cache.get(7, size, key, Access::Blocking);
            let _ = cache.approximate_offset(7, size, key);
            let _ = turn(&mut cursor(), key);
        }
        let _ = cache.get(7, size, InternalKey::seek(b"a", 1), Access::Blocking);
        let _ = walk_back(&mut cursor());
        cache.forget(7);
    }
}

/// A few of the keys on the way.
fn walk(cursor: &mut impl Cursor) -> ReadResult<Vec<Vec<u8>>> {
    let mut keys = Vec::new();
    cursor.seek_to_first()?;
    for step in 0..MOST_STEPS {
        if !cursor.valid() {
            break;
        }
        if step.is_power_of_two() {
            keys.push(cursor.key().encode());
        }
        drop(cursor.value());
        cursor.next()?;
    }
    Ok(keys)
}

fn walk_back(cursor: &mut TableCursor) -> ReadResult<()> {
    cursor.seek_to_last()?;
    for _ in 0..MOST_STEPS {
        if !cursor.valid() {
            break;
        }
        drop(cursor.value());
        cursor.prev()?;
    }
    Ok(())
}

fn turn(cursor: &mut TableCursor, target: InternalKey<'_>) -> ReadResult<()> {
    cursor.seek(target)?;
    for backwards in [true, false, false, true, true] {
        if cursor.valid() {
            if backwards { cursor.prev()? } else { cursor.next()? }
        }
    }
    Ok(())
}

/// Reads a manifest, and each edit of it alone. An edit that can be read must be the same when it is written and read
/// again.
pub fn read_manifest(content: &[u8]) {
    let disk = disk_of([("MANIFEST-000001", content), ("CURRENT", b"MANIFEST-000001\n")]);
    for record in records(&disk, "MANIFEST-000001").iter().map(AsRef::as_ref).chain([content]) {
        if let Ok(edit) = VersionEdit::decode(record) {
            let mut encoded = Vec::new();
            edit.encode_to(&mut encoded);
            let again = VersionEdit::decode(&encoded).map(|again| format!("{again:?}"));
            assert_eq!(again, Ok(format!("{edit:?}")));
            // So that the files it names are there.
            for (_, table) in &edit.new_files {
                drop(storage(&disk).create(&FileName::Table(table.number).to_string()));
            }
            drop(edit.log_number.map(|number| storage(&disk).create(&FileName::Log(number).to_string())));
        }
    }
    if let Ok(mut recovered) = VersionSet::recover(&storage(&disk), SetOptions::default()) {
        let number = recovered.set.new_file_number();
        let edit = VersionEdit { log_number: Some(number), ..VersionEdit::default() };
        let _ = recovered.set.log_and_apply(&mut recovered.manifest, edit);
    }
}
