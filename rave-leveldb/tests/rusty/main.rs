//! The engine on `rusty-leveldb`: what every store of this crate promises, and its behaviour when its files fail.

use rave_leveldb::{
    Options,
    rusty::{Faults, RustyLevelDb as LevelDb},
};
use std::path::Path;

mod failures;
#[path = "../store/mod.rs"]
mod store;

/// An opener for tests that would otherwise spend their time with fsync.
fn hasty(path: &Path, options: Options) -> LevelDb {
    LevelDb::with_options(path, options).with_faults(Faults::without_sync())
}
