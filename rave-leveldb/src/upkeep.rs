//! What is done to a database as a whole while nobody has it open: verify, repair, destroy.
//!
//! Each takes the lock first, as opening does, and works on a thread of its own, which keeps the lock until it has ended.

use crate::{
    LevelDb,
    compaction::LevelRules,
    db::Db,
    opener::LockedDirectory,
    tools::{self, Progress, RepairOptions, RepairReport, VerifyReport},
};
use rave_core::{Code, Error, Result};
use std::{fs, io::ErrorKind, ops::ControlFlow, thread};
use tokio::sync::{mpsc, oneshot};

/// Reports of progress that may wait to be heard.
const WAITING: usize = 16;
/// Bytes of a file after which progress is reported again.
const STRIDE: u64 = 256 << 10;

impl LevelDb {
    /// Reads every table, every log and the manifest, and checks all there is to check: every checksum, the order of all
    /// entries, and that the files are those which the manifest describes. Changes nothing.
    ///
    /// `progress` hears with each file, and now and then within it, how far the work is; with [`ControlFlow::Break`] it
    /// ends it. So does dropping the future; the lock is then released a moment later. Damage is no error: the report
    /// has it.
    ///
    /// Errors: `LEVEL_LOCKED` if the database is open somewhere; `LEVEL_DATABASE_FAILED_OPEN` if there is none;
    /// `LEVEL_NOT_SUPPORTED` if it orders its keys in another way; `LEVEL_ABORTED` if `progress` ended it;
    /// `LEVEL_IO_ERROR`.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use rave_core::AbstractLevel;
    /// use rave_leveldb::LevelDb;
    /// use std::ops::ControlFlow;
    ///
    /// let opener = LevelDb::new(dir.path());
    /// opener.open().await?.close().await?;
    /// let report = opener
    ///     .verify(|progress| {
    ///         println!("{}: {} of {} bytes in all", progress.file, progress.bytes_done, progress.bytes_total);
    ///         ControlFlow::Continue(())
    ///     })
    ///     .await?;
    /// assert!(report.is_sound());
    /// # Ok::<(), rave_core::Error>(()) }).unwrap();
    /// ```
    pub async fn verify(
        &self,
        mut progress: impl FnMut(Progress<'_>) -> ControlFlow<()> + Send,
    ) -> Result<VerifyReport> {
        let (teller, mut told) = mpsc::channel(WAITING);
        let outcome = self.work("verify", false, move |locked| {
            let mut teller = Teller { teller, file: String::new(), next: 0 };
            tools::verify(&locked.storage, &mut |progress| teller.tell(progress))
        })?;
        while let Some(Step { file, bytes_done, bytes_total }) = told.recv().await {
            if progress(Progress { file: &file, bytes_done, bytes_total }).is_break() {
                break;
            }
        }
        // Which tells the thread, if it is not done.
        drop(told);
        answer(outcome).await
    }

    /// Makes a damaged database usable again, with everything in it that can be read. What is damaged and how much of it
    /// was kept is in the report; a copy of each damaged file stays beside the database, with `.damaged` behind its name.
    ///
    /// If the manifest cannot be read, all tables and logs there are make up the database, also those that had been
    /// replaced: then what was deleted long ago may be back. While anything fails, the database stays as it was.
    ///
    /// Of the options those count that say how tables are written.
    ///
    /// Errors: as of [`verify`](Self::verify); what prevents writing.
    pub async fn repair(&self) -> Result<RepairReport> {
        let outcome = self.work("repair", false, |locked| {
            let options = RepairOptions {
                rules: LevelRules { max_file_size: locked.options.max_file_size as u64 },
                table: Db::table_options(&locked.options),
                write_buffer_size: locked.options.write_buffer_size,
            };
            tools::repair(&locked.storage, &options, &mut |_| ControlFlow::Continue(()))
        })?;
        answer(outcome).await
    }

    /// Deletes the database and what a repair has set aside, and the directory if nothing else is in it. Where there is
    /// nothing, nothing happens.
    ///
    /// Errors: `LEVEL_LOCKED` if the database is open somewhere; `LEVEL_DATABASE_FAILED_OPEN` if the path is no directory
    /// or has other files and no database; `LEVEL_IO_ERROR`, and then it is to be done again.
    pub async fn destroy(&self) -> Result<()> {
        if matches!(fs::metadata(self.path()), Err(error) if error.kind() == ErrorKind::NotFound) {
            return Ok(());
        }
        let path = self.path().to_owned();
        // What an interrupted destruction leaves is no database any more.
        let outcome = self.work("destroy", true, move |locked| {
            tools::destroy(&locked.storage)?;
            // Whoever has just opened this lock file finds that it is gone, and makes another; then the directory stays.
            let _ = fs::remove_file(locked.storage.directory().join("LOCK"));
            let _ = fs::remove_dir(path);
            Ok(())
        })?;
        answer(outcome).await
    }

    /// Takes the lock of a directory with a database in whatever state (or, if it `may_be_empty`, without one), and does
    /// `work` on a thread of its own. The lock is free when the outcome is seen.
    fn work<T: Send + 'static>(
        &self,
        name: &str,
        may_be_empty: bool,
        work: impl FnOnce(&LockedDirectory) -> Result<T> + Send + 'static,
    ) -> Result<oneshot::Receiver<Result<T>>> {
        match self.prepare_directory(may_be_empty) {
            // Without its `CURRENT`: that can be told of, or made anew.
            Err(error) if error.code() == Code::Corruption => {}
            checked => checked?,
        }
        let locked = self.lock()?;
        let (done, outcome) = oneshot::channel();
        let worker = thread::Builder::new().name(format!("rave-leveldb-{name}")).spawn(move || {
            let result = work(&locked);
            drop(locked);
            let _ = done.send(result);
        });
        worker.map_err(|error| Error::io("starting a thread", error))?;
        Ok(outcome)
    }
}

async fn answer<T>(outcome: oneshot::Receiver<Result<T>>) -> Result<T> {
    outcome.await.map_err(|_| Error::new(Code::Aborted, "the thread that worked on the database ended"))?
}

/// How far the work was at some moment.
struct Step {
    file: String,
    bytes_done: u64,
    bytes_total: u64,
}

/// Passes on where the work is, but not every single step of it.
struct Teller {
    teller: mpsc::Sender<Step>,
    file: String,
    next: u64,
}

impl Teller {
    fn tell(&mut self, progress: Progress<'_>) -> ControlFlow<()> {
        let Progress { file, bytes_done, bytes_total } = progress;
        if file == self.file && bytes_done < self.next {
            return if self.teller.is_closed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        }
        file.clone_into(&mut self.file);
        self.next = bytes_done.saturating_add(STRIDE);
        match self.teller.blocking_send(Step { file: file.to_owned(), bytes_done, bytes_total }) {
            Ok(()) => ControlFlow::Continue(()),
            // Nobody listens any more: the work was given up.
            Err(_) => ControlFlow::Break(()),
        }
    }
}
