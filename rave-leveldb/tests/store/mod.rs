//! What every store of this crate promises, whatever its engine. Each engine's tests include this module, and have
//! beside it, in the crate's root, the opener `LevelDb` and the function `hasty`.

mod bad_input;
mod basic;
mod conformance;
mod damage;
mod kills;
mod model;
mod regressions;

use rave_core::{AbstractLevel, AbstractLevelExt, IteratorOptions, KeyRange};
use rave_leveldb::{Compression, Options};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

pub type Db = Arc<dyn AbstractLevel>;

/// Options with which a few writes make tables and compactions.
pub fn small() -> Options {
    Options {
        write_buffer_size: 700,
        block_size: 64,
        compression: Compression::None,
        cache_bytes: 0,
        ..Options::default()
    }
}

/// All entries, which are the same in both directions.
pub async fn contents(db: &Db) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let forward = db.all(KeyRange::all()).await.unwrap();
    let mut reverse = db.all(IteratorOptions::default().reversed()).await.unwrap();
    reverse.reverse();
    assert_eq!(forward, reverse);
    forward.into_iter().map(|entry| (entry.key.to_vec(), entry.value.to_vec())).collect()
}

/// The files with this extension, by name.
pub fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    paths.sort();
    paths
}

/// Copies a directory of files.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}
