//! Where the database lives: a small disk of its own in memory, which can be filled, or an ordinary folder.
//!
//! The disk is mounted in a mount namespace of this process and its workers: it is gone with the last of them, however
//! they end.

use anyhow::{Context, Result};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};
use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// Bytes of the disk.
const SIZE: u64 = 192 << 20;

pub struct Place {
    folder: TempDir,
    /// Why there is no disk of our own, if there is none.
    no_disk: Option<String>,
}

impl Place {
    /// Must be called before there are other threads: what they see of the file system would differ.
    pub fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("torture-").tempdir().context("making a temporary folder")?;
        let no_disk = mount_disk(folder.path()).err().map(|error| format!("{error:#}"));
        Ok(Self { folder, no_disk })
    }

    /// The database's directory.
    pub fn db(&self) -> PathBuf {
        self.folder.path().join("db")
    }

    /// Why the disk cannot be filled, if it cannot.
    pub fn no_disk(&self) -> Option<&str> {
        self.no_disk.as_deref()
    }

    fn filler(&self) -> PathBuf {
        self.folder.path().join("filler")
    }

    /// Takes all the space there is.
    pub fn fill(&self) -> Result<()> {
        if self.no_disk.is_some() {
            return Ok(());
        }
        let mut filler = File::create(self.filler())?;
        // From large to small, so that not a byte is left.
        for size in [1 << 20, 4096, 1] {
            let chunk = vec![0; size];
            while filler.write_all(&chunk).is_ok() {}
        }
        Ok(())
    }

    /// Gives it back.
    pub fn free(&self) {
        // It may not be there.
        let _ = fs::remove_file(self.filler());
    }
}

fn mount_disk(folder: &Path) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("a mount namespace of our own")?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("keeping mounts to ourselves")?;
    let options = format!("size={SIZE},mode=0700");
    mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), Some(options.as_str())).context("mounting a tmpfs")
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.no_disk.is_none() {
            // The folder below it cannot be removed before.
            let _ = umount2(self.folder.path(), MntFlags::MNT_DETACH);
        }
    }
}
