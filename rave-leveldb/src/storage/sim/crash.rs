//! What is on the disk when the machine comes back.

use super::{Change, Content, CrashMode, Directory, Node, SimulatedDisk};
use fastrand::Rng;
use parking_lot::RwLock;
use std::{collections::HashMap, sync::Arc};

/// The unit in which a disk writes.
const SECTOR: usize = 512;

impl SimulatedDisk {
    /// The disk after a crash, one of the many that are possible; `seed` chooses. This one is left as it is.
    pub fn after_crash(&self, seed: u64, mode: CrashMode) -> Self {
        let mut random = Rng::with_seed(seed);
        let directory = self.disk.directory.lock();
        Self::with(match mode {
            CrashMode::ProcessKilled => directory.after_kill(&mut random),
            _ => directory.after_power_loss(&mut random, mode),
        })
    }

    /// A disk like this one, also in what is synced. Not of one that crashed.
    pub fn copy(&self) -> Self {
        assert!(!self.crashed(), "of what a crash interrupted, a copy would have to choose");
        self.after_crash(0, CrashMode::ProcessKilled)
    }
}

impl Directory {
    fn after_kill(&self, random: &mut Rng) -> Self {
        // A file has one copy, whatever its names were and are.
        let mut copies = HashMap::new();
        let mut copy = |node: &Arc<Node>| {
            let copy = copies.entry(Arc::as_ptr(node)).or_insert_with(|| {
                let content = node.content.read();
                let data = content.after_crash(random, CrashMode::ProcessKilled);
                let content = Content { data, interrupted: None, ..content.clone() };
                Arc::new(Node { content: RwLock::new(content) })
            });
            copy.clone()
        };
        let mut directory = Self {
            names: self.names.iter().map(|(name, node)| (name.clone(), copy(node))).collect(),
            durable: self.durable.iter().map(|(name, node)| (name.clone(), copy(node))).collect(),
            unsynced: self.unsynced.iter().map(|change| change.map(&mut copy)).collect(),
            interrupted: None,
        };
        let interrupted = self.interrupted.as_ref().map(|change| change.map(&mut copy));
        if let Some(change) = interrupted.filter(|_| random.bool()) {
            change.apply(&mut directory.names);
            directory.unsynced.push(change);
        }
        directory
    }

    fn after_power_loss(&self, random: &mut Rng, mode: CrashMode) -> Self {
        let mut names = self.durable.clone();
        if mode != CrashMode::PowerLossNothing {
            let changes = self.unsynced.iter().chain(&self.interrupted);
            let in_order = random.bool();
            let kept = random.usize(0..=changes.clone().count());
            for (i, change) in changes.enumerate() {
                if if in_order { i < kept } else { random.bool() } {
                    change.apply(&mut names);
                }
            }
        }
        for node in names.values_mut() {
            let data = node.content.read().after_crash(random, mode);
            *node = Arc::new(Node { content: RwLock::new(Content { synced: data.len(), data, ..Content::default() }) });
        }
        Self { durable: names.clone(), names, ..Self::default() }
    }
}

impl Change {
    fn map(&self, mut node_to: impl FnMut(&Arc<Node>) -> Arc<Node>) -> Self {
        match self {
            Self::Create { name, node } => Self::Create { name: name.clone(), node: node_to(node) },
            Self::Rename { from, to, node } => Self::Rename { from: from.clone(), to: to.clone(), node: node_to(node) },
            Self::Remove { name } => Self::Remove { name: name.clone() },
        }
    }
}

impl Content {
    fn after_crash(&self, random: &mut Rng, mode: CrashMode) -> Vec<u8> {
        let len = self.data.len();
        let cut = |len| self.data.get(..len).unwrap_or_default().to_vec();
        match (mode, &self.before) {
            (CrashMode::ProcessKilled, _) => cut(self.interrupted.map_or(len, |start| between(random, start, len))),
            (CrashMode::PowerLossNothing, Some(before)) => before.clone(),
            (CrashMode::PowerLossNothing, None) => cut(self.synced),
            (_, Some(before)) if random.bool() => before.clone(),
            (CrashMode::PowerLossPrefix, _) => cut(between(random, self.synced, len)),
            (CrashMode::PowerLossSectors, _) => {
                let mut data = cut(if random.bool() { len } else { between(random, self.synced, len) });
                // How likely a sector is to be kept differs from file to file.
                let chance = random.u8(1..=9);
                let mut sector = self.synced;
                while sector < data.len() {
                    let end = (sector / SECTOR + 1).saturating_mul(SECTOR).min(data.len());
                    if random.u8(0..10) >= chance {
                        let earlier: Vec<_> = self.ends.iter().filter(|&&at| sector < at && at < end).collect();
                        let from = if random.bool() { random.choice(earlier) } else { None };
                        data[from.map_or(sector, |&at| at)..end].fill(0);
                    }
                    sector = end;
                }
                data
            }
        }
    }
}

/// A length between two, both of which are likelier than others.
fn between(random: &mut Rng, least: usize, most: usize) -> usize {
    match random.u8(0..4) {
        0 => least,
        1 => most,
        _ => random.usize(least..=most.max(least)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Access, Storage, sim::Fault};
    use std::{collections::BTreeSet, io::IoSlice, path::PathBuf};

    const SEEDS: u64 = 400;

    fn disk() -> (SimulatedDisk, Arc<dyn Storage>) {
        let disk = SimulatedDisk::new();
        let storage = disk.storage(PathBuf::from("/directory"));
        (disk, storage)
    }

    fn write(storage: &dyn Storage, name: &str, data: &[u8], sync: bool) {
        let mut file = storage.create(name).unwrap();
        file.write(&mut [IoSlice::new(data)]).unwrap();
        if sync {
            file.sync().unwrap();
        }
    }

    /// All that the crash can leave of a file.
    fn outcomes(disk: &SimulatedDisk, name: &str, mode: CrashMode) -> BTreeSet<Option<Vec<u8>>> {
        (0..SEEDS).map(|seed| disk.after_crash(seed, mode).read(name)).collect()
    }

    fn some(outcomes: &[&[u8]]) -> BTreeSet<Option<Vec<u8>>> {
        outcomes.iter().map(|data| Some(data.to_vec())).collect()
    }

    #[test]
    fn synced_bytes_of_a_synced_name_stay() {
        let (disk, storage) = disk();
        let mut file = storage.create("file").unwrap();
        storage.sync_directory().unwrap();
        file.write(&mut [IoSlice::new(b"ab")]).unwrap();
        file.sync().unwrap();
        file.write(&mut [IoSlice::new(b"c")]).unwrap();
        file.write(&mut [IoSlice::new(b""), IoSlice::new(b"d")]).unwrap();
        assert_eq!(outcomes(&disk, "file", CrashMode::ProcessKilled), some(&[b"abcd"]));
        assert_eq!(outcomes(&disk, "file", CrashMode::PowerLossPrefix), some(&[b"ab", b"abc", b"abcd"]));
        assert_eq!(outcomes(&disk, "file", CrashMode::PowerLossNothing), some(&[b"ab"]));
        let sectors = outcomes(&disk, "file", CrashMode::PowerLossSectors);
        assert_eq!(sectors, some(&[b"ab", b"ab\0", b"ab\0\0", b"abc", b"abc\0", b"abcd"]));
        assert_eq!((disk.syncs("file"), disk.bytes_written()), (1, 4));
    }

    #[test]
    fn sectors_are_lost_one_by_one() {
        let (disk, storage) = disk();
        write(storage.as_ref(), "file", &[1; 3 * SECTOR], false);
        storage.sync_directory().unwrap();
        let kept: BTreeSet<_> = outcomes(&disk, "file", CrashMode::PowerLossSectors)
            .into_iter()
            .flatten()
            .filter(|data| data.len() == 3 * SECTOR)
            .map(|data| data.chunks(SECTOR).map(|sector| sector.iter().map(|byte| usize::from(*byte)).sum()).collect())
            .collect::<BTreeSet<Vec<usize>>>();
        assert_eq!(kept.len(), 8);
        assert!(kept.iter().flatten().all(|sum| *sum == 0 || *sum == SECTOR));
    }

    #[test]
    fn syncing_a_file_does_not_sync_its_name_nor_the_reverse() {
        let (disk, storage) = disk();
        write(storage.as_ref(), "synced", b"a", true);
        assert_eq!(
            outcomes(&disk, "synced", CrashMode::PowerLossPrefix),
            [None, Some(b"a".to_vec())].into_iter().collect()
        );
        assert!(disk.after_crash(0, CrashMode::PowerLossNothing).files().is_empty());
        storage.sync_directory().unwrap();
        assert_eq!(outcomes(&disk, "synced", CrashMode::PowerLossPrefix), some(&[b"a"]));
        write(storage.as_ref(), "named", b"b", false);
        storage.sync_directory().unwrap();
        assert_eq!(outcomes(&disk, "named", CrashMode::PowerLossNothing), some(&[b""]));
    }

    #[test]
    fn renames_are_atomic_and_may_be_reordered() {
        let (disk, storage) = disk();
        write(storage.as_ref(), "current", b"old", true);
        write(storage.as_ref(), "obsolete", b"x", true);
        storage.sync_directory().unwrap();
        write(storage.as_ref(), "new", b"new", true);
        storage.rename("new", "current").unwrap();
        storage.remove("obsolete").unwrap();
        assert_eq!(outcomes(&disk, "current", CrashMode::ProcessKilled), some(&[b"new"]));
        assert_eq!(outcomes(&disk, "current", CrashMode::PowerLossNothing), some(&[b"old"]));
        assert_eq!(outcomes(&disk, "current", CrashMode::PowerLossPrefix), some(&[b"new", b"old"]));
        // The removal reached the disk and the rename, which was before it, did not.
        let reordered = (0..SEEDS).map(|seed| disk.after_crash(seed, CrashMode::PowerLossPrefix));
        let mut reordered = reordered.filter(|disk| disk.read("current") == Some(b"old".to_vec()));
        assert!(reordered.any(|disk| disk.read("obsolete").is_none()));
    }

    #[test]
    fn a_file_emptied_without_sync_may_be_the_old_one() {
        let (disk, storage) = disk();
        write(storage.as_ref(), "current", b"old", true);
        storage.sync_directory().unwrap();
        let mut file = storage.create("current").unwrap();
        file.write(&mut [IoSlice::new(b"ne")]).unwrap();
        assert_eq!(outcomes(&disk, "current", CrashMode::PowerLossPrefix), some(&[b"old", b"", b"n", b"ne"]));
        file.sync().unwrap();
        assert_eq!(outcomes(&disk, "current", CrashMode::PowerLossPrefix), some(&[b"ne"]));
    }

    #[test]
    fn the_operation_that_a_crash_interrupts_may_have_happened() {
        let (disk, storage) = disk();
        let mut file = storage.create("file").unwrap();
        file.write(&mut [IoSlice::new(b"a")]).unwrap();
        disk.crash_after(disk.operations());
        assert!(file.write(&mut [IoSlice::new(b"bc")]).is_err());
        assert!(file.write(&mut [IoSlice::new(b"never")]).is_err());
        assert!(file.sync().is_err() && storage.sync_directory().is_err() && storage.remove("file").is_err());
        assert!(storage.open("file").is_err() && storage.list().is_err() && storage.create("other").is_err());
        assert_eq!(outcomes(&disk, "file", CrashMode::ProcessKilled), some(&[b"a", b"ab", b"abc"]));

        let (disk, storage) = self::disk();
        write(storage.as_ref(), "from", b"x", true);
        let reader = storage.open("from").unwrap();
        disk.crash_after(disk.operations());
        assert!(storage.rename("from", "to").is_err() && disk.crashed());
        assert!(reader.read_at(&mut [0], 0, Access::Blocking).is_err());
        let files: BTreeSet<_> =
            (0..SEEDS).map(|seed| disk.after_crash(seed, CrashMode::ProcessKilled).files()).collect();
        assert_eq!(files, [vec!["from".to_owned()], vec!["to".to_owned()]].into_iter().collect());
    }

    #[test]
    fn what_a_killed_process_did_not_sync_can_still_be_lost() {
        let (disk, storage) = disk();
        write(storage.as_ref(), "current", b"old", true);
        storage.sync_directory().unwrap();
        write(storage.as_ref(), "new", b"new", true);
        storage.rename("new", "current").unwrap();
        let mut file = storage.append("current").unwrap();
        file.write(&mut [IoSlice::new(b"er")]).unwrap();
        let killed = disk.after_crash(0, CrashMode::ProcessKilled);
        assert_eq!(outcomes(&killed, "current", CrashMode::ProcessKilled), some(&[b"newer"]));
        assert_eq!(outcomes(&killed, "current", CrashMode::PowerLossNothing), some(&[b"old"]));
        let storage = killed.storage(PathBuf::new());
        storage.sync_directory().unwrap();
        assert_eq!(outcomes(&killed, "current", CrashMode::PowerLossNothing), some(&[b"new"]));
        storage.append("current").unwrap().sync().unwrap();
        assert_eq!(outcomes(&killed, "current", CrashMode::PowerLossNothing), some(&[b"newer"]));
        assert_eq!(disk.read("current").unwrap(), b"newer");
    }

    #[test]
    fn operations_fail_as_they_are_told() {
        for fault in Fault::ALL {
            let (disk, storage) = disk();
            let mut file = storage.create("file").unwrap();
            storage.sync_directory().unwrap();
            disk.fail_operation(disk.operations(), fault);
            assert!(file.write(&mut [IoSlice::new(b"ab")]).is_err());
            let written = match fault {
                Fault::NoSpace => "a",
                Fault::Io => "",
                Fault::IoAfterEffect => "ab",
            };
            assert_eq!(disk.read("file").unwrap(), written.as_bytes());
            disk.fail_operation(disk.operations(), fault);
            assert!(file.sync().is_err());
            file.write(&mut [IoSlice::new(b"c")]).unwrap();
            file.sync().unwrap();
            let lost = fault == Fault::Io;
            let after = disk.after_crash(0, CrashMode::PowerLossNothing).read("file").unwrap();
            assert_eq!(after, if lost { String::new() } else { format!("{written}c") }.as_bytes());
            disk.fail_from(disk.operations() + 1, fault);
            storage.list().unwrap();
            assert!(storage.rename("file", "renamed").is_err() && storage.list().is_err());
            let effect = fault == Fault::IoAfterEffect;
            assert_eq!(disk.files(), [if effect { "renamed" } else { "file" }]);
            disk.heal();
            storage.list().unwrap();
        }
    }

    #[test]
    fn reads_can_be_cold_or_fail_and_are_counted() {
        let (disk, storage) = disk();
        write(storage.as_ref(), "file", b"abc", true);
        let file = storage.open("file").unwrap();
        assert_eq!(disk.read_handles(), 1);
        let read = |access| {
            let mut buffer = [0; 8];
            file.read_at(&mut buffer, 1, access).map(|count| buffer[..count].to_vec()).map_err(|error| error.kind())
        };
        let would_block = Err(std::io::ErrorKind::WouldBlock);
        assert_eq!(read(Access::InMemory), Ok(b"bc".to_vec()));
        disk.cold(true);
        assert_eq!((read(Access::InMemory), read(Access::Blocking)), (would_block.clone(), Ok(b"bc".to_vec())));
        disk.cold_sometimes(50);
        let cold = (0..1000).filter(|_| read(Access::InMemory) == would_block).count();
        assert!((300..700).contains(&cold), "{cold}");
        disk.cold(false);
        disk.fail_reads(true);
        assert!(read(Access::InMemory).is_err() && read(Access::Blocking).is_err());
        drop(file);
        assert_eq!(disk.read_handles(), 0);
        disk.flip("file", 1, 0xff);
        disk.truncate("file", 2);
        assert_eq!(disk.read("file").unwrap(), [b'a', b'b' ^ 0xff]);
        disk.start_trace();
        storage.rename("file", "renamed").unwrap();
        assert_eq!(disk.trace(), ["rename file renamed"]);
    }
}
