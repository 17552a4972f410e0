//! How far the acknowledged writes got, in a file beside the database.
//!
//! Sled recovers its log up to the first place that it cannot read and throws the rest away, because that is what a crash
//! leaves. It cannot know what had been flushed before, so damage in the midst of the log silently makes the database an
//! older one. We know: each flush has a number, which goes into the log behind its writes, and into this file before they
//! are acknowledged. If the log that was recovered ends before that number, acknowledged writes are gone.
//!
//! Neither is forced to the disk, and after power loss either may be the newer one. So the file also names the run of the
//! operating system that it is of, and is believed in that one only.

use crate::error::io_failed;
use rave_core::{Code, Error, Result};
use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

/// A file with the number of the last flush.
#[derive(Debug)]
pub(crate) struct Witness {
    path: PathBuf,
    file: File,
    /// Of the operating system's present run; empty where it has no name.
    run: String,
}

impl Witness {
    /// Compares the number `recovered`, found in the log, with that of the file, and begins to keep the file.
    ///
    /// Errors: `LEVEL_CORRUPTION` if the log ends too early.
    pub(crate) fn open(directory: &Path, recovered: u64) -> Result<Self> {
        let path = directory.join("rave-level.flushed");
        let run = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
        match std::fs::read_to_string(&path) {
            Ok(text) => match parse(&text) {
                Some((flushed, its_run)) if its_run == run && !run.is_empty() && flushed > recovered => {
                    let what = format!(
                        "{} is damaged: writes that were acknowledged are not in it (it ends at flush {recovered} of \
                         {flushed}); to go on with what is left, remove {}",
                        directory.join("db").display(),
                        path.display()
                    );
                    return Err(Error::new(Code::Corruption, what));
                }
                // Of another run, or what is left of it. Nothing can be told from that.
                _ => {}
            },
            Err(error) if error.kind() == ErrorKind::NotFound || error.kind() == ErrorKind::InvalidData => {}
            Err(error) => return Err(io_failed("reading", &path, error)),
        }
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|error| io_failed("opening", &path, error))?;
        let mut witness = Self { path, file, run };
        witness.note(recovered)?;
        Ok(witness)
    }

    /// Notes the number of a flush that has ended. It survives this process when this returns.
    pub(crate) fn note(&mut self, flushed: u64) -> Result<()> {
        // Always as long, so that it takes the place of the one before, and in one step.
        let text = format!("{flushed:020} {:36}\n", self.run);
        let written = self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.write_all(text.as_bytes()));
        written.map_err(|error| io_failed("writing", &self.path, error))
    }
}

fn parse(text: &str) -> Option<(u64, &str)> {
    let (flushed, run) = text.strip_suffix('\n')?.split_once(' ')?;
    Some((flushed.parse().ok()?, run.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_ends_too_early_is_noticed_in_the_same_run() {
        let directory = tempfile::tempdir().unwrap();
        let open = |recovered| Witness::open(directory.path(), recovered);
        open(0).unwrap().note(7).unwrap();
        if open(7).unwrap().run.is_empty() {
            return;
        }
        open(7).unwrap().note(8).unwrap();
        let error = open(7).unwrap_err();
        assert_eq!(error.code(), Code::Corruption);
        assert!(
            error.to_string().contains("flush 7 of 8") && error.to_string().contains("rave-level.flushed"),
            "{error}"
        );
        // One that was flushed and not noted, before the process was killed.
        open(9).unwrap();
        assert!(open(8).is_err());
        for text in ["", "8", "00000000000000000099 of another run                       \n", "x y\n"] {
            std::fs::write(directory.path().join("rave-level.flushed"), text).unwrap();
            open(5).unwrap();
        }
        std::fs::write(directory.path().join("rave-level.flushed"), [255; 58]).unwrap();
        open(5).unwrap();
        assert!(open(4).is_err());
    }
}
