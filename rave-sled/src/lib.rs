//! A database in a directory, on the crate `sled`, for one process at a time.
//!
//! | to … | look at |
//! | --- | --- |
//! | open one | [`SledDb`], [`Options`] |
//! | use it | the [`AbstractLevel`](rave_core::AbstractLevel) that [`SledDb::open`] gives |
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! use rave_core::{AbstractLevel, AbstractLevelExt};
//! use rave_sled::SledDb;
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("db");
//! let db = SledDb::new(&path).open().await?;
//! db.put("a", "1").await?;
//! assert_eq!(db.get("a").await?.as_deref(), Some(&b"1"[..]));
//! db.close().await?;
//! # Ok::<(), rave_core::Error>(()) }).unwrap();
//! ```

mod command;
mod directory;
mod engine;
mod error;
mod flusher;
mod iterator;
mod lengths;
mod opener;
mod options;
mod owner;
mod store;
mod touched;
mod witness;

pub use opener::SledDb;
pub use options::Options;
