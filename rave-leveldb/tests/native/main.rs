//! The native engine: what every store of this crate promises, and what only this one can do.

use rave_leveldb::{LevelDb, Options};
use std::path::Path;

#[path = "../store/mod.rs"]
mod store;
mod upkeep;

/// An opener for tests that would otherwise spend their time with fsync, if the engine can do without.
fn hasty(path: &Path, options: Options) -> LevelDb {
    LevelDb::with_options(path, options)
}
