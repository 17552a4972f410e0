//! The handle.
use crate::*;

/// A shared database.
#[derive(Clone, Debug)]
pub struct RaveLevel {}

impl RaveLevel {
    /// Opens the LevelDB database in the directory `path` over the local socket.
    #[cfg(all(feature = "leveldb", feature = "ipc"))]
    pub async fn open(path: impl AsRef<std::path::Path>) -> Result<Self> {
        Self::builder(path)?.open().await
    }
    /// The default store and transport for the directory `path`, to be adjusted and opened.
    #[cfg(all(feature = "leveldb", feature = "ipc"))]
    pub fn builder(_path: impl AsRef<std::path::Path>) -> Result<Builder> {
        unimplemented!()
    }
    /// The part this process plays at the moment.
    pub fn role(&self) -> Role {
        unimplemented!()
    }
    /// How the leader fares; asks it if this process is a guest.
    pub async fn leader_status(&self) -> Result<LeaderStatus> {
        unimplemented!()
    }
}

#[async_trait::async_trait]
impl AbstractLevel for RaveLevel {
    fn manifest(&self) -> Manifest { unimplemented!() }
    fn status(&self) -> Status { unimplemented!() }
    fn events(&self) -> EventStream { unimplemented!() }
    async fn get_opts(&self, _: Bytes, _: ReadOptions) -> Result<Option<Bytes>> { unimplemented!() }
    async fn get_many_opts(&self, _: Vec<Bytes>, _: ReadOptions) -> Result<Vec<Option<Bytes>>> { unimplemented!() }
    async fn write_opts(&self, _: Batch, _: WriteOptions) -> Result<()> { unimplemented!() }
    async fn clear_opts(&self, _: ClearOptions) -> Result<()> { unimplemented!() }
    async fn iterator_opts(&self, _: IteratorOptions) -> Result<Box<dyn LevelIterator>> { unimplemented!() }
    async fn snapshot(&self) -> Result<Snapshot> { unimplemented!() }
    async fn close(&self) -> Result<()> { unimplemented!() }
}
