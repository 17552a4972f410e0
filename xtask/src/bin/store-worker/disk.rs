//! The directory as the system sees it: what it takes, and forgetting what is cached of it.

use anyhow::{Context, Result};
use std::{
    fs::{self, File},
    path::Path,
};

/// Calls `visit` with each file below a directory.
fn each_file(directory: &Path, visit: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            each_file(&entry.path(), visit)?;
        } else {
            visit(&entry.path()).with_context(|| entry.path().display().to_string())?;
        }
    }
    Ok(())
}

/// Bytes that the directory's files take on the disk.
pub fn space(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    each_file(directory, &mut |path| {
        // Until then the file system may not have decided.
        let file = File::open(path)?;
        file.sync_all()?;
        bytes += allocated(&file.metadata()?);
        Ok(())
    })?;
    Ok(bytes)
}

#[cfg(unix)]
fn allocated(metadata: &fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    metadata.blocks() * 512
}

#[cfg(not(unix))]
fn allocated(metadata: &fs::Metadata) -> u64 {
    metadata.len()
}

/// Has the system drop from its page cache what it holds of the directory's files.
#[cfg(target_os = "linux")]
pub fn forget(directory: &Path) -> Result<()> {
    use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
    each_file(directory, &mut |path| {
        let file = File::open(path)?;
        // Only what is on the disk can be dropped.
        file.sync_all()?;
        Ok(posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?)
    })
}

#[cfg(not(target_os = "linux"))]
pub fn forget(_: &Path) -> Result<()> {
    anyhow::bail!("this system cannot be told to forget a file; leave out the row `get-cold`")
}
