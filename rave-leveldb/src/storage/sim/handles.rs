//! The simulated disk as the engine sees it.

use super::{
    super::{Access, FileName, ReadFile, Storage, WriteFile},
    Change, Content, Disk, Fate, Fault, Node, dead,
};
use std::{
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

/// The directory of the disk.
pub(super) struct SimulatedStorage {
    disk: Arc<Disk>,
    directory: PathBuf,
}

impl std::fmt::Debug for SimulatedStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimulatedStorage").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl SimulatedStorage {
    pub(super) fn new(disk: Arc<Disk>, directory: PathBuf) -> Self {
        Self { disk, directory }
    }

    /// Does a change of the directory, as its fate is. `change` says why it cannot be done, or what it is.
    fn change(&self, fate: Fate, change: impl FnOnce(&super::Names) -> io::Result<Change>) -> io::Result<()> {
        let mut directory = self.disk.directory.lock();
        if let Fate::Dead | Fate::Fails(Fault::NoSpace | Fault::Io) = fate {
            return fate.outcome();
        }
        let change = change(&directory.names)?;
        if fate == Fate::Interrupted {
            directory.interrupted = Some(change);
        } else {
            change.apply(&mut directory.names);
            directory.unsynced.push(change);
        }
        fate.outcome()
    }
}

impl Fate {
    /// What the caller gets to know.
    fn outcome(self) -> io::Result<()> {
        match self {
            Self::Done => Ok(()),
            Self::Interrupted | Self::Dead => Err(dead()),
            Self::Fails(fault) => Err(fault.error()),
        }
    }
}

fn find(names: &super::Names, name: &str) -> io::Result<Arc<Node>> {
    names.get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
}

impl Storage for SimulatedStorage {
    fn directory(&self) -> &Path {
        &self.directory
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.begin(|| "list".to_owned()).outcome()?;
        Ok(self.disk.directory.lock().names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn ReadFile>> {
        self.disk.begin(|| format!("open {name}")).outcome()?;
        let node = find(&self.disk.directory.lock().names, name)?;
        self.disk.read_handles.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Reader { disk: self.disk.clone(), node }))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn WriteFile>> {
        let fate = self.disk.begin(|| format!("create {name}"));
        let existing = self.disk.directory.lock().names.get(name).cloned();
        let node = match existing {
            Some(node) => {
                if let Fate::Done | Fate::Fails(Fault::IoAfterEffect) = fate {
                    node.content.write().empty();
                }
                fate.outcome()?;
                node
            }
            None => {
                let node = Arc::new(Node::default());
                let created = Change::Create { name: name.to_owned(), node: node.clone() };
                self.change(fate, |_| Ok(created))?;
                node
            }
        };
        Ok(Box::new(Writer::new(&self.disk, node, name)))
    }

    fn append(&self, name: &str) -> io::Result<Box<dyn WriteFile>> {
        self.disk.begin(|| format!("append {name}")).outcome()?;
        let node = find(&self.disk.directory.lock().names, name)?;
        Ok(Box::new(Writer::new(&self.disk, node, name)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let fate = self.disk.begin(|| format!("rename {from} {to}"));
        self.change(fate, |names| {
            Ok(Change::Rename { from: from.to_owned(), to: to.to_owned(), node: find(names, from)? })
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let fate = self.disk.begin(|| format!("remove {name}"));
        self.change(fate, |names| find(names, name).map(|_| Change::Remove { name: name.to_owned() }))
    }

    fn sync_directory(&self) -> io::Result<()> {
        let fate = self.disk.begin(|| "sync directory".to_owned());
        if let Fate::Done | Fate::Fails(Fault::IoAfterEffect) = fate {
            let mut directory = self.disk.directory.lock();
            directory.durable = directory.names.clone();
            directory.unsynced.clear();
        }
        fate.outcome()
    }
}

impl Content {
    fn empty(&mut self) {
        let synced = self.data.get(..self.synced).unwrap_or_default().to_vec();
        let before = self.before.take().unwrap_or(synced);
        *self = Self { before: Some(before), broken: self.broken, syncs: self.syncs, ..Self::default() };
    }
}

struct Reader {
    disk: Arc<Disk>,
    node: Arc<Node>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.disk.read_handles.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ReadFile for Reader {
    fn len(&self) -> io::Result<u64> {
        if self.disk.is_dead() {
            return Err(dead());
        }
        Ok(self.node.content.read().data.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64, access: Access) -> io::Result<usize> {
        if self.disk.is_dead() {
            return Err(dead());
        }
        if access == Access::InMemory && self.disk.is_cold() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.disk.reads_fail.load(Ordering::SeqCst) {
            return Err(Fault::Io.error());
        }
        let content = self.node.content.read();
        let rest = usize::try_from(offset).ok().and_then(|offset| content.data.get(offset..)).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

struct Writer {
    disk: Arc<Disk>,
    node: Arc<Node>,
    name: String,
    is_table: bool,
}

impl Writer {
    fn new(disk: &Arc<Disk>, node: Arc<Node>, name: &str) -> Self {
        let is_table = matches!(FileName::parse(name), Some(FileName::Table(_)));
        Self { disk: disk.clone(), node, name: name.to_owned(), is_table }
    }
}

impl WriteFile for Writer {
    fn write(&mut self, parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let fate = self.disk.begin(|| format!("write {} {len}", self.name));
        let taken = match fate {
            Fate::Done | Fate::Interrupted | Fate::Fails(Fault::IoAfterEffect) => len,
            Fate::Fails(Fault::NoSpace) => len / 2,
            Fate::Fails(Fault::Io) | Fate::Dead => 0,
        };
        let mut content = self.node.content.write();
        let start = content.data.len();
        if fate == Fate::Interrupted {
            content.interrupted = Some(start);
        }
        for part in parts.iter() {
            content.data.extend_from_slice(part);
        }
        content.data.truncate(start + taken);
        content.ends.push(start + taken);
        self.disk.bytes_written.fetch_add(taken as u64, Ordering::Relaxed);
        fate.outcome()
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.is_table {
            let delay = *self.disk.table_delay.lock();
            if !delay.is_zero() {
                std::thread::sleep(delay);
            }
        }
        let fate = self.disk.begin(|| format!("sync {}", self.name));
        let mut content = self.node.content.write();
        match fate {
            Fate::Done | Fate::Fails(Fault::IoAfterEffect) if !content.broken => {
                content.synced = content.data.len();
                content.ends.clear();
                content.before = None;
                content.syncs += 1;
            }
            Fate::Fails(Fault::Io) => content.broken = true,
            _ => {}
        }
        fate.outcome()
    }
}
