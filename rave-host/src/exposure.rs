//! What a guest gets of a store: all of it, or one sublevel as if that were all.
//!
//! To ensure correctness:
//! - Whatever keys, ranges and prefixes a guest names, they are put behind the sublevel's prefix before anything else looks at
//!   them, and stripped of it last. There is no way around it: a connection has no other access to the store's entries.
//! - The records of sessions do not take this way. They are written for the guest at the root, in the step that applies its
//!   writes.

use crate::GuardedLevel;
use async_trait::async_trait;
use rave_core::{
    AbstractLevel, Batch, Bytes, ClearOptions, Code, Error, EventStream, IteratorOptions, LevelIterator, Manifest,
    Operation, PeerIdentity, RESERVED, ReadOptions, Result, Snapshot, Status, Sublevel, SublevelOptions, WriteOptions,
};
use std::{fmt, str::FromStr, sync::Arc};

/// The path of a sublevel that a host shows its guests as if it were the whole database.
///
/// ```
/// use rave_host::SublevelPath;
/// let path: SublevelPath = "tenants/acme".parse()?;
/// assert_eq!(path, SublevelPath::new(&["tenants", "acme"])?);
/// # Ok::<(), rave_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SublevelPath(Arc<[String]>);

impl SublevelPath {
    /// The sublevel under the path `names` of the database.
    ///
    /// Errors: `LEVEL_INVALID_PREFIX` if a name is none that a [`Sublevel`] can have, or if it is the one where rave-level
    /// keeps its own records.
    pub fn new(names: &[&str]) -> Result<Self> {
        if Sublevel::prefix_of(names, SublevelOptions::default())?.starts_with(RESERVED.as_bytes()) {
            let message =
                format!("what begins with {RESERVED} cannot be shown: rave-level keeps its own records there");
            return Err(Error::new(Code::InvalidPrefix, message));
        }
        Ok(Self(names.iter().map(ToString::to_string).collect()))
    }

    fn of(&self, root: Arc<dyn AbstractLevel>) -> Result<Sublevel> {
        let names: Vec<&str> = self.0.iter().map(String::as_str).collect();
        Sublevel::new(root, &names, SublevelOptions::default())
    }
}

impl FromStr for SublevelPath {
    type Err = Error;

    /// Reads names with a slash between them.
    fn from_str(path: &str) -> Result<Self> {
        Self::new(&path.split('/').collect::<Vec<_>>())
    }
}

impl fmt::Display for SublevelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("/"))
    }
}

/// The store as one guest may use it.
#[derive(Clone, Debug)]
pub(crate) struct GuestLevel {
    guarded: GuardedLevel,
    /// The part of it that the guest takes for the whole.
    exposed: Option<Sublevel>,
}

impl GuestLevel {
    /// What `peer` gets of `store`.
    pub(crate) fn new(store: &GuardedLevel, peer: &PeerIdentity, sublevel: Option<&SublevelPath>) -> Result<Self> {
        let guarded = if peer.read_only { store.for_reading() } else { store.clone() };
        let exposed = sublevel.map(|path| path.of(Arc::new(guarded.clone()))).transpose()?;
        Ok(Self { guarded, exposed })
    }

    /// The whole store, for the records of the guest's session.
    pub(crate) fn whole(&self) -> &GuardedLevel {
        &self.guarded
    }

    fn view(&self) -> &dyn AbstractLevel {
        match &self.exposed {
            Some(sublevel) => sublevel,
            None => &self.guarded,
        }
    }

    /// Applies the guest's batch, and with it the record of its session.
    pub(crate) async fn write_recorded(
        &self,
        batch: Batch,
        record: Option<Operation>,
        options: WriteOptions,
    ) -> Result<()> {
        let batch = match &self.exposed {
            Some(sublevel) => sublevel.batch_for_root(batch)?,
            None => batch,
        };
        self.guarded.write_recorded(batch, record, options).await
    }

    /// Applies the guest's clear, and with it the record of its session.
    pub(crate) async fn clear_recorded(&self, options: ClearOptions, record: Option<Operation>) -> Result<()> {
        let options = match &self.exposed {
            Some(sublevel) => sublevel.clear_for_root(options)?,
            None => options,
        };
        self.guarded.clear_recorded(options, record).await
    }
}

#[async_trait]
impl AbstractLevel for GuestLevel {
    fn manifest(&self) -> Manifest {
        self.guarded.manifest()
    }

    fn status(&self) -> Status {
        self.view().status()
    }

    fn events(&self) -> EventStream {
        self.view().events()
    }

    async fn get_opts(&self, key: Bytes, options: ReadOptions) -> Result<Option<Bytes>> {
        self.view().get_opts(key, options).await
    }

    async fn get_many_opts(&self, keys: Vec<Bytes>, options: ReadOptions) -> Result<Vec<Option<Bytes>>> {
        self.view().get_many_opts(keys, options).await
    }

    async fn has_many_opts(&self, keys: Vec<Bytes>, options: ReadOptions) -> Result<Vec<bool>> {
        self.view().has_many_opts(keys, options).await
    }

    async fn write_opts(&self, batch: Batch, options: WriteOptions) -> Result<()> {
        self.write_recorded(batch, None, options).await
    }

    async fn clear_opts(&self, options: ClearOptions) -> Result<()> {
        self.clear_recorded(options, None).await
    }

    async fn iterator_opts(&self, options: IteratorOptions) -> Result<Box<dyn LevelIterator>> {
        self.view().iterator_opts(options).await
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        self.view().snapshot().await
    }

    async fn close(&self) -> Result<()> {
        self.guarded.close().await
    }
}
