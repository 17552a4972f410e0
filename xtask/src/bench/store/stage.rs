//! Where the measurements happen: a directory with a template of each starting state, copied for every measurement.

use super::{Base, Extent, Job, Kind, Row, SETTING, Workload, job::Outcome, row::LOG_ENTRIES, worker::Program};
use anyhow::{Context, Result};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

pub struct Stage {
    folder: TempDir,
    program: Program,
    extent: Extent,
}

impl Stage {
    pub fn new(at: Option<&Path>, program: Program, extent: Extent) -> Result<Self> {
        let folder = match at {
            Some(path) => TempDir::new_in(path).with_context(|| path.display().to_string())?,
            None => tempfile::tempdir()?,
        };
        Ok(Self { folder, program, extent })
    }

    /// Measures one row of one engine once.
    pub fn measure(&mut self, row: &Row, kind: Kind, round: usize) -> Result<Outcome> {
        let directory = self.folder.path().join("measured");
        if let Some(template) = self.template(row.base, kind)? {
            copy(&template, &directory)?;
        }
        let (entries, operations) = row.extent(&self.extent);
        let job = Job {
            entries,
            operations,
            threads: row.threads,
            cache_bytes: row.cache_bytes(&SETTING),
            seed: round as u64 + 1,
            ..self.job(kind, row.workload, directory.clone())
        };
        let outcome = self.program.run(&job);
        if directory.exists() {
            fs::remove_dir_all(&directory).with_context(|| directory.display().to_string())?;
        }
        outcome
    }

    fn job(&self, kind: Kind, workload: Workload, directory: PathBuf) -> Job {
        Job {
            kind,
            workload,
            directory,
            entries: self.extent.entries,
            operations: self.extent.entries,
            threads: 1,
            cache_bytes: SETTING.cache_bytes,
            write_buffer_bytes: SETTING.write_buffer_bytes,
            bloom_bits: SETTING.bloom_bits,
            seed: 0,
        }
    }

    /// The directory to start from, made at its first use.
    fn template(&self, base: Base, kind: Kind) -> Result<Option<PathBuf>> {
        // C++ LevelDB fills for all that read its files: they are measured on the very same ones.
        let (workload, maker) = match base {
            Base::Empty => return Ok(None),
            Base::Filled if kind.is_leveldb() => (Workload::Prepare, Kind::Leveldb),
            Base::Filled => (Workload::Prepare, kind),
            Base::Log => (Workload::PrepareLog, kind),
        };
        let directory = self.folder.path().join(format!("{base:?}-{maker:?}").to_lowercase());
        if !directory.exists() {
            let mut job = self.job(maker, workload, directory.clone());
            if base == Base::Log {
                // All of it is to stay in the log.
                job = Job { entries: LOG_ENTRIES, write_buffer_bytes: 64 << 20, ..job };
            }
            self.program.run(&job)?;
        }
        Ok(Some(directory))
    }
}

/// Copies a directory; tables, which nobody ever changes, as links.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let is_table = entry.path().extension().is_some_and(|extension| extension == "ldb");
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else if !is_table || fs::hard_link(entry.path(), &target).is_err() {
            fs::copy(entry.path(), &target).with_context(|| target.display().to_string())?;
        }
    }
    Ok(())
}
