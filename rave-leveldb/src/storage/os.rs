//! Files of the operating system.

use super::{Access, ReadFile, Storage, WriteFile};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, IoSlice, Write},
    path::{Path, PathBuf},
};

/// The files of a directory of the operating system.
#[derive(Debug)]
pub(crate) struct OsStorage {
    directory: PathBuf,
}

impl OsStorage {
    /// The files in `directory`, which has to exist before they are used.
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }
}

impl Storage for OsStorage {
    fn directory(&self) -> &Path {
        &self.directory
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            // All names of a database's files are UTF-8; another one is not of the database.
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn ReadFile>> {
        Ok(Box::new(File::open(self.directory.join(name))?))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn WriteFile>> {
        Ok(Box::new(OpenOptions::new().write(true).create(true).truncate(true).open(self.directory.join(name))?))
    }

    fn append(&self, name: &str) -> io::Result<Box<dyn WriteFile>> {
        Ok(Box::new(OpenOptions::new().append(true).open(self.directory.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.directory.join(from), self.directory.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.directory.join(name))
    }

    #[cfg(unix)]
    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }

    #[cfg(not(unix))]
    fn sync_directory(&self) -> io::Result<()> {
        // Windows has no such call; its file systems write changes of directories in order.
        Ok(())
    }
}

impl ReadFile for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64, access: Access) -> io::Result<usize> {
        // Also because the highest offset means "where the file stands" to some calls.
        if i64::try_from(offset).is_err() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let offset = offset + done as u64;
            let read = match access {
                Access::InMemory => read_cached(self, rest, offset),
                Access::Blocking => read_some(self, rest, offset),
            };
            match read {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}

impl WriteFile for File {
    fn write(&mut self, parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        write_all(self, parts)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Writes all the parts. One call may take only some of them, or part of one.
fn write_all(out: &mut impl Write, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
    // Skips empty parts in front: of nothing but those, a write of zero bytes would be no failure.
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        // The call for one part is a little cheaper.
        let written = match &*parts {
            [part] => out.write(part),
            _ => out.write_vectored(parts),
        };
        match written {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => IoSlice::advance_slices(&mut parts, count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(unix)]
fn read_some(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_some(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    use std::os::windows::fs::FileExt;
    // It moves the file's position too, which nothing here uses.
    match file.seek_read(buffer, offset) {
        // The end of the file.
        Err(error) if error.raw_os_error() == Some(38) => Ok(0),
        read => read,
    }
}

/// Reads what the page cache has; `WouldBlock` if the disk would be needed.
#[cfg(target_os = "linux")]
fn read_cached(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    use rustix::io::{Errno, ReadWriteFlags};
    match rustix::io::preadv2(file, &mut [io::IoSliceMut::new(buffer)], offset, ReadWriteFlags::NOWAIT) {
        // A file system, a kernel or a sandbox that does not know the flag.
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::PERM) => Err(io::ErrorKind::WouldBlock.into()),
        read => Ok(read?),
    }
}

#[cfg(not(target_os = "linux"))]
fn read_cached(_: &File, _: &mut [u8], _: u64) -> io::Result<usize> {
    Err(io::ErrorKind::WouldBlock.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storage() -> (tempfile::TempDir, OsStorage) {
        let directory = tempfile::tempdir().unwrap();
        let storage = OsStorage::new(directory.path().to_owned());
        (directory, storage)
    }

    fn put(storage: &OsStorage, name: &str, content: &[u8]) {
        storage.create(name).unwrap().write(&mut [IoSlice::new(content)]).unwrap();
    }

    fn content(storage: &OsStorage, name: &str) -> Vec<u8> {
        let file = storage.open(name).unwrap();
        let mut content = vec![0; file.len().unwrap() as usize];
        assert_eq!(file.read_at(&mut content, 0, Access::Blocking).unwrap(), content.len());
        content
    }

    #[test]
    fn reads_from_memory_answer_or_refuse_at_once() {
        let (_directory, storage) = storage();
        let expected: Vec<u8> = (0..1 << 20).map(|i: u32| (i % 251) as u8).collect();
        put(&storage, "file", &expected);
        let file = storage.open("file").unwrap();
        for (offset, len) in [(0, 100), (4090, 12), (77, 300_000)] {
            let mut buffer = vec![0; len];
            match file.read_at(&mut buffer, offset as u64, Access::InMemory) {
                Ok(count) => assert_eq!(&buffer[..count], &expected[offset..offset + len]),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
    }

    /// Reads of a file just written, where the system can answer from the page cache, and of one that was dropped from
    /// it. Which file systems can is not up to the test; that neither way gives wrong bytes is.
    #[cfg(target_os = "linux")]
    #[test]
    fn reads_of_what_is_not_in_memory_would_block() {
        let (_directory, storage) = storage();
        let expected: Vec<u8> = (0..1 << 20).map(|i: u32| (i % 253) as u8).collect();
        put(&storage, "file", &expected);
        let file = File::open(storage.directory().join("file")).unwrap();
        file.sync_all().unwrap();
        let mut buffer = vec![0; 4096];
        let warm = file.read_at_cached(&mut buffer);
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        let cold = file.read_at_cached(&mut buffer);
        let mut all = vec![0; expected.len()];
        assert_eq!(ReadFile::read_at(&file, &mut all, 0, Access::Blocking).unwrap(), all.len());
        assert_eq!(all, expected);
        let again = file.read_at_cached(&mut buffer);
        println!("warm {warm:?}, cold {cold:?}, read again {again:?}");
        if warm == Ok(4096) {
            assert_eq!(again, Ok(4096));
            assert_eq!(buffer, expected[..4096]);
        }
    }

    #[cfg(target_os = "linux")]
    trait ReadCached {
        fn read_at_cached(&self, buffer: &mut [u8]) -> Result<usize, io::ErrorKind>;
    }

    #[cfg(target_os = "linux")]
    impl ReadCached for File {
        fn read_at_cached(&self, buffer: &mut [u8]) -> Result<usize, io::ErrorKind> {
            ReadFile::read_at(self, buffer, 0, Access::InMemory).map_err(|error| error.kind())
        }
    }

    #[test]
    fn reads_stop_at_the_end_of_the_file() {
        let (_directory, storage) = storage();
        put(&storage, "file", b"0123456789");
        let file = storage.open("file").unwrap();
        assert_eq!(file.len().unwrap(), 10);
        let mut buffer = [b'x'; 8];
        assert_eq!(file.read_at(&mut buffer, 6, Access::Blocking).unwrap(), 4);
        assert_eq!(&buffer, b"6789xxxx");
        assert_eq!(file.read_at(&mut buffer, 10, Access::Blocking).unwrap(), 0);
        assert_eq!(file.read_at(&mut buffer, 1 << 40, Access::Blocking).unwrap(), 0);
        assert!(file.read_at(&mut buffer, u64::MAX, Access::Blocking).is_err());
        assert_eq!(file.read_at(&mut [], 0, Access::Blocking).unwrap(), 0);
    }

    #[test]
    fn files_are_emptied_continued_renamed_and_removed() {
        let (_directory, storage) = storage();
        put(&storage, "one", b"first, and longer");
        put(&storage, "one", b"second");
        assert_eq!(content(&storage, "one"), b"second");
        let mut file = storage.append("one").unwrap();
        file.write(&mut [IoSlice::new(b", "), IoSlice::new(b"third")]).unwrap();
        file.sync().unwrap();
        assert_eq!(content(&storage, "one"), b"second, third");
        assert_eq!(storage.append("two").err().unwrap().kind(), io::ErrorKind::NotFound);
        put(&storage, "two", b"replaced");
        storage.rename("one", "two").unwrap();
        storage.sync_directory().unwrap();
        assert_eq!(content(&storage, "two"), b"second, third");
        assert_eq!(storage.list().unwrap(), ["two"]);
        assert_eq!(storage.open("one").err().unwrap().kind(), io::ErrorKind::NotFound);
        storage.remove("two").unwrap();
        assert!(storage.list().unwrap().is_empty());
        assert_eq!(storage.remove("two").unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn more_parts_than_the_system_takes_at_once_are_written_in_order() {
        let (_directory, storage) = storage();
        let pieces: Vec<Vec<u8>> = (0..5000_usize).map(|i| vec![i as u8; i % 4]).collect();
        let mut parts: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut file = storage.create("file").unwrap();
        file.write(&mut parts).unwrap();
        file.write(&mut []).unwrap();
        file.write(&mut [IoSlice::new(b""), IoSlice::new(b"")]).unwrap();
        assert_eq!(content(&storage, "file"), pieces.concat());
    }

    /// Takes at most `step` bytes of a write, every other one of which is interrupted.
    struct Reluctant {
        step: usize,
        interrupted: bool,
        taken: Vec<u8>,
    }

    impl Write for Reluctant {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            self.write_vectored(&[IoSlice::new(buffer)])
        }

        fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
            self.interrupted = !self.interrupted;
            if self.interrupted {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let before = self.taken.len();
            self.taken.extend(parts.iter().flat_map(|part| part.iter()).take(self.step));
            Ok(self.taken.len() - before)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn partial_writes_are_continued() {
        let pieces: [&[u8]; 6] = [b"", b"one", b"", b"a longer piece", b"x", b""];
        for step in 1..20 {
            let mut out = Reluctant { step, interrupted: false, taken: Vec::new() };
            write_all(&mut out, &mut pieces.map(IoSlice::new)).unwrap();
            assert_eq!(out.taken, pieces.concat());
        }
        let mut full = Reluctant { step: 0, interrupted: false, taken: Vec::new() };
        assert_eq!(write_all(&mut full, &mut pieces.map(IoSlice::new)).unwrap_err().kind(), io::ErrorKind::WriteZero);
    }
}
